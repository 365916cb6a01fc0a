"""What is answered to a request without a token that is good for it."""

from collections.abc import Callable
from contextvars import ContextVar
from http import HTTPStatus

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from usage_cost_mcp.auth.rejections import NO_SCOPE, NO_TOKEN, SCOPE, Rejection

_rejection: ContextVar[Rejection] = ContextVar("refusal", default=NO_TOKEN)


def set_rejection(refusal: Rejection) -> None:
    """Keep why the token of the present request was refused."""
    _rejection.set(refusal)


class AuthChallengeMiddleware:
    """Says in place of the SDK, which only knows that it did not get a principal, what was wrong and what is wanted.

    Args:
        app: The SDK's application.
        refused: Told each refusal, and of whom it was if that is known.
        metadata_url: Where clients read which issuer's tokens are taken (RFC 9728); None where no issuer's are.
    """

    def __init__(self, app: ASGIApp, refused: Callable[[str | None, str], None], metadata_url: str | None) -> None:
        self._app = app
        self._refused = refused
        self._metadata_url = metadata_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        _rejection.set(NO_TOKEN)
        refusal: Rejection | None = None

        async def send_instead(message: Message) -> None:
            nonlocal refusal
            if refusal:
                return  # the rest of what the SDK would have said
            refusal = _rejection_in(message)
            if refusal is None:
                await send(message)
                return
            self._refused(getattr(scope.get("user"), "display_name", None) or None, refusal.reason)
            await self._response(refusal)(scope, receive, send)

        await self._app(scope, receive, send_instead)

    def _response(self, refusal: Rejection) -> JSONResponse:
        headers = {"cache-control": "no-store"}
        if refusal.retry_after is None:
            headers["www-authenticate"] = self._challenge(refusal)
        else:
            headers["retry-after"] = str(refusal.retry_after)
        return JSONResponse(
            {"error": refusal.error or "invalid_request", "error_description": refusal.sentence},
            refusal.status,
            headers,
        )

    def _challenge(self, refusal: Rejection) -> str:
        """As RFC 6750 has it: an error only where a token was shown."""
        parts = {"realm": "usage-cost-mcp"}
        if refusal.error:
            parts |= {"error": refusal.error, "error_description": refusal.sentence}
        if self._metadata_url:
            parts |= {"scope": SCOPE, "resource_metadata": self._metadata_url}
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parts.items())


def _rejection_in(message: Message) -> Rejection | None:
    """Why the SDK refuses; None where it does not, or for another reason than the token."""
    if message["type"] != "http.response.start" or b"www-authenticate" not in dict(message["headers"]):
        return None
    return NO_SCOPE if message["status"] == HTTPStatus.FORBIDDEN else _rejection.get()
