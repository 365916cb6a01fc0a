"""Effective prices: reported cost divided by the tokens it was charged for, by every price dimension."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, TypeVar

from pydantic import Field

from usage_cost_mcp.analysis.cost_usage_join import (
    STANDARD,
    PriceCell,
    PricedCells,
    WorkspacePriceKey,
    join,
    normalize_geo_filter,
)
from usage_cost_mcp.analysis.prices import (
    CostAndTokens,
    PriceChanges,
    PriceKey,
    aggregate_by,
    changed_prices,
    is_terminating,
    per_million,
    unpriced,
)
from usage_cost_mcp.errors import unknown_value_error
from usage_cost_mcp.model.dimensions import OUTPUT, TOKEN_TYPES, UNCACHED, Filters
from usage_cost_mcp.model.money import exact_sum, format_dollars, format_exact
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.query_schema import SPEND_QUERY
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import OFFLOAD_ROWS, gather_pair, run_in_thread_if

from . import notes
from .answers import Answer, AnswerModel, Note, PeriodModel
from .billing import Bill, find_bill, lookback
from .context import ReportContext
from .filters import FilterResolver, normalize_values
from .joined_reports import SpendAndUsage, fetch_spend_and_usage
from .labels import Labels, fetch_labels
from .query import RawFilters, parse_query
from .results import ResultMeta, result_meta, shrinking_counts, sorted_filters
from .tables import CsvRows, Table, Value, readable_value
from .wording import price_changes

T = TypeVar("T")

DEFAULT_PRICES = 20
PRICE_DIMENSIONS = (*WorkspacePriceKey._fields, "token_type")
"""The dimensions that prices can be filtered by."""


class PriceRow(AnswerModel):
    """The prices of one price key by token type; `range` holds the lowest and highest daily price if it changed."""

    group: dict[str, str | None]
    usd_per_million_tokens: dict[str, str]
    range: dict[str, tuple[str, str]] = Field(default_factory=dict[str, tuple[str, str]], exclude_if=lambda it: not it)
    cost: str
    tokens: int

    def price_cell(self, token_type: str) -> str:
        """The price of a token type, with its range if it changed."""
        price = self.usd_per_million_tokens.get(token_type, "-")
        return f"{price} ({' to '.join(self.range[token_type])})" if token_type in self.range else price


class UnpricedRow(AnswerModel):
    """Tokens without a cost or a cost without tokens, and the reason."""

    group: dict[str, str | None]
    token_types: Sequence[str]
    cost: str
    tokens: int
    reason: str


class PricesAnswer(Answer):
    """Dollars per million tokens, the largest cost first."""

    report: Literal["effective_prices"] = "effective_prices"
    period: PeriodModel
    filter_by: Mapping[str, Sequence[str | None]]
    prices: Sequence[PriceRow]
    unpriced: Sequence[UnpricedRow]
    omitted: int

    def tables(self) -> Sequence[Table]:
        """Each kind of use with its prices by token type; then what has no price, and why."""
        types = sorted({name for row in self.prices for name in row.usd_per_million_tokens}, key=token_type_order)
        prices = [
            ["dollars per million tokens", *(_TOKEN_TYPE_NAMES.get(name, name) for name in types), "cost"],
            *(
                [price_key_label(row), *(row.price_cell(name) for name in types), readable_value(row.cost, "USD")]
                for row in self.prices
            ),
        ]
        unpriced = [
            ["without a price", "cost", "tokens", "reason"],
            *(
                [price_key_label(row), _known_value(row.cost, "USD"), _known_value(row.tokens, "tokens"), row.reason]
                for row in self.unpriced
            ),
        ]
        return [Table(rows) for rows in (prices, unpriced) if len(rows) > 1]

    def csv_rows(self) -> CsvRows:
        """A row per token type; where there is no price, the reason."""
        speeds = any("speed" in row.group for row in (*self.prices, *self.unpriced))
        dimensions = [name for name in PriceKey._fields if name not in STANDARD or speeds]
        yield [*dimensions, "token_type", "usd_per_million_tokens", "lowest", "highest", "reason"]
        for row in self.prices:
            for token_type, price in row.usd_per_million_tokens.items():
                ends = row.range.get(token_type, (price, price))
                yield [*_values(row.group, dimensions), token_type, price, *ends, None]
        for row in self.unpriced:
            for token_type in row.token_types:
                yield [*_values(row.group, dimensions), token_type, None, None, None, row.reason]


def _values(group: Mapping[str, str | None], dimensions: Sequence[str]) -> list[str | None]:
    return [{**STANDARD, **group}[name] for name in dimensions]


_TOKEN_TYPE_NAMES = {
    "uncached_input_tokens": "uncached input",
    "cache_read_input_tokens": "cache read",
    "cache_creation.ephemeral_5m_input_tokens": "cache write 5m",
    "cache_creation.ephemeral_1h_input_tokens": "cache write 1h",
    "output_tokens": "output",
}


def _known_value(value: Value, unit: str) -> str:
    """A zero stands for what the report does not have."""
    return readable_value(value if value not in {0, "0"} else None, unit)


@dataclass(frozen=True, slots=True)
class PricesResult:
    """All prices, from which answers of several sizes are built."""

    requested: Period
    billed: Period | None
    bill: Bill
    filters: Filters
    labels: Labels
    held: SpendAndUsage
    cells: PricedCells
    changed: PriceChanges
    top: int | None
    default_size: bool
    mixed: Collection[str]
    meta: ResultMeta

    def candidates(self) -> Iterator[PricesAnswer]:
        """The answer with all requested rows, then with fewer and fewer."""
        prices, rest = self._prices(), self._unpriced()
        longest = max(len(prices), len(rest))
        for count in shrinking_counts(min(longest, self.top or longest)):
            yield self._answer(prices, rest, count)

    def _prices(self) -> list[PriceRow]:
        by_kind: dict[PriceKey, dict[str, CostAndTokens]] = {}
        for (kind, token_type), billed in aggregate_by(self.cells, PriceKey.of).items():
            by_kind.setdefault(PriceKey(*kind), {})[token_type] = billed
        return sorted((self._price_row(kind, billed) for kind, billed in by_kind.items()), key=_largest_first)

    def _price_row(self, kind: PriceKey, billed: Mapping[str, CostAndTokens]) -> PriceRow:
        changed = {name: self.changed[kind, name].values() for name in billed if (kind, name) in self.changed}
        return PriceRow(
            group=_group(kind),
            usd_per_million_tokens={
                name: per_million(billed[name].price) for name in sorted(billed, key=token_type_order)
            },
            range={name: (per_million(min(daily)), per_million(max(daily))) for name, daily in changed.items()},
            cost=format_exact(exact_sum(each.cost for each in billed.values())),
            tokens=sum(each.tokens for each in billed.values()),
        )

    def _unpriced(self) -> list[UnpricedRow]:
        cells: dict[tuple[PriceKey, str], list[PriceCell]] = {}
        for cell, reason in unpriced(self.cells).items():
            cells.setdefault((PriceKey.of(cell.stream), reason), []).append(cell)
        rows = [
            UnpricedRow(
                group=_group(kind),
                token_types=sorted({cell.token_type for cell in many}, key=token_type_order),
                cost=format_exact(exact_sum(self.cells.cost.get(cell, Decimal(0)) for cell in many)),
                tokens=sum(self.cells.tokens.get(cell, 0) + self.cells.priority.get(cell, 0) for cell in many),
                reason=reason,
            )
            for (kind, reason), many in cells.items()
        ]
        return sorted(rows, key=_largest_first)

    def _answer(self, prices: Sequence[PriceRow], rest: Sequence[UnpricedRow], count: int) -> PricesAnswer:
        omitted = len(prices[count:]) + len(rest[count:])
        period = self.billed or self.requested
        headline = _headline(prices) if self.billed else "no complete billed day"
        return PricesAnswer(
            summary=f"Effective prices {period}: {headline}.",
            period=PeriodModel(start=period.start, end=period.end),
            filter_by=sorted_filters(self.filters),
            prices=prices[:count],
            unpriced=rest[:count],
            omitted=omitted,
            **self.meta.common_fields(
                period,
                [self.held],
                [
                    *self.bill.exclusion_notes(self.requested),
                    *notes.period_notes(self.requested, "total", self.meta.now),
                    *(self.held.notes(self.meta.now) if self.billed else ()),
                    *self._filter_notes(),
                    *notes.label_notes(self.labels),
                    *self._price_notes(prices),
                    *notes.mixed_model_notes(self.mixed),
                    *_omitted(omitted, count),
                ],
            ),
        )

    def _filter_notes(self) -> Iterator[Note]:
        """A filter value may occur in either report; token types occur in the cost report only."""
        either = replace(self.held.spend, days=[*self.held.spend.days, *self.held.usage.days])
        for dimension, values in self.filters.items():
            held = either if dimension in USAGE_REPORT.base_view else self.held.spend
            yield from notes.filter_notes({dimension: values}, held, self.labels)

    def _price_notes(self, prices: Sequence[PriceRow]) -> Iterator[Note]:
        # Where the bill mixes prices, their average also changes with the mix.
        models = sorted({row.group["model"] or "no model" for row in prices if row.range} - set(self.mixed))
        if models:
            yield Note(code="prices_changed", message=price_changes(models))
        if not all(is_terminating(billed.price) for billed in aggregate_by(self.cells, PriceKey.of).values()):
            yield Note(code="prices_rounded", message="Prices with more than 12 decimal places are rounded to 6.")
        if self.cells.other:
            kinds = sorted({kind.cost_type or "credits and others" for kind in self.cells.other})
            total = format_dollars(exact_sum(self.cells.other.values()))
            yield Note(
                code="other_costs_excluded",
                message=f"Excludes {total} of costs that are not for tokens ({', '.join(kinds)}).",
            )


def _group(kind: PriceKey) -> dict[str, str | None]:
    """The dimensions of a price key; the speed only where it is not standard."""
    return {name: value for name, value in kind._asdict().items() if (name, value) not in STANDARD.items()}


def token_type_order(token_type: str) -> tuple[int, str]:
    """Sort key: the known token types in their usual order, then new ones by name."""
    return TOKEN_TYPES.index(token_type) if token_type in TOKEN_TYPES else len(TOKEN_TYPES), token_type


def _largest_first(row: PriceRow | UnpricedRow) -> tuple[Decimal, int, str]:
    return -abs(Decimal(row.cost)), -row.tokens, str(row)


def _headline(prices: Sequence[PriceRow]) -> str:
    if not prices:
        return "no cost with tokens to divide it by"
    first, *rest = prices
    of_type = first.usd_per_million_tokens
    words = {UNCACHED: "uncached input", OUTPUT: "output"}
    named = [name for name in words if name in of_type] or list(of_type)[:1]
    listed = " and ".join(
        f"${of_type[name]} per million {words.get(name, name.removesuffix('_tokens').replace('_', ' '))} tokens"
        for name in named
    )
    more = f"; {len(rest)} more in the table" if rest else ""
    return f"{price_key_label(first)}: {listed}{more}"


def price_key_label(row: PriceRow | UnpricedRow) -> str:
    """The values of the price dimensions, without the empty ones."""
    return ", ".join(value for value in row.group.values() if value and value != "not_available") or "no model"


def _omitted(omitted: int, count: int) -> Iterator[Note]:
    if omitted:
        yield Note(
            code="prices_omitted",
            message=f"{omitted} more rows are omitted; the {count} with the largest cost are listed. "
            "Use a larger top or filter_by to see more.",
        )


async def run_prices(
    period: str,
    filter_by: RawFilters | None,
    top: int | None,
    default_top: int | None,
    context: ReportContext,
    call: CallContext,
) -> PricesResult:
    """The effective prices of a period.

    Raises:
        InvalidQueryError: For an invalid filter or period.
        UpstreamError: If any rows of either report cannot be fetched.
    """
    for dimension in filter_by or {}:
        if dimension not in PRICE_DIMENSIONS:
            raise unknown_value_error("filter_by", dimension, PRICE_DIMENSIONS)
    query = parse_query(
        SPEND_QUERY, context.today(), period=period, filter_by=filter_by, top=top, default_top=default_top
    )
    filters = await FilterResolver(context, query.schema, call).resolve(query.filter_by)
    fetched, labels = await gather_pair(
        fetch_spend_and_usage(context, query.period, call, also=lookback(query.period, context.today())),
        fetch_labels(context.directory, filters, call),
    )
    bill = await find_bill(context, fetched.spend, call, fetched.usage)
    billed = bill.part_of(query.period)
    held = fetched.within(billed or query.period)
    filters = normalize_geo_filter(normalize_values(filters, held.spend))
    now = context.now()
    workspaces = {name: values for name, values in filters.items() if name == "workspace_id"}

    def joined() -> tuple[PricedCells, PriceChanges]:
        if billed is None:
            return PricedCells({}, {}, {}), {}
        return (
            _filtered(join(held.spend.days, held.usage.days, held.period, now), filters),
            changed_prices(held.spend.days, held.usage.days, held.period, now, workspaces),
        )

    cells, changed = await run_in_thread_if(joined, when=held.rows > OFFLOAD_ROWS)
    return PricesResult(
        requested=query.period,
        billed=billed,
        bill=bill,
        filters=filters,
        labels=labels,
        held=held,
        cells=cells,
        changed=changed,
        top=query.top,
        default_size=query.default_size,
        mixed=await notes.find_mixed_models(held.spend.days, filters),
        meta=result_meta(context, call, now),
    )


def _filtered(cells: PricedCells, filters: Filters) -> PricedCells:
    """The cells that pass the filters. A non-token cost has a workspace but no other price dimension."""

    def passes(cell: PriceCell) -> bool:
        values_by_dimension = {**cell.stream._asdict(), "token_type": cell.token_type}
        return all(values_by_dimension[dimension] in values for dimension, values in filters.items())

    def kept(by_cell: Mapping[PriceCell, T]) -> dict[PriceCell, T]:
        return {cell: value for cell, value in by_cell.items() if passes(cell)}

    filters_by_price = filters.keys() - {"workspace_id"}
    workspaces = filters.get("workspace_id")
    return PricedCells(
        kept(cells.cost),
        kept(cells.tokens),
        {
            kind: cost
            for kind, cost in cells.other.items()
            if not filters_by_price and (workspaces is None or kind.workspace_id in workspaces)
        },
        kept(cells.priority),
    )
