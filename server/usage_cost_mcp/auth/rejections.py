"""Reasons for rejecting a bearer token, with the HTTP response for each."""

from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus

SCOPE = "spend:read"
"""The scope that every access token needs."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a request is not authenticated, and the response that says so.

    Attributes:
        reason: One word for the audit log.
        sentence: For the caller. Never contains the token.
        error: The error code of RFC 6750; None when the request carried no token.
        retry_after: Seconds after which the same token may be accepted; None when it never will be.
    """

    reason: str
    sentence: str
    status: HTTPStatus = HTTPStatus.UNAUTHORIZED
    error: str | None = "invalid_token"
    retry_after: int | None = None


class RejectedError(Exception):
    """The token is rejected."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.sentence)
        self.rejection = rejection


NO_TOKEN = Rejection("none", "A token is required, in the header Authorization: Bearer TOKEN.", error=None)
UNKNOWN = Rejection("unknown", "Unknown token: it is wrong or was revoked.")
EXPIRED = Rejection("expired", "The token has expired.")
NO_SCOPE = Rejection(
    "scope",
    f"The token is valid but lacks the scope {SCOPE}.",
    HTTPStatus.FORBIDDEN,
    "insufficient_scope",
)

current_rejection: ContextVar[Rejection] = ContextVar("current_rejection", default=NO_TOKEN)
"""Why the token of the current request was rejected. The SDK's verifier can only return None; this carries the reason
from the verifier to the response."""


def temporarily_unavailable(reason: str, seconds: int) -> Rejection:
    """The token cannot be checked now. It may be valid, and after a 401 the client would discard it."""
    return Rejection(
        reason,
        "Tokens cannot be checked at the moment. Try again later.",
        HTTPStatus.SERVICE_UNAVAILABLE,
        None,
        seconds,
    )
