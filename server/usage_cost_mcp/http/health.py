"""What a balancer or an orchestrator asks: is it alive, should it get questions. Nothing else is said."""

import asyncio

from mcp.server import MCPServer
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from usage_cost_mcp.errors import UsageCostError
from usage_cost_mcp.reports.context import Desk
from usage_cost_mcp.runtime.call_context import Call
from usage_cost_mcp.tools.service import AtHand, Service

SECONDS_KEPT = 30.0
"""How long an answer from upstream is believed: probes come often, and each of ours takes from the rate limit."""

MOST_SECONDS = 5.0


def add_health(server: MCPServer[Service], at_hand: AtHand) -> None:
    """Serve `/healthz` and `/readyz`."""
    readiness = Readiness()

    @server.custom_route("/healthz", ["GET"])
    async def healthz(_request: Request) -> PlainTextResponse:  # pyright: ignore[reportUnusedFunction]
        return _said(200, "ok")

    @server.custom_route("/readyz", ["GET"])
    async def readyz(_request: Request) -> PlainTextResponse:  # pyright: ignore[reportUnusedFunction]
        ready = await readiness.of(at_hand().whole_desk)
        return _said(200, "ready") if ready else _said(503, "not ready")


def _said(status: int, word: str) -> PlainTextResponse:
    return PlainTextResponse(f"{word}\n", status, {"cache-control": "no-store"})


class Readiness:
    """Whether questions can be answered: from what is held, or because upstream answers."""

    def __init__(self) -> None:
        self._asking = asyncio.Lock()
        self._reachable = False
        self._asked_again_at = 0.0

    async def of(self, desk: Desk) -> bool:
        """Whether it is ready; upstream is asked at most once in 30 seconds, however many want to know."""
        days, _ = desk.ledger.size()
        return days > 0 or await self._upstream_answers(desk)

    async def _upstream_answers(self, desk: Desk) -> bool:
        async with self._asking:
            now = desk.clock.monotonic()
            if now >= self._asked_again_at:
                self._reachable = await _answers(desk, now + MOST_SECONDS)
                self._asked_again_at = now + SECONDS_KEPT
            return self._reachable


async def _answers(desk: Desk, deadline: float) -> bool:
    try:
        async with asyncio.timeout(MOST_SECONDS):
            await desk.directory.organization(Call(deadline))
    except (UsageCostError, TimeoutError):
        return False
    return True
