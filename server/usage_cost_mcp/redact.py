"""Keys and tokens are never said, whoever says them: by shape, because one may turn up where nobody expects it."""

import re

_KEY = re.compile(
    r"sk-ant-[A-Za-z0-9_-]{8,}"  # a key of Anthropic's
    r"|ucm_[A-Za-z0-9_-]{8,}"  # a token of this server
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*"  # a token of an identity provider
)

REDACTED = "[key removed]"


def redacted(text: str) -> str:
    """The text without anything that looks like a key of Anthropic's, or a token that this server accepts."""
    return _KEY.sub(REDACTED, text)
