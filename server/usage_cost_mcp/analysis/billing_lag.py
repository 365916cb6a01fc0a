"""How far the bill has arrived: usage is reported within minutes, its cost up to some days later.

A recent day is billed when the cost of its tokens covers what they cost at the prices of earlier days. Without usage,
only a cost that is zero or unusually low shows that something may be missing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

from usage_cost_mcp.model.dimensions import PRIORITY_TIERS
from usage_cost_mcp.model.money import exact, exact_sum
from usage_cost_mcp.model.periods import Period, midnight
from usage_cost_mcp.model.rows import DayRows, Key
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT

from .cost_usage_join import PriceCell, join

N = TypeVar("N", int, Decimal)

MAX_LAG_DAYS = 3
"""How many days before today may lack cost; older days count as billed. Undocumented: clients report 24 to 48 hours."""

LOOKBACK_DAYS = MAX_LAG_DAYS + 7
"""The days before today whose rows decide: the recent ones, and a week before them for prices."""

_COVERED = Fraction(995, 1000)
"""The share of the expected cost from which a day is billed: what is missing then is at most seven minutes of a day.
Amounts are exact to fractions of a cent, so that rounding plays no part."""

_LOW = Decimal("0.9")
"""Without usage, a day below this share of its weekday is looked into: most days vary by less."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class BillGap:
    """The first day whose bill may not be complete.

    Attributes:
        coverage: Its token cost, as a share of what its tokens cost at earlier prices; None if that is unknown.
    """

    day: date
    coverage: Fraction | None


def find_gap(spend: Iterable[DayRows], usage: Iterable[DayRows], today: date) -> BillGap | None:
    """The first of the recent days whose cost does not cover its usage; None if there is none.

    Why the lowest price of the days before: where a cell mixes prices, such as those of fast mode, a day with less of
    the expensive use is not taken for one that lacks cost. A price that fell since is; the day counts as billed once
    it is older than `MAX_LAG_DAYS`.

    Args:
        spend: Days of the cost report. Only days that are in both reports are judged.
        usage: Days of the usage report. In a view without all dimensions of the base view, a day has a gap only if it
            has tokens and no cost; in one without the service tier, it is not judged.
        today: The current UTC day.
    """
    used = {rows.day: rows for rows in usage if "service_tier" in rows.dimensions}
    lowest: dict[Key, Fraction] = {}
    for billed in sorted(spend, key=lambda rows: rows.day):
        if not today - LOOKBACK_DAYS * _DAY <= billed.day < today or billed.day not in used:
            continue
        cost, tokens = _by_cell(billed, used[billed.day])
        if _is_recent(billed.day, today) and (coverage := _coverage(cost, tokens, lowest)) < _COVERED:
            return BillGap(billed.day, coverage)
        for cell in tokens:
            if (dollars := cost.get(cell, Decimal(0))) > 0:
                price = Fraction(dollars) / tokens[cell]
                lowest |= {key: min(price, lowest.get(key, price)) for key in (cell, cell[1:])}
    return None


def _is_recent(day: date, today: date) -> bool:
    return today - MAX_LAG_DAYS * _DAY <= day < today


def _by_cell(billed: DayRows, used: DayRows) -> tuple[Mapping[Key, Decimal], Mapping[Key, int]]:
    """The cost and the billable tokens of a day, by the dimensions of the usage report's base view and token type.

    In a coarser view all tokens are in one cell, which has no price.
    """
    if not set(used.dimensions).issuperset(USAGE_REPORT.base_view):
        tier = used.dimensions.index("service_tier")
        return {("tokens",): token_cost(billed)}, {
            (): sum(key[tier] not in PRIORITY_TIERS for rows in used.rows.values() for key, _ in rows)
        }
    cells = join([billed], [used], Period(billed.day, billed.day, billed.day), midnight(billed.day))
    return _sum_by_key(cells.cost), _sum_by_key(cells.tokens)


def _sum_by_key(amounts: Mapping[PriceCell, N]) -> dict[Key, N]:
    sums: dict[Key, N] = {}
    with exact():
        for (stream, token_type), amount in amounts.items():
            key = (*(getattr(stream, dimension) for dimension in USAGE_REPORT.base_view), token_type)
            sums[key] = sums[key] + amount if key in sums else amount
    return sums


def _coverage(cost: Mapping[Key, Decimal], tokens: Mapping[Key, int], lowest: Mapping[Key, Fraction]) -> Fraction:
    """The cost as a share of what the tokens cost at known prices, of their cell or of another workspace.

    1 if no price is known, or 0 if there are tokens and no cost at all.
    """
    if not any(dollars > 0 for dollars in cost.values()):
        return Fraction(not any(tokens.values()))
    prices = {cell: lowest.get(cell, lowest.get(cell[1:])) for cell in tokens}
    known = {cell: price for cell, price in prices.items() if price is not None}
    expected = sum((price * tokens[cell] for cell, price in known.items()), Fraction(0))
    return sum((Fraction(cost.get(cell, 0)) for cell in known), Fraction(0)) / expected if expected else Fraction(1)


def find_low_day(spend: Sequence[DayRows], today: date) -> date | None:
    """The first recent day whose token cost looks too small.

    It is zero, lower than on every earlier day with a cost, or by a tenth lower than on every earlier such weekday.
    """
    if not any(_is_recent(rows.day, today) for rows in spend):
        return None
    costs = {rows.day: token_cost(rows) for rows in spend if rows.day < today}
    earlier = {day: cost for day, cost in costs.items() if not _is_recent(day, today) and cost > 0}

    def is_low(day: date) -> bool:
        same_weekday = [cost for other, cost in earlier.items() if other.weekday() == day.weekday()]
        least = max(min(earlier.values(), default=Decimal(0)), _LOW * min(same_weekday, default=Decimal(0)))
        return costs[day] <= 0 or costs[day] < least

    return min((day for day in costs if _is_recent(day, today) and is_low(day)), default=None)


def token_cost(rows: DayRows) -> Decimal:
    """Dollars for tokens: neither credits nor other charges."""
    place = rows.dimensions.index("token_type")
    return exact_sum(Decimal(sums[0]) for many in rows.rows.values() for key, sums in many if key[place] is not None)
