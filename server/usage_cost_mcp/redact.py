"""Keys and tokens are never said, whoever says them: by shape, because one may turn up where nobody expects it."""

import re

_KEY = re.compile(
    r"sk-ant-[A-Za-z0-9_-]{8,}"  # a key of Anthropic's
    r"|ucm_[A-Za-z0-9_-]{8,}"  # a token of this server
)

_JWT = re.compile(
    r"(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]++\.[A-Za-z0-9_-]*+\.)"  # where three parts begin, whatever they are
    r"([A-Za-z0-9_-]*?)eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+\.[A-Za-z0-9_-]*+"  # a token of an identity provider
)
"""Looks at each part once only: anybody can send a text in which a token might begin a hundred thousand times."""

REDACTED = "[key removed]"


def redacted(text: str) -> str:
    """The text without anything that looks like a key of Anthropic's, or a token that this server accepts."""
    return _KEY.sub(REDACTED, _JWT.sub(rf"\1{REDACTED}", text))
