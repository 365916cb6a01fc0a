"""Everything that can go wrong, one class per next step for the reader.

    UsageCostError
    ├── ConfigurationError        the operator fixes the environment
    ├── QuestionError             the caller asks differently; nothing was sent
    ├── TooManyCallsError         the caller asks again later; nothing was sent
    └── UpstreamError             the Admin API did not give an answer that can be used
        ├── AccessError           the key may not read this
        │   └── KeyRefusedError   the key is not accepted at all
        ├── RateLimitedError      ask again later; says when
        ├── UnavailableError      ask again later
        │   └── TooMuchError      too slow or too large in one piece; smaller ones may do
        └── ContractError         an answer that cannot be read, and is therefore never taken for a zero
            └── BrokenWalkError   pages that do not belong together; a new walk may do

Every message is a sentence or two of our own: what happened, what to do. Upstream text is never quoted.
"""

import copy
import difflib
from collections.abc import Iterable
from typing import Self

from .redact import redacted


class UsageCostError(Exception):
    """The root of all errors that a caller may read."""

    def __str__(self) -> str:
        """The message, followed by what was added on the way up; without a key, should one have been given in error."""
        return redacted(" ".join([super().__str__(), *getattr(self, "__notes__", [])]))

    def with_note(self, note: str) -> Self:
        """A copy that says more; the original may be on its way to other askers."""
        noted = copy.copy(self)
        noted.__notes__ = [*getattr(self, "__notes__", []), note]
        return noted


class ConfigurationError(UsageCostError):
    """A setting is missing or malformed."""


class InvalidQueryError(UsageCostError):
    """The question cannot be answered as asked."""


class CallRateLimitError(UsageCostError):
    """A principal has asked as often as they may for now."""


class UpstreamError(UsageCostError):
    """The Admin API did not give an answer that can be used."""


class AccessError(UpstreamError):
    """401 or 403: never answered from the cache."""


class KeyRefusedError(AccessError):
    """401: the key is wrong, or was revoked."""


class RateLimitedError(UpstreamError):
    """429: says when asking again makes sense."""


class UnavailableError(UpstreamError):
    """A server error, a time-out or no connection."""


class ResponseTooLargeError(UnavailableError):
    """What was asked for is too slow or too large in one piece."""


class ContractError(UpstreamError):
    """A success whose body is not what the documentation promises."""


class InconsistentPagesError(ContractError):
    """The pages of one walk do not belong together: the data changed below it, or its token is no longer valid."""


def unknown_value_error(what: str, given: str, accepted: Iterable[str]) -> InvalidQueryError:
    """The refusal of a value, with what is accepted, the nearest first where that is much."""
    choices, meant = list(accepted), given[:MAX_COMPARED]
    near = [each for each in choices if given and given.lower() in each.lower()]
    near = near or difflib.get_close_matches(meant.lower(), choices, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return InvalidQueryError(f"{what} {short_repr(given)} is not known.{hint} Accepted: {_listed(meant, choices)}.")


def _listed(given: str, choices: list[str]) -> str:
    if len(choices) <= MAX_LISTED:
        return ", ".join(choices) or "nothing so far"
    nearest = difflib.get_close_matches(given, choices, n=MAX_LISTED // 2, cutoff=0)
    return f"{', '.join(nearest)} and {len(choices) - len(nearest)} more"


MAX_COMPARED = 200
"""How many letters of what was given are held against what is accepted; names are no longer."""

MAX_LISTED = 20
"""How many accepted values an error lists."""


def short_repr(given: object, most: int = 60) -> str:
    """What a caller gave, quoted, at a length that an error can hold."""
    text = repr(given)
    return text if len(text) <= most else f"{text[:most]}..."
