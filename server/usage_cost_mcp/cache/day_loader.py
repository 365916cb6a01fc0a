"""Loads days that are not in memory, from the shared tiers or the Admin API. Concurrent callers share a load."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import NamedTuple

from usage_cost_mcp.model.rows import DayRows
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.concurrency import SharedTask, SingleFlight, gather_or_cancel

from .ports import DayCache, RowSource
from .tenant import SharedCache, TenantGuard
from .tiers import TieredDayCache
from .views import View
from .window_fetcher import WindowFetcher

DaysByDate = dict[date, DayRows]


class LoadedDays(NamedTuple):
    """Days that were not in memory.

    Attributes:
        cached: Those that a shared tier had; the others were fetched, by this process or by another one.
    """

    days: DaysByDate
    cached: frozenset[date]


class DayLoader:
    """Joins the active loads of days, and starts one load per window for the rest.

    Args:
        memory: The tier of this process.
        guard: Opens the shared tiers; None if this process shares nothing.
    """

    def __init__(self, source: RowSource, memory: DayCache, guard: TenantGuard | None, clock: Clock) -> None:
        self._memory = memory
        self._guard = guard
        self._clock = clock
        self._fetcher = WindowFetcher(source, clock)
        self._loads: SingleFlight[tuple[View, date], LoadedDays] = SingleFlight()

    def that_fit(self, view: View, days: Sequence[date], more: Sequence[date]) -> Sequence[date]:
        """The days, and more of them if they take no more requests."""
        wider = [*more, *days]
        return wider if len(self._fetcher.plan(view, wider)) == len(self._fetcher.plan(view, days)) else days

    async def load(self, view: View, days: Collection[date], call: CallContext) -> LoadedDays:
        """All the days.

        Raises:
            UpstreamError: A window failed.
        """
        active = {day: task for day in days if (task := self._loads.find((view, day)))}
        tasks = {*active.values(), *self._start_loads(view, set(days) - active.keys(), call)}
        loads = await _wait_with_progress(tasks, call)
        return LoadedDays(
            {day: rows for load in loads for day, rows in load.days.items() if day in days},
            frozenset(day for load in loads for day in load.cached if day in days),
        )

    def _start_loads(self, view: View, days: Collection[date], call: CallContext) -> list[SharedTask[LoadedDays]]:
        """One load per window."""
        by_window = [[day for day in window.days if day in days] for window in self._fetcher.plan(view, days)]
        return [
            self._loads.start([(view, day) for day in wanted], self._load_window(view, wanted, call))
            for wanted in by_window
        ]

    async def _load_window(self, view: View, days: Sequence[date], call: CallContext) -> LoadedDays:
        shared = await self._open_shared(call)
        if shared is None:
            return LoadedDays(_by_date(await self._fetcher.fetch(view, days, self._memory, call)), frozenset())
        cached = await shared.days.get_many(view, days)
        fetched = await self._fetch_once(view, [day for day in days if day not in cached], shared, call)
        return LoadedDays(cached | fetched, frozenset(cached))

    async def _fetch_once(self, view: View, days: Sequence[date], shared: SharedCache, call: CallContext) -> DaysByDate:
        """Fetch the days that no other process is fetching, and wait until the others are in the shared tiers.

        A process that fails or dies leaves its days missing; the next round acquires them.
        """
        loaded: DaysByDate = {}
        while missing := [day for day in days if day not in loaded]:
            async with shared.coordinator.acquire_fetch(view, missing) as acquired:
                loaded |= await shared.days.get_many(view, acquired)  # cached since the last look-up
                unfetched = [day for day in acquired if day not in loaded]
                loaded |= _by_date(await self._fetcher.fetch(view, unfetched, shared.days, call))
            fetched_elsewhere = [day for day in missing if day not in loaded]
            await shared.coordinator.wait_for_fetch(view, fetched_elsewhere, call.deadline)
            loaded |= await shared.days.get_many(view, fetched_elsewhere)
        return loaded

    async def find_stale(self, view: View, days: Sequence[date], call: CallContext) -> DaysByDate:
        """The days that any tier still has, fresh or stale."""
        found = await self._memory.get_many(view, days, include_stale=True)
        missing = [day for day in days if day not in found]
        if missing and (shared := await self._open_shared(call)):
            found |= await shared.days.get_many(view, missing, include_stale=True)
        return found

    async def _open_shared(self, call: CallContext) -> SharedCache | None:
        """The shared tiers behind memory."""
        shared = await self._guard.open(call) if self._guard else None
        return shared and shared._replace(days=TieredDayCache([self._memory, shared.days], self._clock))

    async def clear(self) -> None:
        """Drop all days from every tier."""
        await self._memory.clear()
        if self._guard is not None:
            await self._guard.clear()


def _by_date(days: Sequence[DayRows]) -> DaysByDate:
    return {rows.day: rows for rows in days}


async def _wait_with_progress(tasks: Collection[SharedTask[LoadedDays]], call: CallContext) -> list[LoadedDays]:
    """Wait for all tasks; report progress if there is more than one."""
    finished = 0

    async def wait(task: SharedTask[LoadedDays]) -> LoadedDays:
        nonlocal finished
        loaded = await task.wait()
        finished += 1
        if len(tasks) > 1:
            await call.progress(finished, len(tasks))
        return loaded

    return await gather_or_cancel(wait(task) for task in tasks)
