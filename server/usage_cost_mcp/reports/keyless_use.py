"""Splits the use without an API key: sign-ins, service accounts, and the Console, which has neither.

A note tells the parts, for at most one request more. The group stays one group: its key is null in the report.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fractions import Fraction

from usage_cost_mcp.analysis.apportionment import apportion
from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.errors import InvalidQueryError, KeyRefusedError, UpstreamError
from usage_cost_mcp.model.dimensions import API_KEY, IDENTITIES, SEARCHES, WORKSPACE, Filters, measure_of_cost
from usage_cost_mcp.model.money import exact, format_dollars
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import Key, Number, Sums
from usage_cost_mcp.model.series import Table, add_up, aggregate
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT, Width
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import run_in_thread_if

from .allocated_spend import OFFLOAD_ROWS
from .answers import Note
from .context import ReportContext
from .query import Query
from .wording import whole_percent

SECONDS = 10
"""How long an answer waits for the accounts, of which a large organization has thousands."""

_ACCOUNTS = IDENTITIES[1:]
_NO_KEY: Filters = {API_KEY: frozenset({None})}
_SIGN_INS, _SERVICE_ACCOUNTS, _CONSOLE, _UNKNOWN = "sign-ins", "service accounts", "Console", "unknown"


def has_keyless_group(query: Query, groups: Iterable[Key]) -> bool:
    """Whether there is a group without a key that may hold use of several kinds."""
    if API_KEY not in query.group_by or {*query.group_by, *query.filter_by} >= set(_ACCOUNTS):
        return False
    place = query.group_by.index(API_KEY)
    return any(group[place] is None for group in groups)


async def keyless_count_notes(
    _held: CacheResult,
    query: Query,
    filters: Filters,
    days: Period,
    context: ReportContext,
    call: CallContext,
    *,
    size: Callable[[Sums], int],
    unit: str,
) -> list[Note]:
    """The parts of a count without a key; no note if the filters leave no room for the accounts."""
    usage = await _usage([*query.filter_by], query.width, days, context, call)
    if usage is None:
        return []
    table = aggregate(
        usage.within(query.period).days,
        USAGE_REPORT,
        query.period,
        "total",
        context.now(),
        _ACCOUNTS,
        {**filters, **_NO_KEY},
    )
    parts: Counter[str] = Counter()
    for accounts, columns in table.groups.items():
        parts[_kind(accounts)] += size(add_up(columns))
    return _notes(parts, lambda count: f"{count:,} {unit}")


async def keyless_cost_notes(
    held: CacheResult, query: Query, filters: Filters, days: Period, context: ReportContext, call: CallContext
) -> list[Note]:
    """The parts of allocated costs without a key, by tokens of the same type, model, and tier or workspace."""
    scoped = context.workspaces is not None or WORKSPACE in {*query.group_by, *query.filter_by}
    cell = (WORKSPACE, "model") if scoped else ("model", "service_tier")
    usage = await _usage(cell, "1d", days, context, call)
    if usage is None:
        return []
    now = context.now()

    def parts() -> Mapping[str, Decimal]:
        costs = aggregate(
            held.days, COST_REPORT, days, "day", now, [*cell, "cost_type", "token_type"], {**filters, **_NO_KEY}
        )
        used = aggregate(usage.days, USAGE_REPORT, days, "day", now, [*cell, *_ACCOUNTS], _NO_KEY)
        return _cost_parts(costs, used, by_workspace=scoped)

    split = await run_in_thread_if(parts, when=held.row_count + usage.row_count > OFFLOAD_ROWS)
    return _notes(split, format_dollars, estimated=" (estimated by tokens)")


async def _usage(
    dimensions: Iterable[str], width: Width, days: Period, context: ReportContext, call: CallContext
) -> CacheResult | None:
    """Usage by key, account and service account, and other dimensions; None if it cannot be had together, or in time.

    Raises:
        KeyRefusedError: The Admin API rejected the key.
    """
    scope = () if context.workspaces is None else (WORKSPACE,)
    try:
        view = USAGE_REPORT.views_for({*IDENTITIES, *dimensions, *scope})[-1]
        async with asyncio.timeout(SECONDS):
            return await context.cache.days(USAGE_REPORT, [view], width, days, call)
    except KeyRefusedError:
        raise
    except (InvalidQueryError, UpstreamError, TimeoutError):
        return None


def _cost_parts(costs: Table, used: Table, *, by_workspace: bool) -> Mapping[str, Decimal]:
    """The cost of each kind, from day tables: costs by cell, cost_type and token_type, usage by cell and accounts."""
    weights: defaultdict[tuple[int, Key, str], Counter[str]] = defaultdict(Counter)
    measures = (*USAGE_REPORT.measure_names, *used.more_inputs)
    for (*cell, account, service_account), columns in used.groups.items():
        kind = _kind((account, service_account))
        for day, sums in enumerate(columns):
            for measure, count in zip(measures, sums, strict=True):
                # The cost of a search has neither a model nor a tier.
                place = (cell[0] if by_workspace else None, None) if measure == SEARCHES else tuple(cell)
                if count:
                    weights[day, place, measure][kind] += int(count)
    parts: defaultdict[str, Decimal] = defaultdict(Decimal)
    with exact():
        for (*cell, cost_type, token_type), columns in costs.groups.items():
            measure = measure_of_cost(cost_type, token_type) or ""
            for day, (cost, *_) in enumerate(columns):
                by_kind = weights.get((day, tuple(cell), measure)) or {_UNKNOWN: 1}
                for kind, part in apportion(Decimal(cost), by_kind).items():
                    parts[kind] += part
    return parts


def _kind(accounts: Key) -> str:
    account, service_account = accounts
    return _SIGN_INS if account else _SERVICE_ACCOUNTS if service_account else _CONSOLE


def _notes(parts: Mapping[str, Number], formatted: Callable[[Number], str], estimated: str = "") -> list[Note]:
    """The parts, the largest first; no note if there is nothing or nothing is known."""
    whole = sum(map(Fraction, parts.values()))
    if whole <= 0 or set(parts) == {_UNKNOWN} or min(parts.values()) < 0:
        return []
    largest = sorted((kind for kind in parts if parts[kind]), key=lambda kind: (-parts[kind], kind))
    named = ", ".join(
        f"{kind} {formatted(parts[kind])} ({whole_percent(Fraction(parts[kind]) / whole)})" for kind in largest
    )
    return [Note(code="no_api_key", message=f"Without an API key{estimated}: {named}.")]
