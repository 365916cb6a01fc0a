"""The cost report and the usage report of a period together, for answers that need both."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from usage_cost_mcp.analysis.cost_usage_join import PricedCells, WorkspacePriceKey, join
from usage_cost_mcp.analysis.speeds import has_fast_cost, split_by_speed
from usage_cost_mcp.cache import STEP, CacheResult, CacheStatus, combine_statuses
from usage_cost_mcp.model.dimensions import Filters
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.upstream_reports import COST_REPORT, FAST_USAGE_REPORT, USAGE_REPORT, Width
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
        return SpendAndUsage(period, self.spend.of(period), self.usage.of(period))

    def with_prices(self, through: date) -> "SpendAndUsage | None":
        """The days of the period up to a last one, or where there are none, earlier days; None without any."""
        both = {day.day for day in self.spend.days} & {day.day for day in self.usage.days}
        days = sorted(day for day in both if day <= through)
        days = [day for day in days if day >= self.period.start] or days
        if not days:
            return None
        spend, usage = (replace(held, days=held.for_days(days)) for held in (self.spend, self.usage))
        return SpendAndUsage(Period(days[0], days[-1], days[-1]), spend, usage)

    def priced_cells(self, now: datetime, filters: Filters) -> PricedCells:
        """Both reports joined by price cell, after filters by common dimensions."""
        return join(self.spend.days, self.usage.days, self.period, now, filters)

    def notes(self, now: datetime) -> Iterator[Note]:
        """Notes on freshness, and on days without data."""
        for held in (self.spend, self.usage):
            yield from notes.freshness_notes(held, now)
        yield from notes.row_notes(self.spend, self.period)


async def fetch_spend_and_usage(
    context: ReportContext, period: Period, call: CallContext, *, also: Sequence[date] = ()
) -> SpendAndUsage:
    """Both reports of a period, each in its base view; usage also by speed where there is any in fast mode.

    Of the earlier days `also` they have those that took no more requests.

    Raises:
        UpstreamError: If any rows cannot be fetched.
    """
    spend, usage = await gather_pair(
        context.cache.days(COST_REPORT, [COST_REPORT.base_view], "1d", period, call, also=also),
        context.cache.days(USAGE_REPORT, [USAGE_REPORT.base_view], "1d", period, call, also=also),
    )
    return SpendAndUsage(period, spend, await usage_by_speed(spend, usage, context, call))


async def usage_by_speed(
    spend: CacheResult,
    usage: CacheResult,
    context: ReportContext,
    call: CallContext,
    view: Sequence[str] = USAGE_REPORT.base_view,
    width: Width = "1d",
) -> CacheResult:
    """Usage with the speed added on the days that have a cost of fast mode; only these cost further requests.

    `spend` is the cost of the same days. The usage has, or covers, the view.

    Raises:
        UpstreamError: If the usage in fast mode cannot be fetched.
    """

    def fast_usage(period: Period) -> Awaitable[CacheResult]:
        return context.cache.days(FAST_USAGE_REPORT, [tuple(view)], width, period, call)

    return await split_fast_days(spend, usage, view, width, fast_usage)


async def split_fast_days(
    spend: CacheResult,
    usage: CacheResult,
    view: Sequence[str],
    width: Width,
    fast_usage: Callable[[Period], Awaitable[CacheResult]],
) -> CacheResult:
    """As `usage_by_speed`, with a function that fetches the usage in fast mode."""
    fast_days = [day.day for day in spend.days if has_fast_cost(day)]
    if not fast_days:
        return usage
    fast = await fast_usage(Period(fast_days[0], fast_days[-1], fast_days[-1]))
    by_day = dict(zip(fast_days, fast.for_days(fast_days), strict=True))
    return CacheResult(
        [split_by_speed(day, by_day[day.day], view, STEP[width]) if day.day in by_day else day for day in usage.days],
        combine_statuses([usage.status, fast.status]),
        usage.stale_reason or fast.stale_reason,
    )


COMMON_DIMENSIONS = frozenset(WorkspacePriceKey._fields)
"""The dimensions that both reports have."""
