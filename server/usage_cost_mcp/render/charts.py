"""Answers as Vega-Lite specifications: stacked bars, lines for ratios, a waterfall of drivers, a fan for a forecast.

Floats are for drawing only.
"""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Any

from usage_cost_mcp.model.money import format_dollars
from usage_cost_mcp.reports.answers import Answer
from usage_cost_mcp.reports.series_answer import Series, SeriesAnswer
from usage_cost_mcp.reports.spend_comparison import ComparisonAnswer
from usage_cost_mcp.reports.spend_forecast import ForecastAnswer
from usage_cost_mcp.reports.tables import Value, readable_value, signed_dollars

from .vega_lite import (
    GAP,
    HEIGHT,
    OPACITY,
    WIDTH,
    Bar,
    Rows,
    Spec,
    colors_of,
    day_of,
    field,
    horizontal_bars,
    is_ratio,
    layer,
    opacity_of,
    over_time,
    scale_of,
)

PALETTE = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#8f3fe0",
    "#7a4a1c",
    "#a6d67c",
    "#585070",
)
"""A color for each of the largest groups, distinguishable with color blindness."""
OTHER = "#8c8c8c"

_BLUE, _RED = PALETTE[0], PALETTE[5]
_MAX_BARS = 100
"""More buckets are drawn as one outline per group: bars would be thinner than the gaps between them."""
_MAX_POINTS = 60
_SIDE_BY_SIDE = 80
"""Pixels for the final amounts beside a forecast."""
_LINE_HEIGHT = 14


@dataclass(frozen=True, slots=True)
class _ColoredSeries:
    """The series of a group: a value per bucket, with a name and a color unique in the chart."""

    name: str
    color: str
    values: Sequence[float | None]


def specification(answer: Answer) -> Spec:
    """The chart of an answer.

    Raises:
        TypeError: For an answer without a chart.
    """
    match answer:
        case SeriesAnswer():
            panels = list(_panels(answer))
        case ComparisonAnswer():
            panels = [_waterfall(answer)]
        case ForecastAnswer():
            panels = [_forecast_panel(answer)]
        case _:
            raise TypeError(f"There is no chart of {answer.report}.")
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": "white",
        "padding": 16,
        "title": _title(answer),
        "vconcat": panels,
        "spacing": 28,
        "config": _CONFIG,
    }


_CONFIG: Spec = {
    "font": "Helvetica Neue, Arial, Liberation Sans, DejaVu Sans, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "labelColor": "#444",
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titleColor": "#444",
        "gridColor": "#e6e6e6",
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
        "labelFlush": False,
    },
    "text": {"fontSize": 12, "color": "#444"},
}


def _title(answer: Answer) -> Spec:
    """The subject of the summary as the title; the rest of it and the caption as the subtitle."""
    subject, _, rest = answer.summary.partition(": " if isinstance(answer, SeriesAnswer) else ". ")
    return {
        "text": _wrapped(subject.removesuffix("."), 88),
        "fontSize": 16,
        "subtitle": [*_wrapped(rest, 112), *_wrapped(" ".join(_caption(answer)), 112)],
        "subtitleFontSize": 12.5,
        "subtitleColor": "#444",
        "subtitlePadding": 6,
        "subtitleLineHeight": 17,
        "anchor": "start",
        "offset": 16,
        "limit": WIDTH + 60,
    }


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, max_lines=3, placeholder=" ...")


def _caption(answer: Answer) -> Iterator[str]:
    match answer:
        case SeriesAnswer():
            dashed = " or dashed" if _has_ratio(answer) and len(answer.buckets) > 1 else ""
            if _first_unsettled(answer) < len(answer.buckets):
                yield f"Light{dashed}: partial or provisional."
            if _has_ratio(answer) and len(answer.series) > len(PALETTE) + 1:
                yield f"Ratios of the largest {len(PALETTE)} groups."
        case ComparisonAnswer():
            if answer.provisional_since:
                yield f"Figures from {answer.provisional_since} on are provisional."
        case ForecastAnswer():
            band = "" if answer.low is None else " Band: 80% interval."
            yield f"Cumulative. Solid: complete days. Dashed: expected.{band}"
        case _:
            pass
    if answer.demo:
        yield "Demo data (fictional organization)."


# --- series: one panel per measure, each with its own scale


def _panels(answer: SeriesAnswer) -> Iterator[Spec]:
    height = {1: HEIGHT, 2: 210}.get(len(answer.measures), 120)
    for measure, unit in answer.measures.items():
        lines = list(_lines(answer.series, measure, unit))
        if len(answer.buckets) == 1:
            yield _bar_each(answer, lines, measure, unit)
        elif is_ratio(unit):
            yield _line_panels(answer, lines, measure, height)
        else:
            yield _stacks(answer, lines, measure, unit, height)


def _has_ratio(answer: SeriesAnswer) -> bool:
    return any(map(is_ratio, answer.measures.values()))


def _lines(series: Sequence[Series], measure: str, unit: str) -> Iterator[_ColoredSeries]:
    """The largest groups, and the rest merged into one, without a ratio: ratios cannot be added."""
    largest, rest = series[: len(PALETTE)], series[len(PALETTE) :]
    names, columns = [each.label for each in largest], [_numbers(each, measure) for each in largest]
    if len(rest) == 1:
        names.append(rest[0].label)
        columns.append(_numbers(rest[0], measure))
    elif rest:
        names.append(f"Other ({sum(each.other_groups or 1 for each in rest)} groups)")
        together = zip(*(_numbers(each, measure) for each in rest), strict=True)
        columns.append([None if is_ratio(unit) else sum(value or 0 for value in column) for column in together])
    colors = [OTHER if each.group is None else color for each, color in zip(largest, PALETTE, strict=False)]
    for name, color, values in zip(_distinct(names), [*colors, OTHER], columns, strict=False):
        yield _ColoredSeries(name, color, values)


def _numbers(series: Series, measure: str) -> list[float | None]:
    return [_number(value) for value in series.values[measure]]


def _number(value: Value) -> float | None:
    return None if value is None else float(value)


def _distinct(names: Iterable[str]) -> list[str]:
    """The names, with duplicates numbered."""
    seen = Counter[str]()
    distinct: list[str] = []
    for name in names:
        seen[name] += 1
        distinct.append(f"{name} ({seen[name]})" if seen[name] > 1 else name)
    return distinct


def _first_unsettled(answer: SeriesAnswer) -> int:
    """The index of the first of the last buckets, all of which are partial or provisional; else their number."""
    ends = [*(day_of(name) for name in answer.buckets[1:]), answer.period.end + timedelta(days=1)]
    place = len(ends)
    for name, end in zip(reversed(answer.buckets), reversed(ends), strict=True):
        last_day = max(day_of(name), end - timedelta(days=1))
        provisional = answer.provisional_since and last_day >= answer.provisional_since
        if name not in answer.partial_buckets and not provisional:
            break
        place -= 1
    return place


def _stacks(answer: SeriesAnswer, lines: Sequence[_ColoredSeries], measure: str, unit: str, height: int) -> Spec:
    """Stacked bars: a bar per bucket, a segment per group, credits below zero."""
    count, first = len(answer.buckets), _first_unsettled(answer)
    above, tops = _stacked(lines, count, 1)
    below, bottoms = _stacked(lines, count, -1)
    low, span = min(bottoms), max(tops) - min(bottoms) or 1.0
    color = colors_of({line.name: line.color for line in lines}, shown=bool(answer.group_by))
    if count > _MAX_BARS:
        segments = [
            layer(
                {"type": "area", "interpolate": "step-after", "opacity": opacity_of(provisional)},
                _to_right_edge([row for row in rows if (row["x"] >= first) == provisional]),
                y2=field("y2"),
                color=color,
            )
            for rows in (above, below)
            for provisional in (False, True)
        ]
    else:
        bars = [
            {**row, "x": row["x"] + GAP, "x2": row["x"] + 1 - GAP, "opacity": opacity_of(row["x"] >= first)}
            for row in above + below
            if row["y"] != row["y2"]
        ]
        segments = [layer({"type": "rect"}, bars, x2=field("x2"), y2=field("y2"), color=color, opacity=OPACITY)]
    return over_time(
        segments,
        answer.buckets,
        scale_of("y", (low, low + span * 1.03), unit, measure),
        height,
    )


def _stacked(lines: Sequence[_ColoredSeries], count: int, sign: int) -> tuple[Rows, list[float]]:
    """The segments on one side of zero, and the end of the stack in each bucket."""
    rows: Rows = []
    tops = [0.0] * count
    for line in lines:
        bases = tops
        tops = [base + sign * max(0.0, sign * (value or 0)) for base, value in zip(bases, line.values, strict=True)]
        if tops == bases:
            continue
        rows += [
            {"name": line.name, "x": place, "y": base, "y2": top}
            for place, (base, top) in enumerate(zip(bases, tops, strict=True))
        ]
    return rows, tops


def _to_right_edge(rows: Rows) -> Rows:
    """The rows, with the last bucket extended to its right edge."""
    last = max((row["x"] for row in rows), default=0)
    return [*rows, *({**row, "x": last + 1} for row in rows if row["x"] == last)]


def _line_panels(answer: SeriesAnswer, lines: Sequence[_ColoredSeries], measure: str, height: int) -> Spec:
    """A line per group, with a gap where the ratio is undefined, dashed where it is partial or provisional."""
    count, first = len(answer.buckets), _first_unsettled(answer)
    points: Rows = [
        {"name": line.name, "x": place + 0.5, "y": value} for line in lines for place, value in enumerate(line.values)
    ]
    solid = [point for point in points if point["x"] < first]
    dashed = [point for point in points if point["x"] > first - 1]
    color = colors_of({line.name: line.color for line in lines}, shown=bool(answer.group_by))
    layers = [
        layer({"type": "line", "strokeWidth": 2}, solid, color=color),
        layer({"type": "line", "strokeWidth": 2, "strokeDash": [4, 3]}, dashed, color=color),
    ]
    if count <= _MAX_POINTS:
        defined = [point for point in points if point["y"] is not None]
        layers.append(layer({"type": "point", "filled": True, "size": 30, "opacity": 1}, defined, color=color))
    high = max((value for line in lines for value in line.values if value is not None), default=0.0)
    return over_time(layers, answer.buckets, scale_of("y", (0, min(1.0, high * 1.1) or 1.0), "ratio", measure), height)


def _bar_each(answer: SeriesAnswer, lines: Sequence[_ColoredSeries], measure: str, unit: str) -> Spec:
    """A horizontal bar per group, for an answer with a single bucket."""
    bars = [
        Bar(line.name, 0, line.values[0] or 0, line.color, readable_value(_as_counted(line.values[0], unit), unit))
        for line in lines
    ]
    return horizontal_bars(bars, unit, measure, provisional=_first_unsettled(answer) == 0)


def _as_counted(value: float | None, unit: str) -> Value:
    return value if value is None or unit == "USD" or is_ratio(unit) else int(value)


# --- a comparison: a waterfall that ends with the total change


def _waterfall(answer: ComparisonAnswer) -> Spec:
    """A bar per driver of the change, or per group if there are no drivers, then the total change."""
    parts = answer.drivers or answer.groups
    ends = list(accumulate((float(part.change) for part in parts), initial=0.0))
    names = _distinct([*(part.label for part in parts), "Total change"])
    bars = [
        Bar(name, start, end, _RED if end > start else _BLUE, signed_dollars(part.change))
        for name, part, (start, end) in zip(names, parts, pairwise(ends), strict=False)
    ]
    total = Bar(names[-1], 0, float(answer.change), OTHER, signed_dollars(answer.change))
    return horizontal_bars([*bars, total], "USD", "change", connected=True)


# --- a forecast: actual and expected spend, and the interval


def _forecast_panel(answer: ForecastAnswer) -> Spec:
    """Cumulative cost at the end of each day."""
    start, lines = answer.period.start, (answer.cumulative[name] for name in ("expected", "low", "high"))
    course: Rows = [{"x": 0, "y": 0.0, "low": 0.0, "high": 0.0}]
    for day, expected, low, high in zip(answer.buckets, *lines, strict=True):
        row = {"x": (day - start).days + 1, "y": _number(expected), "low": _number(low), "high": _number(high)}
        course.append(row)
    complete = (answer.complete_until - start).days + 1 if answer.complete_until else 0
    actual = [row for row in course if row["x"] <= complete]
    forecast = course[len(actual) - 1 :]
    budget = [float(answer.budget.amount)] if answer.budget else []
    amounts = [row[name] for row in course for name in ("y", "low", "high") if row[name] is not None] + budget
    bottom, span = min(amounts), max(amounts) - min(amounts) or 1.0
    line: Spec = {"type": "line", "color": _BLUE, "strokeWidth": 2.5}
    days = [str(start + timedelta(days=n)) for n in range((answer.period.end - start).days + 1)]
    return over_time(
        [
            layer(
                {"type": "area", "color": _BLUE, "opacity": 0.22},
                _with_interval(forecast),
                y=field("low"),
                y2=field("high"),
            ),
            layer(line, actual),
            layer({**line, "strokeDash": [5, 4]}, forecast),
            *_budget_line(budget, len(days)),
            *_ends(course[-1], answer, span / HEIGHT),
        ],
        days,
        scale_of("y", (bottom, bottom + span * 1.06), "USD", "cumulative cost"),
        HEIGHT,
        width=WIDTH - _SIDE_BY_SIDE,
    )


def _with_interval(course: Rows) -> Rows:
    return [row for row in course if row["low"] is not None]


def _budget_line(budget: Sequence[float], days: int) -> Iterator[Spec]:
    for amount in budget:
        label = f"Budget {format_dollars(Decimal(str(amount)))}"
        row = {"x": 0, "x2": days, "y": amount, "text": label}
        yield layer({"type": "rule", "color": _RED, "strokeWidth": 2}, [row], x2=field("x2"))
        text = {"type": "text", "align": "left", "dx": 4, "dy": -8, "color": "#c4452f", "fontWeight": "bold"}
        yield layer(text, [row], text=field("text", "nominal"))


def _ends(last: dict[str, Any], answer: ForecastAnswer, pixel: float) -> Iterator[Spec]:
    """The final amounts beside the ends of the expected line and of the interval; the latter only where they fit."""
    yield _text_mark(last["x"], last["y"], answer.expected, bold=True)
    for y, amount in ((last["low"], answer.low), (last["high"], answer.high)):
        if amount is not None and abs(y - last["y"]) > _LINE_HEIGHT * pixel:
            yield _text_mark(last["x"], y, amount, bold=False)


def _text_mark(x: int, y: float, amount: str, *, bold: bool) -> Spec:
    mark = {"type": "text", "align": "left", "dx": 6, "fontWeight": "bold" if bold else "normal"}
    return layer(mark, [{"x": x, "y": y, "text": format_dollars(Decimal(amount))}], text=field("text", "nominal"))
