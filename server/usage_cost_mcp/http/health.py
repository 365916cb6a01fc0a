"""Liveness and readiness probes for balancers and orchestrators."""

import asyncio

from mcp.server import MCPServer
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from usage_cost_mcp.errors import UsageCostError
from usage_cost_mcp.reports.context import ReportContext
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.tools.service import Service, ServiceGetter

READINESS_TTL_SECONDS = 30.0
"""How long a result is reused: probes are frequent, and each request to the Admin API counts towards its rate limit."""


def add_health(server: MCPServer[Service], get_service: ServiceGetter, probe_seconds: float) -> None:
    """Serve `/healthz` and `/readyz`.

    Args:
        server: Gets the routes.
        get_service: The running service.
        probe_seconds: How long the Admin API may take to answer a probe.
    """
    readiness = Readiness(probe_seconds)

    @server.custom_route("/healthz", ["GET"])
    async def healthz(_request: Request) -> PlainTextResponse:  # pyright: ignore[reportUnusedFunction]
        return _plain_response(200, "ok")

    @server.custom_route("/readyz", ["GET"])
    async def readyz(_request: Request) -> PlainTextResponse:  # pyright: ignore[reportUnusedFunction]
        ready = await readiness.is_ready(get_service().unscoped_context)
        return _plain_response(200, "ready") if ready else _plain_response(503, "not ready")


def _plain_response(status: int, word: str) -> PlainTextResponse:
    return PlainTextResponse(f"{word}\n", status, {"cache-control": "no-store"})


class Readiness:
    """Whether calls can be answered: from cached days, or because the Admin API answers.

    Args:
        probe_seconds: How long the Admin API may take to answer a probe.
    """

    def __init__(self, probe_seconds: float) -> None:
        self._probe_seconds = probe_seconds
        self._probing = asyncio.Lock()
        self._reachable = False
        self._next_probe_at = 0.0

    async def is_ready(self, context: ReportContext) -> bool:
        """Whether calls can be answered. Probes the Admin API at most once in 30 seconds."""
        days, _ = context.cache.size()
        return days > 0 or await self._is_reachable(context)

    async def _is_reachable(self, context: ReportContext) -> bool:
        async with self._probing:
            now = context.clock.monotonic()
            if now >= self._next_probe_at:
                self._reachable = await self._probe(context, now + self._probe_seconds)
                self._next_probe_at = now + READINESS_TTL_SECONDS
            return self._reachable

    async def _probe(self, context: ReportContext, deadline: float) -> bool:
        try:
            async with asyncio.timeout(self._probe_seconds):
                await context.directory.organization(CallContext(deadline))
        except (UsageCostError, TimeoutError):
            return False
        return True
