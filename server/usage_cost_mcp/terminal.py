"""Answers for a person at a terminal: aligned tables, a bar per day, a sparkline per group."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from .reports.answer import SeriesAnswer, Value
from .reports.dimension_values import ValuesAnswer
from .tools.text import closing, series_tables, values_table

BAR_WIDTH = 32
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
    return None


def _series(answer: SeriesAnswer) -> list[str]:
    first_measure = next(iter(answer.measures))
    tables: list[str] = []
    for rows in series_tables(answer):
        if rows[0][0] == answer.granularity:
            tables.append(aligned(rows, ["", *bars(answer.bucket_totals[first_measure])]))
        elif len(answer.buckets) > 1:
            tables.append(aligned(rows, ["", *(sparkline(each.values[first_measure]) for each in answer.series)]))
        else:
            tables.append(aligned(rows))
    return tables


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


def bars(values: Sequence[Value]) -> list[str]:
    """A bar per value, as long as its share of the largest; none for what is not positive."""
    return [_bar(8 * BAR_WIDTH * size // 1000) for size in _scaled(values, 1000)]


def _bar(eighths: int) -> str:
    whole, rest = divmod(eighths, 8)
    return "█" * whole + _EIGHTHS[rest].strip()


def sparkline(values: Sequence[Value]) -> str:
    """One character per value."""
    return "".join(_SPARKS[size] for size in _scaled(values, len(_SPARKS) - 1))


def _scaled(values: Sequence[Value], most: int) -> list[int]:
    """Sizes from 0 to `most`, for drawing only."""
    numbers = [max(0.0, float(value or 0)) for value in values]
    largest = max(numbers)
    return [round(most * number / largest) if largest else 0 for number in numbers]
