"""Makes strings from upstream safe to print: a name must not control a terminal or break a model's rendering."""

import unicodedata
from functools import lru_cache

from usage_cost_mcp.redact import redacted

MAX_CHARACTERS = 200

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Control, format (bidi, zero width), unassigned, private use, surrogate, line and paragraph separators."""

_INVISIBLE = frozenset(
    map(
        chr,
        [
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ],
    )
)
"""Invisible characters of other categories: joiners, fillers, blanks, variation selectors."""


@lru_cache(maxsize=16_384)
def sanitised(text: str) -> str:
    """The text without secrets and invisible characters, at most 200 characters long. Idempotent."""
    visible = "".join(
        character
        for character in text
        if unicodedata.category(character) not in _UNSAFE_CATEGORIES and character not in _INVISIBLE
    )
    return redacted(visible).strip()[:MAX_CHARACTERS].strip()
