"""How many tokens did we use: the usage report, by any of its dimensions."""

from collections.abc import Callable, Sequence

from usage_cost_mcp.dimensions import USAGE
from usage_cost_mcp.errors import unknown
from usage_cost_mcp.rows import Number, Sums

from .series_report import Line, Measure, SeriesReport

ALL = "all"
DEFAULT_MEASURES = ("input_tokens", "output_tokens")

_INPUTS = slice(0, 4)
"""Where a row of the usage report holds its four disjoint counts of input tokens."""
_CACHE_READ = USAGE.measures.index("cache_read_input_tokens")
_OUTPUT = USAGE.measures.index("output_tokens")


def input_tokens(sums: Sums) -> int:
    """All input: uncached, read from the cache, and written to it."""
    return int(sum(sums[_INPUTS]))


def cache_read_tokens(sums: Sums) -> int:
    """The input that was read from the cache."""
    return int(sums[_CACHE_READ])


def all_tokens(sums: Sums) -> int:
    """Input and output."""
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
            for index, name in enumerate(USAGE.measures)
        ),
    )
}


def parse_measures(names: Sequence[str]) -> list[Measure]:
    """The measures to show per bucket; "all" stands for every one.

    Raises:
        QuestionError: For a name that is not a measure.
    """
    if ALL in names:
        return list(MEASURES.values())
    for name in names:
        if name not in MEASURES:
            raise unknown("measures", name, [*MEASURES, ALL])
    return [MEASURES[name] for name in dict.fromkeys(names or DEFAULT_MEASURES)]


def _headline(totals: Sums, lines: Sequence[Line]) -> str:
    said = f"{input_tokens(totals):,} input, {totals[_OUTPUT]:,} output"
    if not lines or not lines[0].key or not all_tokens(totals):
        return said
    share = round(100 * all_tokens(lines[0].sums) / all_tokens(totals))
    return f"{said}; largest: {lines[0].label} ({share}% of all tokens)"


def _rank(sums: Sums) -> Number:
    return all_tokens(sums) or sums[-1]


TOKEN_REPORT = SeriesReport(
    name="token_usage",
    title="Tokens",
    report=USAGE,
    totals=list(MEASURES.values()),
    rank=_rank,
    headline=_headline,
)
