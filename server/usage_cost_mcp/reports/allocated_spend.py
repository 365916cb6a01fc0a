"""Spend by API key, account or service account: the bill of each day, shared by what the usage report counts."""

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
"""Rows from which on they are shared out in a thread, while others are answered."""


async def allocated_days(by: AllocationRule, period: Period, context: ReportContext, call: CallContext) -> CacheResult:
    """The spend of a period with one more dimension.

    Raises:
        UpstreamError: When any of it cannot be had, whole; for API keys that includes their list.
    """
    parts, workspaces = await gather_pair(
        gather_or_cancel(_parts(by, period, context, call)), _workspaces(by, context, call)
    )

    def shared(spend: DayRows, used: DayRows, *more: DayRows) -> DayRows:
        usage = usage_by(by, used) if not more else usage_by_key(used, more[0], workspaces, *more[1:])
        oldest = min(day.fetched_at for day in (spend, used, *more))
        return replace(allocate_spend(spend, by, usage), fetched_at=oldest)

    days = await run_in_thread_if(
        lambda: [shared(*days) for days in zip(*(part.days for part in parts), strict=True)],
        when=sum(part.row_count for part in parts) > OFFLOAD_ROWS,
    )
    because = next((part.stale_reason for part in parts if part.stale_reason), "")
    return CacheResult(days, combine_statuses(part.status for part in parts), because)


def _parts(
    by: AllocationRule, period: Period, context: ReportContext, call: CallContext
) -> Iterator[Coroutine[Any, Any, CacheResult]]:
    """The bill, whose use it is shared by, and for API keys what tells their workspaces."""

    def days(report: UpstreamReport, view: tuple[str, ...]) -> Coroutine[Any, Any, CacheResult]:
        return context.cache.days(report, [view], "1d", period, call)

    yield days(COST_REPORT, COST_REPORT.base_view)
    if by.dimension != API_KEY:
        yield days(USAGE_REPORT, by.view)
        return
    yield context.cache.key_usage_days(by.view, period, call)
    yield days(USAGE_REPORT, USAGE_REPORT.base_view)
    if context.workspaces is not None:
        yield days(USAGE_REPORT, WORKSPACE_KEY_VIEW)


async def _workspaces(by: AllocationRule, context: ReportContext, call: CallContext) -> Mapping[str | None, str | None]:
    """The workspace of each API key that is known to belong to one."""
    if by.dimension != API_KEY:
        return {}
    names = await context.directory.names(API_KEY, call)
    if names is None:
        raise UnavailableError(
            "The list of API keys cannot be read at the moment; without it spend cannot be shared by key, because it "
            "tells which workspace each key belongs to. Ask again in a minute, or group by account_id or workspace_id."
        )
    return {key: name.workspace_id for key, name in names.items() if name.workspace_id is not UNKNOWN_WORKSPACE}
