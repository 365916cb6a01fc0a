"""Spend by the dimensions of the cost report, or allocated to API keys, accounts and service accounts."""

from collections.abc import Iterator
from decimal import Decimal

from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.model.dimensions import PRIORITY_TIERS, Filters
from usage_cost_mcp.model.money import format_dollars, format_exact
from usage_cost_mcp.model.query_schema import SPEND_QUERY
from usage_cost_mcp.model.series import matching

from . import notes
from .answers import Note
from .credits import before_credits, credit_notes, share_of
from .series_report import Measure, SeriesDefinition, SeriesResult
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
    share = share_of(charged[largest], sum(charged.values(), Decimal(0)))
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


SPEND_REPORT = SeriesDefinition(
    name="spend",
    title="Spend",
    schema=SPEND_QUERY,
    shown=[COST],
    totals=[COST],
    sort_key=lambda sums: sums[0],
    headline=_headline,
    caveats=caveats,
    has_credits=True,
    is_unreported=is_unreported,
)
