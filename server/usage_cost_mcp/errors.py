"""The errors that a caller may see: one class per next step for the reader.

    UsageCostError
    ├── ConfigurationError        the operator fixes the environment
    ├── InvalidQueryError         the caller asks differently; nothing was sent
    ├── CallRateLimitError        the caller asks again later; nothing was sent
    └── UpstreamError             the Admin API gave no usable answer
        ├── AccessError           the key may not read this
        │   └── KeyRefusedError   the key is not accepted at all
        ├── RateLimitedError      ask again later; the message says when
        ├── UnavailableError      ask again later
        │   └── ResponseTooLargeError   too slow or too large in one piece; a shorter window may work
        └── ContractError         an unreadable answer, which is never taken for a zero
            ├── InconsistentPagesError  pages that do not fit together; reading them again may work
            └── BetaHeaderError   a request with a beta header was rejected; without it, it may work

Every message is one or two sentences: what happened, and what to do. Upstream text is never quoted.
"""

import copy
import difflib
from collections.abc import Iterable
from typing import Self

from .redact import redacted


class UsageCostError(Exception):
    """The base of all errors that a caller may see."""

    def __str__(self) -> str:
        """The message and its notes, redacted: a caller may have sent a key by mistake."""
        return redacted(" ".join([super().__str__(), *getattr(self, "__notes__", [])]))

    def with_note(self, note: str) -> Self:
        """A copy with one more note; the original may be shared with concurrent calls."""
        noted = copy.copy(self)
        noted.__notes__ = [*getattr(self, "__notes__", []), note]
        return noted


class ConfigurationError(UsageCostError):
    """A setting is missing or malformed."""


class InvalidQueryError(UsageCostError):
    """The query is not valid, or not answerable in this form."""


class CallRateLimitError(UsageCostError):
    """A principal has reached the rate limit."""


class UpstreamError(UsageCostError):
    """The Admin API gave no usable answer."""


class AccessError(UpstreamError):
    """401 or 403. Never answered from the cache: the numbers may no longer be meant for this key."""


class KeyRefusedError(AccessError):
    """401: the key is wrong or has been revoked."""


class RateLimitedError(UpstreamError):
    """429. The message says when to ask again."""


class UnavailableError(UpstreamError):
    """A server error, a timeout or no connection."""


class ResponseTooLargeError(UnavailableError):
    """The response is too slow or too large in one piece."""


class ContractError(UpstreamError):
    """A response that does not match the documentation."""


class InconsistentPagesError(ContractError):
    """Pages that do not fit together: the data changed in between, or the page token is no longer valid."""


class BetaHeaderError(ContractError):
    """A request with a beta header was rejected, because of the header or for another reason."""


def unknown_value_error(what: str, given: str, accepted: Iterable[str]) -> InvalidQueryError:
    """The error of an unknown value: a suggestion and the accepted values, of a long list the closest ones."""
    choices, prefix = list(accepted), given[:_MAX_COMPARED]
    close = [each for each in choices if given and given.lower() in each.lower()]
    close = close or difflib.get_close_matches(prefix.lower(), choices, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    accepted_values = _list_choices(prefix, choices)
    return InvalidQueryError(f"{what} {short_repr(given)} is not known.{hint} Accepted: {accepted_values}.")


def _list_choices(given: str, choices: list[str]) -> str:
    if len(choices) <= _MAX_LISTED:
        return ", ".join(choices) or "nothing so far"
    nearest = difflib.get_close_matches(given, choices, n=_MAX_LISTED // 2, cutoff=0)
    return f"{', '.join(nearest)} and {len(choices) - len(nearest)} more"


_MAX_COMPARED = 200
"""How many characters of a value are compared with the accepted ones; names are no longer."""

_MAX_LISTED = 20
"""How many accepted values an error lists."""


def short_repr(given: object, max_length: int = 60) -> str:
    """The repr of a caller's value, truncated for an error message."""
    text = repr(given)
    return text if len(text) <= max_length else f"{text[:max_length]}..."
