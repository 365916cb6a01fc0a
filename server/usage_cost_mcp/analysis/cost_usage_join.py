"""Joins the cost report and the usage report by workspace, model, service tier, context window, geo and speed.

A cell is the finest group that both reports have. Its cost divided by its tokens is the effective price.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from usage_cost_mcp.model.dimensions import PRIORITY_TIERS, STANDARD_SPEED, TOKEN_TYPES, Filters, measure_of
from usage_cost_mcp.model.money import exact
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import DayRows
from usage_cost_mcp.model.series import add_up, aggregate
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT


class WorkspacePriceKey(NamedTuple):
    """The dimensions that determine a price, with the workspace."""

    workspace_id: str | None
    model: str | None
    service_tier: str | None
    context_window: str | None
    inference_geo: str | None
    speed: str | None = STANDARD_SPEED


class PriceCell(NamedTuple):
    """One token type of a price key: one price."""

    stream: WorkspacePriceKey
    token_type: str


class NonTokenCost(NamedTuple):
    """A cost that is not for tokens: web search, code execution, sessions, credits."""

    workspace_id: str | None
    cost_type: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class PricedCells:
    """Both reports of a period, joined by price cell.

    Attributes:
        cost: Dollars by cell.
        tokens: Tokens by cell, without those of the Priority Tier, whose cost Anthropic does not report.
        other: Dollars of costs that are not for tokens.
        priority: Priority Tier tokens by cell.
    """

    cost: Mapping[PriceCell, Decimal]
    tokens: Mapping[PriceCell, int]
    other: Mapping[NonTokenCost, Decimal]
    priority: Mapping[PriceCell, int] = field(default_factory=dict[PriceCell, int])

    @property
    def total(self) -> Decimal:
        """Dollars of all costs."""
        with exact():
            return sum(self.cost.values(), Decimal(0)) + sum(self.other.values(), Decimal(0))


def join(
    spend: Iterable[DayRows], usage: Iterable[DayRows], period: Period, now: datetime, filters: Filters | None = None
) -> PricedCells:
    """Join both reports of a period, each in its base view; the usage of days with fast use also has the speed.

    Filters may use only dimensions that both reports have.
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
                cell = PriceCell(normalized(WorkspacePriceKey(*stream)), token_type)
                cost[cell] = cost.get(cell, Decimal(0)) + dollars
    used = _tokens(usage, period, now, filters)
    priority = {cell: count for cell, count in used.items() if cell.stream.service_tier in PRIORITY_TIERS}
    return PricedCells(cost, {cell: used[cell] for cell in used.keys() - priority.keys()}, other, priority)


def _tokens(usage: Iterable[DayRows], period: Period, now: datetime, filters: Filters | None) -> dict[PriceCell, int]:
    used = aggregate(usage, USAGE_REPORT, period, "total", now, WorkspacePriceKey._fields, filters, defaults=STANDARD)
    places = token_places(used.more_inputs)
    tokens: Counter[PriceCell] = Counter()
    for key, columns in used.groups.items():
        stream, sums = normalized(WorkspacePriceKey(*key)), add_up(columns)
        for token_type, place in places.items():
            if count := int(sums[place]):
                tokens[PriceCell(stream, token_type)] += count
    return tokens


def token_places(more_inputs: Sequence[str]) -> Mapping[str, int]:
    """The position of each token type in the sums of a row of the usage report."""
    places = USAGE_REPORT.measure_places(more_inputs)
    return {token_type: places[measure_of(token_type)] for token_type in (*TOKEN_TYPES, *more_inputs)}


STANDARD = {"speed": STANDARD_SPEED}
"""The speed of usage that is not split by speed."""


def normalize_geo_filter(filters: Filters) -> Filters:
    """The filters, with a null geo and `not_available` treated as equal."""
    geos = filters.get("inference_geo", frozenset[str | None]())
    return {**filters, "inference_geo": geos | NO_GEO} if geos & NO_GEO else filters


NO_GEO = frozenset[str | None]({None, "not_available"})


def normalized(stream: WorkspacePriceKey) -> WorkspacePriceKey:
    """The key with a null geo as `not_available` (models without a choice have either) and a null speed as standard."""
    geo, speed = stream.inference_geo, stream.speed
    if geo is not None and speed is not None:
        return stream
    return stream._replace(inference_geo=geo or "not_available", speed=speed or STANDARD_SPEED)
