"""Days on which a group's spend was out of line with its own weekdays, each with what is likely behind it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
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
from usage_cost_mcp.analysis.price_volume_mix import Driver, decompose
from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.model.dimensions import Filters
from usage_cost_mcp.model.money import exact, format_dollars, format_exact, parse_dollars
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
from .joined_reports import COMMON_DIMENSIONS
from .labels import Labels, fetch_labels, normalize_values, resolve_filters
from .query import Query, RawFilters, parse_query
from .results import ResultMeta, result_meta, shrinking_counts, sorted_filters
from .series_report import OFFLOAD_ROWS
from .spend_comparison import Normalization, driver_label, format_signed
from .tables import CsvRows, Table, before_after_change, csv_records

DEFAULT_GROUP_BY = ("workspace_id",)


class AnomalyItem(AnswerModel):
    """One finding: resolved, ongoing (still out of line on the last day) or a level_shift (usual from then on)."""

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
    """Days that were out of line, the largest first; none when none were."""

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
    """All that was found out, to be told as far as there is room.

    Attributes:
        between: For each finding, what its days cost that were as usual.
    """

    query: Query
    period: Period
    filters: Filters
    labels: Labels
    minimum: Decimal
    detection: DetectionResult
    between: Sequence[Decimal]
    drivers: Sequence[Driver | None]
    groups: int
    sources: Sequence[CacheResult]
    notes: Sequence[Note]
    meta: ResultMeta

    @property
    def default_size(self) -> bool:
        """Whether the length was left to us."""
        return self.query.top is None

    def candidates(self) -> Iterator[AnomaliesAnswer]:
        """The answer with all findings that were asked for, then with ever fewer."""
        found = list(map(self._item, self.detection.anomalies, self.drivers, self.between))
        for count in shrinking_counts(min(len(found), self.query.top or len(found))):
            yield self._answer(found, count)

    def _item(self, anomaly: Anomaly, driver: Driver | None, between: Decimal) -> AnomalyItem:
        with exact():
            cost, expected = anomaly.actual + between, anomaly.expected + between
        return AnomalyItem(
            start=anomaly.days[0],
            end=anomaly.days[-1],
            label=self.labels.of_group(self.query.group_by, anomaly.key),
            group=dict(zip(self.query.group_by, anomaly.key, strict=True)),
            cost=format_exact(cost),
            expected=format_exact(expected),
            excess=format_exact(anomaly.excess),
            status=anomaly.status,
            driver=driver and f"{driver_label(driver, self.labels)} {format_signed(driver.change)}",
        )

    def _answer(self, found: Sequence[AnomalyItem], count: int) -> AnomaliesAnswer:
        return AnomaliesAnswer(
            summary=self._summary(found),
            period=PeriodModel(start=self.period.start, end=self.period.end),
            history_days=HISTORY_DAYS,
            minimum=format_exact(self.minimum),
            group_by=self.query.group_by,
            filter_by=sorted_filters(self.filters),
            anomalies=found[:count],
            omitted=len(found) - count,
            **self.meta.common_fields(self.period, self.sources, self.notes),
        )

    def _summary(self, found: Sequence[AnomalyItem]) -> str:
        by = " / ".join(self.query.group_by) or "in total"
        looked = (
            f"{self.groups} group{'s'[: self.groups != 1]} by {by}, each against its own weekdays of the "
            f"{HISTORY_DAYS} days before, {format_dollars(self.minimum)} and more"
        )
        if not found:
            return f"Nothing odd in the spend of {self.period} ({looked})."
        first = found[0]
        when = f"on {first.start}" if first.start == first.end else f"from {first.start} to {first.end}"
        cost, expected = (format_dollars(Decimal(amount)) for amount in (first.cost, first.expected))
        largest = f"{first.label} {when}: {cost} instead of {expected}"
        return (
            f"{len(found)} finding{'s'[: len(found) > 1]} in the spend of {self.period} ({looked}); largest: {largest}."
        )


async def run_anomalies(
    period: str,
    group_by: Sequence[str],
    filter_by: RawFilters | None,
    minimum: str | None,
    top: int | None,
    context: ReportContext,
    call: CallContext,
) -> AnomaliesResult:
    """Judge every complete day of a period.

    Raises:
        InvalidQueryError: For anything that cannot be judged.
        UpstreamError: When the rows cannot be had, whole.
    """
    least = None if minimum is None else parse_dollars("minimum", minimum)
    query = parse_query(
        BILLED_QUERY, context.today(), period=period, group_by=group_by, filter_by=filter_by, top=top, default_top=None
    )
    judged = until_yesterday(query.period, context.today())
    filters = await resolve_filters(query, context, call)
    looked_at = Period(judged.start - HISTORY_DAYS * _DAY, judged.end, judged.end)
    held, labels = await gather_pair(
        context.cache.days(COST_REPORT, [COST_REPORT.base_view], "1d", looked_at, call),
        fetch_labels(context.directory, {"workspace_id", *query.group_by, *query.filter_by}, call),
    )
    filters, now = normalize_values(filters, held), context.now()
    # Days before the first row are no zeros: nothing is known of them.
    begun = min((rows.day for rows in held.days if len(rows)), default=looked_at.end)

    def reviewed() -> tuple[Mapping[Key, Sequence[Decimal]], Decimal, DetectionResult]:
        table = aggregate(held.days, COST_REPORT, looked_at, "day", now, query.group_by, filters)
        known = slice((begun - looked_at.start).days, None)
        groups = {key: [Decimal(cost) for (cost,) in columns[known]] for key, columns in table.groups.items()}
        floor = least or default_minimum(groups)
        return groups, floor, find_anomalies(groups, begun, max(judged.start, begun), floor)

    groups, floor, review = await run_in_thread_if(reviewed, when=held.row_count > OFFLOAD_ROWS)
    drivers, usage = await _drivers(review, query, filters, held, replace(looked_at, start=begun), context, call)
    return AnomaliesResult(
        query=query,
        period=judged,
        filters=filters,
        labels=labels,
        minimum=floor,
        detection=review,
        between=[_between(each, groups[each.key], begun) for each in review.anomalies],
        drivers=drivers,
        groups=len(groups),
        sources=[held, *usage],
        notes=[
            *notes.today_notes(query.period, judged),
            *notes.freshness_notes(held, now),
            *notes.row_notes(replace(held, days=held.for_days(judged.days)), judged),
            *notes.filter_notes(filters, held, labels),
            *notes.label_notes(labels),
            *_insufficient_history_notes(review, query, labels),
        ],
        meta=result_meta(context, call, now),
    )


def _between(anomaly: Anomaly, amounts: Sequence[Decimal], first: date) -> Decimal:
    """What the days cost that lie between the odd ones."""
    with exact():
        run = amounts[(anomaly.days[0] - first).days : (anomaly.days[-1] - first).days + 1]
        return sum(run, Decimal(0)) - anomaly.actual


_DAY = timedelta(days=1)
_WEEK = timedelta(weeks=1)


async def _drivers(
    review: DetectionResult,
    query: Query,
    filters: Filters,
    spend: CacheResult,
    looked_at: Period,
    context: ReportContext,
    call: CallContext,
) -> tuple[Sequence[Driver | None], Sequence[CacheResult]]:
    """What is likely behind each finding: the largest cause of the change from its weekdays before."""
    if not review.anomalies or not {*query.group_by, *filters} <= COMMON_DIMENSIONS:
        return [None] * len(review.anomalies), []
    usage = await context.cache.days(USAGE_REPORT, [USAGE_REPORT.base_view], "1d", looked_at, call)
    now = context.now()

    def cells(days: Iterable[date], only: Filters) -> PricedCells:
        return join(spend.for_days(days), usage.for_days(days), looked_at, now, only)

    def driver(anomaly: Anomaly) -> Driver | None:
        own = {dimension: frozenset([value]) for dimension, value in zip(query.group_by, anomaly.key, strict=True)}
        weeks = min(MAX_WEEKS, (anomaly.days[0] - looked_at.start).days // _WEEK.days)
        usual = [day - n * _WEEK for day in anomaly.days for n in range(1, weeks + 1)]
        before, after = cells(usual, {**filters, **own}), cells(anomaly.days, {**filters, **own})
        change = Normalization(1, weeks).difference(after.total, before.total)
        return next(iter(decompose(before, after, change, per=(weeks, 1))), None)

    drivers = await run_in_thread_if(
        lambda: [driver(each) for each in review.anomalies], when=spend.row_count + usage.row_count > OFFLOAD_ROWS
    )
    return drivers, [usage]


def _insufficient_history_notes(review: DetectionResult, query: Query, labels: Labels) -> Iterator[Note]:
    """Groups with too short a history; nothing is guessed of them."""
    if review.insufficient_history:
        named = [labels.of_group(query.group_by, key) for key in list(review.insufficient_history)[:_MAX_NAMED]]
        more = len(review.insufficient_history) - len(named)
        yield Note(
            code="insufficient_history",
            message=f"Too little history to judge some days of {', '.join(named)}{f' and {more} more' * (more > 0)}.",
        )


_MAX_NAMED = 3
