"""The values of a dimension with their labels, and their shares of spend and tokens."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from pydantic import Field

from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.errors import InvalidQueryError, unknown_value_error
from usage_cost_mcp.model.dimensions import API_KEY, PRIORITY_TIERS, Filters
from usage_cost_mcp.model.money import exact, format_exact
from usage_cost_mcp.model.names import NamesById
from usage_cost_mcp.model.periods import Period, parse_period
from usage_cost_mcp.model.query_schema import USAGE_QUERY
from usage_cost_mcp.model.rows import Number, Sums
from usage_cost_mcp.model.series import add_up, aggregate
from usage_cost_mcp.model.upstream_reports import ALL_DIMENSIONS, COST_REPORT, USAGE_REPORT, UpstreamReport
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import gather_pair

from . import housekeeping, notes
from .answers import Answer, AnswerModel, Note, PeriodModel
from .billing import COUNTED, Bill, find_bill, lookback
from .context import ReportContext
from .credits import ONLY_CREDITS, before_credits, credit_notes, share_of
from .keyless_use import keyless_count_notes
from .labels import Labels, fetch_labels
from .query import parse_query
from .results import ResultMeta, result_meta, shrinking_counts
from .tables import CsvRows, Table, csv_records, readable_value
from .token_usage import all_tokens

MAX_VALUES = 1000
LISTED_WITHOUT_USE = ("workspace_id", "api_key_id")


class DimensionValue(AnswerModel):
    """One value. Amounts are exact decimal strings in dollars; shares of the total are numbers from 0 to 1.

    Cost includes credits; its share is of the cost before credits. It is null where only Priority Tier was used.
    """

    value: str | None
    label: str
    used: bool
    cost: str | None = Field(default=None, exclude_if=lambda cost: cost is None)
    cost_share: float | None = Field(default=None, exclude_if=lambda share: share is None)
    credits: str | None = Field(default=None, exclude_if=lambda credited: credited is None)
    tokens: int | None = Field(default=None, exclude_if=lambda tokens: tokens is None)
    token_share: float | None = Field(default=None, exclude_if=lambda share: share is None)


class ValuesAnswer(Answer):
    """The values of one dimension in a period, the largest first."""

    report: Literal["dimension_values"] = "dimension_values"
    dimension: str
    period: PeriodModel
    values: Sequence[DimensionValue]
    omitted: int

    def tables(self) -> Sequence[Table]:
        """Each value with its id, and its share of the spend and the tokens, where a report has the dimension."""
        columns = [
            (name, share, unit)
            for name, share, unit in (("cost", "cost_share", "USD"), ("tokens", "token_share", "tokens"))
            if any(getattr(each, name) is not None for each in self.values)
        ]
        with_ids = any(each.value not in {None, each.label} for each in self.values)
        head = [self.dimension, *(["id"] if with_ids else []), *(h for name, _, _ in columns for h in (name, "share"))]
        rows = [
            [
                each.label if each.used else f"{each.label} (not used)",
                *([each.value or ""] if with_ids else []),
                *(
                    readable_value(getattr(each, field), field_unit)
                    for name, share, unit in columns
                    for field, field_unit in ((name, unit), (share, "ratio"))
                ),
            ]
            for each in self.values
        ]
        return [Table([head, *rows])]

    def csv_rows(self) -> CsvRows:
        """A row per value."""
        return csv_records(self.values, tuple(DimensionValue.model_fields))


@dataclass(frozen=True, slots=True)
class _Amounts:
    """Dollars or tokens by value, from one report.

    Attributes:
        fetched: The days of the report, and those before them that were fetched with them.
        held: The days of the period.
        charged: The amounts before credits, and `total` their sum.
        credits: The credits in the dollars, below zero, of the values that have some.
        unpriced: The Priority Tier tokens of the values that have some, where the tier is known.
    """

    fetched: CacheResult
    held: CacheResult
    by_value: Mapping[str | None, Number]
    charged: Mapping[str | None, Number]
    total: Number
    credits: Mapping[str | None, Number]
    unpriced: Mapping[str | None, Number]

    def of(self, value: str | None) -> Number:
        return self.by_value.get(value, 0)

    def share(self, value: str | None) -> float | None:
        """The share of the sum before credits; None for a value that has credits only."""
        if value in self.credits and not self.charged[value]:
            return None
        share = share_of(self.charged.get(value, 0), self.total)
        return None if share is None else round(float(share), 4)


@dataclass(frozen=True, slots=True)
class ValuesResult:
    """All values, from which answers of several sizes are built."""

    dimension: str
    period: Period
    labels: Labels
    cost: _Amounts | None
    tokens: _Amounts | None
    bill: Bill | None
    top: int | None
    housekeeping: Sequence[Note]
    meta: ResultMeta

    @property
    def default_size(self) -> bool:
        return self.top is None

    @property
    def _amounts(self) -> list[_Amounts]:
        return [each for each in (self.cost, self.tokens) if each]

    def _complete(self) -> Period | None:
        """The days whose data is complete: the billed ones, unless usage is known."""
        return self.bill.part_of(self.period) if self.bill and not self.tokens else self.period.ended(self.meta.now)

    def candidates(self) -> Iterator[ValuesAnswer]:
        """The answer with all requested values, then with fewer and fewer."""
        values = self._values()
        for count in shrinking_counts(min(len(values), self.top or MAX_VALUES)):
            yield self._answer(values, count)

    def _values(self) -> list[DimensionValue]:
        occurring = {value for amounts in self._amounts for value in amounts.by_value}
        listed = self.labels.names.get(self.dimension) if self.dimension in LISTED_WITHOUT_USE else None
        order = sorted(occurring, key=self._largest_first)
        unused = sorted(set(listed or ()) - occurring, key=lambda value: self.labels.of(self.dimension, value))
        return [self._value(value, used=True) for value in order] + [self._value(value, used=False) for value in unused]

    def _largest_first(self, value: str | None) -> tuple[Sequence[Number], str]:
        return [-abs(amounts.of(value)) for amounts in self._amounts], value or ""

    def _value(self, value: str | None, *, used: bool) -> DimensionValue:
        cost = self.cost if self.cost and not self._is_unreported(value) else None
        return DimensionValue(
            value=value,
            label=self.labels.of(self.dimension, value),
            used=used,
            cost=format_exact(cost.of(value)) if cost else None,
            cost_share=cost.share(value) if cost else None,
            credits=format_exact(cost.credits[value]) if cost and value in cost.credits else None,
            tokens=int(self.tokens.of(value)) if self.tokens else None,
            token_share=self.tokens.share(value) if self.tokens else None,
        )

    def _is_unreported(self, value: str | None) -> bool:
        """Whether a value has no cost because all of its tokens are Priority Tier."""
        if not self.cost or not self.tokens or value in self.cost.by_value:
            return False
        return 0 < self.tokens.of(value) == self.tokens.unpriced.get(value)

    def _reported_amounts(self) -> Iterator[Note]:
        """What the cost includes and excludes."""
        if self.cost and self.cost.credits:
            yield from credit_notes(self.cost.held, {})
        if self.tokens and self.tokens.unpriced:
            yield Note(
                code="priority_tier_excluded" if self.cost else "priority_tier_included",
                message="The tokens include Priority Tier tokens, whose cost Anthropic does not report"
                + (": a cost is null where all tokens are of that tier." if self.cost else "."),
            )

    def _answer(self, values: Sequence[DimensionValue], count: int) -> ValuesAnswer:
        named = sum(value.used and value.value is not None for value in values)
        null = "".join(f" plus {value.label}" for value in values if value.used and value.value is None)
        unused = sum(not value.used for value in values)
        without_use = f", {unused} unused" if unused else ""
        first = f"; largest: {values[0].label}" if values and values[0].used else ""
        held = [amounts.held for amounts in self._amounts]
        today = notes.TODAY_SO_FAR if self.meta.now < self.period.ends else ""
        return ValuesAnswer(
            summary=f"{self.dimension} {self.period}{today}: {named} in use{null}{without_use}{first}.",
            dimension=self.dimension,
            period=PeriodModel(start=self.period.start, end=self.period.end),
            values=values[:count],
            omitted=len(values) - count,
            **self.meta.common_fields(
                self.period,
                held,
                [
                    *(self.bill.notes(self.period, COUNTED) if self.bill else ()),
                    *notes.period_notes(self.period, "total", self.meta.now),
                    *(note for each in held for note in notes.freshness_notes(each, self.meta.now)),
                    *notes.row_notes(held[-1], self._complete()),
                    *notes.label_notes(self.labels),
                    *self._reported_amounts(),
                    *self.housekeeping,
                    *_omitted(len(values), count),
                ],
            ),
        )


def _omitted(all_values: int, count: int) -> Iterator[Note]:
    if count < all_values:
        yield Note(
            code="values_omitted",
            message=f"{all_values - count} of {all_values} values are omitted; "
            f"use top={min(all_values, MAX_VALUES)} to see more.",
        )


async def run_values(
    dimension: str, period: str, top: int | None, context: ReportContext, call: CallContext
) -> ValuesResult:
    """The values of a dimension, from each report that has it.

    Raises:
        InvalidQueryError: For an unknown dimension or period.
        UpstreamError: If any rows cannot be fetched.
    """
    if dimension not in ALL_DIMENSIONS:
        raise unknown_value_error("dimension", dimension, ALL_DIMENSIONS)
    if top is not None and not 1 <= top <= MAX_VALUES:
        raise InvalidQueryError(f"top must be from 1 to {MAX_VALUES}, not {top}.")
    days = parse_period(period, context.today())
    also = lookback(days, context.today())
    (cost, tokens), (labels, keys) = await gather_pair(
        gather_pair(
            _fetch_amounts(COST_REPORT, dimension, days, also, context, call),
            _fetch_amounts(USAGE_REPORT, dimension, days, also, context, call),
        ),
        gather_pair(fetch_labels(context.directory, [dimension], call), _keys(dimension, context, call)),
    )
    bill = await find_bill(context, cost.fetched, call, _usage(tokens)) if cost else None
    split: Sequence[Note] = ()
    if dimension == API_KEY and tokens and None in tokens.by_value:
        query = parse_query(USAGE_QUERY, context.today(), period=period, group_by=[API_KEY])
        split = await keyless_count_notes(tokens.held, query, {}, days, context, call, size=all_tokens, unit="tokens")
    return ValuesResult(
        dimension=dimension,
        period=days,
        labels=labels,
        cost=cost,
        tokens=tokens,
        bill=bill,
        top=top,
        housekeeping=[*split, *_housekeeping(dimension, cost, tokens, labels, keys)],
        meta=result_meta(context, call),
    )


async def _keys(dimension: str, context: ReportContext, call: CallContext) -> NamesById | None:
    """The API keys, which are needed to find workspaces without keys."""
    return await context.directory.names("api_key_id", call) if dimension == "workspace_id" else None


def _housekeeping(
    dimension: str, cost: _Amounts | None, tokens: _Amounts | None, labels: Labels, keys: NamesById | None
) -> Iterator[Note]:
    if dimension == "api_key_id" and tokens:
        yield from housekeeping.keys_without_use(labels, tokens.by_value)
    if dimension == "workspace_id":
        yield from housekeeping.workspaces_without_keys(labels, keys)
    if dimension == "model" and cost:
        yield from housekeeping.dominant_model(cost.charged, has_credits=bool(cost.credits))


async def _fetch_amounts(
    report: UpstreamReport,
    dimension: str,
    period: Period,
    also: Sequence[date],
    context: ReportContext,
    call: CallContext,
) -> _Amounts | None:
    if dimension not in report.dimensions:
        return None
    fetched = await context.cache.days(report, report.views_for([dimension]), "1d", period, call, also=also)
    held = fetched.of(period)
    now = context.now()

    def amounts(filters: Filters) -> dict[str | None, Number]:
        table = aggregate(held.days, report, period, "total", now, [dimension], filters)
        amount = _AMOUNT[report.name]
        return {key[0]: amount(add_up(columns)) for key, columns in table.groups.items()}

    credited = amounts(ONLY_CREDITS) if report == COST_REPORT else {}
    has_tier = report == USAGE_REPORT and all("service_tier" in day.dimensions for day in held.days)
    unpriced = amounts({"service_tier": PRIORITY_TIERS}) if has_tier else {}
    by_value = amounts({})
    charged = before_credits(by_value, credited) if credited else by_value
    with exact():
        total = sum(charged.values())
    return _Amounts(fetched, held, by_value, charged, total, credited, unpriced)


def _usage(tokens: _Amounts | None) -> CacheResult | None:
    """The usage report if it is in its base view, and so can show how far the bill has arrived."""
    in_base_view = tokens and tokens.fetched.days[0].dimensions == USAGE_REPORT.base_view
    return tokens.fetched if tokens and in_base_view else None


_AMOUNT: dict[str, Callable[[Sums], Number]] = {COST_REPORT.name: lambda sums: sums[0], USAGE_REPORT.name: all_tokens}
