"""Codec for one cached day: zlib-compressed JSON whose identity is verified on read.

The bytes start with the time of reading, uncompressed, so that a store can compare two readings without decoding them.
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

from .views import View

SCHEMA_VERSION = 2
"""Incremented when the schema or its meaning changes: days in another version are not found."""

MAX_DECODED_BYTES = 64 * MEBIBYTE
"""The most bytes of a decompressed day: a few kilobytes can inflate to gigabytes."""

_COMPRESSION_LEVEL = 1
"""Higher levels take three times as long and save a tenth of the bytes."""

Amount = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,20}(\.[0-9]{1,40})?$")]
Count = Annotated[int, Field(ge=0)]
Minute = Annotated[int, Field(ge=0, lt=24 * 60)]
UtcDatetime = Annotated[AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC))]


class _DayPayload(BaseModel):
    """A day, column by column.

    Attributes:
        buckets: The minute of the day at which each bucket starts, and its number of rows.
        keys: For each dimension, its values in all rows.
        sums: For each measure, and for each name in `more_inputs`, its values in all rows: dollars as decimal strings,
            counts as integers.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: Literal[2] = SCHEMA_VERSION
    organization: str
    report: str
    dimensions: tuple[str, ...]
    width: str
    day: date
    fetched_at: UtcDatetime
    reported: bool
    revised: UtcDatetime | None
    revised_in: tuple[str | None, ...]
    more_inputs: tuple[str, ...]
    buckets: tuple[tuple[Minute, Count], ...]
    keys: tuple[tuple[str | None, ...], ...]
    sums: tuple[tuple[Amount, ...] | tuple[Count, ...], ...]


@dataclass(frozen=True, slots=True)
class DayId:
    """The identity of a cached day. It is stored with the day and must match on read."""

    organization: str
    view: View
    day: date


def encode(day_id: DayId, rows: DayRows) -> bytes:
    view = day_id.view
    flat = [row for bucket in rows.rows.values() for row in bucket]
    columns = tuple(zip(*(sums for _, sums in flat), strict=True))
    payload = _DayPayload.model_construct(
        organization=day_id.organization,
        report=view.report.name,
        dimensions=view.dimensions,
        width=view.width,
        day=day_id.day,
        fetched_at=rows.fetched_at,
        reported=rows.reported,
        revised=rows.revised,
        revised_in=tuple(rows.revised_in),
        more_inputs=rows.more_inputs,
        buckets=tuple((minute, len(bucket)) for minute, bucket in rows.rows.items()),
        keys=tuple(zip(*(key for key, _ in flat), strict=True)),
        sums=tuple(tuple(map(_plain, column)) for column in columns),
    )
    json = payload.model_dump_json(warnings=False).encode()
    return timestamp_prefix(rows.fetched_at) + zlib.compress(json, _COMPRESSION_LEVEL)


def _plain(number: int | Decimal) -> int | str:
    return f"{number:f}" if isinstance(number, Decimal) else number


def timestamp_prefix(at: datetime) -> bytes:
    """A time in UTC as bytes that sort by time."""
    return at.isoformat(timespec="microseconds").encode()


def decode(day_id: DayId, value: bytes, now: datetime, shared_keys: dict[Key, Key]) -> DayRows | None:
    """The day; None if the bytes are corrupt, are not the day of this id, or were read in the future.

    Equal row keys become one object of `shared_keys`, which saves memory.
    """
    try:
        payload = _DayPayload.model_validate_json(_decompress(value[len(timestamp_prefix(now)) :]))
        rows = _rows(payload, day_id.view, shared_keys)
    except (ValidationError, ValueError, zlib.error):
        return None
    stored = (payload.organization, payload.report, payload.dimensions, payload.width, payload.day)
    view = day_id.view
    if stored != (day_id.organization, view.report.name, view.dimensions, view.width, day_id.day):
        return None
    if not value.startswith(timestamp_prefix(payload.fetched_at)) or payload.fetched_at > now + TOLERANCE:
        return None
    return DayRows(
        payload.day,
        payload.dimensions,
        rows,
        payload.fetched_at,
        payload.reported,
        payload.revised,
        frozenset(payload.revised_in),
        payload.more_inputs,
    )


def _decompress(value: bytes) -> bytes:
    inflater = zlib.decompressobj()
    json = inflater.decompress(value, MAX_DECODED_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise ValueError("The value is too large, truncated, or has trailing bytes.")
    return json


def _rows(day: _DayPayload, view: View, shared_keys: dict[Key, Key]) -> Mapping[int, Sequence[Row]]:
    """The rows by bucket.

    Raises:
        ValueError: The number of columns, rows or buckets is inconsistent.
    """
    total = sum(count for _, count in day.buckets)
    measures = [*view.report.measures, *(RowMeasure(name, "count") for name in day.more_inputs)]
    if total and (len(day.keys), len(day.sums)) != (len(view.dimensions), len(measures)):
        raise ValueError("The columns do not match the view.")
    columns = [_numbers(column, measure) for column, measure in zip(day.sums, measures, strict=False)]
    keys = (shared_keys.setdefault(key, key) for key in zip(*day.keys, strict=True)) if day.keys else iter([()] * total)
    rows: list[Row] = list(zip(keys, zip(*columns, strict=True), strict=True))
    if len(rows) != total or len(dict(day.buckets)) != len(day.buckets):
        raise ValueError("The rows do not match the buckets.")
    remaining = iter(rows)
    return {minute: list(islice(remaining, count)) for minute, count in day.buckets}


def _numbers(column: tuple[Any, ...], measure: RowMeasure) -> Sequence[int] | Sequence[Decimal]:
    money = measure.kind == "money"
    if any(isinstance(value, str) is not money for value in column):
        raise ValueError("Dollars are stored as strings, counts as integers.")
    return [Decimal(value) for value in column] if money else column
