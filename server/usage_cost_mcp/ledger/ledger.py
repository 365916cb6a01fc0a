"""Days in, days out: what is held costs nothing, what is missing is fetched once, whoever asks for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, Protocol

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
        self._longest: dict[View, int] = {}

    async def days(self, report: Report, dimensions: tuple[str, ...], width: Width, period: Period, call: Call) -> Held:
        """All days of the period, from memory where they are fresh, else from upstream.

        When upstream cannot be asked, days that are no longer fresh will do, if they are held for the whole period.

        Raises:
            UpstreamError: When any window fails. Windows that arrived are kept, so asking again goes on from there.
        """
        view = View(report, dimensions, width)
        found = {day: rows for day in period.days if (rows := self._store.find(view, day)) is not None}
        missing = [day for day in period.days if day not in found]
        status: CacheStatus = "partial" if found and missing else "miss" if missing else "hit"
        try:
            found |= await self._bring(view, missing, call)
        except (RateLimitedError, UnavailableError) as error:
            stale = [self._store.find(view, day, stale_too=True) for day in period.days]
            if None in stale:
                raise self._with_what_is_held(error, view, period) from error
            return Held([rows for rows in stale if rows is not None], "stale", because=str(error))
        return Held([found[day] for day in period.days], status)

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

    def values(self, report: Report, dimension: str) -> set[str]:
        """Every value of a dimension in the days that are held."""
        return self._store.values(report, dimension)

    def size(self) -> tuple[int, int]:
        """The number of days held and of their rows."""
        return self._store.size()
