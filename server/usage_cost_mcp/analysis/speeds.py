"""Splits usage by speed, a price dimension for which one request has no room: what is not in fast mode is standard."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from operator import itemgetter

from usage_cost_mcp.model.dimensions import CHARGE_CATEGORY, FAST_SPEED, STANDARD_SPEED, USAGE, WORKSPACE, Filters
from usage_cost_mcp.model.money import exact
from usage_cost_mcp.model.rows import DayRows, Key, Row, Sums, alignment
from usage_cost_mcp.model.series import matching
from usage_cost_mcp.model.upstream_reports import FAST_USAGE_REPORT

from .cost_usage_join import WorkspacePriceKey

_MINUTE = timedelta(minutes=1)


def has_fast_cost(spend: DayRows) -> bool:
    """Whether a day of the cost report has a cost of fast mode."""
    place = spend.dimensions.index("speed")
    return any(key[place] == FAST_SPEED for rows in spend.rows.values() for key, _ in rows)


def cost_without_speed(spend: Iterable[DayRows], filters: Filters) -> Decimal:
    """Dollars for tokens whose speed the cost report does not have, after the filters other than that by speed."""
    no_speed = {**filters, "speed": frozenset[str | None]({None})}
    no_tokens = {**no_speed, "token_type": filters.get("token_type", _NULL) & _NULL}
    days = list(spend)
    with exact():
        return sum((Decimal(sums[0]) for sums in matching(days, no_speed)), Decimal(0)) - sum(
            (Decimal(sums[0]) for sums in matching(days, no_tokens)), Decimal(0)
        )


_NULL = frozenset[str | None]({None})


def models_with_unlike_lines(spend: Iterable[DayRows], filters: Filters) -> set[str]:
    """Models whose token costs differ in something that the cost report does not have, such as the speed.

    They are seen where a day has several lines for the same kind of tokens, and where a line without a speed is for
    fast mode by its description and another one is not. Nothing else shows it without a further request.
    """
    common = {name: values for name, values in filters.items() if name in {WORKSPACE, "model"}}
    unlike: set[Key] = set()
    in_fast_mode: set[Key] = set()
    others: set[Key] = set()
    for day in spend:
        lines = set(_token_lines(day, common))
        unlike |= {kind for kind, count in Counter(kind for kind, _ in lines).items() if count > 1}
        for kind, description in lines:
            is_fast = kind[_SPEED] is None and _FAST.search(description or "")
            (in_fast_mode if is_fast else others).add(kind)
    return {kind[_MODEL] or "no model" for kind in unlike | (in_fast_mode & others)}


_MODEL, _SPEED = (WorkspacePriceKey._fields.index(name) for name in ("model", "speed"))
_FAST = re.compile(r"\bfast\b", re.IGNORECASE)


def _token_lines(day: DayRows, filters: Filters) -> Iterator[tuple[Key, str | None]]:
    """The kind of tokens (price dimensions and token type) and the description of each token cost that is no credit.

    A line that is allocated has several rows with the same description.
    """
    places = {dimension: place for place, dimension in enumerate(day.dimensions)}
    kind_of = itemgetter(*(places[dimension] for dimension in WorkspacePriceKey._fields), places["token_type"])
    description, token_type, category = (places[name] for name in ("description", "token_type", CHARGE_CATEGORY))
    tests = [(places[name], values) for name, values in filters.items()]
    for rows in day.rows.values():
        for key, _ in rows:
            if key[token_type] and key[category] == USAGE and all(key[place] in values for place, values in tests):
                yield kind_of(key), key[description]


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
