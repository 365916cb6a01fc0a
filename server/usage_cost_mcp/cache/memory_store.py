"""The days that are held, in memory, bounded by rows."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

from cachetools import TLRUCache

from usage_cost_mcp.model.dimensions import WORKSPACE
from usage_cost_mcp.model.rows import DayRows, Workspaces
from usage_cost_mcp.model.series import values_of
from usage_cost_mcp.model.upstream_reports import UpstreamReport, Width
from usage_cost_mcp.runtime.clock import Clock

STALE_RETENTION = timedelta(days=7)
"""How long a day that is no longer fresh is kept for the case that upstream cannot be asked."""


class View(NamedTuple):
    """One way of looking at a report: which dimensions, how wide a bucket."""

    report: UpstreamReport
    dimensions: tuple[str, ...]
    width: Width

    def covers(self, other: "View") -> bool:
        """Whether rolling this view up gives the other one."""
        return (
            set(self.dimensions) >= set(other.dimensions)
            and other.width in {self.width, "1d"}
            and self.report == other.report
        )


class MemoryDayStore:
    """Days by view, each forgotten when it is too old even for an outage, the least used first when there are too many.

    A day is fresh for its lifetime and stale after that.
    """

    def __init__(self, clock: Clock, max_rows: int) -> None:
        self._clock = clock
        self._days: TLRUCache[tuple[View, date], DayRows] = TLRUCache(
            max_rows, ttu=_expiry, timer=lambda: clock.now().timestamp(), getsizeof=_weight
        )
        self._max_rows = max_rows
        self._views: set[View] = set()

    def get(self, view: View, day: date, *, include_stale: bool = False) -> DayRows | None:
        """The day as the view shows it, or as a finer view does, as it was read last, if it is held and fresh."""
        now = self._clock.now()
        found = (self._days.get((held, day)) for held in self._covering_views(view))
        usable = (rows for rows in found if rows is not None and (include_stale or is_fresh(view.report, rows, now)))
        return max(usable, key=lambda rows: rows.fetched_at, default=None)

    def _covering_views(self, view: View) -> Iterator[View]:
        yield view
        yield from (held for held in self._views if held != view and held.covers(view))

    def put(self, view: View, rows: DayRows) -> DayRows:
        """Hold a day, unless a later reading of it is held; one that is larger than the whole store is left out.

        Returns:
            The day, with a remark when it was over and says something else than when it was read before.
        """
        earlier = self._days.get((view, rows.day))
        if earlier is not None and earlier.fetched_at > rows.fetched_at:
            return rows
        if earlier is not None and earlier.fetched_at.date() > rows.day:
            rows = rows.marked_if_revised(earlier)
        self._days.pop((view, rows.day), None)
        if _weight(rows) <= self._max_rows:
            self._days[view, rows.day] = rows
            self._views.add(view)
        return rows

    def clear(self) -> None:
        """Hold nothing any more."""
        self._days.clear()

    def values(self, report: UpstreamReport, dimension: str, workspaces: Workspaces | None = None) -> set[str]:
        """Every value of a dimension in the days that are held, maybe only in the rows of some workspaces."""
        self._days.expire()
        known = (
            rows for (view, _), rows in self._days.items() if view.report == report and dimension in view.dimensions
        )
        return {value for value in values_of(_only(known, workspaces), dimension) if value is not None}

    def size(self, workspaces: Workspaces | None = None) -> tuple[int, int]:
        """The number of days held (each view counts), and of their rows, maybe only of those of some workspaces."""
        self._days.expire()
        held = list(_only(self._days.values(), workspaces))
        return len(held), sum(map(len, held))


def is_fresh(report: UpstreamReport, rows: DayRows, now: datetime) -> bool:
    """Whether a day may be taken as it was read."""
    return now < _stale_at(report, rows)


def expires_at(report: UpstreamReport, rows: DayRows) -> datetime:
    """When a day is too old even for an outage."""
    return _stale_at(report, rows) + STALE_RETENTION


def _only(days: Iterable[DayRows], workspaces: Workspaces | None) -> Iterator[DayRows]:
    """The days as far as they are of some workspaces; a view that does not tell workspaces is left out."""
    if workspaces is None:
        yield from days
    else:
        yield from (day.filtered(WORKSPACE, workspaces) for day in days if WORKSPACE in day.dimensions)


def _stale_at(report: UpstreamReport, rows: DayRows) -> datetime:
    return rows.fetched_at + report.lifetime(rows.day, rows.fetched_at)


def _expiry(key: tuple[View, date], rows: DayRows, _now: float) -> float:
    return expires_at(key[0].report, rows).timestamp()


def _weight(rows: DayRows) -> int:
    """An empty day weighs something too, or there could be any number of them."""
    return len(rows) + 1
