"""Benchmark figures, as a table and as a JSON file."""

import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

RESULTS = Path(__file__).with_name("results.json")

_SMALL = 0.1


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value with its unit and bound.

    Attributes:
        unit: The unit, or the baseline of a ratio.
        bound: Maximum; None for information only.
        counted: Whether it is machine-independent, so that exceeding the bound fails the run.
        samples: The raw measurements.
    """

    what: str
    value: float
    unit: str
    bound: float | None = None
    counted: bool = False
    samples: Mapping[str, Sequence[float]] | None = None

    @property
    def over(self) -> bool:
        """Whether the value exceeds the bound."""
        return self.bound is not None and self.value > self.bound

    @property
    def verdict(self) -> str:
        """The last column of the table."""
        return "" if self.bound is None else "OVER" if self.over else "ok"


Measure = Callable[[], Iterable[Figure]]
Found = Mapping[str, Sequence[Figure]]
"""The figures of each part."""


def nothing() -> Iterable[Figure]:
    """No figures: for a part without counts or without times."""
    return ()


def counted(what: str, value: float, unit: str, bound: float | None = None) -> Figure:
    """A machine-independent figure."""
    return Figure(what, value, unit, bound, counted=True)


def compared(what: str, ours: Sequence[float], floor: Sequence[float], bound: float | None = None) -> Iterable[Figure]:
    """Ratios of the medians and of the minimums of two interleaved series of seconds."""
    samples = {"ours": ours, "floor": floor}
    for name, of in (("median", median), ("minimum", min)):
        meaning = f"ours {of(ours):.3f} s / floor {of(floor):.3f} s"
        yield Figure(f"{what}, {name}", of(ours) / of(floor), meaning, bound, samples=samples)


def percentile(samples: Sequence[float], percent: int) -> float:
    """The percentile of the samples, without extrapolation."""
    return quantiles(samples, n=100, method="inclusive")[percent - 1]


def as_table(found: Found) -> str:
    """A table with one line per figure."""
    rows = [("part", "what", "figure", "unit", "bound", "")]
    rows += [
        (part, each.what, _number(each.value), each.unit, _number(each.bound), each.verdict)
        for part, figures in found.items()
        for each in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    numbers = {2, 4}
    lines = [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in [lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.2f}" if value > _SMALL else f"{value:.4f}"


def save(found: Found) -> None:
    """Write all figures and samples to results.json in this folder."""
    about = {
        "measured_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "python": platform.python_version(),
        "mcp": version("mcp"),
        "cores": os.cpu_count(),
    }
    parts = {part: [asdict(figure) | {"over": figure.over} for figure in figures] for part, figures in found.items()}
    RESULTS.write_text(json.dumps(about | {"parts": parts}, indent=1) + "\n", encoding="utf-8")
