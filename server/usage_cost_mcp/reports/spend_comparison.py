"""Compares the spend of two periods: the change by group, and its drivers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import ClassVar, Literal

from pydantic import Field

from usage_cost_mcp.analysis.cost_usage_join import normalize_geo_filter
from usage_cost_mcp.analysis.price_volume_mix import EFFECTS, Driver, Normalization, apportioned, decompose
from usage_cost_mcp.errors import InvalidQueryError
from usage_cost_mcp.model.dimensions import Filters
from usage_cost_mcp.model.money import exact, format_exact
from usage_cost_mcp.model.periods import Period, parse_period, period_before, until_yesterday
from usage_cost_mcp.model.query_schema import BILLED_QUERY
from usage_cost_mcp.model.rows import Key
from usage_cost_mcp.model.series import add_up, aggregate
from usage_cost_mcp.model.upstream_reports import COST_REPORT
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import gather_pair, run_in_thread_if

from . import notes
from .answers import Answer, AnswerModel, Note, PeriodModel
from .context import ReportContext
from .filters import FilterResolver, normalize_values
from .joined_reports import COMMON_DIMENSIONS, SpendAndUsage, fetch_spend_and_usage
from .labels import Labels, fetch_labels
from .query import Query, RawFilters, parse_query
from .results import ResultMeta, result_meta, sorted_filters
from .series_report import OFFLOAD_ROWS
from .spend import caveats
from .tables import CsvRows, Table, Waterfall, before_after_change, csv_records, signed_dollars
from .wording import comparison_summary, driver_label, plural

DEFAULT_AGAINST = "previous"
DEFAULT_GROUP_BY = ("model",)
MAX_DRIVERS = 8


class DriverItem(AnswerModel):
    """One driver of the change; the last one may be "rest", the sum of the smaller ones."""

    effect: str
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
    per: str
    group_by: Sequence[str]
    filter_by: Mapping[str, Sequence[str | None]]
    cost: str
    previous_cost: str
    change: str
    change_ratio: float | None
    effects: Mapping[str, str]
    drivers: Sequence[DriverItem]
    groups: Sequence[GroupChange]

    def tables(self) -> Sequence[Table]:
        """The change by cause, where the causes are known, then by group."""
        change = "change per day" if self.per == "day" else "change"
        causes = [
            ["cause", change],
            *([each.label, signed_dollars(each.change)] for each in self.drivers),
            ["Total", signed_dollars(self.change)],
        ]
        previous, current = (f"{each.start}..{each.end}" for each in (self.against, self.period))
        groups = [
            [" / ".join(self.group_by) or "total", previous, current, change],
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


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """The complete comparison, from which answers of several sizes are built.

    Attributes:
        groups: The cost of each group in the current and in the previous period.
        drivers: The largest first; None if the filters name a dimension that the usage report lacks.
    """

    query: Query
    filters: Filters
    current: SpendAndUsage
    previous: SpendAndUsage
    groups: Mapping[Key, tuple[Decimal, Decimal]]
    drivers: Sequence[Driver] | None
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
        change = self.normalization.change(total.cost, total.previous_cost)
        lines = self._lines(top)
        changes = apportioned(
            change, [self.normalization.exact_change(line.cost, line.previous_cost) for line in lines]
        )
        return ComparisonAnswer(
            summary=self._summary(total, change),
            period=PeriodModel(start=self.current.period.start, end=self.current.period.end),
            against=PeriodModel(start=self.previous.period.start, end=self.previous.period.end),
            per="day" if self.normalization.per_day else "period",
            group_by=self.query.group_by,
            filter_by=sorted_filters(self.filters),
            cost=format_exact(total.cost),
            previous_cost=format_exact(total.previous_cost),
            change=format_exact(change),
            change_ratio=self.normalization.change_ratio(total.cost, total.previous_cost),
            effects=self._effects(),
            drivers=list(self._drivers(max_drivers)),
            groups=[self._group(line, part) for line, part in zip(lines, changes, strict=True)],
            **self.meta.common_fields(self.current.period, [self.current, self.previous], self.notes),
        )

    @property
    def normalization(self) -> Normalization:
        return Normalization(len(self.current.period), len(self.previous.period))

    def _merged(self, label: str, keys: Sequence[Key], other_groups: int | None = None) -> _GroupCost:
        with exact():
            cost = sum((self.groups[key][0] for key in keys), Decimal(0))
            previous_cost = sum((self.groups[key][1] for key in keys), Decimal(0))
        return _GroupCost(label, None, cost, previous_cost, other_groups)

    def _lines(self, top: int) -> list[_GroupCost]:
        """The groups that changed most, and the others merged into one."""
        order = sorted(
            self.groups,
            key=lambda key: (
                -abs(self.normalization.exact_change(*self.groups[key])),
                [(v is not None, v or "") for v in key],
            ),
        )
        group_by, rest = self.query.group_by, order[top:]
        lines = [_GroupCost(self.labels.of_group(group_by, key), key, *self.groups[key]) for key in order[:top]]
        if rest:
            lines.append(self._merged(f"Other ({plural(len(rest), 'group')})", rest, len(rest)))
        return lines

    def _group(self, line: _GroupCost, change: Decimal) -> GroupChange:
        cost, previous_cost = line.cost, line.previous_cost
        status = "new" if cost and not previous_cost else "vanished" if previous_cost and not cost else None
        return GroupChange(
            label=line.label,
            group=None if line.key is None else dict(zip(self.query.group_by, line.key, strict=True)),
            cost=format_exact(line.cost),
            previous_cost=format_exact(line.previous_cost),
            change=format_exact(change),
            status=status,
            other_groups=line.other_groups,
        )

    def _summary(self, total: _GroupCost, change: Decimal) -> str:
        return comparison_summary(
            self.current.period,
            self.previous.period,
            total.cost,
            change,
            self.normalization.change_ratio(total.cost, total.previous_cost),
            self.drivers or (),
            self.labels,
        )

    def _effects(self) -> dict[str, str]:
        if self.drivers is None:
            return {}
        with exact():
            return {
                effect: format_exact(sum((each.change for each in self.drivers if each.effect == effect), Decimal(0)))
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
            with exact():
                total = sum((driver.change for driver in rest), Decimal(0))
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
    query = parse_query(
        BILLED_QUERY,
        context.today(),
        period=period,
        group_by=group_by,
        filter_by=filter_by,
        top=top,
        default_top=default_top,
    )
    current = until_yesterday(query.period, context.today())
    previous = parse_against(against, current, context.today())
    filters = await FilterResolver(context, query.schema, call).resolve(query.filter_by)
    (current_data, previous_data), labels = await gather_pair(
        _fetch(context, current, previous, call),
        fetch_labels(context.directory, {"workspace_id", *query.group_by, *query.filter_by}, call),
    )
    filters = normalize_geo_filter(normalize_values(filters, current_data.spend))
    now = context.now()
    groups, drivers = await run_in_thread_if(
        lambda: _compare(current_data, previous_data, query, filters, now),
        when=current_data.rows + previous_data.rows > OFFLOAD_ROWS,
    )
    return ComparisonResult(
        query=replace(query, default_size=top is None),
        filters=filters,
        current=current_data,
        previous=previous_data,
        groups=groups,
        drivers=drivers,
        labels=labels,
        notes=[
            *notes.today_notes(query.period, current),
            *_period_notes(current_data, previous_data, now),
            *notes.label_notes(labels),
            *_driver_notes(drivers, filters),
            *caveats(current_data.spend, filters),
        ],
        meta=result_meta(context, call, now),
    )


def parse_against(words: str, period: Period, today: date) -> Period:
    """The period that `period` is compared with.

    Raises:
        InvalidQueryError: If the words are not understood or the two periods overlap.
    """
    previous = period_before(words, period) or parse_period(words, today)
    if previous.end >= period.start and previous.start <= period.end:
        raise InvalidQueryError(f"against {words}: {previous} overlaps {period}; choose days before or after it.")
    return previous


async def _fetch(
    context: ReportContext, current: Period, previous: Period, call: CallContext
) -> tuple[SpendAndUsage, SpendAndUsage]:
    """Both periods; adjacent ones as one, which takes fewer requests."""
    if previous.end + timedelta(days=1) == current.start:
        both = await fetch_spend_and_usage(context, Period(previous.start, current.end, current.end), call)
        return both.within(current), both.within(previous)
    return await gather_pair(
        fetch_spend_and_usage(context, current, call), fetch_spend_and_usage(context, previous, call)
    )


def _compare(
    current: SpendAndUsage, previous: SpendAndUsage, query: Query, filters: Filters, now: datetime
) -> tuple[Mapping[Key, tuple[Decimal, Decimal]], Sequence[Driver] | None]:
    """Both costs of every group, and the drivers of the total change."""
    costs, previous_costs = (_costs(data, query.group_by, filters, now) for data in (current, previous))
    zero = Decimal(0)
    groups = {key: (costs.get(key, zero), previous_costs.get(key, zero)) for key in costs | previous_costs}
    if not filters.keys() <= COMMON_DIMENSIONS:
        return groups, None
    normalization = Normalization(len(current.period), len(previous.period))
    with exact():
        change = normalization.change(sum(costs.values(), zero), sum(previous_costs.values(), zero))
    per = normalization.divisors
    before, after = previous.priced_cells(now, filters), current.priced_cells(now, filters)
    return groups, decompose(before, after, change, per=(per[1], per[0]))


def _costs(data: SpendAndUsage, group_by: Sequence[str], filters: Filters, now: datetime) -> dict[Key, Decimal]:
    table = aggregate(data.spend.days, COST_REPORT, data.period, "total", now, group_by, filters)
    return {key: Decimal(add_up(columns)[0]) for key, columns in table.groups.items()}


def _period_notes(current: SpendAndUsage, previous: SpendAndUsage, now: datetime) -> Iterator[Note]:
    days, previous_days = len(current.period), len(previous.period)
    if days != previous_days:
        message = f"The periods have {days} and {previous_days} days, so every change is in dollars per day."
        yield Note(code="normalized_per_day", message=message)
    for held in (previous.spend, previous.usage):
        yield from notes.freshness_notes(held, now)
    if not previous.spend.row_count:
        yield Note(code="comparison_period_empty", message=f"The cost report has no data for {previous.period}.")
    yield from current.notes(now)


def _driver_notes(drivers: Sequence[Driver] | None, filters: Filters) -> Iterator[Note]:
    if drivers is None:
        names = ", ".join(sorted(filters.keys() - COMMON_DIMENSIONS))
        yield Note(
            code="drivers_unavailable",
            message=f"Drivers cannot be determined with a filter_by {names}, which the usage report lacks.",
        )
