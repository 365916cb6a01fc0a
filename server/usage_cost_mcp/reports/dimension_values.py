"""The values of a dimension with their labels, and their shares of spend and tokens."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from pydantic import Field

from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.errors import InvalidQueryError, unknown_value_error
from usage_cost_mcp.model.money import format_exact
from usage_cost_mcp.model.names import NamesById
from usage_cost_mcp.model.periods import Period, parse_period
from usage_cost_mcp.model.rows import Number, Sums
from usage_cost_mcp.model.series import add_up, aggregate
from usage_cost_mcp.model.upstream_reports import ALL_DIMENSIONS, COST_REPORT, USAGE_REPORT, UpstreamReport
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import gather_pair

from . import housekeeping, notes
from .answers import Answer, AnswerModel, Note, PeriodModel
from .context import ReportContext
from .labels import Labels, fetch_labels
from .results import ResultMeta, result_meta, shrinking_counts
from .tables import CsvRows, Table, csv_records, readable_value
from .token_usage import all_tokens

MAX_VALUES = 1000
LISTED_WITHOUT_USE = ("workspace_id", "api_key_id")


class DimensionValue(AnswerModel):
    """One value. Cost is an exact decimal string in dollars; shares of the total are numbers."""

    value: str | None
    label: str
    used: bool
    cost: str | None = Field(default=None, exclude_if=lambda cost: cost is None)
    cost_share: float | None = Field(default=None, exclude_if=lambda share: share is None)
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
    """Dollars or tokens by value, from one report."""

    held: CacheResult
    by_value: Mapping[str | None, Number]
    total: Number

    def of(self, value: str | None) -> Number:
        return self.by_value.get(value, 0)

    def share(self, value: str | None) -> float | None:
        return round(float(Fraction(self.of(value)) / Fraction(self.total)), 4) if self.total else None


@dataclass(frozen=True, slots=True)
class ValuesResult:
    """All values, from which answers of several sizes are built."""

    dimension: str
    period: Period
    labels: Labels
    cost: _Amounts | None
    tokens: _Amounts | None
    top: int | None
    housekeeping: Sequence[Note]
    meta: ResultMeta

    @property
    def default_size(self) -> bool:
        return self.top is None

    @property
    def _amounts(self) -> list[_Amounts]:
        return [each for each in (self.cost, self.tokens) if each]

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
        return DimensionValue(
            value=value,
            label=self.labels.of(self.dimension, value),
            used=used,
            cost=format_exact(self.cost.of(value)) if self.cost else None,
            cost_share=self.cost.share(value) if self.cost else None,
            tokens=int(self.tokens.of(value)) if self.tokens else None,
            token_share=self.tokens.share(value) if self.tokens else None,
        )

    def _answer(self, values: Sequence[DimensionValue], count: int) -> ValuesAnswer:
        named = sum(value.used and value.value is not None for value in values)
        null = "".join(f" plus {value.label}" for value in values if value.used and value.value is None)
        unused = sum(not value.used for value in values)
        without_use = f", {unused} unused" if unused else ""
        first = f"; largest: {values[0].label}" if values and values[0].used else ""
        held = [amounts.held for amounts in self._amounts]
        return ValuesAnswer(
            summary=f"{self.dimension} {self.period}: {named} in use{null}{without_use}{first}.",
            dimension=self.dimension,
            period=PeriodModel(start=self.period.start, end=self.period.end),
            values=values[:count],
            omitted=len(values) - count,
            **self.meta.common_fields(
                self.period,
                held,
                [
                    *notes.period_notes(self.period, "total", self.meta.now),
                    *(note for each in held for note in notes.freshness_notes(each, self.meta.now)),
                    *notes.row_notes(held[-1], self.period),
                    *notes.label_notes(self.labels),
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
    (cost, tokens), (labels, keys) = await gather_pair(
        gather_pair(
            _fetch_amounts(COST_REPORT, dimension, days, context, call),
            _fetch_amounts(USAGE_REPORT, dimension, days, context, call),
        ),
        gather_pair(fetch_labels(context.directory, [dimension], call), _keys(dimension, context, call)),
    )
    return ValuesResult(
        dimension=dimension,
        period=days,
        labels=labels,
        cost=cost,
        tokens=tokens,
        top=top,
        housekeeping=list(_housekeeping(dimension, cost, tokens, labels, keys)),
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
        yield from housekeeping.dominant_model(cost.by_value)


async def _fetch_amounts(
    report: UpstreamReport, dimension: str, period: Period, context: ReportContext, call: CallContext
) -> _Amounts | None:
    if dimension not in report.dimensions:
        return None
    held = await context.cache.days(report, report.views_for([dimension]), "1d", period, call)
    table = aggregate(held.days, report, period, "total", context.now(), [dimension])
    amount = _AMOUNT[report.name]
    by_value = {key[0]: amount(add_up(columns)) for key, columns in table.groups.items()}
    return _Amounts(held, by_value, amount(table.totals()))


_AMOUNT: dict[str, Callable[[Sums], Number]] = {COST_REPORT.name: lambda sums: sums[0], USAGE_REPORT.name: all_tokens}
