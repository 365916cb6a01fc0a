"""Answers for a person at a terminal: aligned tables, a bar per day, a step per cause, a sparkline per group."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise, zip_longest
from typing import Any

from usage_cost_mcp.reports.answers import SeriesAnswer, Value
from usage_cost_mcp.reports.dimension_values import ValuesAnswer
from usage_cost_mcp.reports.effective_prices import PricesAnswer
from usage_cost_mcp.reports.spend_anomalies import AnomaliesAnswer
from usage_cost_mcp.reports.spend_comparison import ComparisonAnswer
from usage_cost_mcp.reports.spend_forecast import ForecastAnswer

from .markdown import closing
from .tables import (
    MAX_COLUMNS,
    TableAnswer,
    buckets_with_totals,
    comparison_tables,
    cross_table,
    groups_with_totals,
    readable_value,
    tables_of,
)

BAR_WIDTH = 32
_MIN_SPARKLINE_BUCKETS = 4
"""The fewest buckets that a sparkline says something about."""
_MAX_STEPS = 10
"""How many days of a forecast are drawn, at most."""
_SPARKS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def render(structured: Mapping[str, Any]) -> str | None:
    """The structured half of an answer as a person reads it; None for an answer that is no table."""
    if "series" in structured:
        series = SeriesAnswer.model_validate(structured)
        return "\n\n".join([series.summary, *_series(series), closing(series, str)])
    named = "values" if "values" in structured else structured.get("report", "")
    if named not in _KINDS:
        return None
    answer = _KINDS[named].model_validate(structured)
    tables = _comparison(answer) if isinstance(answer, ComparisonAnswer) else list(map(aligned, tables_of(answer)))
    course = [_forecast_path(answer)] if isinstance(answer, ForecastAnswer) else []
    return "\n\n".join([answer.summary, *tables, *course, closing(answer, str)])


_KINDS: Mapping[str, type[TableAnswer]] = {
    "values": ValuesAnswer,
    "spend_comparison": ComparisonAnswer,
    "spend_forecast": ForecastAnswer,
    "spend_anomalies": AnomaliesAnswer,
    "effective_prices": PricesAnswer,
}


def _series(answer: SeriesAnswer) -> list[str]:
    """Few buckets side by side; else the groups with a line of their course, and the buckets with bars."""
    first, unit = next(iter(answer.measures.items()))
    courses = [
        "",
        *(sparkline(each.values[first]) for each in answer.series if len(answer.buckets) >= _MIN_SPARKLINE_BUCKETS),
    ]
    if not answer.group_by:
        return [_with_bars(answer, first, unit)]
    if len(answer.buckets) == 1:
        return [aligned(groups_with_totals(answer))]
    if len(answer.measures) == 1 and len(answer.buckets) <= MAX_COLUMNS:
        return [aligned(cross_table(answer, first), courses)]
    return [aligned(groups_with_totals(answer), courses), _with_bars(answer, first, unit)]


def _comparison(answer: ComparisonAnswer) -> list[str]:
    """The causes, where these are known, as steps from nothing to the whole change; else the groups."""
    first, *others = comparison_tables(answer)
    changes = [float(part.change) for part in answer.drivers or answer.groups]
    return [aligned(first, ["", *waterfall(changes)]), *map(aligned, others)]


def _forecast_path(answer: ForecastAnswer) -> str:
    """How the total grows, in a few days of the period: solid where it is known, light where it is expected."""
    last = len(answer.buckets) - 1
    shown = sorted(range(last, -1, -(last // _MAX_STEPS + 1)))
    days, totals = answer.buckets, answer.cumulative["expected"]
    longest = max(float(amount or 0) for amount in (*totals, answer.budget and answer.budget.amount))
    drawn = [
        bar if answer.complete_until and days[place] <= answer.complete_until else "░" * len(bar)
        for place, bar in zip(shown, bars([totals[place] for place in shown], longest), strict=True)
    ]
    rows = [[str(days[place]), readable_value(totals[place], "USD")] for place in shown]
    return aligned([["until", "cumulative"], *rows], ["", *drawn])


def _with_bars(answer: SeriesAnswer, measure: str, unit: str) -> str:
    if len(answer.buckets) == 1:
        return aligned(buckets_with_totals(answer))
    values = answer.bucket_totals[measure]
    return aligned(buckets_with_totals(answer), ["", *bars(values, 1.0 if unit.startswith("ratio") else None)])


def aligned(rows: Sequence[Sequence[str]], margin: Sequence[str] = ()) -> str:
    """Columns of equal width: the first to the left, the others to the right, then the margin's drawing."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]
    drawn = [f"  {line}  {drawing}".rstrip() for line, drawing in zip_longest(lines, margin, fillvalue="")]
    return "\n".join([drawn[0], "  " + "-" * (len(lines[0])), *drawn[1:]])


def bars(values: Sequence[Value], longest: float | None = None) -> list[str]:
    """A bar per value, as long as its share of the longest, by default the largest; none for what is not positive."""
    return [_bar(8 * BAR_WIDTH * size // 1000) for size in _scaled(values, 1000, longest)]


def _bar(eighths: int) -> str:
    whole, rest = divmod(eighths, 8)
    return "█" * whole + _EIGHTHS[rest].strip()


def waterfall(changes: Sequence[float]) -> list[str]:
    """A bar per change from where the one before ends, light where it goes back, and one for all of them together."""
    ends = [*accumulate(changes, initial=0.0)]
    low, span = min(ends), max(ends) - min(ends) or 1.0
    drawn: list[str] = []
    for start, end in [*pairwise(ends), (0.0, ends[-1])]:
        left, right = (round(BAR_WIDTH * (each - low) / span) for each in sorted((start, end)))
        drawn.append(" " * left + ("█" if end > start else "░") * (right - left))
    return drawn


def sparkline(values: Sequence[Value]) -> str:
    """One character per value."""
    return "".join(_SPARKS[size] for size in _scaled(values, len(_SPARKS) - 1))


def _scaled(values: Sequence[Value], most: int, longest: float | None = None) -> list[int]:
    """Sizes from 0 to `most`, for drawing only."""
    numbers = [max(0.0, float(value or 0)) for value in values]
    largest = longest or max(numbers)
    return [round(most * number / largest) if largest else 0 for number in numbers]
