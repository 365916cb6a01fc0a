"""Responses to requests without a valid token: status, reason and `WWW-Authenticate` (RFC 6750, RFC 9728)."""

from collections.abc import Callable
from http import HTTPStatus

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from usage_cost_mcp.auth.rejections import NO_SCOPE, NO_TOKEN, SCOPE, Rejection, current_rejection


class AuthChallengeMiddleware:
    """Replaces the SDK's generic 401 or 403 with one that states the reason and the required scope.

    Args:
        app: The SDK's application.
        log_rejection: Called for each rejection with the principal, if known, and the reason.
        metadata_url: The protected resource metadata, where clients find the issuer; None without an issuer.
    """

    def __init__(
        self, app: ASGIApp, log_rejection: Callable[[str | None, str], None], metadata_url: str | None
    ) -> None:
        self._app = app
        self._log_rejection = log_rejection
        self._metadata_url = metadata_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        current_rejection.set(NO_TOKEN)
        rejection: Rejection | None = None

        async def send_or_replace(message: Message) -> None:
            nonlocal rejection
            if rejection:
                return  # the body of the SDK's response
            rejection = _rejection_in(message)
            if rejection is None:
                await send(message)
                return
            self._log_rejection(getattr(scope.get("user"), "display_name", None) or None, rejection.reason)
            await self._response(rejection)(scope, receive, send)

        await self._app(scope, receive, send_or_replace)

    def _response(self, rejection: Rejection) -> JSONResponse:
        headers = {"cache-control": "no-store"}
        if rejection.retry_after is None:
            headers["www-authenticate"] = self._challenge(rejection)
        else:
            headers["retry-after"] = str(rejection.retry_after)
        return JSONResponse(
            {"error": rejection.error or "invalid_request", "error_description": rejection.sentence},
            rejection.status,
            headers,
        )

    def _challenge(self, rejection: Rejection) -> str:
        """The header's value. By RFC 6750 it has an error code only when the request carried a token."""
        parts = {"realm": "usage-cost-mcp"}
        if rejection.error:
            parts |= {"error": rejection.error, "error_description": rejection.sentence}
        if self._metadata_url:
            parts |= {"scope": SCOPE, "resource_metadata": self._metadata_url}
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parts.items())


def _rejection_in(message: Message) -> Rejection | None:
    """Why the SDK rejects the request; None when it does not, or not because of the token."""
    if message["type"] != "http.response.start" or b"www-authenticate" not in dict(message["headers"]):
        return None
    return NO_SCOPE if message["status"] == HTTPStatus.FORBIDDEN else current_rejection.get()
