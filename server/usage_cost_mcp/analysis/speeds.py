"""Splits usage by speed, a price dimension for which one request has no room: what is not in fast mode is standard."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from usage_cost_mcp.model.dimensions import FAST_SPEED, STANDARD_SPEED
from usage_cost_mcp.model.rows import DayRows, Key, Row, Sums, alignment
from usage_cost_mcp.model.upstream_reports import FAST_USAGE_REPORT

_MINUTE = timedelta(minutes=1)


def has_fast_cost(spend: DayRows) -> bool:
    """Whether a day of the cost report has a cost of fast mode."""
    place = spend.dimensions.index("speed")
    return any(key[place] == FAST_SPEED for rows in spend.rows.values() for key, _ in rows)


def split_by_speed(usage: DayRows, fast: DayRows, dimensions: Sequence[str], step: timedelta) -> DayRows:
    """A day's usage with the dimension `speed` added; its sums are unchanged.

    Args:
        usage: All usage.
        fast: The usage in fast mode. More than all usage, which an earlier reading of the day may have, is left out.
        dimensions: The other dimensions of the result; both days have them.
        step: The length of its buckets, and of those of both days at most.
    """
    aligned = alignment(fast.more_inputs, usage.more_inputs, len(FAST_USAGE_REPORT.measures))
    of_fast = {place: aligned(sums) for place, sums in _by_bucket_and_key(fast, dimensions, step)}
    rows: dict[int, list[Row]] = {}
    for (minute, key), sums in _by_bucket_and_key(usage, dimensions, step):
        fast_part = tuple(map(min, sums, of_fast.get((minute, key), (0,) * len(sums))))
        standard_part = tuple(whole - part for whole, part in zip(sums, fast_part, strict=True))
        rows.setdefault(minute, []).extend(
            ((*key, speed), part)
            for speed, part in ((STANDARD_SPEED, standard_part), (FAST_SPEED, fast_part))
            if any(part)
        )
    return replace(
        usage,
        dimensions=(*dimensions, "speed"),
        rows=rows,
        fetched_at=min(usage.fetched_at, fast.fetched_at),
        reported=usage.reported and fast.reported,
    )


def _by_bucket_and_key(
    day: DayRows, dimensions: Sequence[str], step: timedelta
) -> Iterable[tuple[tuple[int, Key], Sums]]:
    """The sums of a day by the start of the bucket, in minutes, and the values of some dimensions."""
    places = [day.dimensions.index(dimension) for dimension in dimensions]
    length = step // _MINUTE
    sums_by_key: dict[tuple[int, Key], Sums] = {}
    for minute, rows in day.rows.items():
        for key, sums in rows:
            place = minute // length * length, tuple(key[each] for each in places)
            known = sums_by_key.get(place)
            sums_by_key[place] = sums if known is None else tuple(map(sum, zip(known, sums, strict=True)))
    return sums_by_key.items()
