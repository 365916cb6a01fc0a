"""The cost report and the usage report of a period together, for answers that need both."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from usage_cost_mcp.analysis.cost_usage_join import PricedCells, WorkspacePriceKey, join
from usage_cost_mcp.cache import CacheResult, CacheStatus, combine_statuses
from usage_cost_mcp.model.dimensions import Filters
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import gather_pair

from . import notes
from .answers import Note
from .context import ReportContext


@dataclass(frozen=True, slots=True)
class SpendAndUsage:
    """Spend and usage of a period."""

    period: Period
    spend: CacheResult
    usage: CacheResult

    @property
    def fetched_at(self) -> datetime:
        """When the oldest part was fetched."""
        return min(self.spend.fetched_at, self.usage.fetched_at)

    @property
    def status(self) -> CacheStatus:
        """Where the data came from: cache or API."""
        return combine_statuses([self.spend.status, self.usage.status])

    @property
    def rows(self) -> int:
        """The number of rows of both reports."""
        return self.spend.row_count + self.usage.row_count

    def within(self, period: Period) -> "SpendAndUsage":
        """The data of a period within this one."""
        spend, usage = (replace(held, days=held.for_days(period.days)) for held in (self.spend, self.usage))
        return SpendAndUsage(period, spend, usage)

    def priced_cells(self, now: datetime, filters: Filters) -> PricedCells:
        """Both reports joined by price cell, after filters by common dimensions."""
        return join(self.spend.days, self.usage.days, self.period, now, filters)

    def notes(self, now: datetime) -> Iterator[Note]:
        """Notes on freshness, and on days without data."""
        for held in (self.spend, self.usage):
            yield from notes.freshness_notes(held, now)
        yield from notes.row_notes(self.spend, self.period)


async def fetch_spend_and_usage(context: ReportContext, period: Period, call: CallContext) -> SpendAndUsage:
    """Both reports of a period, each in its base view.

    Raises:
        UpstreamError: If any rows cannot be fetched.
    """
    spend, usage = await gather_pair(
        context.cache.days(COST_REPORT, [COST_REPORT.base_view], "1d", period, call),
        context.cache.days(USAGE_REPORT, [USAGE_REPORT.base_view], "1d", period, call),
    )
    return SpendAndUsage(period, spend, usage)


COMMON_DIMENSIONS = frozenset(WorkspacePriceKey._fields)
"""The dimensions that both reports have."""
