"""Where the two reports meet: what was billed and what was used under the same model, tier, context window and geo.

A cell is the finest thing that both reports know. Its cost divided by its tokens is the price that was really paid.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from usage_cost_mcp.model.dimensions import PRIORITY_TIERS, TOKEN_TYPES, Filters
from usage_cost_mcp.model.money import exact
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import DayRows
from usage_cost_mcp.model.series import add_up, aggregate
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT


class WorkspacePriceKey(NamedTuple):
    """One kind of use: all that sets its prices, and whose it is."""

    workspace_id: str | None
    model: str | None
    service_tier: str | None
    context_window: str | None
    inference_geo: str | None


class PriceCell(NamedTuple):
    """One token type of a stream."""

    stream: WorkspacePriceKey
    token_type: str


class NonTokenCost(NamedTuple):
    """A cost that is not made of tokens: search, code execution, sessions, credits."""

    workspace_id: str | None
    cost_type: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class PricedCells:
    """Both reports of a period, cell by cell.

    Attributes:
        cost: Dollars by cell.
        tokens: Tokens by cell. Those of Priority Tier are not among them: their cost is in no report.
        other: Dollars that are not made of tokens.
        priority: Tokens of Priority Tier.
    """

    cost: Mapping[PriceCell, Decimal]
    tokens: Mapping[PriceCell, int]
    other: Mapping[NonTokenCost, Decimal]
    priority: Mapping[PriceCell, int] = field(default_factory=dict[PriceCell, int])

    @property
    def total(self) -> Decimal:
        """All dollars."""
        with exact():
            return sum(self.cost.values(), Decimal(0)) + sum(self.other.values(), Decimal(0))


def join(
    spend: Iterable[DayRows], usage: Iterable[DayRows], period: Period, now: datetime, filters: Filters | None = None
) -> PricedCells:
    """Put both reports of a period side by side: the cost report whole, the usage report in its base view.

    Filters are by dimensions that both have.
    """
    cost: dict[PriceCell, Decimal] = {}
    other: dict[NonTokenCost, Decimal] = {}
    billed = aggregate(
        spend,
        COST_REPORT,
        period,
        "total",
        now,
        [*WorkspacePriceKey._fields, "token_type", "cost_type", "description"],
        filters,
    )
    with exact():
        for (*stream, token_type, cost_type, description), columns in billed.groups.items():
            (dollars,) = map(Decimal, add_up(columns))
            if token_type is None:
                kind = NonTokenCost(stream[0], cost_type, description)
                other[kind] = other.get(kind, Decimal(0)) + dollars
            else:
                cell = PriceCell(normalize_geo(WorkspacePriceKey(*stream)), token_type)
                cost[cell] = cost.get(cell, Decimal(0)) + dollars
    used = _tokens(usage, period, now, filters)
    priority = {cell: count for cell, count in used.items() if cell.stream.service_tier in PRIORITY_TIERS}
    return PricedCells(cost, {cell: used[cell] for cell in used.keys() - priority.keys()}, other, priority)


def _tokens(usage: Iterable[DayRows], period: Period, now: datetime, filters: Filters | None) -> dict[PriceCell, int]:
    used = aggregate(usage, USAGE_REPORT, period, "total", now, WorkspacePriceKey._fields, filters)
    return {
        PriceCell(stream, token_type): int(count)
        for key, columns in used.groups.items()
        for stream in [normalize_geo(WorkspacePriceKey(*key))]
        for token_type, count in zip(TOKEN_TYPES, add_up(columns), strict=False)
        if count
    }


def normalize_geo_filter(filters: Filters) -> Filters:
    """The filters, under which a geo that is not told and one that is not available are the same."""
    geos = filters.get("inference_geo", frozenset[str | None]())
    return {**filters, "inference_geo": geos | NO_GEO} if geos & NO_GEO else filters


NO_GEO = frozenset[str | None]({None, "not_available"})


def normalize_geo(stream: WorkspacePriceKey) -> WorkspacePriceKey:
    """A model that cannot choose where it runs has no geo in some answers, and `not_available` in others."""
    return stream if stream.inference_geo is not None else stream._replace(inference_geo="not_available")
