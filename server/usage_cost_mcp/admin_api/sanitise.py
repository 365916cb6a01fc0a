"""Strings from upstream, made safe to print. Names are data: they never steer a terminal or a model's rendering."""

import unicodedata
from functools import lru_cache

MAX_CHARACTERS = 200

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Control, format (bidi, zero width), private use, surrogate, line and paragraph separators."""


@lru_cache(maxsize=16_384)
def sanitised(text: str) -> str:
    """The text without characters that a person cannot see, at most 200 long; a fixed point of itself."""
    visible = "".join(character for character in text if unicodedata.category(character) not in _UNSAFE_CATEGORIES)
    return visible.strip()[:MAX_CHARACTERS].strip()
