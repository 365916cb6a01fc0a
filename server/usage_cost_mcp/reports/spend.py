"""Spend by the dimensions of the cost report, or allocated to API keys, accounts and service accounts."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.model.dimensions import PRIORITY_TIERS, Filters
from usage_cost_mcp.model.money import exact, format_dollars, format_exact
from usage_cost_mcp.model.query_schema import SPEND_QUERY
from usage_cost_mcp.model.rows import Sums
from usage_cost_mcp.model.series import matching

from . import notes
from .answers import Note
from .series_report import GroupLine, Measure, SeriesDefinition

COST = Measure("cost", "USD", lambda sums: format_exact(sums[0]))


def _headline(totals: Sums, lines: Sequence[GroupLine]) -> str:
    total = totals[0]
    if not lines or not lines[0].key:
        return format_dollars(total)
    largest = lines[0].sums[0]
    share = f" ({round(100 * largest / total)}%)" if 0 < largest <= total else ""
    return f"{format_dollars(total)}; largest: {lines[0].label} {format_dollars(largest)}{share}"


def caveats(held: CacheResult, filters: Filters) -> Iterator[Note]:
    if filters.get("service_tier", {None}) <= PRIORITY_TIERS:
        yield Note(
            code=notes.NOT_IN_ANY_REPORT,
            message="Anthropic does not report Priority Tier cost; it is not included.",
        )
    elif None in filters.get("cost_type", {None}) or "tokens" in filters.get("cost_type", {None}):
        yield Note(
            code="priority_tier_excluded",
            message="Excludes Priority Tier cost, which Anthropic does not report. Its tokens are in get_token_usage.",
        )
    with exact():
        credited = sum((sums[0] for sums in matching(held.days, filters) if sums[0] < 0), Decimal(0))
    if credited:
        yield Note(code="credits_included", message=f"Includes credits of {format_dollars(credited)}.")


SPEND_REPORT = SeriesDefinition(
    name="spend",
    title="Spend",
    schema=SPEND_QUERY,
    shown=[COST],
    totals=[COST],
    sort_key=lambda sums: sums[0],
    headline=_headline,
    caveats=caveats,
)
