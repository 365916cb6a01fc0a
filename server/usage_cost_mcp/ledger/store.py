"""The days that are held, in memory, bounded by rows."""

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from cachetools import TLRUCache

from usage_cost_mcp.clock import Clock
from usage_cost_mcp.dimensions import Report, Width
from usage_cost_mcp.rows import DayRows
from usage_cost_mcp.series import values_of

from .plan import lifetime


class View(NamedTuple):
    """One way of looking at a report: which dimensions, how wide a bucket."""

    report: Report
    dimensions: tuple[str, ...]
    width: Width

    def answers(self, other: "View") -> bool:
        """Whether rolling this view up gives the other one."""
        return (
            self.report is other.report
            and set(self.dimensions) >= set(other.dimensions)
            and other.width in {self.width, "1d"}
        )


class DayStore:
    """Days by view, each forgotten when it is no longer fresh, the least used first when there are too many rows."""

    def __init__(self, clock: Clock, max_rows: int) -> None:
        self._days: TLRUCache[tuple[View, date], DayRows] = TLRUCache(
            max_rows, ttu=_expiry, timer=lambda: clock.now().timestamp(), getsizeof=_weight
        )
        self._max_rows = max_rows
        self._views: set[View] = set()

    def find(self, view: View, day: date) -> DayRows | None:
        """The day as the view shows it, or as a finer view does, if it is held and fresh."""
        found = (self._days.get((held, day)) for held in self._able_to_answer(view))
        return next((rows for rows in found if rows is not None), None)

    def _able_to_answer(self, view: View) -> Iterator[View]:
        yield view
        yield from (held for held in self._views if held != view and held.answers(view))

    def keep(self, view: View, rows: DayRows) -> None:
        """Hold a day; one that is larger than the whole store is left out."""
        if _weight(rows) <= self._max_rows:
            self._days[view, rows.day] = rows
            self._views.add(view)

    def values(self, report: Report, dimension: str) -> set[str]:
        """Every value of a dimension in the days that are held."""
        self._days.expire()
        known = (
            rows for (view, _), rows in self._days.items() if view.report is report and dimension in view.dimensions
        )
        return {value for value in values_of(known, dimension) if value is not None}

    def size(self) -> tuple[int, int]:
        """The number of days held (each view counts), and of their rows."""
        self._days.expire()
        held = [self._days[key] for key in self._days]
        return len(held), sum(map(len, held))


def _expiry(key: tuple[View, date], rows: DayRows, _now: float) -> float:
    return (rows.fetched_at + lifetime(key[1], rows.fetched_at)).timestamp()


def _weight(rows: DayRows) -> int:
    """An empty day weighs something too, or there could be any number of them."""
    return len(rows) + 1
