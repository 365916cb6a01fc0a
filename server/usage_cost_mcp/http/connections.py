"""Limits on connections: how many may be open, and how long the head of a request may take to arrive.

Why uvicorn's `H11Protocol` is subclassed: uvicorn has neither limit. Its `limit_concurrency` counts requests, and its
keep-alive time-out starts only after a first response, so a client that opens connections and sends nothing, or half a
header, holds file descriptors until the server can open none and stops working. A proxy in front prevents that (see
examples/team/nginx.conf), but `serve --http` is also used without one.

The subclass relies on four attributes of `H11Protocol`: `loop`, `transport`, `connections` and `conn` (an
`h11.Connection`). pyproject.toml limits uvicorn and h11 to versions that have them, and tests/test_http.py tests both
limits over real sockets.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

BACKLOG = 128
"""Connections that the operating system may queue; uvicorn accepts all of them at once."""

_RESERVED_FILES = 64
"""Open files for everything else: connections to the Admin API and Redis, logs, rendering a chart."""

_MIN_CONNECTIONS = 16
_MAX_FILES = 10_000
_WINDOWS_FILES = 512


class LimitedConnection(H11Protocol):
    """A connection that is closed when too many are open, or when the head of a request takes too long.

    Args:
        head_seconds: How long the head of a request may take to arrive.
        max_connections: How many connections may be open.
    """

    def __init__(self, *args: Any, head_seconds: float, max_connections: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_seconds = head_seconds
        self._max_connections = max_connections
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] - as in H11Protocol
        super().connection_made(transport)
        self._start_head_timer()
        if len(self.connections) > self._max_connections:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_head_timer()
        elif self._head_timer is None:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self._head_seconds, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None


def limited_connections(head_seconds: float) -> Callable[..., LimitedConnection]:
    """The protocol factory for uvicorn, with as many connections as the process may have open files."""
    return partial(LimitedConnection, head_seconds=head_seconds, max_connections=_max_connections())


def _max_connections() -> int:
    try:
        import resource
    except ImportError:  # Windows
        files = _WINDOWS_FILES
    else:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = files if 0 <= files < _MAX_FILES else _MAX_FILES
    return max(_MIN_CONNECTIONS, files - BACKLOG - _RESERVED_FILES)
