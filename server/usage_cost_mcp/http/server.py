"""The server process: binds the address, prints where it listens, serves, and shuts down gracefully."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, cast

import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp

from usage_cost_mcp.errors import ConfigurationError

from .access import HttpAccess
from .allowed_hosts import AllowedHosts
from .auth_challenges import AuthChallengeMiddleware
from .connections import BACKLOG, limited_connections
from .request_guard import MCP_PATH, RequestGuardMiddleware
from .settings import HttpSettings

logger = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 10
_DRAIN_SECONDS = SHUTDOWN_SECONDS - 0.5
"""Calls that still run then get a response that says so, before uvicorn closes their connections without one."""

_KEEP_ALIVE_SECONDS = 75
"""Longer than the idle time of proxies, one of which would otherwise send a request into a closing connection."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def bind(settings: HttpSettings) -> socket.socket:
    """A listening socket at the address in the settings.

    Raises:
        ConfigurationError: When the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ConfigurationError(
            f"Cannot bind {_authority(settings.host, settings.port)}: {reason[:1].lower()}{reason[1:]}. "
            "Choose another --port or --host."
        ) from None
    # Head and body are sent in two writes; without this the second waits for the acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(server: MCPServer[Any], access: HttpAccess, settings: HttpSettings, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM, then finish the running calls; a second signal ends the process at once.

    Raises:
        ConfigurationError: When the issuer of access tokens cannot be reached, or does not match the settings.
    """
    authentication = access.authentication
    if authentication and authentication.issuer_keys:
        asyncio.run(authentication.issuer_keys.load())
    message = f"Listening on http://{_authority(settings.host, listener.getsockname()[1])}{MCP_PATH}\n"
    if authentication and authentication.ephemeral_token:
        message += (
            f"Requests need this header until the server ends: Authorization: Bearer {authentication.ephemeral_token}\n"
        )
    Server(server, access, settings, message).run([listener])


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _build_app(server: MCPServer[Any], access: HttpAccess) -> ASGIApp:
    """The SDK's application, with this server's responses to unauthenticated requests."""
    app = server.streamable_http_app(
        streamable_http_path=MCP_PATH,
        json_response=True,
        stateless_http=True,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # see request_guard
    )
    app.router.redirect_slashes = False  # the redirect would point behind the proxy, without TLS
    metadata_url = access.authentication.metadata_url if access.authentication else None
    return AuthChallengeMiddleware(app, access.audit_log.log_rejection, metadata_url)


def _log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log one line instead of a traceback, which opens source files and so fails when no file descriptor is left."""
    with suppress(Exception):
        error = context.get("exception")
        logger.error("%s (%s)", context.get("message"), type(error).__name__ if error else "no exception")


class Server(uvicorn.Server):
    """Uvicorn with the request guard, authentication and the MCP application.

    Args:
        server: The MCP server.
        access: Its access control.
        settings: Host names and time limits.
        startup_message: Printed on stderr as soon as the server listens.
    """

    def __init__(
        self, server: MCPServer[Any], access: HttpAccess, settings: HttpSettings, startup_message: str
    ) -> None:
        self._guard = RequestGuardMiddleware(
            _build_app(server, access), AllowedHosts(settings.hostnames), settings.body_seconds
        )
        self._startup_message = startup_message
        super().__init__(
            uvicorn.Config(
                self._guard,
                loop="asyncio",
                http=cast("type[asyncio.Protocol]", limited_connections(settings.head_seconds)),
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="error",  # warnings are about what clients send
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_log_loop_error)
        await super().startup(sockets)
        sys.stderr.write(self._startup_message)
        sys.stderr.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._guard.drain(_DRAIN_SECONDS)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Unlike the original, do not raise the signal again at the end, so that the exit status is 0."""
        previous = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the original's signature
        self.should_exit = True
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
