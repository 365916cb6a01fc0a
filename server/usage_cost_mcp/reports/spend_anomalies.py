"""Spend anomalies: days that differ from the group's same weekdays before, each with its likely driver."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Literal

from pydantic import Field

from usage_cost_mcp.analysis.anomalies import (
    BASELINE_DAYS,
    HISTORY_DAYS,
    SPIKE_FACTOR,
    Anomaly,
    AnomalyStatus,
    DetectionResult,
    default_minimum,
    find_anomalies,
)
from usage_cost_mcp.analysis.cost_usage_join import PriceCell, PricedCells, join
from usage_cost_mcp.analysis.price_volume_mix import Driver, decompose, with_average_prices
from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.model.dimensions import Filters
from usage_cost_mcp.model.money import format_exact, parse_dollars, round_half_even
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.query_schema import BILLED_QUERY
from usage_cost_mcp.model.rows import Key
from usage_cost_mcp.model.series import aggregate
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import OFFLOAD_ROWS, gather_pair, run_in_thread_if

from . import notes
from .answers import Answer, AnswerModel, Note, PeriodModel
from .billing import Bill, find_bill
from .context import ReportContext
from .filters import FilterResolver, normalize_values
from .joined_reports import COMMON_DIMENSIONS, usage_by_speed
from .labels import Labels, fetch_labels
from .query import Query, RawFilters, parse_query
from .results import ResultMeta, result_meta, shrinking_counts, sorted_filters
from .tables import CsvRows, Table, before_after_change, csv_records
from .wording import (
    DetectionCoverage,
    anomalies_summary,
    anomaly_label,
    counterpart_clause,
    driver_with_change,
    enumeration,
)

DEFAULT_GROUP_BY = ("workspace_id",)


class AnomalyItem(AnswerModel):
    """An anomaly: resolved, ongoing (not known to have ended), level_shift or drift (the new baseline).

    If cost moved from one model to another, the counterpart is the other one, with its own excess on its own days.
    """

    start: date
    end: date
    label: str
    group: Mapping[str, str | None]
    cost: str
    expected: str
    excess: str
    status: AnomalyStatus
    driver: str | None = Field(default=None, exclude_if=lambda driver: driver is None)
    counterpart: str | None = Field(default=None, exclude_if=lambda label: label is None)
    counterpart_excess: str | None = Field(default=None, exclude_if=lambda excess: excess is None)


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
        if any(each.counterpart for each in self.anomalies):
            fields = (*fields, "counterpart", "counterpart_excess")
        return csv_records(self.anomalies, fields, self.group_by)


@dataclass(frozen=True, slots=True)
class AnomaliesResult:
    """All anomalies, from which answers of several sizes are built."""

    query: Query
    period: Period
    filters: Filters
    labels: Labels
    detection: "_Detection"
    findings: Sequence["_Finding"]
    sources: Sequence[CacheResult]
    notes: Sequence[Note]
    meta: ResultMeta

    @property
    def default_size(self) -> bool:
        return self.query.top is None

    def candidates(self) -> Iterator[AnomaliesAnswer]:
        """The answer with all requested anomalies, then with fewer and fewer."""
        found = list(map(self._item, self.findings))
        for count in shrinking_counts(min(len(found), self.query.top or len(found))):
            yield self._answer(found, count)

    def _item(self, finding: "_Finding") -> AnomalyItem:
        anomaly, driver, other = finding.anomaly, finding.driver, finding.counterpart
        return AnomalyItem(
            start=anomaly.start,
            end=anomaly.end,
            label=self.labels.of_group(self.query.group_by, anomaly.key),
            group=dict(zip(self.query.group_by, anomaly.key, strict=True)),
            cost=format_exact(anomaly.actual),
            expected=format_exact(anomaly.expected),
            excess=format_exact(anomaly.excess),
            status=anomaly.status,
            driver=driver and driver_with_change(driver, self.labels),
            counterpart=other and self.labels.of_group(self.query.group_by, other.key),
            counterpart_excess=other and format_exact(other.excess),
        )

    def _answer(self, found: Sequence[AnomalyItem], count: int) -> AnomaliesAnswer:
        return AnomaliesAnswer(
            summary=self._summary(found),
            period=PeriodModel(start=self.period.start, end=self.period.end),
            history_days=BASELINE_DAYS,
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
            self.detection.coverage,
            self.query.group_by,
            BASELINE_DAYS,
            self.detection.minimum,
            len(found),
            _describe(found[0]) if found else None,
        )


def _describe(item: AnomalyItem) -> str:
    label = anomaly_label(item.label, item.start, item.end, Decimal(item.cost), Decimal(item.expected))
    if item.counterpart is None or item.counterpart_excess is None:
        return label
    return f"{label}{counterpart_clause(item.counterpart, Decimal(item.counterpart_excess))}"


async def run_anomalies(
    period: str,
    group_by: Sequence[str],
    filter_by: RawFilters | None,
    minimum: str | None,
    top: int | None,
    context: ReportContext,
    call: CallContext,
) -> AnomaliesResult:
    """Detect anomalies on the billed days of a period.

    Raises:
        InvalidQueryError: For invalid arguments, and for a period without a complete billed day.
        UpstreamError: If any rows cannot be fetched.
    """
    threshold = None if minimum is None else parse_dollars("minimum", minimum)
    query = parse_query(
        BILLED_QUERY, context.today(), period=period, group_by=group_by, filter_by=filter_by, top=top, default_top=None
    )
    complete = Bill(context.today(), None).billed_part(query.period)
    fetched = _with_history(complete)
    filters = await FilterResolver(context, query.schema, call).resolve(query.filter_by)
    held, labels = await gather_pair(
        context.cache.days(COST_REPORT, [COST_REPORT.base_view], "1d", fetched, call),
        fetch_labels(context.directory, {"workspace_id", *query.group_by, *query.filter_by}, call),
    )
    bill = await find_bill(context, held, call)
    evaluated = bill.billed_part(complete)
    held = held.of(Period(fetched.start, evaluated.end, evaluated.end))
    filters, now = normalize_values(filters, held), context.now()
    detection = await run_in_thread_if(
        lambda: _detect(held, query.group_by, filters, evaluated, threshold, now), when=held.row_count > OFFLOAD_ROWS
    )
    findings, usage = await _find_drivers(detection, query, filters, held, context, call)
    explained = [each.driver for each in findings if each.driver]
    mixed = await notes.find_mixed_models(held.days, filters) if explained else ()
    return AnomaliesResult(
        query=query,
        period=evaluated,
        filters=filters,
        labels=labels,
        detection=detection,
        findings=[each.with_average_prices(mixed) for each in findings],
        sources=[held, *usage],
        notes=[
            *bill.notes(query.period),
            *notes.today_notes(query.period, bill.today),
            *notes.freshness_notes(held, now),
            *notes.row_notes(held.of(evaluated), evaluated),
            *notes.filter_notes(filters, held, labels),
            *notes.label_notes(labels),
            *_history_notes(detection.result, query, labels),
            *notes.mixed_model_notes(mixed),
        ],
        meta=result_meta(context, call, now),
    )


def _with_history(evaluated: Period) -> Period:
    """The period with the days before it that fit into as many requests as its shortest history needs."""
    window = COST_REPORT.days_per_page("1d")
    requests = -(-(len(evaluated) + BASELINE_DAYS) // window)
    history = min(requests * window - len(evaluated), _MAX_HISTORY_DAYS)
    return Period(evaluated.start - history * _DAY, evaluated.end, evaluated.end)


_DAY = timedelta(days=1)
_WEEK = timedelta(weeks=1)
_MAX_HISTORY_DAYS = HISTORY_DAYS + 28
"""Days before the period: a full history also for the first day of a drift or a level shift that reaches it."""


@dataclass(frozen=True, slots=True)
class _Detection:
    """Anomalies with what they were found in.

    Attributes:
        known: The days with data: earlier days are unknown, not zero.
        minimum: The threshold that was applied, in dollars.
    """

    known: Period
    minimum: Decimal
    result: DetectionResult
    coverage: DetectionCoverage


@dataclass(frozen=True, slots=True)
class _Finding:
    """An anomaly with its likely driver and, if cost moved to or from another model, that of the other model."""

    anomaly: Anomaly
    driver: Driver | None = None
    counterpart: Anomaly | None = None

    def with_average_prices(self, models: Collection[str]) -> "_Finding":
        """The finding, with the price of one of some models marked as an average."""
        if self.driver is None:
            return self
        (driver,) = with_average_prices([self.driver], models)
        return replace(self, driver=driver)


def _detect(
    held: CacheResult,
    group_by: Sequence[str],
    filters: Filters,
    evaluated: Period,
    threshold: Decimal | None,
    now: datetime,
) -> _Detection:
    with_history = Period(held.days[0].day, evaluated.end, evaluated.end)
    first = min((rows.day for rows in held.days if len(rows)), default=evaluated.end)
    known = replace(with_history, start=first)
    table = aggregate(held.days, COST_REPORT, with_history, "day", now, group_by, filters)
    from_first = slice((first - with_history.start).days, None)
    amounts = {key: [Decimal(cost) for (cost,) in columns[from_first]] for key, columns in table.groups.items()}
    minimum = threshold or default_minimum(amounts)
    since = max(evaluated.start, first)
    result = find_anomalies(amounts, first, since, minimum)
    return _Detection(known, minimum, result, _coverage(result, amounts.keys(), (evaluated.end - since).days + 1))


def _coverage(result: DetectionResult, groups: Collection[Key], days: int) -> DetectionCoverage:
    none = sum(len(skipped) == days for skipped in result.not_evaluated.values())
    limited = sum(
        len(result.not_evaluated.get(key, ())) + len(skipped) == days for key, skipped in result.spikes_only.items()
    )
    return DetectionCoverage(len(groups), limited, none)


async def _find_drivers(
    detection: _Detection,
    query: Query,
    filters: Filters,
    spend: CacheResult,
    context: ReportContext,
    call: CallContext,
) -> tuple[Sequence[_Finding], Sequence[CacheResult]]:
    """The anomalies, each with its likely driver: the largest one of the change from the weeks before it.

    Two anomalies of models are one finding if cost moved from one to the other. There are no drivers, and no usage is
    fetched, if groups or filters use dimensions that the usage report lacks.
    """
    anomalies, known = detection.result.anomalies, detection.known
    if not anomalies or not {*query.group_by, *filters} <= COMMON_DIMENSIONS:
        return [_Finding(each) for each in anomalies], []
    usage = await context.cache.days(USAGE_REPORT, [USAGE_REPORT.base_view], "1d", known, call)
    of_known = spend.of(known)
    usage = await usage_by_speed(of_known, usage, context, call)
    causes = _Causes(of_known, usage, known, context.now(), query.group_by, filters)
    findings = await run_in_thread_if(
        lambda: causes.findings(anomalies), when=spend.row_count + usage.row_count > OFFLOAD_ROWS
    )
    return findings, [usage]


@dataclass(frozen=True, slots=True)
class _Causes:
    """What the drivers of anomalies are computed from."""

    spend: CacheResult
    usage: CacheResult
    known: Period
    now: datetime
    group_by: Sequence[str]
    filters: Filters

    def findings(self, anomalies: Sequence[Anomaly]) -> list[_Finding]:
        """The anomalies with their drivers; two between which cost moved are one finding, of the larger."""
        counterparts: dict[int, _Finding] = {}
        for move in sorted(self._moves(anomalies), key=lambda move: -move.share):
            if not counterparts.keys() & {id(move.falling), id(move.rising)}:
                first, second = sorted((move.falling, move.rising), key=lambda each: -abs(each.excess))
                counterparts[id(first)] = counterparts[id(second)] = _Finding(first, move.driver, second)
        found = [counterparts.get(id(each)) or _Finding(each, self._largest_driver(each)) for each in anomalies]
        return list({id(each.anomaly): each for each in found}.values())

    def _largest_driver(self, anomaly: Anomaly) -> Driver | None:
        return next(iter(self._change(anomaly, self._group(anomaly)).drivers), None)

    def _group(self, anomaly: Anomaly) -> dict[str, frozenset[str | None]]:
        return {name: frozenset([value]) for name, value in zip(self.group_by, anomaly.key, strict=True)}

    def _change(self, anomaly: Anomaly, group: Filters) -> "_Change":
        """The change of a group from the same weekdays before an anomaly, or from all, if it is longer than a week."""
        days = [anomaly.start + n * _DAY for n in range((anomaly.end - anomaly.start).days + 1)]
        weeks = min(BASELINE_DAYS, (anomaly.start - self.known.start).days) // _WEEK.days
        if len(days) <= _WEEK.days:
            history = [day - n * _WEEK for day in days for n in range(1, weeks + 1)]
        else:
            history = [anomaly.start - n * _DAY for n in range(1, weeks * _WEEK.days + 1)]
        before, after = (
            join(self.spend.for_days(some), self.usage.for_days(some), self.known, self.now, {**self.filters, **group})
            for some in (history, days)
        )
        return _Change(before, after, Fraction(len(history), len(days)))

    def _moves(self, anomalies: Sequence[Anomaly]) -> Iterator["_Move"]:
        """The moves between models, each in the workspace that has most of the change of both."""
        if "model" not in self.group_by:
            return
        place = list(self.group_by).index("model")
        for falling, rising in product(anomalies, anomalies):
            same_group = [key[:place] + key[place + 1 :] for key in (falling.key, rising.key)]
            if falling.excess >= 0 or rising.excess <= 0 or same_group[0] != same_group[1]:
                continue
            if abs(falling.start - rising.start) <= _MOVE_TOLERANCE:
                models = str(falling.key[place]), str(rising.key[place])
                change = self._change(falling, {**self._group(falling), "model": frozenset(models)})
                workspace, share = max(
                    ((name, change.moved_share(name, *models)) for name in change.workspaces), key=lambda each: each[1]
                )
                if share >= _MIN_MOVED:
                    yield _Move(falling, rising, share, change.net(workspace, *models))


@dataclass(frozen=True, slots=True)
class _Move:
    """Two anomalies of models as one: `share` is the lower of the shares that tokens and dollars have in common."""

    falling: Anomaly
    rising: Anomaly
    share: float
    driver: Driver


_MOVE_TOLERANCE = timedelta(days=3)
"""By how much the days differ on which a move between models begins to show in each of them."""

_MIN_MOVED = 0.5


@dataclass(frozen=True, slots=True)
class _Change:
    """The cost of some days, and of the `scale` times as many days before that they are compared with."""

    before: PricedCells
    after: PricedCells
    scale: Fraction

    @property
    def drivers(self) -> Sequence[Driver]:
        """The largest first, in dollars of the later days."""
        change = Fraction(self.after.total) - Fraction(self.before.total) / self.scale
        return decompose(self.before, self.after, round_half_even(change, 6), per=(self.scale, 1))

    @property
    def workspaces(self) -> Collection[str | None]:
        """The workspaces with token costs."""
        return {cell.stream.workspace_id for cells in (self.before, self.after) for cell in cells.cost} or {None}

    def moved_share(self, workspace: str | None, falling: str, rising: str) -> float:
        """How much of the changes of two models is one move in a workspace, from 0 to 1.

        It is the lowest of three shares: of the workspace in either change, and of the smaller change in the larger, in
        tokens or in dollars.
        """
        models = (falling, rising)
        tokens, cost = ([abs(change(model, workspace)) for model in models] for change in (self._tokens, self._cost))
        if self._tokens(falling, workspace) >= 0 or self._tokens(rising, workspace) <= 0 or not all(cost):
            return 0.0
        inside = [dollars / max(abs(self._cost(model)), dollars) for model, dollars in zip(models, cost, strict=True)]
        return float(min(*inside, max(min(changes) / max(changes) for changes in (tokens, cost))))

    def net(self, workspace: str | None, falling: str, rising: str) -> Driver:
        """The driver of a move: what both models together cost more or less in the workspace."""
        change = self._cost(falling, workspace) + self._cost(rising, workspace)
        return Driver("model_mix", {"workspace_id": workspace}, round_half_even(change, 6), (falling, rising))

    def _cost(self, model: str, *workspaces: str | None) -> Fraction:
        return self._sum(self.before.cost, self.after.cost, model, workspaces)

    def _tokens(self, model: str, *workspaces: str | None) -> Fraction:
        return self._sum(self.before.tokens, self.after.tokens, model, workspaces)

    def _sum(
        self,
        before: Mapping[PriceCell, Decimal | int],
        after: Mapping[PriceCell, Decimal | int],
        model: str,
        workspaces: Collection[str | None],
    ) -> Fraction:
        """The change of a model, in the given workspaces or in all."""
        return sum(
            (
                Fraction(amount) * factor
                for amounts, factor in ((before, -1 / self.scale), (after, Fraction(1)))
                for (stream, _), amount in amounts.items()
                if stream.model == model and (not workspaces or stream.workspace_id in workspaces)
            ),
            Fraction(0),
        )


def _history_notes(result: DetectionResult, query: Query, labels: Labels) -> Iterator[Note]:
    spikes = f"only a day of more than {SPIKE_FACTOR} times the largest before it is found."
    for groups, lacking in (
        (result.not_evaluated, "a week of history before them and cannot be evaluated."),
        (result.spikes_only, f"three weeks of history before them: {spikes}"),
    ):
        if groups:
            names = [labels.of_group(query.group_by, key) for key in list(groups)[:_MAX_NAMED]]
            more = [f"{len(groups) - _MAX_NAMED} more"] if len(groups) > _MAX_NAMED else []
            days = enumeration([*names, *more])
            yield Note(code="insufficient_history", message=f"Some days of {days} have less than {lacking}")


_MAX_NAMED = 3
