"""Compares the spend of two periods: the change by group, and its drivers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import ClassVar, Literal

from pydantic import Field

from usage_cost_mcp.analysis.cost_usage_join import normalize_geo_filter
from usage_cost_mcp.analysis.price_volume_mix import (
    EFFECTS,
    Driver,
    Effect,
    decompose_periods,
    with_average_prices,
)
from usage_cost_mcp.analysis.working_days import WorkingDays, working_days
from usage_cost_mcp.errors import InvalidQueryError
from usage_cost_mcp.model.dimensions import Filters
from usage_cost_mcp.model.money import exact, exact_sum, format_exact
from usage_cost_mcp.model.periods import Period, parse_period, period_before
from usage_cost_mcp.model.query_schema import BILLED_QUERY
from usage_cost_mcp.model.rows import Key
from usage_cost_mcp.model.series import add_up, aggregate
from usage_cost_mcp.model.upstream_reports import COST_REPORT
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import OFFLOAD_ROWS, gather_pair, run_in_thread_if

from . import notes
from .answers import Answer, AnswerModel, Note, PeriodModel
from .billing import Bill, find_bill, lookback
from .context import ReportContext
from .filters import FilterResolver, normalize_values
from .joined_reports import COMMON_DIMENSIONS, SpendAndUsage, fetch_spend_and_usage
from .labels import Labels, fetch_labels
from .notes import filter_clause
from .query import Query, RawFilters, parse_query
from .results import ResultMeta, result_meta, sorted_filters
from .spend import caveats
from .tables import CsvRows, Table, Waterfall, before_after_change, csv_records, signed_dollars
from .wording import (
    change_per_day,
    change_ratio,
    comparison_summary,
    driver_label,
    incomparable_summary,
    plural,
    unequal_lengths,
    unequal_working_days,
)

DEFAULT_AGAINST = "previous"
DEFAULT_GROUP_BY = ("model",)
MAX_DRIVERS = 8


class DriverItem(AnswerModel):
    """One driver of the change; the last one may be "rest", the sum of the smaller ones."""

    effect: Effect | Literal["rest"]
    label: str
    group: Mapping[str, str | None] | None
    change: str


class GroupChange(AnswerModel):
    """One group in both periods. Other has a null group and the number of groups merged into it."""

    label: str
    group: Mapping[str, str | None] | None
    cost: str
    previous_cost: str
    change: str
    status: str | None = Field(default=None, exclude_if=lambda status: status is None)
    other_groups: int | None = Field(default=None, exclude_if=lambda count: count is None)

    @property
    def label_with_status(self) -> str:
        return f"{self.label} ({self.status})" if self.status else self.label


class ComparisonAnswer(Answer):
    """Spend of a period against another one: the change by cause and by group, both adding up exactly."""

    drawable: ClassVar[bool] = True

    report: Literal["spend_comparison"] = "spend_comparison"
    period: PeriodModel
    against: PeriodModel
    group_by: Sequence[str]
    filter_by: Mapping[str, Sequence[str | None]]
    cost: str
    previous_cost: str
    change: str
    change_ratio: float | None
    change_per_day: str | None = Field(default=None, exclude_if=lambda change: change is None)
    effects: Mapping[str, str]
    drivers: Sequence[DriverItem]
    groups: Sequence[GroupChange]

    def tables(self) -> Sequence[Table]:
        """The change by cause, where the causes are known, then by group."""
        causes = [
            ["cause", "change"],
            *([each.label, signed_dollars(each.change)] for each in self.drivers),
            ["Total", signed_dollars(self.change)],
        ]
        previous, current = (f"{each.start}..{each.end}" for each in (self.against, self.period))
        groups = [
            [" / ".join(self.group_by) or "total", previous, current, "change"],
            *(
                [each.label_with_status, *before_after_change(each.previous_cost, each.cost, each.change)]
                for each in self.groups
            ),
            ["Total", *before_after_change(self.previous_cost, self.cost, self.change)],
        ]
        steps = Waterfall([float(each.change) for each in self.drivers or self.groups])
        if not self.drivers:
            return [Table(groups, drawing=steps)]
        return [Table(causes, drawing=steps), Table(groups)]

    def csv_rows(self) -> CsvRows:
        """The groups; the causes are another table."""
        fields = ("label", "cost", "previous_cost", "change", "status", "other_groups")
        return csv_records(self.groups, fields, self.group_by)


@dataclass(frozen=True, slots=True)
class _GroupCost:
    """The cost of one group, or of several merged ones, in the two periods."""

    label: str
    key: Key | None
    cost: Decimal
    previous_cost: Decimal
    other_groups: int | None = None

    @property
    def change(self) -> Decimal:
        with exact():
            return self.cost - self.previous_cost


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """The complete comparison, from which answers of several sizes are built.

    Attributes:
        groups: The cost of each group in the current and in the previous period.
        drivers: The largest first; None if the filters name a dimension that the usage report lacks, or the earlier
            period cannot be compared.
        incomparable: Why not: the first day of the earlier period that has cost, of everything or of what the filters
            select.
    """

    query: Query
    filters: Filters
    current: SpendAndUsage
    previous: SpendAndUsage
    groups: Mapping[Key, tuple[Decimal, Decimal]]
    drivers: Sequence[Driver] | None
    incomparable: "_Start | None"
    labels: Labels
    notes: Sequence[Note]
    meta: ResultMeta

    @property
    def default_size(self) -> bool:
        return self.query.default_size

    def candidates(self) -> Iterator[ComparisonAnswer]:
        """The answer with all requested groups, then with fewer and fewer groups and drivers."""
        top, drivers = min(self.query.top or len(self.groups), len(self.groups)), MAX_DRIVERS
        yield self._answer(top, drivers)
        while top > 1 or drivers > 1:
            top, drivers = max(1, top // 2), max(1, drivers // 2)
            yield self._answer(top, drivers)

    def _answer(self, top: int, max_drivers: int) -> ComparisonAnswer:
        total = self._merged("Total", list(self.groups))
        cost, previous_cost = total.cost, total.previous_cost
        current, previous = self.current.period, self.previous.period
        per_day = change_per_day(current, previous, cost, previous_cost) if len(current) != len(previous) else None
        return ComparisonAnswer(
            summary=self._summary(total),
            period=PeriodModel(start=current.start, end=current.end),
            against=PeriodModel(start=previous.start, end=previous.end),
            group_by=self.query.group_by,
            filter_by=sorted_filters(self.filters),
            cost=format_exact(cost),
            previous_cost=format_exact(previous_cost),
            change=format_exact(total.change),
            change_ratio=None if self.incomparable else change_ratio(cost, previous_cost),
            change_per_day=None if per_day is None else format_exact(per_day),
            effects=self._effects(),
            drivers=list(self._drivers(max_drivers)),
            groups=[self._group(line) for line in self._lines(top)],
            **self.meta.common_fields(current, [self.current, self.previous], self.notes),
        )

    def _merged(self, label: str, keys: Sequence[Key], other_groups: int | None = None) -> _GroupCost:
        cost = exact_sum(self.groups[key][0] for key in keys)
        previous_cost = exact_sum(self.groups[key][1] for key in keys)
        return _GroupCost(label, None, cost, previous_cost, other_groups)

    def _lines(self, top: int) -> list[_GroupCost]:
        """The groups that changed most, and the others merged into one."""
        order = sorted(
            self.groups,
            key=lambda key: (
                -abs(_GroupCost("", key, *self.groups[key]).change),
                [(v is not None, v or "") for v in key],
            ),
        )
        group_by, rest = self.query.group_by, order[top:]
        lines = [_GroupCost(self.labels.of_group(group_by, key), key, *self.groups[key]) for key in order[:top]]
        if rest:
            lines.append(self._merged(f"Other ({plural(len(rest), 'group')})", rest, len(rest)))
        return lines

    def _group(self, line: _GroupCost) -> GroupChange:
        cost, previous_cost = line.cost, line.previous_cost
        status = "new" if cost and not previous_cost else "vanished" if previous_cost and not cost else None
        return GroupChange(
            label=line.label,
            group=None if line.key is None else dict(zip(self.query.group_by, line.key, strict=True)),
            cost=format_exact(cost),
            previous_cost=format_exact(previous_cost),
            change=format_exact(line.change),
            status=status,
            other_groups=line.other_groups,
        )

    def _summary(self, total: _GroupCost) -> str:
        periods, costs = (self.current.period, self.previous.period), (total.cost, total.previous_cost)
        if self.incomparable:
            subject = filter_clause(self.filters, self.labels) if self.incomparable.filtered else ""
            return incomparable_summary(*periods, *costs, self.incomparable.period, self.incomparable.first, subject)
        summary = comparison_summary(*periods, *costs, self.drivers or (), self.labels)
        return " ".join([summary, *(note.message for note in self.notes if note.code == _WORKING_DAYS)])

    def _effects(self) -> dict[str, str]:
        if self.drivers is None:
            return {}
        return {
            effect: format_exact(exact_sum(each.change for each in self.drivers if each.effect == effect))
            for effect in EFFECTS
        }

    def _drivers(self, count: int) -> Iterator[DriverItem]:
        drivers = self.drivers or ()
        for driver in drivers[:count]:
            yield DriverItem(
                effect=driver.effect,
                label=driver_label(driver, self.labels),
                group=driver.group,
                change=format_exact(driver.change),
            )
        if rest := drivers[count:]:
            total = exact_sum(driver.change for driver in rest)
            label = plural(len(rest), "smaller driver")
            yield DriverItem(effect="rest", label=label, group=None, change=format_exact(total))


async def run_comparison(
    period: str,
    against: str,
    group_by: Sequence[str],
    filter_by: RawFilters | None,
    top: int | None,
    default_top: int | None,
    context: ReportContext,
    call: CallContext,
) -> ComparisonResult:
    """Compare the spend of a period with that of another one.

    Raises:
        InvalidQueryError: For invalid arguments, and for periods that overlap.
        UpstreamError: If any rows cannot be fetched.
    """
    today = context.today()
    query = parse_query(
        BILLED_QUERY, today, period=period, group_by=group_by, filter_by=filter_by, top=top, default_top=default_top
    )
    complete = Bill(today, None)
    current = complete.billed_part(query.period)
    asked_previous = parse_against(against, current, today, query.period.end)
    previous = complete.billed_part(asked_previous)
    filters = await FilterResolver(context, query.schema, call).resolve(query.filter_by)
    held, labels = await gather_pair(
        _fetch(context, current, previous, call),
        fetch_labels(context.directory, {"workspace_id", *query.group_by, *query.filter_by}, call),
    )
    latest = held[-1]
    bill = await find_bill(context, latest.spend, call, latest.usage)
    current_data = _part(held, bill.billed_part(current))
    previous = parse_against(against, current_data.period, today, query.period.end)
    previous_data = _part(held, bill.billed_part(previous))
    filters = normalize_geo_filter(normalize_values(filters, current_data.spend))
    now = context.now()
    incomparable = _incomparable(current_data, previous_data, filters, now)
    groups, drivers, weekdays = await run_in_thread_if(
        lambda: _compare(current_data, previous_data, query, filters, now, incomparable),
        when=current_data.rows + previous_data.rows > OFFLOAD_ROWS,
    )
    both = [*current_data.spend.days, *previous_data.spend.days]
    mixed = await notes.find_mixed_models(both, filters)
    return ComparisonResult(
        query=replace(query, default_size=top is None),
        filters=filters,
        current=current_data,
        previous=previous_data,
        groups=groups,
        drivers=drivers and with_average_prices(drivers, mixed),
        incomparable=incomparable,
        labels=labels,
        notes=[
            *bill.notes(max(query.period, asked_previous, key=lambda each: each.end)),
            *notes.today_notes(query.period, today),
            *notes.today_notes(asked_previous, today),
            *_period_notes(current_data, previous_data, incomparable, now),
            *_working_day_notes(weekdays, groups, incomparable),
            *notes.label_notes(labels),
            *_driver_notes(filters),
            *notes.speed_notes([*query.group_by, *filters], filters, both),
            *notes.mixed_model_notes(mixed),
            *caveats(current_data.spend, filters),
        ],
        meta=result_meta(context, call, now),
    )


def parse_against(words: str, period: Period, today: date, asked_end: date | None = None) -> Period:
    """The period that `period` is compared with; `asked_end` as for `period_before`.

    Raises:
        InvalidQueryError: If the words are not understood or the two periods overlap.
    """
    previous = period_before(words, period, asked_end) or parse_period(words, today)
    if previous.end >= period.start and previous.start <= period.end:
        raise InvalidQueryError(f"against {words}: {previous} overlaps {period}; choose days before or after it.")
    return previous


async def _fetch(
    context: ReportContext, current: Period, previous: Period, call: CallContext
) -> Sequence[SpendAndUsage]:
    """Both periods, and of recent days those before that help to judge their bill; the latest days last.

    What is adjacent is fetched as one, which takes fewer requests.
    """
    first, last = sorted((current, previous), key=lambda period: period.start)
    before = lookback(last, context.today())
    if first.end + _DAY >= min([*before, last.start]):
        both = Period(first.start, last.end, last.end)
        return [await fetch_spend_and_usage(context, both, call, also=lookback(both, context.today()))]
    return await gather_pair(
        fetch_spend_and_usage(context, first, call), fetch_spend_and_usage(context, last, call, also=before)
    )


_DAY = timedelta(days=1)


def _part(held: Sequence[SpendAndUsage], period: Period) -> SpendAndUsage:
    return next(each.within(period) for each in held if each.period.start <= period.start <= each.period.end)


@dataclass(frozen=True, slots=True)
class _Start:
    """Where cost begins in the earlier of the two periods, which has none before.

    Attributes:
        period: The earlier period.
        first: Its first day with cost; None if there is none.
        filtered: Whether that is so only of what the filters select.
    """

    period: Period
    first: date | None
    filtered: bool


def _incomparable(current: SpendAndUsage, previous: SpendAndUsage, filters: Filters, now: datetime) -> _Start | None:
    """Why the earlier of the periods is no basis for a comparison: it has no cost, or its cost begins late."""
    everything: Filters = {}
    earlier, later = sorted((current, previous), key=lambda data: data.period.start)
    for applied in (everything, filters):
        days, later_days = (_days_with_cost(data, applied, now) for data in (earlier, later))
        if not any(days):
            return _Start(earlier.period, None, bool(applied))
        empty = days.index(True)
        if empty * _LATE >= len(days) and empty > max(_longest_gap(days[empty:]), _longest_gap(later_days)):
            return _Start(earlier.period, earlier.period.days[empty], bool(applied))
    return None


_LATE = 10
"""A period begins late if this part of it, a tenth, is without cost, and no other days without cost are as many."""


def _days_with_cost(data: SpendAndUsage, filters: Filters, now: datetime) -> list[bool]:
    if not filters:
        return [len(rows) > 0 for rows in data.spend.days]
    table = aggregate(data.spend.days, COST_REPORT, data.period, "day", now, [], filters)
    columns = list(table.groups.values())
    return [any(column[place][0] for column in columns) for place in range(len(data.period))]


def _longest_gap(days: Sequence[bool]) -> int:
    return max((len(list(run)) for used, run in groupby(days) if not used), default=0)


def _compare(
    current: SpendAndUsage,
    previous: SpendAndUsage,
    query: Query,
    filters: Filters,
    now: datetime,
    incomparable: _Start | None,
) -> tuple[Mapping[Key, tuple[Decimal, Decimal]], Sequence[Driver] | None, WorkingDays]:
    """Both costs of every group, the drivers of the total change, and the working days."""
    costs, previous_costs = (_costs(data, query.group_by, filters, now) for data in (current, previous))
    zero = Decimal(0)
    groups = {key: (costs.get(key, zero), previous_costs.get(key, zero)) for key in costs | previous_costs}
    weekdays = working_days(current.period.days, previous.period.days, _costs_by_day(previous, filters, now))
    if not filters.keys() <= COMMON_DIMENSIONS or (incomparable and not incomparable.filtered):
        return groups, None, weekdays
    before, after = previous.priced_cells(now, filters), current.priced_cells(now, filters)
    return groups, decompose_periods(before, after, len(current.period), len(previous.period)), weekdays


def _costs(data: SpendAndUsage, group_by: Sequence[str], filters: Filters, now: datetime) -> dict[Key, Decimal]:
    table = aggregate(data.spend.days, COST_REPORT, data.period, "total", now, group_by, filters)
    return {key: Decimal(add_up(columns)[0]) for key, columns in table.groups.items()}


def _costs_by_day(data: SpendAndUsage, filters: Filters, now: datetime) -> list[Decimal]:
    table = aggregate(data.spend.days, COST_REPORT, data.period, "day", now, [], filters)
    columns = list(table.groups.values())
    return [exact_sum(Decimal(each[place][0]) for each in columns) for place in range(len(data.period))]


def _working_day_notes(
    both: WorkingDays, groups: Mapping[Key, tuple[Decimal, Decimal]], incomparable: _Start | None
) -> Iterator[Note]:
    change = exact_sum(amount for cost, previous_cost in groups.values() for amount in (cost, -previous_cost))
    if both.is_material(change) and not incomparable:
        yield Note(code=_WORKING_DAYS, message=unequal_working_days(both))


_WORKING_DAYS = "unequal_working_days"


def _period_notes(
    current: SpendAndUsage, previous: SpendAndUsage, incomparable: _Start | None, now: datetime
) -> Iterator[Note]:
    if incomparable:
        yield Note(
            code="comparison_period_incomplete" if incomparable.first else "comparison_period_empty",
            message=f"There is no cost {f'before {incomparable.first}' if incomparable.first else 'at all'} in "
            f"{incomparable.period}: the change has no ratio{'' if incomparable.filtered else ' and no drivers'}.",
        )
    days, previous_days = len(current.period), len(previous.period)
    if days != previous_days and not incomparable:
        yield Note(code="unequal_lengths", message=unequal_lengths(days, previous_days))
    for held in (previous.spend, previous.usage):
        yield from notes.freshness_notes(held, now)
    yield from current.notes(now)


def _driver_notes(filters: Filters) -> Iterator[Note]:
    if names := ", ".join(sorted(filters.keys() - COMMON_DIMENSIONS)):
        yield Note(
            code="drivers_unavailable",
            message=f"Drivers cannot be determined with a filter_by {names}, which the usage report lacks.",
        )
