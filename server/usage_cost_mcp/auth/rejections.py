"""Why a token does not open the door."""

from dataclasses import dataclass
from http import HTTPStatus

SCOPE = "spend:read"
"""What a token must be good for."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """An answer in place of the one that was asked for.

    Attributes:
        why: In a word, for the audit.
        sentence: For the caller; it never repeats the token.
        error: As RFC 6750 calls it; None where no token was shown.
        retry_after: The seconds after which the same token may do, where it may.
    """

    reason: str
    sentence: str
    status: HTTPStatus = HTTPStatus.UNAUTHORIZED
    error: str | None = "invalid_token"
    retry_after: int | None = None


class RejectedError(Exception):
    """A token was refused."""

    def __init__(self, refusal: Rejection) -> None:
        super().__init__(refusal.sentence)
        self.rejection = refusal


NO_TOKEN = Rejection("none", "A token is needed, in the header Authorization: Bearer TOKEN.", error=None)
UNKNOWN = Rejection("unknown", "The token is not known here: it is wrong, or was revoked.")
EXPIRED = Rejection("expired", "The token has expired.")
NO_SCOPE = Rejection(
    "scope",
    f"The token is good, but not for this: it lacks the scope {SCOPE}.",
    HTTPStatus.FORBIDDEN,
    "insufficient_scope",
)


def temporarily_unavailable(why: str, seconds: int) -> Rejection:
    """The token may be good, but that cannot be told at the moment: a 401 would make the caller throw it away."""
    return Rejection(
        why, "Tokens cannot be checked at the moment. Ask again later.", HTTPStatus.SERVICE_UNAVAILABLE, None, seconds
    )
