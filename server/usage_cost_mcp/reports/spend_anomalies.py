"""Spend anomalies: days that differ from the group's same weekdays before, each with its likely driver."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

from pydantic import Field

from usage_cost_mcp.analysis.anomalies import (
    HISTORY_DAYS,
    MAX_WEEKS,
    Anomaly,
    AnomalyStatus,
    DetectionResult,
    default_minimum,
    find_anomalies,
)
from usage_cost_mcp.analysis.cost_usage_join import PricedCells, join
from usage_cost_mcp.analysis.price_volume_mix import Driver, Normalization, decompose
from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.model.dimensions import Filters
from usage_cost_mcp.model.money import exact, format_exact, parse_dollars
from usage_cost_mcp.model.periods import Period, until_yesterday
from usage_cost_mcp.model.query_schema import BILLED_QUERY
from usage_cost_mcp.model.rows import Key
from usage_cost_mcp.model.series import aggregate
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import gather_pair, run_in_thread_if

from . import notes
from .answers import Answer, AnswerModel, Note, PeriodModel
from .context import ReportContext
from .filters import FilterResolver, normalize_values
from .joined_reports import COMMON_DIMENSIONS, usage_by_speed
from .labels import Labels, fetch_labels
from .query import Query, RawFilters, parse_query
from .results import ResultMeta, result_meta, shrinking_counts, sorted_filters
from .series_report import OFFLOAD_ROWS
from .tables import CsvRows, Table, before_after_change, csv_records
from .wording import anomalies_summary, anomaly_label, driver_with_change

DEFAULT_GROUP_BY = ("workspace_id",)


class AnomalyItem(AnswerModel):
    """An anomaly: resolved, ongoing (it includes the last known day) or a level_shift (the new baseline)."""

    start: date
    end: date
    label: str
    group: Mapping[str, str | None]
    cost: str
    expected: str
    excess: str
    status: AnomalyStatus
    driver: str | None = Field(default=None, exclude_if=lambda driver: driver is None)


class AnomaliesAnswer(Answer):
    """The anomalies in descending order of absolute excess."""

    report: Literal["spend_anomalies"] = "spend_anomalies"
    period: PeriodModel
    history_days: int
    minimum: str
    group_by: Sequence[str]
    filter_by: Mapping[str, Sequence[str | None]]
    anomalies: Sequence[AnomalyItem]
    omitted: int

    def tables(self) -> Sequence[Table]:
        """A row per anomaly."""
        head = ["days", "group", "cost", "expected", "excess", "status", "likely driver"]
        rows = [
            [
                str(each.start) if each.start == each.end else f"{each.start}..{each.end}",
                each.label,
                *before_after_change(each.cost, each.expected, each.excess),
                each.status.replace("_", " "),
                each.driver or "-",
            ]
            for each in self.anomalies
        ]
        return [Table([head, *rows])] if rows else []

    def csv_rows(self) -> CsvRows:
        """A row per anomaly."""
        fields = ("start", "end", "label", "cost", "expected", "excess", "status", "driver")
        return csv_records(self.anomalies, fields, self.group_by)


@dataclass(frozen=True, slots=True)
class AnomaliesResult:
    """All anomalies, from which answers of several sizes are built."""

    query: Query
    period: Period
    filters: Filters
    labels: Labels
    detection: "_Detection"
    drivers: Sequence[Driver | None]
    sources: Sequence[CacheResult]
    notes: Sequence[Note]
    meta: ResultMeta

    @property
    def default_size(self) -> bool:
        return self.query.top is None

    def candidates(self) -> Iterator[AnomaliesAnswer]:
        """The answer with all requested anomalies, then with fewer and fewer."""
        found = list(map(self._item, self.detection.result.anomalies, self.drivers))
        for count in shrinking_counts(min(len(found), self.query.top or len(found))):
            yield self._answer(found, count)

    def _item(self, anomaly: Anomaly, driver: Driver | None) -> AnomalyItem:
        normal_days_cost = self.detection.normal_days_cost(anomaly)
        with exact():
            cost, expected = anomaly.actual + normal_days_cost, anomaly.expected + normal_days_cost
        return AnomalyItem(
            start=anomaly.days[0],
            end=anomaly.days[-1],
            label=self.labels.of_group(self.query.group_by, anomaly.key),
            group=dict(zip(self.query.group_by, anomaly.key, strict=True)),
            cost=format_exact(cost),
            expected=format_exact(expected),
            excess=format_exact(anomaly.excess),
            status=anomaly.status,
            driver=driver and driver_with_change(driver, self.labels),
        )

    def _answer(self, found: Sequence[AnomalyItem], count: int) -> AnomaliesAnswer:
        return AnomaliesAnswer(
            summary=self._summary(found),
            period=PeriodModel(start=self.period.start, end=self.period.end),
            history_days=HISTORY_DAYS,
            minimum=format_exact(self.detection.minimum),
            group_by=self.query.group_by,
            filter_by=sorted_filters(self.filters),
            anomalies=found[:count],
            omitted=len(found) - count,
            **self.meta.common_fields(self.period, self.sources, self.notes),
        )

    def _summary(self, found: Sequence[AnomalyItem]) -> str:
        return anomalies_summary(
            self.period,
            len(self.detection.amounts),
            self.query.group_by,
            HISTORY_DAYS,
            self.detection.minimum,
            len(found),
            _describe(found[0]) if found else None,
        )


def _describe(item: AnomalyItem) -> str:
    return anomaly_label(item.label, item.start, item.end, Decimal(item.cost), Decimal(item.expected))


async def run_anomalies(
    period: str,
    group_by: Sequence[str],
    filter_by: RawFilters | None,
    minimum: str | None,
    top: int | None,
    context: ReportContext,
    call: CallContext,
) -> AnomaliesResult:
    """Detect anomalies on the complete days of a period.

    Raises:
        InvalidQueryError: For invalid arguments.
        UpstreamError: If any rows cannot be fetched.
    """
    threshold = None if minimum is None else parse_dollars("minimum", minimum)
    query = parse_query(
        BILLED_QUERY, context.today(), period=period, group_by=group_by, filter_by=filter_by, top=top, default_top=None
    )
    evaluated = until_yesterday(query.period, context.today())
    with_history = Period(evaluated.start - HISTORY_DAYS * _DAY, evaluated.end, evaluated.end)
    filters = await FilterResolver(context, query.schema, call).resolve(query.filter_by)
    held, labels = await gather_pair(
        context.cache.days(COST_REPORT, [COST_REPORT.base_view], "1d", with_history, call),
        fetch_labels(context.directory, {"workspace_id", *query.group_by, *query.filter_by}, call),
    )
    filters, now = normalize_values(filters, held), context.now()
    detection = await run_in_thread_if(
        lambda: _detect(held, query.group_by, filters, evaluated, with_history, threshold, now),
        when=held.row_count > OFFLOAD_ROWS,
    )
    drivers, usage = await _find_drivers(detection, query, filters, held, context, call)
    return AnomaliesResult(
        query=query,
        period=evaluated,
        filters=filters,
        labels=labels,
        detection=detection,
        drivers=drivers,
        sources=[held, *usage],
        notes=[
            *notes.today_notes(query.period, evaluated),
            *notes.freshness_notes(held, now),
            *notes.row_notes(replace(held, days=held.for_days(evaluated.days)), evaluated),
            *notes.filter_notes(filters, held, labels),
            *notes.label_notes(labels),
            *_insufficient_history_notes(detection.result, query, labels),
            *(await notes.mixed_price_notes(held.days, filters) if any(drivers) else ()),
        ],
        meta=result_meta(context, call, now),
    )


@dataclass(frozen=True, slots=True)
class _Detection:
    """Anomalies with the amounts that they were found in.

    Attributes:
        known: The days of `amounts`, from the first day with data: earlier days are unknown, not zero.
        amounts: Dollars of each group on each known day.
        minimum: The threshold that was applied, in dollars.
    """

    known: Period
    amounts: Mapping[Key, Sequence[Decimal]]
    minimum: Decimal
    result: DetectionResult

    def normal_days_cost(self, anomaly: Anomaly) -> Decimal:
        """The cost of the normal days between the first and the last day of an anomaly."""
        first, last = ((day - self.known.start).days for day in (anomaly.days[0], anomaly.days[-1]))
        with exact():
            return sum(self.amounts[anomaly.key][first : last + 1], Decimal(0)) - anomaly.actual


def _detect(
    held: CacheResult,
    group_by: Sequence[str],
    filters: Filters,
    evaluated: Period,
    with_history: Period,
    threshold: Decimal | None,
    now: datetime,
) -> _Detection:
    first = min((rows.day for rows in held.days if len(rows)), default=with_history.end)
    known = replace(with_history, start=first)
    table = aggregate(held.days, COST_REPORT, with_history, "day", now, group_by, filters)
    from_first = slice((first - with_history.start).days, None)
    amounts = {key: [Decimal(cost) for (cost,) in columns[from_first]] for key, columns in table.groups.items()}
    minimum = threshold or default_minimum(amounts)
    result = find_anomalies(amounts, first, max(evaluated.start, first), minimum)
    return _Detection(known, amounts, minimum, result)


_DAY = timedelta(days=1)
_WEEK = timedelta(weeks=1)


async def _find_drivers(
    detection: _Detection,
    query: Query,
    filters: Filters,
    spend: CacheResult,
    context: ReportContext,
    call: CallContext,
) -> tuple[Sequence[Driver | None], Sequence[CacheResult]]:
    """The likely driver of each anomaly: the largest one of the change from the same weekdays before it.

    There are none, and no usage is fetched, if groups or filters use dimensions that the usage report lacks.
    """
    anomalies, known = detection.result.anomalies, detection.known
    if not anomalies or not {*query.group_by, *filters} <= COMMON_DIMENSIONS:
        return [None] * len(anomalies), []
    usage = await context.cache.days(USAGE_REPORT, [USAGE_REPORT.base_view], "1d", known, call)
    of_known = replace(spend, days=spend.for_days(known.days))
    usage = await usage_by_speed(of_known, usage, context, call)
    now = context.now()

    def cells(days: Iterable[date], group_filters: Filters) -> PricedCells:
        return join(spend.for_days(days), usage.for_days(days), known, now, group_filters)

    def largest_driver(anomaly: Anomaly) -> Driver | None:
        group = {dimension: frozenset([value]) for dimension, value in zip(query.group_by, anomaly.key, strict=True)}
        weeks = min(MAX_WEEKS, (anomaly.days[0] - known.start).days // _WEEK.days)
        history = [day - n * _WEEK for day in anomaly.days for n in range(1, weeks + 1)]
        before, after = cells(history, {**filters, **group}), cells(anomaly.days, {**filters, **group})
        change = Normalization(1, weeks).change(after.total, before.total)
        return next(iter(decompose(before, after, change, per=(weeks, 1))), None)

    drivers = await run_in_thread_if(
        lambda: [largest_driver(each) for each in anomalies], when=spend.row_count + usage.row_count > OFFLOAD_ROWS
    )
    return drivers, [usage]


def _insufficient_history_notes(result: DetectionResult, query: Query, labels: Labels) -> Iterator[Note]:
    if result.insufficient_history:
        keys = list(result.insufficient_history)
        names = ", ".join(labels.of_group(query.group_by, key) for key in keys[:_MAX_NAMED])
        more = f" and {len(keys) - _MAX_NAMED} more" if len(keys) > _MAX_NAMED else ""
        message = f"Some days of {names}{more} have too little history to be evaluated."
        yield Note(code="insufficient_history", message=message)


_MAX_NAMED = 3
