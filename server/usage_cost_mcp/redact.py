"""Keys are never said, whoever says them: by their shape, because one may turn up where nobody expects it."""

import re

_KEY = re.compile(r"sk-ant-[A-Za-z0-9_-]{8,}")

REDACTED = "[key removed]"


def redacted(text: str) -> str:
    """The text without anything that looks like a key of Anthropic's."""
    return _KEY.sub(REDACTED, text)
