"""Spend by API key, account or service account: the bill of each day, shared by what the usage report counts."""

from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import replace
from typing import Any

from usage_cost_mcp.analysis.allocation import (
    API_KEY,
    KEYS_OF_WORKSPACES,
    Attribution,
    attribute,
    usage_by,
    usage_by_key,
)
from usage_cost_mcp.cache import Held, together
from usage_cost_mcp.errors import UnavailableError
from usage_cost_mcp.model.dimensions import SPEND, USAGE, Report
from usage_cost_mcp.model.names import NOT_TOLD
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import DayRows
from usage_cost_mcp.runtime.call_context import Call
from usage_cost_mcp.runtime.concurrency import aside, both, side_by_side

from .context import Desk

MANY_ROWS = 2_000
"""Rows from which on they are shared out in a thread, while others are answered."""


async def attributed_days(by: Attribution, period: Period, desk: Desk, call: Call) -> Held:
    """The spend of a period with one more dimension.

    Raises:
        UpstreamError: When any of it cannot be had, whole; for API keys that includes their list.
    """
    parts, workspaces = await both(side_by_side(_parts(by, period, desk, call)), _workspaces(by, desk, call))

    def shared(spend: DayRows, used: DayRows, *more: DayRows) -> DayRows:
        usage = usage_by(by, used) if not more else usage_by_key(used, more[0], workspaces, *more[1:])
        oldest = min(day.fetched_at for day in (spend, used, *more))
        return replace(attribute(spend, by, usage), fetched_at=oldest)

    days = await aside(
        lambda: [shared(*days) for days in zip(*(part.days for part in parts), strict=True)],
        when=sum(part.rows for part in parts) > MANY_ROWS,
    )
    because = next((part.because for part in parts if part.because), "")
    return Held(days, together(part.status for part in parts), because)


def _parts(by: Attribution, period: Period, desk: Desk, call: Call) -> Iterator[Coroutine[Any, Any, Held]]:
    """The bill, whose use it is shared by, and for API keys what tells their workspaces."""

    def days(report: Report, view: tuple[str, ...]) -> Coroutine[Any, Any, Held]:
        return desk.ledger.days(report, [view], "1d", period, call)

    yield days(SPEND, SPEND.base)
    if by.dimension != API_KEY:
        yield days(USAGE, by.view)
        return
    yield desk.ledger.days_of_keys(by.view, period, call)
    yield days(USAGE, USAGE.base)
    if desk.workspaces is not None:
        yield days(USAGE, KEYS_OF_WORKSPACES)


async def _workspaces(by: Attribution, desk: Desk, call: Call) -> Mapping[str | None, str | None]:
    """The workspace of each API key that is known to belong to one."""
    if by.dimension != API_KEY:
        return {}
    names = await desk.directory.names(API_KEY, call)
    if names is None:
        raise UnavailableError(
            "The list of API keys cannot be read at the moment; without it spend cannot be shared by key, because it "
            "tells which workspace each key belongs to. Ask again in a minute, or group by account_id or workspace_id."
        )
    return {key: name.workspace_id for key, name in names.items() if name.workspace_id != NOT_TOLD}
