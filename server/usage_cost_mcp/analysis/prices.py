"""Effective prices: reported cost divided by tokens. There is no built-in price list that could become outdated."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from usage_cost_mcp.model.dimensions import STANDARD_SPEED, Filters
from usage_cost_mcp.model.money import exact, format_exact, round_half_even
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import DayRows, Key
from usage_cost_mcp.model.series import Columns, Table, add_columns, aggregate
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT

from .cost_usage_join import STANDARD, PriceCell, PricedCells, WorkspacePriceKey, normalized, token_places

_PLACES, _ROUNDED_PLACES = 12, 6
"""Decimal places up to which a price per million tokens is shown exactly, and those of a longer one."""

_NOTICEABLE = Fraction(1, 1000)
"""Relative difference between daily prices that may be due to rounding."""


class PriceKey(NamedTuple):
    """The dimensions that determine a price, without the token type. The workspace does not affect prices."""

    model: str | None
    service_tier: str | None
    context_window: str | None
    inference_geo: str | None
    speed: str | None = STANDARD_SPEED

    @classmethod
    def of(cls, stream: WorkspacePriceKey) -> "PriceKey":
        return cls(*stream[1:])

    @property
    def similar(self) -> Key:
        """The dimensions without which another price is no estimate of this one."""
        return (self.model, self.service_tier, self.speed)


class CostAndTokens(NamedTuple):
    """Dollars and the tokens that they were charged for."""

    cost: Decimal
    tokens: int

    @property
    def price(self) -> Fraction:
        """Dollars per token."""
        return Fraction(self.cost) / self.tokens


def aggregate_by(cells: PricedCells, pool: Callable[[WorkspacePriceKey], Key]) -> dict[tuple[Key, str], CostAndTokens]:
    """Cost and tokens by pool and token type, from all cells that have both."""
    sums: dict[tuple[Key, str], CostAndTokens] = {}
    with exact():
        for cell, tokens in cells.tokens.items():
            if cost := cells.cost.get(cell):
                key = (pool(cell.stream), cell.token_type)
                before = sums.get(key, CostAndTokens(Decimal(0), 0))
                sums[key] = CostAndTokens(before.cost + cost, before.tokens + tokens)
    return sums


PriceChanges = Mapping[tuple[PriceKey, str], Mapping[date, Fraction]]
"""Daily prices by price key and token type, for those that changed within a period."""


def changed_prices(
    spend: Iterable[DayRows], usage: Iterable[DayRows], period: Period, now: datetime, filters: Filters | None = None
) -> PriceChanges:
    """The prices that changed within the period by more than rounding; incomplete days are ignored."""
    billed = aggregate(spend, COST_REPORT, period, "day", now, [*PriceKey._fields, "token_type"], filters)
    used = aggregate(usage, USAGE_REPORT, period, "day", now, PriceKey._fields, filters, defaults=STANDARD)
    tokens, places = _by_kind(used), token_places(used.more_inputs)
    complete = period.days[: len(billed.starts) - len(billed.partial(now))]
    daily: dict[tuple[PriceKey, str], dict[date, Fraction]] = {}
    for (*kind, token_type), costs in _by_kind(billed).items():
        place = places.get(token_type or "")
        if place is not None and token_type and (counts := tokens.get(tuple(kind))):
            days = zip(complete, costs, counts, strict=False)
            daily[PriceKey(*kind), token_type] = {
                day: Fraction(cost[0]) / int(count[place]) for day, cost, count in days if cost[0] and count[place]
            }
    return {cell: prices for cell, prices in daily.items() if prices and _differ(prices.values())}


def _differ(prices: Collection[Fraction]) -> bool:
    return max(prices) - min(prices) > _NOTICEABLE * abs(min(prices))


def _by_kind(table: Table) -> dict[Key, Columns]:
    """The groups of a table, whose keys begin with a price key, merged after that is normalized."""
    groups: defaultdict[Key, list[Columns]] = defaultdict(list)
    for key, columns in table.groups.items():
        kind = PriceKey.of(normalized(WorkspacePriceKey(None, *key[:_KIND])))
        groups[*kind, *key[_KIND:]].append(columns)
    return {key: add_columns(many, table.zeros) for key, many in groups.items()}


_KIND = len(PriceKey._fields)


class Price(NamedTuple):
    """Dollars per token; estimated if taken from other cells or other days."""

    dollars: Fraction
    estimated: bool


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of a period.

    Attributes:
        known: Dollars per token, by token type and by workspace price key, price key, or model, tier and speed.
        changed: The prices that changed within the period.
    """

    known: Mapping[tuple[Key, str], Fraction] = field(default_factory=dict[tuple[Key, str], Fraction])
    changed: PriceChanges = field(default_factory=dict[tuple[PriceKey, str], Mapping[date, Fraction]])

    def find(self, cell: WorkspacePriceKey | PriceKey, token_type: str, day: date) -> Price | None:
        """The price of a key on a day, or else that of the nearest day or cells that have one."""
        kind = PriceKey(*cell[-_KIND:])
        if daily := self.changed.get((kind, token_type)):
            nearest_day = min(daily, key=lambda each: abs(each - day))
            return Price(daily[nearest_day], estimated=nearest_day != day)
        for pool in (cell, kind, kind.similar):
            if (dollars := self.known.get((pool, token_type))) is not None:
                return Price(dollars, estimated=pool != cell)
        return None

    def vary(self, cell: WorkspacePriceKey | PriceKey) -> bool:
        """Whether any price of the key depends on the day."""
        return any(kind == cell[-_KIND:] for kind, _ in self.changed)


def prices_of(cells: PricedCells, changed: PriceChanges) -> Prices:
    """The average prices of a period by cell and pool, and the daily ones of `changed`."""
    pools: Iterable[Callable[[WorkspacePriceKey], Key]] = (
        lambda stream: stream,
        PriceKey.of,
        lambda stream: PriceKey.of(stream).similar,
    )
    return Prices({key: billed.price for pool in pools for key, billed in aggregate_by(cells, pool).items()}, changed)


def unpriced(cells: PricedCells) -> dict[PriceCell, str]:
    """The cells without a price, with the reason."""
    reasons = {cell: "cost without tokens" for cell, cost in cells.cost.items() if cost and cell not in cells.tokens}
    reasons |= {cell: "tokens without cost" for cell in cells.tokens if not cells.cost.get(cell)}
    return reasons | dict.fromkeys(cells.priority, "Priority Tier: Anthropic does not report its cost")


def per_million(price: Fraction) -> str:
    """Dollars per million tokens as a decimal string, exact up to 12 decimal places and rounded to 6 beyond."""
    return format_exact(round_half_even(price * 10**6, _PLACES if is_terminating(price) else _ROUNDED_PLACES))


def is_terminating(price: Fraction) -> bool:
    """Whether a price per token is exact within 12 decimal places per million."""
    return (price * 10 ** (6 + _PLACES)).denominator == 1
