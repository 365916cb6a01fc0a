"""Building blocks of charts in Vega-Lite: time axes, horizontal bars, scales.

Positions and labels are computed here, and names occur only as data values: a workspace name cannot become part of an
expression, and the chart does not depend on how Vega-Lite parses or sorts.
"""

from calendar import month_abbr
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

WIDTH = 690
HEIGHT = 340
GAP = 0.12
"""The gap on either side of a bar, as a share of its slot."""

_WIDTH_OF_NAMES = 290
_WIDTH_OF_LETTER = 7
_MAX_DATES = 8
_HOURS = 24
_ROW = 30
_LABEL_WIDTH = 1.22
"""The width of a panel over that of its bars: the rest is room for the amounts."""
_DOLLARS, _CENTS = 10, 0.1
"""The peak of an axis, in dollars, from which its labels are whole dollars, or whole cents."""

Spec = dict[str, Any]
Rows = list[dict[str, Any]]

OPACITY: Spec = {"field": "opacity", "type": "quantitative", "scale": None, "legend": None}
"""The opacity of each mark, from its row."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A horizontal bar from one amount to another, and the label beside it."""

    name: str
    start: float
    end: float
    color: str
    label: str


def over_time(layers: Sequence[Spec], buckets: Sequence[str], amounts: Spec, height: int, width: int = WIDTH) -> Spec:
    """Layers over a time axis: each bucket is one unit wide, and at most eight are labeled."""
    step = _even(-(-len(buckets) // _MAX_DATES), buckets)
    dates = [{"x": place + 0.5, "text": _short(name)} for place, name in enumerate(buckets) if place % step == 0]
    below = layer({"type": "text", "baseline": "top"}, dates, y={"value": height + 9}, text=field("text", "nominal"))
    across = {**field("x"), "scale": {"domain": [0, len(buckets)], "nice": False}, "axis": None}
    return {
        "width": width,
        "height": height,
        "encoding": {"x": across, "y": amounts},
        "layer": [*layers, below],
    }


def _even(step: int, buckets: Sequence[str]) -> int:
    """The step, rounded up to whole days where hourly labels would otherwise differ from day to day."""
    hourly = len(buckets) > 1 and [name[14:16] for name in buckets[:2]] == ["00", "00"]
    return -(-step // _HOURS) * _HOURS if hourly and step > _HOURS // 2 else step


def _short(bucket: str) -> str:
    """Nov 3, Nov 3 05:00, or Nov 2026."""
    day = day_of(bucket)
    if len(bucket) == len("2026-11"):
        return f"{month_abbr[day.month]} {day.year}"
    return f"{month_abbr[day.month]} {day.day} {bucket[11:16]}".strip()


def scale_of(channel: str, domain: tuple[float, float], unit: str, words: str) -> Spec:
    """A linear scale with an axis in the format of its unit."""
    peak = max(map(abs, domain))
    if is_ratio(unit):
        labels = {"format": ".0%"}
    elif unit == "USD":
        labels = {"format": "$,.0f" if peak >= _DOLLARS else "$,.2f" if peak >= _CENTS else "$~g"}
        words = f"{words} (USD)"
    else:
        labels = {"labelExpr": "replace(format(datum.value, '~s'), 'G', 'B')"}  # D3 writes G for a billion
    return {
        **field(channel),
        "scale": {"domain": domain, "nice": False},
        "axis": {"title": words.replace("_", " "), "tickCount": 5, **labels},
    }


def layer(mark: Spec, rows: Sequence[dict[str, Any]], **encoding: Spec) -> Spec:
    return {"data": {"values": list(rows)}, "mark": mark, "encoding": encoding}


def field(name: str, kind: str = "quantitative") -> Spec:
    return {"field": name, "type": kind}


def horizontal_bars(
    bars: Sequence[Bar], unit: str, words: str, *, provisional: bool = False, connected: bool = False
) -> Spec:
    """Horizontal bars, each with its name on the left and its amount on the right."""
    ends = [0.0, *(bar.start for bar in bars), *(bar.end for bar in bars)]
    low, span = min(ends), (max(ends) - min(ends) or 1.0) * _LABEL_WIDTH
    names = _WIDTH_OF_LETTER * max((len(bar.name) for bar in bars), default=0)
    width = WIDTH - min(names, _WIDTH_OF_NAMES)
    rows: Rows = [
        {
            "name": bar.name,
            "x": bar.start,
            "x2": bar.end,
            "y": place + GAP,
            "y2": place + 1 - GAP,
            "middle": place + 0.5,
            "opacity": opacity_of(provisional),
            "side": max(bar.start, bar.end),
            "text": bar.label,
        }
        for place, bar in enumerate(bars)
    ]
    steps = [{"x": bar["x2"], "y": bar["y2"], "y2": below["y"]} for bar, below in pairwise(rows) if connected]
    middle = field("middle")
    beside: Spec = {"type": "text", "align": "right", "limit": _WIDTH_OF_NAMES, "fontSize": 12.5}
    return {
        "width": width,
        "height": _ROW * max(1, len(bars)),
        "encoding": {
            "x": scale_of("x", (low, low + span), unit, words),
            "y": {**field("y"), "scale": {"domain": [len(bars), 0], "nice": False}, "axis": None},
        },
        "layer": [
            layer(
                {"type": "rect"},
                rows,
                x2=field("x2"),
                y2=field("y2"),
                color=colors_of({bar.name: bar.color for bar in bars}),
                opacity=OPACITY,
            ),
            layer({"type": "rule", "color": "#aaa"}, steps, y2=field("y2")),
            layer(beside, rows, x={"value": -8}, y=middle, text=field("name", "nominal")),
            layer(
                {"type": "text", "align": "left", "dx": 6},
                rows,
                x=field("side"),
                y=middle,
                text=field("text", "nominal"),
            ),
        ],
    }


def opacity_of(provisional: bool) -> float:  # noqa: FBT001 - the one thing that it depends on
    """Provisional marks are light."""
    return 0.45 if provisional else 1.0


def colors_of(colors: Mapping[str, str], *, shown: bool = False) -> Spec:
    """The color of each name, with a legend if `shown`."""
    legend = {
        "orient": "bottom",
        "columns": 3,
        "title": None,
        "labelFontSize": 12,
        "labelColor": "#222",
        "labelLimit": 205,
        "symbolType": "square",
        "offset": 28,
    }
    return {
        **field("name", "nominal"),
        "scale": {"domain": [*colors], "range": [*colors.values()]},
        "legend": legend if shown and colors else None,
    }


def day_of(bucket: str) -> date:
    return date.fromisoformat(f"{bucket}-01"[:10])


def is_ratio(unit: str) -> bool:
    return unit.startswith("ratio")
