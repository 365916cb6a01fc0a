"""Tokens and web searches by the dimensions of the usage report."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial

from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.errors import unknown_value_error
from usage_cost_mcp.model.dimensions import MORE_INPUTS_PREFIX, PRIORITY_TIERS, SEARCHES, Filters
from usage_cost_mcp.model.query_schema import USAGE_QUERY
from usage_cost_mcp.model.rows import Key, Sums
from usage_cost_mcp.model.series import matching
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT

from .answers import Note
from .keyless_use import keyless_count_notes
from .series_report import Measure, SeriesDefinition, SeriesResult, count_measure
from .wording import enumeration, whole_percent

ALL = "all"
DEFAULT_MEASURES = ("input_tokens", "output_tokens")

_INPUTS, _MORE_INPUTS = slice(0, 4), slice(len(USAGE_REPORT.measures), None)
"""The disjoint counts of input tokens in a row of the usage report: the documented ones, and any others at its end."""
_CACHE_READ = USAGE_REPORT.measure_names.index("cache_read_input_tokens")
_OUTPUT = USAGE_REPORT.measure_names.index("output_tokens")
_SEARCHES = USAGE_REPORT.measure_names.index(SEARCHES)


def input_tokens(sums: Sums) -> int:
    """All input: uncached, read from the cache, and written to it."""
    return int(sum(sums[_INPUTS]) + sum(sums[_MORE_INPUTS]))


def cache_read_tokens(sums: Sums) -> int:
    return int(sums[_CACHE_READ])


def all_tokens(sums: Sums) -> int:
    return input_tokens(sums) + int(sums[_OUTPUT])


INPUT_TOKENS = Measure("input_tokens", "tokens", input_tokens)

MEASURES = {
    measure.name: measure
    for measure in (
        INPUT_TOKENS,
        *(count_measure(name, place) for place, name in enumerate(USAGE_REPORT.measure_names)),
    )
}


def parse_measures(names: Sequence[str]) -> list[Measure]:
    """The measures to show per bucket; "all" means every measure.

    Cache writes that are not documented are left out: which there are is known when the rows are.

    Raises:
        InvalidQueryError: For a name that is not a measure.
    """
    if ALL in names:
        return list(MEASURES.values())
    known = [name for name in dict.fromkeys(names) if not name.startswith(MORE_INPUTS_PREFIX)]
    for name in known:
        if name not in MEASURES:
            raise unknown_value_error("measures", name, [*MEASURES, ALL])
    return [MEASURES[name] for name in known]


def _named_more_inputs(names: Sequence[str], more_inputs: Sequence[str]) -> Sequence[str]:
    """The cache writes that are not documented and that are to be shown per bucket.

    Raises:
        InvalidQueryError: For a name that the report does not have.
    """
    if ALL in names:
        return more_inputs
    named = [name for name in dict.fromkeys(names) if name.startswith(MORE_INPUTS_PREFIX)]
    for name in named:
        if name not in more_inputs:
            raise unknown_value_error("measures", name, [*MEASURES, *more_inputs, ALL])
    return named


def token_report(names: Sequence[str]) -> SeriesDefinition:
    """The report with the named measures per bucket, by default input and output tokens; the first ranks groups.

    Raises:
        InvalidQueryError: For a name that is not a measure.
    """
    shown = parse_measures(names) or parse_measures(DEFAULT_MEASURES)

    def size(sums: Sums) -> int:
        return _counted(shown[0].name, sums)

    def headline(result: SeriesResult) -> str:
        counts = ", ".join(f"{measure.of(result.totals):,} {_words(measure.name)}" for measure in shown)
        if not result.query.group_by:
            return counts
        most: defaultdict[Key, list[str]] = defaultdict(list)
        for name, group in result.leaders(shown).items():
            share = Fraction(_counted(name, result.group_sums[group]), _counted(name, result.totals))
            most[group].append(f"{_words(name)} ({whole_percent(share)})")
        leaders = (f"; most {enumeration(names)}: {result.label(group)}" for group, names in most.items())
        return f"{counts}{''.join(leaders)}"

    return SeriesDefinition(
        name="token_usage",
        title="Tokens",
        schema=USAGE_QUERY,
        shown=shown,
        totals=list(MEASURES.values()),
        sort_key=size,
        keyless_notes=partial(keyless_count_notes, size=size, unit=_words(shown[0].name)),
        ranked_measures=shown,
        more_inputs=lambda more_inputs: _named_more_inputs(names, more_inputs),
        headline=headline,
        caveats=partial(_caveats, searches=MEASURES[SEARCHES] in shown),
    )


def _counted(measure: str, sums: Sums) -> int:
    return int(MEASURES[measure].of(sums) or 0)


def _words(measure: str) -> str:
    return measure.replace("_", " ")


def _caveats(held: CacheResult, filters: Filters, *, searches: bool) -> Iterator[Note]:
    if searches and any(sums[_SEARCHES] for sums in matching(held.days, filters)):
        yield Note(
            code="searches_run",
            message=f"{SEARCHES} counts the searches that ran. Anthropic may bill fewer, as failed ones are free: "
            "their cost is in get_spend, cost_type web_search.",
        )
    if any("service_tier" not in day.dimensions for day in held.days):
        yield Note(
            code="priority_tier_included",
            message="May include Priority Tier tokens, whose cost Anthropic does not report: the tier is not known "
            "by these dimensions.",
        )
        return
    tiers = PRIORITY_TIERS & filters.get("service_tier", PRIORITY_TIERS)
    if any(map(any, matching(held.days, {**filters, "service_tier": tiers}))):
        yield Note(
            code="priority_tier_included",
            message="Includes Priority Tier tokens, whose cost Anthropic does not report: do not divide cost by these "
            "counts.",
        )
