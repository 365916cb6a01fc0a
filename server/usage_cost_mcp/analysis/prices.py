"""What a token really cost: the bill divided by the tokens of the same cell. There is no list of prices to go stale."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from usage_cost_mcp.model.dimensions import TOKEN_TYPES, Filters
from usage_cost_mcp.model.money import exact, format_exact, round_half_even
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import DayRows, Key
from usage_cost_mcp.model.series import Columns, Table, add_columns, aggregate
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT

from .cost_usage_join import PriceCell, PricedCells, WorkspacePriceKey, normalize_geo

_PLACES, _ROUNDED_PLACES = 12, 6
"""Decimals up to which a price per million tokens is exact, and those that are left of a longer one."""

_NOTICEABLE = Fraction(1, 1000)
"""What the price of a day may differ by rounding."""


class PriceKey(NamedTuple):
    """All that sets a price besides the token type: whose the tokens are does not."""

    model: str | None
    service_tier: str | None
    context_window: str | None
    inference_geo: str | None

    @classmethod
    def of(cls, stream: WorkspacePriceKey) -> "PriceKey":
        """The kind of a stream."""
        return cls(*stream[1:])


class CostAndTokens(NamedTuple):
    """Dollars and the tokens that they were billed for."""

    cost: Decimal
    tokens: int

    @property
    def price(self) -> Fraction:
        """Dollars a token."""
        return Fraction(self.cost) / self.tokens


def aggregate_by(cells: PricedCells, pool: Callable[[WorkspacePriceKey], Key]) -> dict[tuple[Key, str], CostAndTokens]:
    """Cost and tokens by pool and token type, of all cells that have both."""
    sums: dict[tuple[Key, str], CostAndTokens] = {}
    with exact():
        for cell, tokens in cells.tokens.items():
            if cost := cells.cost.get(cell):
                key = (pool(cell.stream), cell.token_type)
                before = sums.get(key, CostAndTokens(Decimal(0), 0))
                sums[key] = CostAndTokens(before.cost + cost, before.tokens + tokens)
    return sums


PriceChanges = Mapping[tuple[PriceKey, str], Mapping[date, Fraction]]
"""The prices that were not the same on all days of a period, day by day, by kind and token type."""


def changed_prices(
    spend: Iterable[DayRows], usage: Iterable[DayRows], period: Period, now: datetime, filters: Filters | None = None
) -> PriceChanges:
    """The prices that changed within the period, by more than rounding; a day that is not over says nothing yet."""
    billed = aggregate(spend, COST_REPORT, period, "day", now, [*PriceKey._fields, "token_type"], filters)
    used = aggregate(usage, USAGE_REPORT, period, "day", now, PriceKey._fields, filters)
    tokens = _by_kind(used)
    over = period.days[: len(billed.starts) - len(billed.partial(now))]
    daily: dict[tuple[PriceKey, str], dict[date, Fraction]] = {}
    for (*kind, token_type), costs in _by_kind(billed).items():
        if token_type in TOKEN_TYPES and (counts := tokens.get(tuple(kind))):
            place = TOKEN_TYPES.index(token_type)
            days = zip(over, costs, counts, strict=False)
            daily[PriceKey(*kind), token_type] = {
                day: Fraction(cost[0]) / int(count[place]) for day, cost, count in days if cost[0] and count[place]
            }
    return {cell: prices for cell, prices in daily.items() if prices and _differ(prices.values())}


def _differ(prices: Collection[Fraction]) -> bool:
    return max(prices) - min(prices) > _NOTICEABLE * abs(min(prices))


def _by_kind(table: Table) -> dict[Key, Columns]:
    """The groups of a table, whose keys begin with a kind, with one spelling of each kind."""
    groups: defaultdict[Key, list[Columns]] = defaultdict(list)
    for key, columns in table.groups.items():
        kind = PriceKey.of(normalize_geo(WorkspacePriceKey(None, *key[:_KIND])))
        groups[*kind, *key[_KIND:]].append(columns)
    return {key: add_columns(many, table.zeros) for key, many in groups.items()}


_KIND = len(PriceKey._fields)


class Price(NamedTuple):
    """Dollars a token; borrowed when it is that of other cells or other days."""

    dollars: Fraction
    estimated: bool


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of a period.

    Attributes:
        known: Dollars a token by token type and by stream, by kind over all workspaces, and by model and tier.
        changed: Those that were not the same on all days.
    """

    known: Mapping[tuple[Key, str], Fraction] = field(default_factory=dict[tuple[Key, str], Fraction])
    changed: PriceChanges = field(default_factory=dict[tuple[PriceKey, str], Mapping[date, Fraction]])

    def find(self, cell: WorkspacePriceKey | PriceKey, token_type: str, day: date) -> Price | None:
        """The price of a stream, or of a kind in any workspace; else that of the nearest cells which have one."""
        kind = PriceKey(*cell[-_KIND:])
        if daily := self.changed.get((kind, token_type)):
            nearest_day = min(daily, key=lambda each: abs(each - day))
            return Price(daily[nearest_day], estimated=nearest_day != day)
        for pool in (cell, kind, kind[:2]):
            if (dollars := self.known.get((pool, token_type))) is not None:
                return Price(dollars, estimated=pool != cell)
        return None

    def vary(self, cell: WorkspacePriceKey | PriceKey) -> bool:
        """Whether a price of the cell depends on the day."""
        return any((PriceKey(*cell[-_KIND:]), token_type) in self.changed for token_type in TOKEN_TYPES)


def prices_of(cells: PricedCells, changed: PriceChanges) -> Prices:
    """The prices of all cells and pools."""
    pools: Iterable[Callable[[WorkspacePriceKey], Key]] = (
        lambda stream: stream,
        PriceKey.of,
        lambda stream: PriceKey.of(stream)[:2],
    )
    return Prices({key: billed.price for pool in pools for key, billed in aggregate_by(cells, pool).items()}, changed)


def unpriced(cells: PricedCells) -> dict[PriceCell, str]:
    """Why the other cells have no price."""
    reasons = {cell: "cost without tokens" for cell, cost in cells.cost.items() if cost and cell not in cells.tokens}
    reasons |= {cell: "tokens without cost" for cell in cells.tokens if not cells.cost.get(cell)}
    return reasons | dict.fromkeys(cells.priority, "Priority Tier: its cost is in no report")


def per_million(price: Fraction) -> str:
    """Dollars per million tokens as a decimal string: all digits where they end soon, else rounded."""
    return format_exact(round_half_even(price * 10**6, _PLACES if is_terminating(price) else _ROUNDED_PLACES))


def is_terminating(price: Fraction) -> bool:
    """Whether all digits of the price are told."""
    return (price * 10 ** (6 + _PLACES)).denominator == 1
