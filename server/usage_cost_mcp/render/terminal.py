"""Answers for a terminal: aligned tables with bars, a waterfall or sparklines beside them."""

from collections.abc import Sequence
from itertools import accumulate, pairwise, zip_longest

from usage_cost_mcp.reports.answers import Answer
from usage_cost_mcp.reports.tables import Bars, Row, Sparklines, Table, Value, Waterfall

from .markdown import closing

BAR_WIDTH = 32
_SPARKS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def render(answer: Answer) -> str:
    """The whole answer."""
    details = ["\n".join(f"- {line}" for line in answer.details())] if answer.details() else []
    tables = [aligned(table.rows, ["", *_drawing(table)]) for table in answer.terminal_tables()]
    return "\n\n".join([answer.summary, *details, *tables, closing(answer, str)])


def _drawing(table: Table) -> Sequence[str]:
    """What stands to the right of each row below the head."""
    match table.drawing:
        case Bars(values, longest, expected_from):
            drawn = bars(values, longest)
            solid = len(drawn) if expected_from is None else expected_from
            return [*drawn[:solid], *("░" * len(bar) for bar in drawn[solid:])]
        case Sparklines(values):
            return list(map(sparkline, values))
        case Waterfall(changes):
            return waterfall(changes)
        case None:
            return ()


def aligned(rows: Sequence[Row], margin: Sequence[str] = ()) -> str:
    """Columns of equal width, the first left-aligned, the others right-aligned, then the margin."""
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
    """A bar per value, relative to `longest`, by default the largest value; empty for what is not positive."""
    return [_bar(8 * BAR_WIDTH * size // 1000) for size in _scaled(values, 1000, longest)]


def _bar(eighths: int) -> str:
    whole, rest = divmod(eighths, 8)
    return "█" * whole + _EIGHTHS[rest].strip()


def waterfall(changes: Sequence[float]) -> list[str]:
    """A bar per change from where the previous one ends, light where it goes back, and one for their sum."""
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


def _scaled(values: Sequence[Value], largest_size: int, longest: float | None = None) -> list[int]:
    """Sizes from 0 to `largest_size`, for drawing only."""
    numbers = [max(0.0, float(value or 0)) for value in values]
    largest = longest or max(numbers)
    return [round(largest_size * number / largest) if largest else 0 for number in numbers]
