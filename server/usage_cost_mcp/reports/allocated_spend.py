"""Spend by API key, account or service account: each day's cost, allocated by the usage report."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from usage_cost_mcp.analysis.allocation import (
    WORKSPACE_KEY_VIEW,
    AllocatedDay,
    AllocationRule,
    KeyUsage,
    Usage,
    allocate_spend,
    usage_by,
)
from usage_cost_mcp.cache import CacheResult, combine_statuses
from usage_cost_mcp.errors import UnavailableError
from usage_cost_mcp.model.dimensions import API_KEY
from usage_cost_mcp.model.names import UNKNOWN_WORKSPACE
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import DayRows
from usage_cost_mcp.model.upstream_reports import COST_REPORT, FAST_USAGE_REPORT, USAGE_REPORT, UpstreamReport
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import gather_or_cancel, gather_pair, run_in_thread_if

from .context import ReportContext
from .joined_reports import split_fast_days, usage_by_speed

OFFLOAD_ROWS = 2_000
"""With more rows than this, allocation runs in a thread so that other calls are not blocked."""


@dataclass(frozen=True, slots=True)
class AllocatedSpend:
    """The spend of a period with the dimension of a rule added.

    Attributes:
        held: The spend, and where it came from.
        assumed: The part of it that rests on an assumption.
        spend: The cost report as it is, also of earlier days.
        usage: The usage report in its base view, also of earlier days; None if it was not needed.
    """

    held: CacheResult
    assumed: Sequence[DayRows]
    spend: CacheResult
    usage: CacheResult | None


async def allocated_spend(
    rule: AllocationRule, period: Period, also: Sequence[date], context: ReportContext, call: CallContext
) -> AllocatedSpend:
    """The spend of a period, allocated; with the reports of the earlier days `also` that took no more requests.

    Raises:
        UpstreamError: If any rows, or for API keys their list, cannot be fetched.
    """
    if rule.dimension == API_KEY:
        sources, usages, billing = await _usage_by_key(rule, period, also, context, call)
    else:
        reported, used = await gather_pair(
            _days(COST_REPORT, COST_REPORT.base_view, period, also, context, call),
            _days(USAGE_REPORT, rule.view, period, (), context, call),
        )
        spend, billing = reported.of(period), (reported, None)
        used = await usage_by_speed(spend, used, context, call, rule.view)
        sources, usages = [spend, used], lambda: [usage_by(rule, day) for day in used.days]

    def allocate() -> list[AllocatedDay]:
        return [
            allocate_spend(replace(day, fetched_at=min(each.fetched_at for each in of_day)), rule, usage)
            for day, usage, of_day in zip(
                sources[0].days, usages(), zip(*(source.days for source in sources), strict=True), strict=True
            )
        ]

    days = await run_in_thread_if(allocate, when=sum(source.row_count for source in sources) > OFFLOAD_ROWS)
    stale_reason = next((source.stale_reason for source in sources if source.stale_reason), "")
    held = CacheResult([day.spend for day in days], combine_statuses(source.status for source in sources), stale_reason)
    return AllocatedSpend(held, [day.assumed for day in days], *billing)


async def _usage_by_key(
    rule: AllocationRule, period: Period, also: Sequence[date], context: ReportContext, call: CallContext
) -> tuple[list[CacheResult], Callable[[], Iterable[Usage]], tuple[CacheResult, CacheResult]]:
    """The cost report and the usage by key that it is allocated by: a function, because it takes long.

    Where several keys that are not in the list may have used several workspaces, one more request tells which. Both
    reports in their base view, also of earlier days, come last.
    """
    (reported, used, used_by_all), workspaces = await gather_pair(
        gather_or_cancel(
            [
                _days(COST_REPORT, COST_REPORT.base_view, period, also, context, call),
                context.cache.key_usage_days(USAGE_REPORT, rule.view, period, call),
                _days(USAGE_REPORT, USAGE_REPORT.base_view, period, also, context, call),
            ]
        ),
        _workspaces(context, call),
    )

    spend, billing = reported.of(period), (reported, used_by_all)

    def fast_usage_of_keys(days: Period) -> Awaitable[CacheResult]:
        return context.cache.key_usage_days(FAST_USAGE_REPORT, rule.view, days, call)

    used = await split_fast_days(spend, used, rule.view, "1d", fast_usage_of_keys)
    everything = await usage_by_speed(spend, used_by_all.of(period), context, call)
    sources = [spend, used, everything]

    def usage_of_days() -> list[KeyUsage]:
        return [KeyUsage(*days, workspaces) for days in zip(used.days, everything.days, strict=True)]

    days = await run_in_thread_if(usage_of_days, when=used.row_count + everything.row_count > OFFLOAD_ROWS)
    if context.workspaces is None and not any(day.is_ambiguous for day in days):
        return sources, lambda: [day.usage() for day in days], billing
    placed = await _days(USAGE_REPORT, WORKSPACE_KEY_VIEW, period, (), context, call)
    placed = await usage_by_speed(spend, placed, context, call, WORKSPACE_KEY_VIEW)
    return (
        [*sources, placed],
        lambda: [day.usage(of_workspaces) for day, of_workspaces in zip(days, placed.days, strict=True)],
        billing,
    )


async def _days(
    report: UpstreamReport,
    view: tuple[str, ...],
    period: Period,
    also: Sequence[date],
    context: ReportContext,
    call: CallContext,
) -> CacheResult:
    return await context.cache.days(report, [view], "1d", period, call, also=also)


async def _workspaces(context: ReportContext, call: CallContext) -> Mapping[str | None, str | None]:
    """The workspace of each API key, where it is known."""
    names = await context.directory.names(API_KEY, call)
    if names is None:
        raise UnavailableError(
            "The list of API keys is unavailable at the moment; without it spend cannot be allocated to keys, because "
            "it names the workspace of each key. Try again in a minute, or group by account_id or workspace_id."
        )
    return {key: name.workspace_id for key, name in names.items() if name.workspace_id is not UNKNOWN_WORKSPACE}
