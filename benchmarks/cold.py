"""Cold cache, growing periods: requests, rows, and time compared with the ideal.

The ideal only waits for the upstream, with the maximum number of concurrent requests.
"""

import asyncio
import math
import time
from collections.abc import Iterable
from statistics import median
from typing import Any

from mcp import Client

from usage_cost_mcp.app import build_server
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.settings import Settings

from .figures import Figure, counted
from .processes import OURS, over_stdio, settings_of
from .questions import Question, ask
from .upstream import LATENCY_SECONDS, Upstream, upstream

PERIODS = (30, 90, 365, 730)
ROWS_A_DAY = 40
DAYS_A_PAGE = 31
ROUNDS = 5
MOST = 1.5


def counts() -> Iterable[Figure]:
    """Requests per period, and cached rows."""
    with upstream(ROWS_A_DAY) as api:
        for days in PERIODS:
            asyncio.run(_ask_cold(_in_memory(api), days))
            yield counted(f"{days} days, requests", len(api.asked()), "requests", _pages(days))
        held = asyncio.run(_rows_held_per_day(api))
    yield counted("rows kept for a day and report", held, f"rows: {ROWS_A_DAY} were sent", ROWS_A_DAY)


def times() -> Iterable[Figure]:
    """Wall time divided by the ideal."""
    with upstream(ROWS_A_DAY, LATENCY_SECONDS) as api:
        asyncio.run(_ask_cold(_in_memory(api), max(PERIODS)))
        for days in PERIODS:
            yield _by_ideal(f"{days} days, time", days, [_in_memory(api) for _ in range(ROUNDS)], MOST)
        new = [_over_stdio(api) for _ in range(ROUNDS)]
        yield _by_ideal(f"{min(PERIODS)} days, time of a new process", min(PERIODS), new, None)


def _by_ideal(what: str, days: int, clients: Iterable[Client], most: float | None) -> Figure:
    ideal = LATENCY_SECONDS * math.ceil(_pages(days) / Limits().max_concurrent_requests)
    walls = [asyncio.run(_ask_cold(client, days)) for client in clients]
    meaning = f"median {median(walls):.3f} s / ideal {ideal:.1f} s"
    return Figure(what, median(walls) / ideal, meaning, most, samples={"seconds": walls})


def _pages(days: int) -> int:
    return math.ceil(days / DAYS_A_PAGE)


def _in_memory(api: Upstream) -> Client:
    return Client(build_server(Settings.from_environ(settings_of(api.url))))


def _over_stdio(api: Upstream) -> Client:
    """A new process also has to import its lazily loaded modules."""
    return Client(over_stdio(*OURS, env=settings_of(api.url)))


async def _ask_cold(connection: Client, days: int) -> float:
    async with connection as client:
        begun = time.perf_counter()
        await ask(client, Question("get_spend", {"period": f"last_{days}_days"}))
        return time.perf_counter() - begun


async def _rows_held_per_day(api: Upstream) -> float:
    async with _in_memory(api) as client:
        await ask(client, Question("get_spend", {"period": "last_365_days"}))
        status: dict[str, Any] = (await ask(client, Question("get_status", {}))).structured_content or {}
        return status["cached"]["rows"] / status["cached"]["days"]
