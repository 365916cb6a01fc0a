"""The first to see a request, whatever its path: what is not meant for us, too large or too slow comes no further.

Every refusal is a sentence of our own. What was refused is neither quoted nor logged: it may be a secret.
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
BODY_SECONDS = 10.0
MAX_CONCURRENT_CALLS = 256

_KEY = re.compile(rb"sk-ant-", re.IGNORECASE)
_TOKEN = re.compile(rb"(?i:token=|bearer|ucm_)|eyJ")
_MAX_ENCODINGS = 3


class RequestGuardMiddleware:
    """The whole app, behind its checks.

    Args:
        app: The app.
        allowed: The names that it may be called by.
    """

    def __init__(self, app: ASGIApp, allowed: AllowedHosts) -> None:
        self._app = app
        self._allowed = allowed
        self._calls = 0
        self._under_way: set[anyio.CancelScope] = set()
        self._ends = inf

    def drain(self, seconds: float) -> None:
        """Answer what is under way, and what still comes, by then."""
        self._ends = anyio.current_time() + seconds
        for scope in self._under_way:
            scope.deadline = self._ends

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_on(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        with self._in_time() as in_time:
            await self._respond(scope, receive, send_on)
        if in_time.cancelled_caught and not begun:
            await _plain_response(503, "The server is stopping. Ask again.", retry_after="1")(scope, receive, send)

    @contextmanager
    def _in_time(self) -> Generator[anyio.CancelScope]:
        with anyio.CancelScope(deadline=self._ends) as scope:
            self._under_way.add(scope)
            try:
                yield scope
            finally:
                self._under_way.discard(scope)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = self._refusal(scope) or await _read_body(receive)
        if isinstance(body, Response):
            await body(scope, receive, send)
        elif scope["path"] != MCP_PATH:
            await self._app(scope, _replay_body(body, receive), send)
        elif self._calls == MAX_CONCURRENT_CALLS:
            await _plain_response(503, "The server is busy. Ask again.", retry_after="1")(scope, receive, send)
        else:
            self._calls += 1
            try:
                await self._call(scope, body, receive, send)
            finally:
                self._calls -= 1

    async def _call(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Answer a call; drop it when the client hangs up, if in its revision of the protocol that means so."""
        if set(_values(scope, b"mcp-protocol-version")) <= {*HANDSHAKE_PROTOCOL_VERSIONS}:
            await self._app(scope, _replay_body(body, receive), send)
            return

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await self._app(scope, _replay_body(body, _block_forever), send)
            group.cancel_scope.cancel()

    def _refusal(self, scope: Scope) -> Response | None:
        """Why a request is refused, as far as its head tells."""
        hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
        if len(hosts) != 1 or not self._allowed.host(hosts[0]):
            return _plain_response(421, f"This server is not called by that name: {ALLOWED_HOSTS} lists its names.")
        if len(origins) > 1 or not all(map(self._allowed.origin, origins)):
            return _plain_response(403, f"Pages from there may not ask: {ALLOWED_HOSTS} lists who may.")
        return _misplaced_secret(scope) or _wrong_method(scope) or _too_long(scope)


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for each, value in scope["headers"] if each == name]


def _plain_response(status: int, sentence: str, **headers: str) -> Response:
    return PlainTextResponse(
        f"{sentence}\n", status, {name.replace("_", "-"): value for name, value in headers.items()}
    )


_TOO_LARGE = _plain_response(413, f"A request may have {MAX_BODY_BYTES // 1024} KiB.")


def _misplaced_secret(scope: Scope) -> Response | None:
    if any(_KEY.search(value) for _, value in scope["headers"]):
        return _plain_response(
            401,
            "An Anthropic key never belongs in a request to this server, which has its own. Revoke that key in the "
            "Claude Console, and send the token that the operator gave you.",
            www_authenticate='Bearer error="invalid_token"',
        )
    query = scope["query_string"]
    for _ in range(_MAX_ENCODINGS):
        query = unquote_to_bytes(query)
    if _KEY.search(query):
        return _plain_response(
            400, "An Anthropic key never belongs in an address, where others can read it. Revoke it in the Console."
        )
    if _TOKEN.search(query):
        return _plain_response(
            400,
            "A token does not belong in an address, where others can read it. Send it in the header "
            '"Authorization: Bearer ...", and have it replaced.',
        )
    return None


def _wrong_method(scope: Scope) -> Response | None:
    """The endpoint has no stream of its own that a GET could open, and no session that a DELETE could end."""
    if scope["path"] != MCP_PATH or scope["method"] == "POST":
        return None
    return _plain_response(405, "Send MCP requests with POST.", allow="POST")


def _too_long(scope: Scope) -> Response | None:
    lengths = _values(scope, b"content-length")
    if not all(re.fullmatch(r"[0-9]{1,20}", length) for length in lengths):
        return _plain_response(400, "The Content-Length is not a number.")
    return _TOO_LARGE if any(int(length) > MAX_BODY_BYTES for length in lengths) else None


async def _read_body(receive: Receive) -> bytes | Response:
    """The body, or why it is refused."""
    body = bytearray()
    try:
        with anyio.fail_after(BODY_SECONDS):
            while (message := await receive())["type"] == "http.request":
                body += message.get("body", b"")
                if len(body) > MAX_BODY_BYTES:
                    return _TOO_LARGE
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        return _plain_response(408, "The request took too long to arrive.", connection="close")
    return bytes(body)


async def _block_forever() -> Message:
    """What the app hears after the body of a call; that the client has left, the guard hears."""
    while True:
        await anyio.sleep_forever()


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """The body in one piece, then whatever still comes."""
    pieces: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pieces.pop() if pieces else await receive()

    return replay
