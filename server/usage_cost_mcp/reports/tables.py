"""Tables of an answer as rows of text, for Markdown and the terminal; the first row is the head.

Why here and not in `render`: which numbers an answer shows, in which order and under which head belongs to the report,
so that a new report is one module. `render` knows no report; it only formats rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from usage_cost_mcp.model.money import format_dollars, format_signed

Value = str | int | float | None
"""Money is an exact decimal string in dollars, a count an integer, a ratio a number from 0 to 1 or null."""

Row = Sequence[str]
CsvRows = Iterator[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar per value, relative to `longest`, by default the largest; those from `expected_from` on are light."""

    values: Sequence[Value]
    longest: float | None = None
    expected_from: int | None = None


@dataclass(frozen=True, slots=True)
class Sparklines:
    """A small line per row: one character per value."""

    values: Sequence[Sequence[Value]]


@dataclass(frozen=True, slots=True)
class Waterfall:
    """A bar per change that starts where the previous one ends, and one for their sum."""

    changes: Sequence[float]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text.

    Attributes:
        caption: A line above the table; "" for none.
        drawing: What a terminal draws to the right of the rows below the head.
    """

    rows: Sequence[Row]
    caption: str = ""
    drawing: Bars | Sparklines | Waterfall | None = None


def readable_value(value: Value, unit: str) -> str:
    """A value as a person reads it: $1,234.56, 1,234, 56.7%, or - where there is none."""
    if value is None:
        return "-"
    if unit == "USD":
        return format_dollars(Decimal(value))
    return f"{value:.1%}" if unit.startswith("ratio") else f"{value:,}"


def signed_dollars(dollars: str) -> str:
    """An amount with its sign: +$1.00 or -$1.00."""
    return format_signed(Decimal(dollars))


def before_after_change(before: str, after: str, change: str) -> Row:
    """Three cells: two amounts and a signed one."""
    return [format_dollars(Decimal(before)), format_dollars(Decimal(after)), signed_dollars(change)]


def group_cells(group: Mapping[str, str | None] | None, dimensions: Iterable[str]) -> list[str | None]:
    """A cell per dimension; empty ones for Other, which has no group."""
    return [(group or {}).get(dimension) for dimension in dimensions]


def csv_records(records: Iterable[Any], fields: Sequence[str], group_by: Sequence[str] = ()) -> CsvRows:
    """The head, then a row per record: the dimensions of its group, then its fields."""
    yield [*group_by, *fields]
    for record in records:
        group = group_cells(record.group, group_by) if group_by else []
        yield [*group, *(getattr(record, field) for field in fields)]


def csv_leaves(value: Any, path: str = "") -> CsvRows:
    """A row for each leaf of nested data: its path, such as organization.name, and its value."""
    match value:
        case {**fields}:
            inner = fields.items()
        case [*items]:
            inner = enumerate(items)
        case _:
            yield [path, value]
            return
    for name, part in inner:
        yield from csv_leaves(part, f"{path}.{name}" if path else f"{name}")
