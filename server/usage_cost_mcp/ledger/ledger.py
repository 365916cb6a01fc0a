"""Days in, days out: what is held costs nothing, what is missing is fetched once, whoever asks for it."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, Protocol

from usage_cost_mcp.calls import Call
from usage_cost_mcp.clock import Clock
from usage_cost_mcp.dimensions import Report, Width
from usage_cost_mcp.errors import UpstreamError
from usage_cost_mcp.flights import Flight, Flights
from usage_cost_mcp.periods import Period
from usage_cost_mcp.rows import DayRows

from .plan import Window, plan_windows
from .store import DayStore, View

MAX_ROWS = 500_000

CacheStatus = Literal["hit", "partial", "miss"]


def together(statuses: Iterable[CacheStatus]) -> CacheStatus:
    """The status of an answer made of several parts."""
    found = set(statuses)
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
    """The days of a period, complete, and how they were come by."""

    days: Sequence[DayRows]
    status: CacheStatus

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

    async def days(self, report: Report, dimensions: tuple[str, ...], width: Width, period: Period, call: Call) -> Held:
        """All days of the period, from memory where they are fresh, else from upstream.

        Raises:
            UpstreamError: When any window fails. Windows that arrived are kept, so asking again goes on from there.
        """
        view = View(report, dimensions, width)
        found = {day: rows for day in period.days if (rows := self._store.find(view, day)) is not None}
        missing = [day for day in period.days if day not in found]
        status: CacheStatus = "partial" if found and missing else "miss" if missing else "hit"
        try:
            found.update(await self._bring(view, missing, call))
        except UpstreamError as error:
            held = sum(self._store.find(view, day) is not None for day in period.days)
            if held:
                raise error.with_note(
                    f"{held} of the {len(period)} days are held, so asking again continues from there."
                ) from error
            raise
        return Held([found[day] for day in period.days], status)

    async def _bring(self, view: View, missing: Sequence[date], call: Call) -> dict[date, DayRows]:
        """The missing days: join what is under way, start the rest, wait for all of it."""
        flights = {flight for day in missing if (flight := self._flights.find((view, day)))}
        not_under_way = [day for day in missing if not self._flights.find((view, day))]
        for window in plan_windows(not_under_way, view.width, self._clock.now()):
            keys = [(view, day) for day in window.days]
            flights.add(self._flights.start(keys, self._fetch(view, window, call)))
        return await _landings(flights, call)

    async def _fetch(self, view: View, window: Window, call: Call) -> list[DayRows]:
        fetched = await self._source.fetch(view.report, view.dimensions, view.width, window, call)
        for rows in fetched:
            self._store.keep(view, rows)
        return fetched

    def values(self, report: Report, dimension: str) -> set[str]:
        """Every value of a dimension in the days that are held."""
        return self._store.values(report, dimension)

    def size(self) -> tuple[int, int]:
        """The number of days held and of their rows."""
        return self._store.size()


async def _landings(flights: set[Flight[list[DayRows]]], call: Call) -> dict[date, DayRows]:
    landed: dict[date, DayRows] = {}

    async def land(flight: Flight[list[DayRows]]) -> None:
        landed.update({rows.day: rows for rows in await flight.landing()})
        nonlocal arrived
        arrived += 1
        if len(flights) > 1:
            await call.progress(arrived, len(flights))

    arrived = 0
    landings = [asyncio.create_task(land(flight)) for flight in flights]
    try:
        await asyncio.gather(*landings)
    finally:
        for landing in landings:
            landing.cancel()
    return landed
