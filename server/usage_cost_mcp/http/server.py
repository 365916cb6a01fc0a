"""The server process: it listens, says where, answers, and ends in good order."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import h11
import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from usage_cost_mcp.errors import ConfigurationError

from .access import HttpAccess
from .allowed_hosts import AllowedHosts
from .request_guard import MAX_BODY_BYTES, MCP_PATH, RequestGuardMiddleware
from .settings import HttpSettings

logger = logging.getLogger(__name__)

STOP_SECONDS = 10
_CUT_SECONDS = STOP_SECONDS - 0.5
"""After which what is still under way is told to ask again, so that nothing is left to be cut off without a word."""

HEAD_SECONDS = 10.0
_IDLE_SECONDS = 75
"""How long a connection is kept between requests: longer than balancers do, or one would send into a closed one."""

_MAX_CONNECTIONS = 128
"""How many connections may wait to be accepted, all of which are then."""

_OTHER_FILES = 64
"""How many files besides connections may be open: connections to others, logs, what a picture needs."""

_MIN_CONNECTIONS = 16

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def bind(settings: HttpSettings) -> socket.socket:
    """A socket at the address of the settings.

    Raises:
        ConfigurationError: When it cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"The address cannot be listened at: {os.strerror(error.errno or 0)}. Choose another --port or --host."
        ) from None
    # Head and body leave in two writes; without this the second waits for the first to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(server: MCPServer[Any], access: HttpAccess, settings: HttpSettings, listener: socket.socket) -> None:
    """Answer until a signal comes, and then what is under way; a second signal ends it at once.

    Raises:
        ConfigurationError: When the issuer of tokens cannot be reached, or is not what the settings say.
    """
    asyncio.run(access.verify_startup())
    Server(server, access, settings, _startup_message(access, settings.host, listener)).run([listener])


def _startup_message(access: HttpAccess, host: str, listener: socket.socket) -> str:
    host = f"[{host}]" if ":" in host else host
    greeting = f"Listening on http://{host}:{listener.getsockname()[1]}{MCP_PATH}\n"
    if access.ephemeral_token:
        greeting += (
            f"Requests need this header, until the server ends: Authorization: Bearer {access.ephemeral_token}\n"
        )
    return greeting


def _mcp(server: MCPServer[Any]) -> ASGIApp:
    app = server.streamable_http_app(
        streamable_http_path=MCP_PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=MAX_BODY_BYTES,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the guard's part
    )
    app.router.redirect_slashes = False  # the address that it would name is that behind the balancer, without TLS
    return app


def _max_connections() -> int:
    """How many connections may stand: without a file that can be opened nothing works, not even saying so."""
    try:
        import resource
    except ImportError:  # not on Windows, whose own limit is 512
        files = 512
    else:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = files if 0 <= files < _ASSUMED_FILES else _ASSUMED_FILES
    return max(_MIN_CONNECTIONS, files - _MAX_CONNECTIONS - _OTHER_FILES)


_ASSUMED_FILES = 10_000


class _Connection(H11Protocol):
    """Hangs up when there are too many, or when the head of a request does not arrive in time; the original never does.

    Attributes:
        most: How many there may be.
    """

    most: int = _MIN_CONNECTIONS
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] - as the original
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_SECONDS, transport.close)
        if len(self.connections) > self.most:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


def _log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A line in place of a traceback, which needs files of its own: when there are none left, it would end us."""
    with suppress(Exception):
        failure = context.get("exception")
        logger.error("%s (%s)", context.get("message"), type(failure).__name__ if failure else "no exception")


class Server(uvicorn.Server):
    """What listens: the guard, then the gate, then MCP.

    Args:
        server: What answers.
        gate: Who may ask.
        settings: By which names it may be called.
        greeting: Said on stderr as soon as it listens.
    """

    def __init__(self, server: MCPServer[Any], access: HttpAccess, settings: HttpSettings, greeting: str) -> None:
        self._guard = RequestGuardMiddleware(
            access.wrap_with_challenges(_mcp(server)), AllowedHosts(settings.hostnames)
        )
        self._greeting = greeting
        _Connection.most = _max_connections()
        super().__init__(
            uvicorn.Config(
                self._guard,
                loop="asyncio",
                http=_Connection,
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="error",  # what clients send is no news
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=_MAX_CONNECTIONS,
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_log_loop_error)
        await super().startup(sockets)
        sys.stderr.write(self._greeting)
        sys.stderr.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._guard.drain(_CUT_SECONDS)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Unlike the original, do not send the signal again at the end: it was obeyed, and the exit status is 0."""
        earlier = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the original's signature
        self.should_exit = True
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
