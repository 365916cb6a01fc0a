"""Which windows to fetch for the days that are missing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from usage_cost_mcp.model.periods import midnight
from usage_cost_mcp.model.upstream_reports import Width

STEP: dict[Width, timedelta] = {"1d": timedelta(days=1), "1h": timedelta(hours=1), "1m": timedelta(minutes=1)}
"""How long one bucket is."""

REDUCED_WINDOWS = (8, 2)
"""The days of a window when a page is too slow or too large, one after the other."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time that one page covers: `start` included, `end` not."""

    start: datetime
    end: datetime

    @property
    def days(self) -> list[date]:
        """Every UTC day that it touches."""
        last = (self.end - timedelta(microseconds=1)).date()
        return [self.start.date() + timedelta(days=n) for n in range((last - self.start.date()).days + 1)]


def plan_windows(missing: Iterable[date], width: Width, now: datetime, max_days: int) -> list[Window]:
    """The fewest windows of at most `max_days` that cover every missing day.

    A window may run over days that are held: a day refreshed for nothing is cheaper than one more request. The
    window that holds today ends with the bucket under way, which the API counts only when asked for its whole.
    """
    windows: list[Window] = []
    bucket_under_way_ends = midnight(now.date()) + ((now - midnight(now.date())) // STEP[width] + 1) * STEP[width]
    for first, last in _stretches(missing, max_days):
        end = min(midnight(last) + timedelta(days=1), bucket_under_way_ends)
        windows.append(Window(midnight(first), end))
    return windows


def _stretches(missing: Iterable[date], max_days: int) -> list[tuple[date, date]]:
    stretches: list[tuple[date, date]] = []
    for day in sorted(missing):
        if stretches and (day - stretches[-1][0]).days < max_days:
            stretches[-1] = (stretches[-1][0], day)
        else:
            stretches.append((day, day))
    return stretches
