"""Spend by API key, account or service account: each day's cost, allocated by the usage report."""

from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import replace
from typing import Any

from usage_cost_mcp.analysis.allocation import (
    WORKSPACE_KEY_VIEW,
    AllocationRule,
    allocate_spend,
    usage_by,
    usage_by_key,
)
from usage_cost_mcp.cache import CacheResult, combine_statuses
from usage_cost_mcp.errors import UnavailableError
from usage_cost_mcp.model.dimensions import API_KEY
from usage_cost_mcp.model.names import UNKNOWN_WORKSPACE
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import DayRows
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT, UpstreamReport
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import gather_or_cancel, gather_pair, run_in_thread_if

from .context import ReportContext

OFFLOAD_ROWS = 2_000
"""With more rows than this, allocation runs in a thread so that other calls are not blocked."""


async def allocated_days(
    rule: AllocationRule, period: Period, context: ReportContext, call: CallContext
) -> CacheResult:
    """The spend of a period with the rule's dimension added.

    Raises:
        UpstreamError: If any rows, or for API keys their list, cannot be fetched.
    """
    parts, workspaces = await gather_pair(
        gather_or_cancel(_fetches(rule, period, context, call)), _workspaces(rule, context, call)
    )

    def allocate(spend: DayRows, used: DayRows, *more: DayRows) -> DayRows:
        usage = usage_by(rule, used) if not more else usage_by_key(used, more[0], workspaces, *more[1:])
        oldest = min(day.fetched_at for day in (spend, used, *more))
        return replace(allocate_spend(spend, rule, usage), fetched_at=oldest)

    days = await run_in_thread_if(
        lambda: [allocate(*days) for days in zip(*(part.days for part in parts), strict=True)],
        when=sum(part.row_count for part in parts) > OFFLOAD_ROWS,
    )
    stale_reason = next((part.stale_reason for part in parts if part.stale_reason), "")
    return CacheResult(days, combine_statuses(part.status for part in parts), stale_reason)


def _fetches(
    rule: AllocationRule, period: Period, context: ReportContext, call: CallContext
) -> Iterator[Coroutine[Any, Any, CacheResult]]:
    """The cost report, the usage that it is allocated by, and for API keys the usage that shows their workspaces."""

    def days(report: UpstreamReport, view: tuple[str, ...]) -> Coroutine[Any, Any, CacheResult]:
        return context.cache.days(report, [view], "1d", period, call)

    yield days(COST_REPORT, COST_REPORT.base_view)
    if rule.dimension != API_KEY:
        yield days(USAGE_REPORT, rule.view)
        return
    yield context.cache.key_usage_days(USAGE_REPORT, rule.view, period, call)
    yield days(USAGE_REPORT, USAGE_REPORT.base_view)
    if context.workspaces is not None:
        yield days(USAGE_REPORT, WORKSPACE_KEY_VIEW)


async def _workspaces(
    rule: AllocationRule, context: ReportContext, call: CallContext
) -> Mapping[str | None, str | None]:
    """The workspace of each API key, where it is known."""
    if rule.dimension != API_KEY:
        return {}
    names = await context.directory.names(API_KEY, call)
    if names is None:
        raise UnavailableError(
            "The list of API keys is unavailable at the moment; without it spend cannot be allocated to keys, because "
            "it names the workspace of each key. Try again in a minute, or group by account_id or workspace_id."
        )
    return {key: name.workspace_id for key, name in names.items() if name.workspace_id is not UNKNOWN_WORKSPACE}
