"""Days in, days out: what is held costs nothing, what is missing is fetched once, whoever asks for it."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal, NamedTuple, Protocol

from cachetools import TTLCache

from usage_cost_mcp.errors import AccessError, RateLimitedError, TooMuchError, UnavailableError, UpstreamError
from usage_cost_mcp.model.dimensions import USAGE, Report, Width
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import DayRows, Workspaces
from usage_cost_mcp.runtime.call_context import Call
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.concurrency import Flight, Flights, side_by_side

from .memory_store import DayStore, View, is_fresh
from .windows import SHORTER_WINDOWS, Window, plan_windows

MAX_ROWS = 500_000

_LARGE_FOR = 3600.0
"""Seconds for which a view that was too large or too slow is asked for in smaller pieces."""

_VIEWS = 256
"""How many views are remembered to be large."""

CacheStatus = Literal["hit", "partial", "miss", "stale"]
"""All days held and fresh, some, none; or held but no longer fresh, because upstream could not be asked."""


def together(statuses: Iterable[CacheStatus]) -> CacheStatus:
    """The status of an answer made of several parts."""
    found = set(statuses)
    if "stale" in found:
        return "stale"
    return found.pop() if len(found) == 1 else "partial"


class RowSource(Protocol):
    """Where rows come from."""

    async def fetch(
        self, report: Report, dimensions: Sequence[str], width: Width, window: Window, call: Call
    ) -> list[DayRows]:
        """Every day that the window touches, whole, or an error."""
        ...


class SharedDays(Protocol):
    """Days that several processes hold together. When that fails, less is found, and nothing is raised."""

    async def find(self, view: View, days: Sequence[date], *, stale_too: bool = False) -> dict[date, DayRows]:
        """Those of the days that are held and fresh."""
        ...

    async def keep(self, view: View, days: Sequence[DayRows]) -> None:
        """Hold days, unless later readings of them are held."""
        ...

    def fetching(self, view: View, days: Sequence[date]) -> AbstractAsyncContextManager[Sequence[date]]:
        """The days that no other process is fetching; for as long as the block lasts, this one is."""
        ...

    async def fetched(self, view: View, days: Sequence[date], deadline: float) -> None:
        """Wait until no process is fetching any of the days."""
        ...


class Shared(Protocol):
    """What this process shares with others."""

    async def join(self, call: Call) -> SharedDays | None:
        """The days that they hold together; None when there are none for us."""
        ...

    async def forget(self) -> None:
        """Hold nothing any more."""
        ...


class _Alone:
    """Nothing is shared: there are no other processes."""

    async def join(self, call: Call) -> None:
        """No days."""

    async def forget(self) -> None:
        """Nothing is held."""


class _Arrived(NamedTuple):
    """Days that were not held here, and for which of them nobody had to ask upstream."""

    days: Sequence[DayRows]
    held: frozenset[date] = frozenset()


@dataclass(frozen=True, slots=True)
class Held:
    """The days of a period, complete, and how they were come by.

    Attributes:
        because: Why upstream could not be asked, when the days are stale.
    """

    days: Sequence[DayRows]
    status: CacheStatus
    because: str = ""

    @property
    def fetched_at(self) -> datetime:
        """When the oldest of them was read."""
        return min(day.fetched_at for day in self.days)

    def within(self, period: Period) -> "Held":
        """The same, without the rows that lie outside the period."""
        return replace(self, days=[day.between(period.begins, period.ends) for day in self.days])

    @property
    def rows(self) -> int:
        """How many rows the days have."""
        return sum(map(len, self.days))

    def of(self, days: Iterable[date]) -> list[DayRows]:
        """The rows of some of the days; of a day that is named twice, twice."""
        by_day = {rows.day: rows for rows in self.days}
        return [by_day[day] for day in days]

    @property
    def unreported(self) -> list[date]:
        """The days that upstream left out of its answer."""
        return [day.day for day in self.days if not day.reported]


class Ledger:
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
        self._store = DayStore(clock, max_rows)
        self._shared = shared or _Alone()
        self._flights: Flights[tuple[View, date], _Arrived] = Flights()
        self._longest: TTLCache[View, int] = TTLCache(_VIEWS, _LARGE_FOR, timer=clock.monotonic)
        self._too_much: TTLCache[View, bool] = TTLCache(_VIEWS, _LARGE_FOR, timer=clock.monotonic)

    async def days(
        self, report: Report, views: Sequence[tuple[str, ...]], width: Width, period: Period, call: Call
    ) -> Held:
        """All days of the period, from memory where they are fresh, else from upstream.

        The first view is taken that is not too much for upstream even in the shortest windows. When upstream cannot
        be asked, days that are no longer fresh will do, if they are held for the whole period.

        Raises:
            UpstreamError: When any window fails. Windows that arrived are kept, so asking again goes on from there.
        """
        able = [View(report, dimensions, width) for dimensions in views]
        held = await self._first_of([view for view in able if view not in self._too_much] or able[-1:], period, call)
        call.rows += held.rows
        return held

    async def days_of_keys(self, view: tuple[str, ...], period: Period, call: Call) -> Held:
        """All days of the period in a view of usage that has API keys but no room for workspaces.

        Raises:
            UpstreamError: When any window fails.
        """
        return await self.days(USAGE, [view], "1d", period, call)

    async def _first_of(self, views: Sequence[View], period: Period, call: Call) -> Held:
        view, *others = views
        try:
            return await self._fresh(view, period, call)
        except (RateLimitedError, UnavailableError) as failure:
            if isinstance(failure, TooMuchError):
                self._too_much[view] = True
                if others:
                    return await self._first_of(others, period, call)
            return await self._stale(view, period, failure, call)
        except AccessError:
            self._store.forget()
            await self._shared.forget()
            raise

    async def _fresh(self, view: View, period: Period, call: Call) -> Held:
        found = {day: rows for day in period.days if (rows := self._store.find(view, day)) is not None}
        brought = await self._bring(view, [day for day in period.days if day not in found], call)
        missing = len(brought.days) - len(brought.held)
        status: CacheStatus = "hit" if not missing else "partial" if missing < len(period) else "miss"
        found |= {rows.day: rows for rows in brought.days}
        return Held([found[day] for day in period.days], status)

    async def _stale(self, view: View, period: Period, failure: UpstreamError, call: Call) -> Held:
        stale = {day: rows for day in period.days if (rows := self._store.find(view, day, stale_too=True)) is not None}
        absent = [day for day in period.days if day not in stale]
        if absent and (shared := await self._shared.join(call)):
            stale |= await shared.find(view, absent, stale_too=True)
        if len(stale) < len(period):
            raise self._with_what_is_held(failure, view, period) from failure
        return Held([stale[day] for day in period.days], "stale", because=str(failure))

    def _with_what_is_held(self, error: UpstreamError, view: View, period: Period) -> UpstreamError:
        held = sum(self._store.find(view, day) is not None for day in period.days)
        if not held:
            return error
        return error.with_note(f"{held} of the {len(period)} days are held, so asking again continues from there.")

    async def _bring(self, view: View, missing: Sequence[date], call: Call) -> _Arrived:
        """The missing days: join what is under way, start the rest, wait for all of it."""
        under_way = {day: flight for day in missing if (flight := self._flights.find((view, day)))}
        flights = set(under_way.values())
        not_under_way = [day for day in missing if day not in under_way]
        for window in plan_windows(not_under_way, view.width, self._clock.now(), self._longest.get(view)):
            days = [day for day in window.days if day in not_under_way]
            flights.add(self._flights.start([(view, day) for day in days], self._obtain(view, days, call)))
        arrived = 0

        async def land(flight: Flight[_Arrived]) -> _Arrived:
            nonlocal arrived
            brought = await flight.landing()
            arrived += 1
            if len(flights) > 1:
                await call.progress(arrived, len(flights))
            return brought

        landed = await side_by_side(land(flight) for flight in flights)
        return _Arrived(
            [rows for each in landed for rows in each.days if rows.day in missing],
            frozenset(day for each in landed for day in each.held if day in missing),
        )

    async def _obtain(self, view: View, days: Sequence[date], call: Call) -> _Arrived:
        """Days that are not held here: from the other processes, else from upstream, where one asks for all."""
        shared = await self._shared.join(call)
        if shared is None:
            return _Arrived(await self._fetch(view, days, call))
        held = arrived = await self._find_shared(shared, view, days)
        while missing := [day for day in days if day not in arrived]:
            async with shared.fetching(view, missing) as ours:
                arrived = arrived | await self._find_shared(shared, view, ours)
                fetched = await self._fetch(view, [day for day in ours if day not in arrived], call)
                await shared.keep(view, fetched)
            arrived = arrived | {rows.day: rows for rows in fetched}
            theirs = [day for day in missing if day not in arrived]
            await shared.fetched(view, theirs, call.deadline)
            arrived = arrived | await self._find_shared(shared, view, theirs)
        return _Arrived([arrived[day] for day in days], frozenset(held))

    async def _find_shared(self, shared: SharedDays, view: View, days: Sequence[date]) -> dict[date, DayRows]:
        """The fresh ones. The others are held here as well: to compare with, and for the case of an outage."""
        found = await shared.find(view, days, stale_too=True) if days else {}
        kept = [self._store.keep(view, rows) for rows in found.values()]
        return {rows.day: rows for rows in kept if is_fresh(rows, self._clock.now())}

    async def _fetch(self, view: View, days: Sequence[date], call: Call) -> list[DayRows]:
        """Days from upstream."""
        windows = plan_windows(days, view.width, self._clock.now(), self._longest.get(view))
        fetched = await side_by_side(self._fetch_window(view, window, call) for window in windows)
        return [rows for each in fetched for rows in each]

    async def _fetch_window(self, view: View, window: Window, call: Call) -> list[DayRows]:
        """The days of one window, in smaller pieces when it is too much at once; the view remembers that."""
        try:
            fetched = await self._source.fetch(view.report, view.dimensions, view.width, window, call)
        except TooMuchError:
            shorter = next((days for days in SHORTER_WINDOWS if days < len(window.days)), None)
            if shorter is None:
                raise
            self._longest[view] = shorter
            return await self._fetch(view, window.days, call)
        return [self._store.keep(view, rows) for rows in fetched]

    def too_much(self, report: Report, dimensions: tuple[str, ...], width: Width) -> bool:
        """Whether a view was too much for upstream, even in the shortest windows, not long ago."""
        return View(report, dimensions, width) in self._too_much

    def values(self, report: Report, dimension: str, workspaces: Workspaces | None = None) -> set[str]:
        """Every value of a dimension in the days that are held, maybe only in the rows of some workspaces."""
        return self._store.values(report, dimension, workspaces)

    def size(self, workspaces: Workspaces | None = None) -> tuple[int, int]:
        """The number of days held and of their rows, maybe only of those of some workspaces."""
        return self._store.size(workspaces)
