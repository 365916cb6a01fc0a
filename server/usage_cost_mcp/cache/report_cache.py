"""Days in, days out: what is held costs nothing, what is missing is fetched once, whoever asks for it."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal, NamedTuple, Protocol

from cachetools import TTLCache

from usage_cost_mcp.errors import AccessError, RateLimitedError, ResponseTooLargeError, UnavailableError, UpstreamError
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import DayRows, Workspaces
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT, UpstreamReport, Width
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.concurrency import SharedTask, SingleFlight, gather_or_cancel

from .memory_store import MemoryDayStore, View, is_fresh
from .windows import REDUCED_WINDOWS, Window, plan_windows

MAX_ROWS = 500_000

_OVERSIZED_TTL_SECONDS = 3600.0
"""Seconds for which a view that was too large or too slow is asked for in smaller pieces."""

_VIEWS = 256
"""How many views are remembered to be large."""

CacheStatus = Literal["hit", "partial", "miss", "stale"]
"""All days held and fresh, some, none; or held but no longer fresh, because upstream could not be asked."""


def combine_statuses(statuses: Iterable[CacheStatus]) -> CacheStatus:
    """The status of an answer made of several parts."""
    found = set(statuses)
    if "stale" in found:
        return "stale"
    return found.pop() if len(found) == 1 else "partial"


class RowSource(Protocol):
    """Where rows come from."""

    async def fetch(
        self, report: UpstreamReport, dimensions: Sequence[str], width: Width, window: Window, call: CallContext
    ) -> list[DayRows]:
        """Every day that the window touches, whole, or an error."""
        ...


class SharedDays(Protocol):
    """Days that several processes hold together. When that fails, less is found, and nothing is raised."""

    async def get_many(self, view: View, days: Sequence[date], *, include_stale: bool = False) -> dict[date, DayRows]:
        """Those of the days that are held and fresh."""
        ...

    async def put_many(self, view: View, days: Sequence[DayRows]) -> None:
        """Hold days, unless later readings of them are held."""
        ...

    def acquire_fetch(self, view: View, days: Sequence[date]) -> AbstractAsyncContextManager[Sequence[date]]:
        """The days that no other process is fetching; for as long as the block lasts, this one is."""
        ...

    async def wait_for_fetch(self, view: View, days: Sequence[date], deadline: float) -> None:
        """Wait until no process is fetching any of the days."""
        ...


class Shared(Protocol):
    """What this process shares with others."""

    async def open(self, call: CallContext) -> SharedDays | None:
        """The days that they hold together; None when there are none for us."""
        ...

    async def clear(self) -> None:
        """Hold nothing any more."""
        ...


class NoSharedCache:
    """Nothing is shared: there are no other processes."""

    async def open(self, call: CallContext) -> None:
        """No days."""

    async def clear(self) -> None:
        """Nothing is held."""


class _Fetched(NamedTuple):
    """Days that were not held here, and for which of them nobody had to ask upstream."""

    days: Sequence[DayRows]
    held: frozenset[date] = frozenset()


@dataclass(frozen=True, slots=True)
class CacheResult:
    """The days of a period, complete, and how they were come by.

    Attributes:
        because: Why upstream could not be asked, when the days are stale.
    """

    days: Sequence[DayRows]
    status: CacheStatus
    stale_reason: str = ""

    @property
    def fetched_at(self) -> datetime:
        """When the oldest of them was read."""
        return min(day.fetched_at for day in self.days)

    def within(self, period: Period) -> "CacheResult":
        """The same, without the rows that lie outside the period."""
        return replace(self, days=[day.clipped(period.begins, period.ends) for day in self.days])

    @property
    def row_count(self) -> int:
        """How many rows the days have."""
        return sum(map(len, self.days))

    def for_days(self, days: Iterable[date]) -> list[DayRows]:
        """The rows of some of the days; of a day that is named twice, twice."""
        by_day = {rows.day: rows for rows in self.days}
        return [by_day[day] for day in days]

    @property
    def missing_days(self) -> list[date]:
        """The days that upstream left out of its answer."""
        return [day.day for day in self.days if not day.reported]


class ReportCache:
    """The days of both reports, by view.

    Args:
        source: Where they are read.
        clock: How old they are.
        max_rows: How many rows are held in this process.
        shared: What other processes hold, if there are any.
    """

    def __init__(self, source: RowSource, clock: Clock, max_rows: int = MAX_ROWS, shared: Shared | None = None) -> None:
        self._source = source
        self._clock = clock
        self._store = MemoryDayStore(clock, max_rows)
        self._shared = shared or NoSharedCache()
        self._tasks: SingleFlight[tuple[View, date], _Fetched] = SingleFlight()
        self._window_limits: TTLCache[View, int] = TTLCache(_VIEWS, _OVERSIZED_TTL_SECONDS, timer=clock.monotonic)
        self._oversized_views: TTLCache[View, bool] = TTLCache(_VIEWS, _OVERSIZED_TTL_SECONDS, timer=clock.monotonic)

    async def days(
        self, report: UpstreamReport, views: Sequence[tuple[str, ...]], width: Width, period: Period, call: CallContext
    ) -> CacheResult:
        """All days of the period, from memory where they are fresh, else from upstream.

        The first view is taken that is not too much for upstream even in the shortest windows. When upstream cannot
        be asked, days that are no longer fresh will do, if they are held for the whole period.

        Raises:
            UpstreamError: When any window fails. Windows that arrived are kept, so asking again goes on from there.
        """
        able = [View(report, dimensions, width) for dimensions in views]
        held = await self._first_available_view(
            [view for view in able if view not in self._oversized_views] or able[-1:], period, call
        )
        call.rows += held.row_count
        return held

    async def key_usage_days(self, view: tuple[str, ...], period: Period, call: CallContext) -> CacheResult:
        """All days of the period in a view of usage that has API keys but no room for workspaces.

        Raises:
            UpstreamError: When any window fails.
        """
        return await self.days(USAGE_REPORT, [view], "1d", period, call)

    async def _first_available_view(self, views: Sequence[View], period: Period, call: CallContext) -> CacheResult:
        view, *others = views
        try:
            return await self._fresh(view, period, call)
        except (RateLimitedError, UnavailableError) as failure:
            if isinstance(failure, ResponseTooLargeError):
                self._oversized_views[view] = True
                if others:
                    return await self._first_available_view(others, period, call)
            return await self._stale(view, period, failure, call)
        except AccessError:
            self._store.clear()
            await self._shared.clear()
            raise

    async def _fresh(self, view: View, period: Period, call: CallContext) -> CacheResult:
        found = {day: rows for day in period.days if (rows := self._store.get(view, day)) is not None}
        brought = await self._fetch_missing(view, [day for day in period.days if day not in found], call)
        missing = len(brought.days) - len(brought.held)
        status: CacheStatus = "hit" if not missing else "partial" if missing < len(period) else "miss"
        found |= {rows.day: rows for rows in brought.days}
        return CacheResult([found[day] for day in period.days], status)

    async def _stale(self, view: View, period: Period, failure: UpstreamError, call: CallContext) -> CacheResult:
        stale = {
            day: rows for day in period.days if (rows := self._store.get(view, day, include_stale=True)) is not None
        }
        absent = [day for day in period.days if day not in stale]
        if absent and (shared := await self._shared.open(call)):
            stale |= await shared.get_many(view, absent, include_stale=True)
        if len(stale) < len(period):
            raise self._with_progress_note(failure, view, period) from failure
        return CacheResult([stale[day] for day in period.days], "stale", stale_reason=str(failure))

    def _with_progress_note(self, error: UpstreamError, view: View, period: Period) -> UpstreamError:
        held = sum(self._store.get(view, day) is not None for day in period.days)
        if not held:
            return error
        return error.with_note(f"{held} of the {len(period)} days are held, so asking again continues from there.")

    async def _fetch_missing(self, view: View, missing: Sequence[date], call: CallContext) -> _Fetched:
        """The missing days: join what is under way, start the rest, wait for all of it."""
        under_way = {day: flight for day in missing if (flight := self._tasks.find((view, day)))}
        flights = set(under_way.values())
        not_under_way = [day for day in missing if day not in under_way]
        for window in plan_windows(not_under_way, view.width, self._clock.now(), self._max_days(view)):
            days = [day for day in window.days if day in not_under_way]
            flights.add(self._tasks.start([(view, day) for day in days], self._load_shared_or_fetch(view, days, call)))
        arrived = 0

        async def land(flight: SharedTask[_Fetched]) -> _Fetched:
            nonlocal arrived
            brought = await flight.wait()
            arrived += 1
            if len(flights) > 1:
                await call.progress(arrived, len(flights))
            return brought

        landed = await gather_or_cancel(land(flight) for flight in flights)
        return _Fetched(
            [rows for each in landed for rows in each.days if rows.day in missing],
            frozenset(day for each in landed for day in each.held if day in missing),
        )

    async def _load_shared_or_fetch(self, view: View, days: Sequence[date], call: CallContext) -> _Fetched:
        """Days that are not held here: from the other processes, else from upstream, where one asks for all."""
        shared = await self._shared.open(call)
        if shared is None:
            return _Fetched(await self._fetch_upstream(view, days, call))
        held = arrived = await self._find_shared(shared, view, days)
        while missing := [day for day in days if day not in arrived]:
            async with shared.acquire_fetch(view, missing) as ours:
                arrived = arrived | await self._find_shared(shared, view, ours)
                fetched = await self._fetch_upstream(view, [day for day in ours if day not in arrived], call)
                await shared.put_many(view, fetched)
            arrived = arrived | {rows.day: rows for rows in fetched}
            theirs = [day for day in missing if day not in arrived]
            await shared.wait_for_fetch(view, theirs, call.deadline)
            arrived = arrived | await self._find_shared(shared, view, theirs)
        return _Fetched([arrived[day] for day in days], frozenset(held))

    async def _find_shared(self, shared: SharedDays, view: View, days: Sequence[date]) -> dict[date, DayRows]:
        """The fresh ones. The others are held here as well: to compare with, and for the case of an outage."""
        found = await shared.get_many(view, days, include_stale=True) if days else {}
        kept = [self._store.put(view, rows) for rows in found.values()]
        return {rows.day: rows for rows in kept if is_fresh(view.report, rows, self._clock.now())}

    async def _fetch_upstream(self, view: View, days: Sequence[date], call: CallContext) -> list[DayRows]:
        """Days from upstream."""
        windows = plan_windows(days, view.width, self._clock.now(), self._max_days(view))
        fetched = await gather_or_cancel(self._fetch_window(view, window, call) for window in windows)
        return [rows for each in fetched for rows in each]

    def _max_days(self, view: View) -> int:
        """The days of a window: as many as a page holds, or fewer when a page is known to be oversized."""
        return self._window_limits.get(view) or view.report.days_per_page(view.width)

    async def _fetch_window(self, view: View, window: Window, call: CallContext) -> list[DayRows]:
        """The days of one window, in smaller pieces when it is too much at once; the view remembers that."""
        try:
            fetched = await self._source.fetch(view.report, view.dimensions, view.width, window, call)
        except ResponseTooLargeError:
            shorter = next((days for days in REDUCED_WINDOWS if days < len(window.days)), None)
            if shorter is None:
                raise
            self._window_limits[view] = shorter
            return await self._fetch_upstream(view, window.days, call)
        return [self._store.put(view, rows) for rows in fetched]

    def is_known_oversized(self, report: UpstreamReport, dimensions: tuple[str, ...], width: Width) -> bool:
        """Whether a view was too much for upstream, even in the shortest windows, not long ago."""
        return View(report, dimensions, width) in self._oversized_views

    def values(self, report: UpstreamReport, dimension: str, workspaces: Workspaces | None = None) -> set[str]:
        """Every value of a dimension in the days that are held, maybe only in the rows of some workspaces."""
        return self._store.values(report, dimension, workspaces)

    def size(self, workspaces: Workspaces | None = None) -> tuple[int, int]:
        """The number of days held and of their rows, maybe only of those of some workspaces."""
        return self._store.size(workspaces)
