"""Days in, days out: what is held costs nothing, what is missing is fetched once, whoever asks for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal, Protocol

from cachetools import TTLCache

from usage_cost_mcp.calls import Call
from usage_cost_mcp.clock import Clock
from usage_cost_mcp.dimensions import Report, Width
from usage_cost_mcp.errors import AccessError, RateLimitedError, TooMuchError, UnavailableError, UpstreamError
from usage_cost_mcp.flights import Flight, Flights, side_by_side
from usage_cost_mcp.periods import Period
from usage_cost_mcp.rows import DayRows

from .plan import SHORTER_WINDOWS, Window, plan_windows
from .store import DayStore, View

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
    """The days of both reports, by view."""

    def __init__(self, source: RowSource, clock: Clock, max_rows: int = MAX_ROWS) -> None:
        self._source = source
        self._clock = clock
        self._store = DayStore(clock, max_rows)
        self._flights: Flights[tuple[View, date], list[DayRows]] = Flights()
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

    async def _first_of(self, views: Sequence[View], period: Period, call: Call) -> Held:
        view, *others = views
        try:
            return await self._fresh(view, period, call)
        except (RateLimitedError, UnavailableError) as failure:
            if isinstance(failure, TooMuchError):
                self._too_much[view] = True
                if others:
                    return await self._first_of(others, period, call)
            return self._stale(view, period, failure)

    async def _fresh(self, view: View, period: Period, call: Call) -> Held:
        found = {day: rows for day in period.days if (rows := self._store.find(view, day)) is not None}
        missing = [day for day in period.days if day not in found]
        status: CacheStatus = "partial" if found and missing else "miss" if missing else "hit"
        found |= await self._bring(view, missing, call)
        return Held([found[day] for day in period.days], status)

    def _stale(self, view: View, period: Period, failure: UpstreamError) -> Held:
        stale = [rows for day in period.days if (rows := self._store.find(view, day, stale_too=True)) is not None]
        if len(stale) < len(period):
            raise self._with_what_is_held(failure, view, period) from failure
        return Held(stale, "stale", because=str(failure))

    def _with_what_is_held(self, error: UpstreamError, view: View, period: Period) -> UpstreamError:
        held = sum(self._store.find(view, day) is not None for day in period.days)
        if not held:
            return error
        return error.with_note(f"{held} of the {len(period)} days are held, so asking again continues from there.")

    async def _bring(self, view: View, missing: Sequence[date], call: Call) -> dict[date, DayRows]:
        """The missing days: join what is under way, start the rest, wait for all of it."""
        under_way = {day: flight for day in missing if (flight := self._flights.find((view, day)))}
        flights = set(under_way.values())
        not_under_way = [day for day in missing if day not in under_way]
        for window in plan_windows(not_under_way, view.width, self._clock.now(), self._longest.get(view)):
            keys = [(view, day) for day in window.days]
            flights.add(self._flights.start(keys, self._fetch(view, window, call)))
        arrived = 0

        async def land(flight: Flight[list[DayRows]]) -> list[DayRows]:
            nonlocal arrived
            days = await flight.landing()
            arrived += 1
            if len(flights) > 1:
                await call.progress(arrived, len(flights))
            return days

        landed = await side_by_side(land(flight) for flight in flights)
        return {rows.day: rows for days in landed for rows in days}

    async def _fetch(self, view: View, window: Window, call: Call) -> list[DayRows]:
        """The days of one window, in smaller pieces when it is too much at once; the view remembers that."""
        try:
            fetched = await self._source.fetch(view.report, view.dimensions, view.width, window, call)
        except TooMuchError:
            shorter = next((days for days in SHORTER_WINDOWS if days < len(window.days)), None)
            if shorter is None:
                raise
            self._longest[view] = shorter
            parts = plan_windows(window.days, view.width, self._clock.now(), shorter)
            pieces = await side_by_side(self._fetch(view, part, call) for part in parts)
            return [rows for piece in pieces for rows in piece]
        except AccessError:
            self._store.forget()
            raise
        return [self._store.keep(view, rows) for rows in fetched]

    def too_much(self, report: Report, dimensions: tuple[str, ...], width: Width) -> bool:
        """Whether a view was too much for upstream, even in the shortest windows, not long ago."""
        return View(report, dimensions, width) in self._too_much

    def values(self, report: Report, dimension: str) -> set[str]:
        """Every value of a dimension in the days that are held."""
        return self._store.values(report, dimension)

    def size(self) -> tuple[int, int]:
        """The number of days held and of their rows."""
        return self._store.size()
