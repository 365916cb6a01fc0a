"""ASGI middleware in front of every route: rejects a wrong Host or Origin, a secret in the URL, a large or slow body.

Rejected input is neither quoted nor logged: it may be a secret.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager
from math import inf
from urllib.parse import unquote_to_bytes

import anyio
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from usage_cost_mcp.settings import ALLOWED_HOSTS

from .allowed_hosts import AllowedHosts

MCP_PATH = "/mcp"
MAX_BODY_BYTES = 256 * 1024
MAX_CONCURRENT_CALLS = 256

_KEY = re.compile(rb"sk-ant-", re.IGNORECASE)
_TOKEN = re.compile(rb"(?i:token=|bearer|ucm_)|eyJ")
_MAX_ENCODINGS = 3


class RequestGuardMiddleware:
    """Checks each request before the app sees it, limits concurrent calls, and ends them when the server stops.

    Args:
        app: The app.
        allowed: The allow-list for Host and Origin.
        body_seconds: How long a request body may take to arrive.
    """

    def __init__(self, app: ASGIApp, allowed: AllowedHosts, body_seconds: float) -> None:
        self._app = app
        self._allowed = allowed
        self._body_seconds = body_seconds
        self._active_calls = 0
        self._active_scopes: set[anyio.CancelScope] = set()
        self._deadline = inf

    def drain(self, seconds: float) -> None:
        """Answer all requests, running and new, within this time; afterwards respond that the server is stopping."""
        self._deadline = anyio.current_time() + seconds
        for scope in self._active_scopes:
            scope.deadline = self._deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reject it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._respond_before_deadline(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _respond_before_deadline(self, scope: Scope, receive: Receive, send: Send) -> None:
        response_started = False

        async def tracking_send(message: Message) -> None:
            nonlocal response_started
            response_started = True
            await send(message)

        with self._until_deadline() as before_deadline:
            await self._respond(scope, receive, tracking_send)
        if before_deadline.cancelled_caught and not response_started:
            await _plain_response(503, "The server is stopping. Try again.", retry_after="1")(scope, receive, send)

    @contextmanager
    def _until_deadline(self) -> Generator[anyio.CancelScope]:
        with anyio.CancelScope(deadline=self._deadline) as scope:
            self._active_scopes.add(scope)
            try:
                yield scope
            finally:
                self._active_scopes.discard(scope)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = self._rejection(scope) or await self._read_body(receive)
        if isinstance(body, Response):
            await body(scope, receive, send)
        elif scope["path"] != MCP_PATH:
            await self._app(scope, _replay_body(body, receive), send)
        elif self._active_calls == MAX_CONCURRENT_CALLS:
            await _plain_response(503, "The server is busy. Try again.", retry_after="1")(scope, receive, send)
        else:
            self._active_calls += 1
            try:
                await self._respond_to_call(scope, body, receive, send)
            finally:
                self._active_calls -= 1

    async def _respond_to_call(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Answer a call; cancel it when the client disconnects, if its protocol version says that this cancels it."""
        if set(_header_values(scope, b"mcp-protocol-version")) <= {*HANDSHAKE_PROTOCOL_VERSIONS}:
            await self._app(scope, _replay_body(body, receive), send)
            return

        async def cancel_on_disconnect() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cancel_on_disconnect)
            await self._app(scope, _replay_body(body, _block_forever), send)
            group.cancel_scope.cancel()

    def _rejection(self, scope: Scope) -> Response | None:
        """The response to a request whose head is already enough to reject it."""
        hosts, origins = _header_values(scope, b"host"), _header_values(scope, b"origin")
        if len(hosts) != 1 or not self._allowed.allows_host(hosts[0]):
            return _plain_response(421, f"Host not allowed. Add it to {ALLOWED_HOSTS}.")
        if len(origins) > 1 or not all(map(self._allowed.allows_origin, origins)):
            return _plain_response(403, f"Origin not allowed. Add its host to {ALLOWED_HOSTS}.")
        return _misplaced_secret(scope) or _wrong_method(scope) or _invalid_length(scope)

    async def _read_body(self, receive: Receive) -> bytes | Response:
        """The body, or the response that rejects it."""
        body = bytearray()
        try:
            with anyio.fail_after(self._body_seconds):
                while (message := await receive())["type"] == "http.request":
                    body += message.get("body", b"")
                    if len(body) > MAX_BODY_BYTES:
                        return _TOO_LARGE
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            return _plain_response(408, "The request took too long to arrive.", connection="close")
        return bytes(body)


def _header_values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for each, value in scope["headers"] if each == name]


def _plain_response(status: int, sentence: str, **headers: str) -> Response:
    return PlainTextResponse(
        f"{sentence}\n", status, {name.replace("_", "-"): value for name, value in headers.items()}
    )


_TOO_LARGE = _plain_response(413, f"The request body is larger than {MAX_BODY_BYTES // 1024} KiB.")


def _misplaced_secret(scope: Scope) -> Response | None:
    if any(_KEY.search(value) for _, value in scope["headers"]):
        return _plain_response(
            401,
            "Never send an Anthropic key to this server, which has its own. Revoke that key in the Claude Console, and "
            "send the token that the operator gave you.",
            www_authenticate='Bearer error="invalid_token"',
        )
    query = scope["query_string"]
    for _ in range(_MAX_ENCODINGS):
        query = unquote_to_bytes(query)
    if _KEY.search(query):
        return _plain_response(
            400,
            "Never put an Anthropic key into a URL, where others can read it. Revoke that key in the Claude Console.",
        )
    if _TOKEN.search(query):
        return _plain_response(
            400,
            "Never put a token into a URL, where others can read it. Send it in the header "
            '"Authorization: Bearer TOKEN", and replace this one.',
        )
    return None


def _wrong_method(scope: Scope) -> Response | None:
    """The endpoint is stateless: there is no stream to open with GET and no session to end with DELETE."""
    if scope["path"] != MCP_PATH or scope["method"] == "POST":
        return None
    return _plain_response(405, "Send MCP requests with POST.", allow="POST")


def _invalid_length(scope: Scope) -> Response | None:
    lengths = _header_values(scope, b"content-length")
    if not all(re.fullmatch(r"[0-9]{1,20}", length) for length in lengths):
        return _plain_response(400, "The Content-Length is not a number.")
    return _TOO_LARGE if any(int(length) > MAX_BODY_BYTES for length in lengths) else None


async def _block_forever() -> Message:
    """The app's `receive` after the body of a call; `cancel_on_disconnect` is the one that reads on."""
    while True:
        await anyio.sleep_forever()


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body in one piece, then whatever comes next."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
