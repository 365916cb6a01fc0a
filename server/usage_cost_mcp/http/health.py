"""What a balancer or an orchestrator asks: is it alive, should it get questions. Nothing else is said."""

import asyncio

from mcp.server import MCPServer
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from usage_cost_mcp.errors import UsageCostError
from usage_cost_mcp.reports.context import ReportContext
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.tools.service import Service, ServiceGetter

READY_TTL_SECONDS = 30.0
"""How long an answer from upstream is believed: probes come often, and each of ours takes from the rate limit."""

MAX_SECONDS = 5.0


def add_health(server: MCPServer[Service], get_service: ServiceGetter) -> None:
    """Serve `/healthz` and `/readyz`."""
    readiness = Readiness()

    @server.custom_route("/healthz", ["GET"])
    async def healthz(_request: Request) -> PlainTextResponse:  # pyright: ignore[reportUnusedFunction]
        return _plain_response(200, "ok")

    @server.custom_route("/readyz", ["GET"])
    async def readyz(_request: Request) -> PlainTextResponse:  # pyright: ignore[reportUnusedFunction]
        ready = await readiness.of(get_service().unscoped_context)
        return _plain_response(200, "ready") if ready else _plain_response(503, "not ready")


def _plain_response(status: int, word: str) -> PlainTextResponse:
    return PlainTextResponse(f"{word}\n", status, {"cache-control": "no-store"})


class Readiness:
    """Whether questions can be answered: from what is held, or because upstream answers."""

    def __init__(self) -> None:
        self._asking = asyncio.Lock()
        self._reachable = False
        self._asked_again_at = 0.0

    async def of(self, context: ReportContext) -> bool:
        """Whether it is ready; upstream is asked at most once in 30 seconds, however many want to know."""
        days, _ = context.cache.size()
        return days > 0 or await self._upstream_answers(context)

    async def _upstream_answers(self, context: ReportContext) -> bool:
        async with self._asking:
            now = context.clock.monotonic()
            if now >= self._asked_again_at:
                self._reachable = await _answers(context, now + MAX_SECONDS)
                self._asked_again_at = now + READY_TTL_SECONDS
            return self._reachable


async def _answers(context: ReportContext, deadline: float) -> bool:
    try:
        async with asyncio.timeout(MAX_SECONDS):
            await context.directory.organization(CallContext(deadline))
    except (UsageCostError, TimeoutError):
        return False
    return True
