"""Which windows to fetch for the days that are missing, and how long a day stays fresh."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from usage_cost_mcp.model.dimensions import Width
from usage_cost_mcp.model.periods import midnight

STEP: dict[Width, timedelta] = {"1d": timedelta(days=1), "1h": timedelta(hours=1), "1m": timedelta(minutes=1)}
"""How long one bucket is."""

DAYS_PER_PAGE: dict[Width, int] = {"1d": 31, "1h": 7, "1m": 1}
"""How many whole days fit one page of the API: 31 days, 168 hours, 1440 minutes."""

REDUCED_WINDOWS = (8, 2)
"""The days of a window when a page is too slow or too large, one after the other."""

_LIFETIMES = [
    (0, timedelta(seconds=60)),
    (3, timedelta(minutes=15)),
    (35, timedelta(hours=24)),
]
_LIFETIME_OF_OLD_DAYS = timedelta(days=30)


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


def plan_windows(missing: Iterable[date], width: Width, now: datetime, longest: int | None = None) -> list[Window]:
    """The fewest windows of one page, or of `longest` days, that cover every missing day.

    A window may run over days that are held: a day refreshed for nothing is cheaper than one more request. The
    window that holds today ends with the bucket under way, which the API counts only when asked for its whole.
    """
    windows: list[Window] = []
    bucket_under_way_ends = midnight(now.date()) + ((now - midnight(now.date())) // STEP[width] + 1) * STEP[width]
    for first, last in _stretches(missing, longest or DAYS_PER_PAGE[width]):
        end = min(midnight(last) + timedelta(days=1), bucket_under_way_ends)
        windows.append(Window(midnight(first), end))
    return windows


def _stretches(missing: Iterable[date], longest: int) -> list[tuple[date, date]]:
    stretches: list[tuple[date, date]] = []
    for day in sorted(missing):
        if stretches and (day - stretches[-1][0]).days < longest:
            stretches[-1] = (stretches[-1][0], day)
        else:
            stretches.append((day, day))
    return stretches


def lifetime(day: date, fetched_at: datetime) -> timedelta:
    """How long a day's rows are taken as they are: the younger the day, the sooner it may change.

    Source: the API's advice to poll at most once a minute; revisions of closed days are undocumented.
    """
    age = (fetched_at.date() - day).days
    return next((lifetime for oldest, lifetime in _LIFETIMES if age <= oldest), _LIFETIME_OF_OLD_DAYS)
