"""A conversation of ten questions: the requests that it causes, and the minimum."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta

from . import demo
from .figures import Figure, counted
from .questions import CONVERSATION, ask

DAYS_A_PAGE = 31


def counts() -> Iterable[Figure]:
    """Requests of the conversation."""
    made = asyncio.run(_hold())
    yield counted("ten follow-up questions", sum(made), f"requests: {' '.join(map(str, made))}", fewest())


async def _hold() -> list[int]:
    made: list[int] = []
    with demo.upstream() as api:
        async with demo.client_of(api) as client:
            for follow_up in CONVERSATION:
                before = len(api.requests)
                await ask(client, follow_up.query)
                made.append(len(api.requests) - before)
    return made


def fewest() -> int:
    """The minimum: each day of each report once, in windows of one page, and the list of names once."""
    days: dict[str, set[date]] = defaultdict(set)
    for follow_up in CONVERSATION:
        first, last = follow_up.days
        days[follow_up.report] |= {first + timedelta(days=n) for n in range((last - first).days + 1)}
    return sum(map(_windows, days.values())) + any(follow_up.names for follow_up in CONVERSATION)


def _windows(days: set[date]) -> int:
    count, covered_until = 0, date.min
    for day in sorted(days):
        if day >= covered_until:
            count, covered_until = count + 1, day + timedelta(days=DAYS_A_PAGE)
    return count
