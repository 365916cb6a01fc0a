"""Answers for a person at a terminal: aligned tables, a bar per day, a sparkline per group."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from .reports.answer import SeriesAnswer, Value
from .reports.dimension_values import ValuesAnswer
from .reports.effective_prices import PricesAnswer
from .reports.spend_anomalies import AnomaliesAnswer
from .reports.spend_comparison import ComparisonAnswer
from .reports.spend_forecast import ForecastAnswer
from .tools.tables import (
    MOST_COLUMNS,
    anomalies_tables,
    buckets_with_totals,
    comparison_tables,
    cross_table,
    forecast_tables,
    groups_with_totals,
    price_tables,
    values_table,
)
from .tools.text import closing

BAR_WIDTH = 32
_A_COURSE = 4
"""The fewest buckets that a sparkline says something about."""
_SPARKS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def render(structured: Mapping[str, Any]) -> str | None:
    """The structured half of an answer as a person reads it; None for an answer that is no table."""
    if "series" in structured:
        series = SeriesAnswer.model_validate(structured)
        return "\n\n".join([series.summary, *_series(series), closing(series)])
    if "values" in structured:
        values = ValuesAnswer.model_validate(structured)
        return "\n\n".join([values.summary, aligned(values_table(values)), closing(values)])
    match structured.get("report"):
        case "spend_comparison":
            answer = ComparisonAnswer.model_validate(structured)
            tables = comparison_tables(answer)
        case "spend_forecast":
            answer = ForecastAnswer.model_validate(structured)
            tables = forecast_tables(answer)
        case "spend_anomalies":
            answer = AnomaliesAnswer.model_validate(structured)
            tables = anomalies_tables(answer)
        case "effective_prices":
            answer = PricesAnswer.model_validate(structured)
            tables = price_tables(answer)
        case _:
            return None
    return "\n\n".join([answer.summary, *map(aligned, tables), closing(answer)])


def _series(answer: SeriesAnswer) -> list[str]:
    """Few buckets side by side; else the groups with a line of their course, and the buckets with bars."""
    first, unit = next(iter(answer.measures.items()))
    courses = ["", *(sparkline(each.values[first]) for each in answer.series if len(answer.buckets) >= _A_COURSE)]
    if not answer.group_by:
        return [_with_bars(answer, first, unit)]
    if len(answer.buckets) == 1:
        return [aligned(groups_with_totals(answer))]
    if len(answer.measures) == 1 and len(answer.buckets) <= MOST_COLUMNS:
        return [aligned(cross_table(answer, first), courses)]
    return [aligned(groups_with_totals(answer), courses), _with_bars(answer, first, unit)]


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


def sparkline(values: Sequence[Value]) -> str:
    """One character per value."""
    return "".join(_SPARKS[size] for size in _scaled(values, len(_SPARKS) - 1))


def _scaled(values: Sequence[Value], most: int, longest: float | None = None) -> list[int]:
    """Sizes from 0 to `most`, for drawing only."""
    numbers = [max(0.0, float(value or 0)) for value in values]
    largest = longest or max(numbers)
    return [round(most * number / largest) if largest else 0 for number in numbers]
