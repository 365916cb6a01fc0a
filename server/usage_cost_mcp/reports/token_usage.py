"""Tokens and web searches by the dimensions of the usage report."""

from collections.abc import Callable, Iterator, Sequence

from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.errors import unknown_value_error
from usage_cost_mcp.model.dimensions import PRIORITY_TIERS, Filters
from usage_cost_mcp.model.query_schema import USAGE_QUERY
from usage_cost_mcp.model.rows import Sums
from usage_cost_mcp.model.series import matching
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT

from .answers import Note
from .series_report import GroupLine, Measure, SeriesDefinition

ALL = "all"
DEFAULT_MEASURES = ("input_tokens", "output_tokens")

_INPUTS = slice(0, 4)
"""The four disjoint counts of input tokens in a row of the usage report."""
_CACHE_READ = USAGE_REPORT.measure_names.index("cache_read_input_tokens")
_OUTPUT = USAGE_REPORT.measure_names.index("output_tokens")


def input_tokens(sums: Sums) -> int:
    """All input: uncached, read from the cache, and written to it."""
    return int(sum(sums[_INPUTS]))


def cache_read_tokens(sums: Sums) -> int:
    return int(sums[_CACHE_READ])


def all_tokens(sums: Sums) -> int:
    return input_tokens(sums) + int(sums[_OUTPUT])


def _count(index: int) -> Callable[[Sums], int]:
    return lambda sums: int(sums[index])


INPUT_TOKENS = Measure("input_tokens", "tokens", input_tokens)

MEASURES = {
    measure.name: measure
    for measure in (
        INPUT_TOKENS,
        *(
            Measure(name, "requests" if name.endswith("requests") else "tokens", _count(index))
            for index, name in enumerate(USAGE_REPORT.measure_names)
        ),
    )
}


def parse_measures(names: Sequence[str]) -> list[Measure]:
    """The measures to show per bucket; "all" means every measure.

    Raises:
        InvalidQueryError: For a name that is not a measure.
    """
    if ALL in names:
        return list(MEASURES.values())
    for name in names:
        if name not in MEASURES:
            raise unknown_value_error("measures", name, [*MEASURES, ALL])
    return [MEASURES[name] for name in dict.fromkeys(names)]


def token_report(names: Sequence[str]) -> SeriesDefinition:
    """The report with the named measures per bucket; groups are ranked by the first.

    Without names it shows input and output tokens, and ranks by their sum.

    Raises:
        InvalidQueryError: For a name that is not a measure.
    """
    chosen = parse_measures(names)
    shown = chosen or [MEASURES[name] for name in DEFAULT_MEASURES]
    leading = chosen[0] if chosen else Measure("tokens", "tokens", all_tokens)

    def size(sums: Sums) -> int:
        return int(leading.of(sums) or 0)

    def headline(totals: Sums, lines: Sequence[GroupLine]) -> str:
        counts = ", ".join(f"{measure.of(totals):,} {measure.name.replace('_', ' ')}" for measure in shown)
        if not lines or not lines[0].key or not size(totals):
            return counts
        share = round(100 * size(lines[0].sums) / size(totals))
        return f"{counts}; largest: {lines[0].label} ({share}% of {leading.name.replace('_', ' ')})"

    return SeriesDefinition(
        name="token_usage",
        title="Tokens",
        schema=USAGE_QUERY,
        shown=shown,
        totals=list(MEASURES.values()),
        sort_key=size,
        headline=headline,
        caveats=_caveats,
    )


def _caveats(held: CacheResult, filters: Filters) -> Iterator[Note]:
    days = [day for day in held.days if "service_tier" in day.dimensions]
    tiers = PRIORITY_TIERS & filters.get("service_tier", PRIORITY_TIERS)
    if any(map(any, matching(days, {**filters, "service_tier": tiers}))):
        yield Note(
            code="priority_tier_included",
            message="Includes Priority Tier tokens, whose cost Anthropic does not report: do not divide cost by these "
            "counts.",
        )
