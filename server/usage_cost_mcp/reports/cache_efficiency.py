"""How much of our input came from the cache."""

from collections.abc import Sequence

from usage_cost_mcp.dimensions import USAGE
from usage_cost_mcp.rows import Sums

from .series_report import Line, Measure, SeriesReport
from .token_usage import MEASURES, cache_read_tokens, input_tokens

_DIGITS = 9


def cache_hit_ratio(sums: Sums) -> float | None:
    """Cache reads divided by all input, from 0 to 1, to nine digits; None where there was no input."""
    total = input_tokens(sums)
    return round(cache_read_tokens(sums) / total, _DIGITS) if total else None


CACHE_HIT_RATIO = Measure("cache_hit_ratio", "ratio from 0 to 1", cache_hit_ratio)


def _headline(totals: Sums, lines: Sequence[Line]) -> str:
    ratio = cache_hit_ratio(totals)
    if ratio is None:
        return "no input tokens, so there is no ratio"
    said = f"{ratio:.1%} of {input_tokens(totals):,} input tokens were read from the cache"
    if not lines or not lines[0].key:
        return said
    return f"{said}; the largest group, {lines[0].label}, has {cache_hit_ratio(lines[0].sums) or 0:.1%}"


CACHE_REPORT = SeriesReport(
    name="cache_hit_ratio",
    title="Cache hit ratio",
    report=USAGE,
    shown=[CACHE_HIT_RATIO],
    totals=[
        CACHE_HIT_RATIO,
        *(measure for name, measure in MEASURES.items() if name.endswith("input_tokens")),
    ],
    rank=input_tokens,
    headline=_headline,
)
