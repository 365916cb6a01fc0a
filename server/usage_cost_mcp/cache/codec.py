"""A day as bytes: compressed JSON that says what it is, read back only when it is exactly that.

The moment of reading comes first, in clear, so that Redis can tell which of two readings is the later one.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from usage_cost_mcp.model.rows import DayRows, Key, Row
from usage_cost_mcp.model.upstream_reports import RowMeasure
from usage_cost_mcp.runtime.clock import TOLERANCE
from usage_cost_mcp.runtime.limits import MEBIBYTE

from . import View

SCHEMA_VERSION = 1
"""Goes up when what is written changes, or what it means: days in another format are not found."""

MAX_DECODED_BYTES = 64 * MEBIBYTE
"""The most bytes that a day may have, decompressed: a small value can hold a large one."""

_LEVEL = 1
"""Of the compression: higher ones take three times as long for a tenth less."""

Amount = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,20}(\.[0-9]{1,40})?$")]
Count = Annotated[int, Field(ge=0)]
Minute = Annotated[int, Field(ge=0, lt=24 * 60)]
UtcDatetime = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]


class _DayPayload(BaseModel):
    """A day, column by column.

    Attributes:
        buckets: The minute at which each bucket starts, and how many rows it has.
        keys: The values of each dimension, row by row.
        sums: The values of each measure, row by row: dollars as texts, counts as integers.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: Literal[1] = SCHEMA_VERSION
    organization: str
    report: str
    dimensions: tuple[str, ...]
    width: str
    day: date
    fetched_at: UtcDatetime
    reported: bool
    revised: UtcDatetime | None
    revised_in: tuple[str | None, ...]
    buckets: tuple[tuple[Minute, Count], ...]
    keys: tuple[tuple[str | None, ...], ...]
    sums: tuple[tuple[Amount, ...] | tuple[Count, ...], ...]


@dataclass(frozen=True, slots=True)
class DayId:
    """What a day is of: it must say the same of itself."""

    organization: str
    view: View
    day: date


def encode(place: DayId, rows: DayRows) -> bytes:
    """A day as it is kept."""
    view = place.view
    flat = [row for bucket in rows.rows.values() for row in bucket]
    columns = tuple(zip(*(sums for _, sums in flat), strict=True))
    day = _DayPayload.model_construct(
        organization=place.organization,
        report=view.report.name,
        dimensions=view.dimensions,
        width=view.width,
        day=place.day,
        fetched_at=rows.fetched_at,
        reported=rows.reported,
        revised=rows.revised,
        revised_in=tuple(rows.revised_in),
        buckets=tuple((minute, len(bucket)) for minute, bucket in rows.rows.items()),
        keys=tuple(zip(*(key for key, _ in flat), strict=True)),
        sums=tuple(tuple(map(_plain, column)) for column in columns),
    )
    json = day.model_dump_json(warnings=False).encode()
    return timestamp_prefix(rows.fetched_at) + zlib.compress(json, _LEVEL)


def _plain(number: int | Decimal) -> int | str:
    return f"{number:f}" if isinstance(number, Decimal) else number


def timestamp_prefix(at: datetime) -> bytes:
    """A moment in UTC as bytes that sort by time."""
    return at.isoformat(timespec="microseconds").encode()


def decode(place: DayId, value: bytes, now: datetime, known: dict[Key, Key]) -> DayRows | None:
    """A day as it was kept; None when the bytes are anything else, or from the future.

    Args:
        place: What it should be.
        value: The bytes.
        now: The current moment.
        known: Keys that were met before; equal ones become one object.
    """
    try:
        day = _DayPayload.model_validate_json(_decompressed(value[len(timestamp_prefix(now)) :]))
        rows = _rows(day, place.view, known)
    except (ValidationError, ValueError, zlib.error):
        return None
    says = DayId(day.organization, View(place.view.report, day.dimensions, place.view.width), day.day)
    if (says, day.report, day.width) != (place, place.view.report.name, place.view.width):
        return None
    if not value.startswith(timestamp_prefix(day.fetched_at)) or day.fetched_at > now + TOLERANCE:
        return None
    revised_in = frozenset(day.revised_in)
    return DayRows(day.day, day.dimensions, rows, day.fetched_at, day.reported, day.revised, revised_in)


def _decompressed(value: bytes) -> bytes:
    inflater = zlib.decompressobj()
    json = inflater.decompress(value, MAX_DECODED_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise ValueError("It is too large, cut short, or followed by something else.")
    return json


def _rows(day: _DayPayload, view: View, known: dict[Key, Key]) -> Mapping[int, Sequence[Row]]:
    """The rows by bucket.

    Raises:
        ValueError: When there are more or fewer of anything than there should be.
    """
    total = sum(count for _, count in day.buckets)
    measures = len(view.report.measures)
    if total and (len(day.keys), len(day.sums)) != (len(view.dimensions), measures):
        raise ValueError("It has other columns.")
    columns = [_numbers(column, measure) for column, measure in zip(day.sums, view.report.measures, strict=False)]
    keys = (known.setdefault(key, key) for key in zip(*day.keys, strict=True)) if day.keys else iter([()] * total)
    rows: list[Row] = list(zip(keys, zip(*columns, strict=True), strict=True))
    if len(rows) != total or len(dict(day.buckets)) != len(day.buckets):
        raise ValueError("It has other rows.")
    following = iter(rows)
    return {minute: list(islice(following, count)) for minute, count in day.buckets}


def _numbers(column: tuple[Any, ...], measure: RowMeasure) -> Sequence[int] | Sequence[Decimal]:
    money = measure.kind == "money"
    if any(isinstance(each, str) is not money for each in column):
        raise ValueError("Dollars are texts, counts are integers.")
    return [Decimal(each) for each in column] if money else column
