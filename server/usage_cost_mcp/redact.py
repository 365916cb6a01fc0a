"""Redacts API keys, access tokens and JWTs from text.

By their shape, not by value: a secret may turn up anywhere, such as in a question or in the name of a workspace.
"""

import re

_KEY = re.compile(
    r"sk-ant-[A-Za-z0-9_-]{8,}"  # an Anthropic key
    r"|ucm_[A-Za-z0-9_-]{8,}"  # a token of this server
)

_JWT = re.compile(
    r"(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]++\.[A-Za-z0-9_-]*+\.)"  # at the start of three parts separated by dots
    r"([A-Za-z0-9_-]*?)eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+\.[A-Za-z0-9_-]*+"  # a JWT
)
"""Possessive, so that it takes linear time: anyone can send text in which a token could start 100,000 times."""

REDACTED = "[key removed]"


def redacted(text: str) -> str:
    """The text without Anthropic keys and without tokens that this server may accept."""
    return _KEY.sub(REDACTED, _JWT.sub(rf"\1{REDACTED}", text))
