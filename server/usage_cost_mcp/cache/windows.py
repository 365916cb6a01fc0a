"""Fetch planning: the windows that cover the missing days."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from usage_cost_mcp.model.periods import midnight
from usage_cost_mcp.model.upstream_reports import Width

STEP: dict[Width, timedelta] = {"1d": timedelta(days=1), "1h": timedelta(hours=1), "1m": timedelta(minutes=1)}
"""The length of one bucket."""

REDUCED_WINDOW_DAYS = (8, 2)
"""The window sizes to try, one after the other, when a page is too slow or too large."""


@dataclass(frozen=True, slots=True)
class Window:
    """The interval of one request to a report: `start` inclusive, `end` exclusive."""

    start: datetime
    end: datetime

    @property
    def days(self) -> list[date]:
        """Every UTC day that the window touches."""
        last = (self.end - timedelta(microseconds=1)).date()
        return [self.start.date() + timedelta(days=n) for n in range((last - self.start.date()).days + 1)]


def plan_windows(missing: Iterable[date], width: Width, now: datetime, max_days: int) -> list[Window]:
    """The fewest windows of at most `max_days` that cover every missing day.

    A window may include cached days between two missing ones: refetching a day costs less than one more request.
    The window that includes today ends with the current bucket, because the API reports a bucket only if the
    interval covers all of it.
    """
    today = midnight(now.date())
    current_bucket_end = today + ((now - today) // STEP[width] + 1) * STEP[width]
    return [
        Window(midnight(first), min(midnight(last) + timedelta(days=1), current_bucket_end))
        for first, last in _day_ranges(missing, max_days)
    ]


def _day_ranges(days: Iterable[date], max_days: int) -> list[tuple[date, date]]:
    ranges: list[tuple[date, date]] = []
    for day in sorted(days):
        if ranges and (day - ranges[-1][0]).days < max_days:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges
