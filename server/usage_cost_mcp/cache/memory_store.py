"""The in-memory cache tier, bounded by the number of rows."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from cachetools import TLRUCache

from usage_cost_mcp.model.dimensions import WORKSPACE
from usage_cost_mcp.model.rows import DayRows, Workspaces
from usage_cost_mcp.model.series import values_of
from usage_cost_mcp.model.upstream_reports import UpstreamReport
from usage_cost_mcp.runtime.clock import Clock

from .ttl import expires_at, is_fresh
from .views import View


class MemoryDayStore:
    """Days by view. A day is dropped when it expires; when the store is full, the least recently used go first.

    A day of a finer view (more dimensions, narrower buckets) is found for a coarser one.
    """

    def __init__(self, clock: Clock, max_rows: int) -> None:
        self._clock = clock
        self._days: TLRUCache[tuple[View, date], DayRows] = TLRUCache(
            max_rows, ttu=_expiry, timer=lambda: clock.now().timestamp(), getsizeof=_weight
        )
        self._max_rows = max_rows
        self._views: set[View] = set()

    async def get_many(self, view: View, days: Sequence[date], *, include_stale: bool = False) -> dict[date, DayRows]:
        """The latest reading of each day, in the view itself or in one that covers it."""
        now = self._clock.now()
        views = [view, *(each for each in self._views if each != view and each.covers(view))]
        found: dict[date, DayRows] = {}
        for day in days:
            cached = (self._days.get((each, day)) for each in views)
            usable = (
                rows for rows in cached if rows is not None and (include_stale or is_fresh(view.report, rows, now))
            )
            latest = max(usable, key=lambda rows: rows.fetched_at, default=None)
            if latest is not None:
                found[day] = latest
        return found

    async def put_many(self, view: View, days: Sequence[DayRows]) -> list[DayRows]:
        """Keep days, except where a later reading is cached or the day is larger than the whole store.

        Returns:
            The days, marked as revised where an earlier reading was made after the end of the day and differs.
        """
        return [self._put(view, rows) for rows in days]

    def _put(self, view: View, rows: DayRows) -> DayRows:
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

    async def clear(self) -> None:
        """Drop all days."""
        self._days.clear()

    def values(self, report: UpstreamReport, dimension: str, workspaces: Workspaces | None = None) -> set[str]:
        """Every value of a dimension; with `workspaces`, only in the rows of those workspaces."""
        self._days.expire()
        with_dimension = (
            rows
            for (view, _), rows in self._days.items()
            if view.report.path == report.path and dimension in rows.dimensions
        )
        scoped = _scoped(with_dimension, workspaces)
        return {value for value in values_of(scoped, dimension) if value is not None}

    def size(self, workspaces: Workspaces | None = None) -> tuple[int, int]:
        """The number of days (counted per view) and of rows; with `workspaces`, only those of these workspaces."""
        self._days.expire()
        days = list(_scoped(self._days.values(), workspaces))
        return len(days), sum(map(len, days))


def _scoped(days: Iterable[DayRows], workspaces: Workspaces | None) -> Iterator[DayRows]:
    """The days with the rows of some workspaces only; days without a workspace dimension are left out."""
    if workspaces is None:
        yield from days
    else:
        yield from (day.filtered(WORKSPACE, workspaces) for day in days if WORKSPACE in day.dimensions)


def _expiry(key: tuple[View, date], rows: DayRows, _now: float) -> float:
    return expires_at(key[0].report, rows).timestamp()


def _weight(rows: DayRows) -> int:
    """The rows, and one for the day itself: without it, any number of empty days would fit."""
    return len(rows) + 1
