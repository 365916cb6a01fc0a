"""Spend by the dimensions of the cost report, or allocated to API keys, accounts and service accounts."""

from collections.abc import Iterator

from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.model.dimensions import PRIORITY_TIERS, Filters
from usage_cost_mcp.model.money import exact_sum, format_dollars, format_exact
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.query_schema import SPEND_QUERY
from usage_cost_mcp.model.series import matching
from usage_cost_mcp.runtime.call_context import CallContext

from . import notes
from .allocated_spend import allocated_spend
from .answers import Note
from .billing import COUNTED, find_bill, lookback
from .context import ReportContext
from .credits import before_credits, credit_notes, share_of
from .keyless_use import keyless_cost_notes
from .query import Query
from .series_report import Fetched, Measure, SeriesDefinition, SeriesResult
from .wording import whole_percent

COST = Measure("cost", "USD", lambda sums: format_exact(sums[0]))


def _headline(result: SeriesResult) -> str:
    """The total and the largest group; where there are credits, the largest before them."""
    total = format_dollars(result.totals[0])
    costs = {group: sums[0] for group, sums in result.group_sums.items()}
    if not result.query.group_by or not costs:
        return total
    charged = before_credits(costs, result.credits)
    largest = max(charged, key=lambda group: charged[group])
    if not charged[largest]:
        largest = min(costs, key=lambda group: costs[group])
        return f"{total}; largest: {result.label(largest)} {format_dollars(costs[largest])}"
    share = share_of(charged[largest], exact_sum(charged.values()))
    subject = "largest before credits" if result.credits else "largest"
    percent = f" ({whole_percent(share)})" if share is not None else ""
    return f"{total}; {subject}: {result.label(largest)} {format_dollars(charged[largest])}{percent}"


def caveats(held: CacheResult, filters: Filters) -> Iterator[Note]:
    if is_unreported(held, filters):
        yield Note(
            code=notes.NOT_IN_ANY_REPORT,
            message="Anthropic does not report Priority Tier cost: it is unknown, not zero.",
        )
    elif None in filters.get("cost_type", {None}) or "tokens" in filters.get("cost_type", {None}):
        yield Note(
            code="priority_tier_excluded",
            message="Excludes Priority Tier cost, which Anthropic does not report. Its tokens are in get_token_usage.",
        )
    yield from credit_notes(held, filters)


def is_unreported(held: CacheResult, filters: Filters) -> bool:
    """Whether the filters leave only the Priority Tier, of which the cost report has nothing."""
    tiers = filters.get("service_tier")
    return tiers is not None and tiers <= PRIORITY_TIERS and not any(map(any, matching(held.days, filters)))


async def _fetch(query: Query, days: Period, context: ReportContext, call: CallContext) -> Fetched:
    """The rows of the cost report, allocated if the query asks for a dimension that they lack."""
    today = context.today()
    also = lookback(days, today) if days.start < today else ()
    if rule := query.allocation_rule:
        allocated = await allocated_spend(rule, days, also, context, call)
        bill = await find_bill(context, allocated.spend, call, allocated.usage)
        mixed = await notes.mixed_price_notes(allocated.held.days, {})
        return Fetched(
            allocated.held,
            lambda filters: [
                *notes.allocation_notes(rule, allocated.held.days, allocated.assumed, filters),
                *mixed,
            ],
            bill,
            COUNTED,
        )
    spend = await context.cache.days(query.schema.report, query.views, query.width, days, call, also=also)
    return Fetched(spend.of(days), bill=await find_bill(context, spend, call), bill_effect=COUNTED)


SPEND_REPORT = SeriesDefinition(
    name="spend",
    title="Spend",
    schema=SPEND_QUERY,
    shown=[COST],
    totals=[COST],
    sort_key=lambda sums: sums[0],
    headline=_headline,
    caveats=caveats,
    fetch=_fetch,
    keyless_notes=keyless_cost_notes,
    has_credits=True,
    is_unreported=is_unreported,
)
