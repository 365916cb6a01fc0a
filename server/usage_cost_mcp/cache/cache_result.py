"""What a read of the report cache returns: complete days, their age, and where they came from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import DayRows

CacheStatus = Literal["hit", "partial", "miss", "stale"]
"""All days were cached and fresh, some were, none were; `stale`: the API was unavailable and older copies were used."""


def combine_statuses(statuses: Iterable[CacheStatus]) -> CacheStatus:
    """The status of an answer that uses several cache results."""
    distinct = set(statuses)
    if "stale" in distinct:
        return "stale"
    return distinct.pop() if len(distinct) == 1 else "partial"


@dataclass(frozen=True, slots=True)
class CacheResult:
    """All days of a period, oldest first, and where they came from (cache or API).

    Attributes:
        stale_reason: Why the API was unavailable; empty unless the status is `stale`.
    """

    days: Sequence[DayRows]
    status: CacheStatus
    stale_reason: str = ""

    @property
    def fetched_at(self) -> datetime:
        """When the oldest copy was fetched from the API."""
        return min(day.fetched_at for day in self.days)

    @property
    def row_count(self) -> int:
        return sum(map(len, self.days))

    @property
    def missing_days(self) -> list[date]:
        """The days that the API left out of its answer, in whole or in part."""
        return [day.day for day in self.days if not day.reported]

    def within(self, period: Period) -> "CacheResult":
        """Without the rows outside the period."""
        return replace(self, days=[day.clipped(period.begins, period.ends) for day in self.days])

    def of(self, period: Period) -> "CacheResult":
        """Without the days outside the period."""
        return replace(self, days=self.for_days(period.days))

    def for_days(self, days: Iterable[date]) -> list[DayRows]:
        """The given days in the given order; a day that is given twice is returned twice."""
        by_day = {rows.day: rows for rows in self.days}
        return [by_day[day] for day in days]
