"""Two hundred concurrent callers: the same question on a cold cache, then different ones on a warm cache."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import cycle, islice, product
from statistics import median

from mcp import Client

from .cold import DAYS_A_PAGE, ROWS_A_DAY
from .figures import Figure, counted
from .processes import OURS, over_stdio, settings_of
from .questions import Question, ask
from .upstream import LATENCY_SECONDS, upstream
from .world import last_days

CALLERS = 200
DAYS = 90
ROUNDS = 5

_PAGES = -(-DAYS // DAYS_A_PAGE)
_COLD = Question("get_spend", {"period": f"last_{DAYS}_days", "group_by": ["model"]})
_GROUPINGS: Sequence[Sequence[str]] = ([], ["model"], ["token_type"], ["workspace_id"], ["model", "token_type"])


def counts() -> Iterable[Figure]:
    """Requests caused by all callers together."""
    yield counted(f"{CALLERS} callers, same cold question of {DAYS} days", asyncio.run(_same()), "requests", _PAGES)


def times() -> Iterable[Figure]:
    """Answers per second over stdio."""
    seconds = asyncio.run(_different())
    rate = CALLERS / median(seconds)
    yield Figure(
        f"{CALLERS} callers, different warm questions", rate, "answers per second", samples={"seconds": seconds}
    )


async def _same() -> int:
    with upstream(ROWS_A_DAY, LATENCY_SECONDS) as api:
        async with Client(over_stdio(*OURS, env=settings_of(api.url))) as client:
            await _ask_at_once(client, [_COLD] * CALLERS)
        return len(api.asked())


async def _different() -> Sequence[float]:
    with upstream(ROWS_A_DAY) as api:
        async with Client(over_stdio(*OURS, env=settings_of(api.url))) as client:
            questions = _warm_questions()
            await _ask_at_once(client, questions)
            return [await _ask_at_once(client, questions) for _ in range(ROUNDS)]


def _warm_questions() -> list[Question]:
    """Questions about a month each, with different start days and dimensions."""
    starts = last_days(DAYS)[: DAYS - 30]
    periods = [f"{start}..{start + timedelta(days=29)}" for start in starts]
    different = [
        Question("get_spend", {"period": period, "group_by": group_by})
        for period, group_by in product(periods, _GROUPINGS)
    ]
    return list(islice(cycle(different), CALLERS))


async def _ask_at_once(client: Client, questions: Sequence[Question]) -> float:
    begun = time.perf_counter()
    await asyncio.gather(*(ask(client, query) for query in questions))
    return time.perf_counter() - begun
