"""What changed, and why: spend of a period against another one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar, Literal

from pydantic import Field

from usage_cost_mcp.analysis.cost_usage_join import normalize_geo_filter
from usage_cost_mcp.analysis.price_volume_mix import EFFECTS, Driver, apportioned, decompose
from usage_cost_mcp.errors import InvalidQueryError
from usage_cost_mcp.model.dimensions import Filters
from usage_cost_mcp.model.money import exact, format_dollars, format_exact
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
from .joined_reports import COMMON_DIMENSIONS, SpendAndUsage, fetch_spend_and_usage
from .labels import NULL_LABELS, Labels, fetch_labels, normalize_values, resolve_filters
from .query import Query, RawFilters, parse_query
from .results import ResultMeta, result_meta, sorted_filters
from .series_report import OFFLOAD_ROWS
from .spend import caveats
from .tables import CsvRows, Table, Waterfall, before_after_change, csv_records, signed_dollars

DEFAULT_AGAINST = "previous"
DEFAULT_GROUP_BY = ("model",)
MAX_DRIVERS = 8


class DriverItem(AnswerModel):
    """One cause of the change; the last one, "rest", holds the smaller ones together."""

    effect: str
    label: str
    group: Mapping[str, str | None] | None
    change: str


class GroupChange(AnswerModel):
    """One group in both periods. Other has a null group and says how many groups it holds."""

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
    """What one group, or several together, cost in the two periods."""

    label: str
    key: Key | None
    cost: Decimal
    against: Decimal
    others: int | None = None


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """All that was found out, to be told at the length that fits.

    Attributes:
        groups: What each group cost in the period, and in the one that it is held against.
        drivers: The causes; None when they cannot be known under the filters.
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
        """Whether the length was left to us."""
        return self.query.default_size

    def candidates(self) -> Iterator[ComparisonAnswer]:
        """The answer with as many groups as asked for, then with ever fewer groups and causes."""
        top, causes = min(self.query.top or len(self.groups), len(self.groups)), MAX_DRIVERS
        yield self._answer(top, causes)
        while top > 1 or causes > 1:
            top, causes = max(1, top // 2), max(1, causes // 2)
            yield self._answer(top, causes)

    def _answer(self, top: int, causes: int) -> ComparisonAnswer:
        asked, total = self.query, self._together("Total", list(self.groups))
        change = self.per.difference(total.cost, total.against)
        lines = self._lines(top)
        changes = apportioned(change, [self.per.fraction(line.cost, line.against) for line in lines])
        return ComparisonAnswer(
            summary=self._summary(total, change),
            period=PeriodModel(start=self.current.period.start, end=self.current.period.end),
            against=PeriodModel(start=self.previous.period.start, end=self.previous.period.end),
            per="day" if self.per.day else "period",
            group_by=asked.group_by,
            filter_by=sorted_filters(self.filters),
            cost=format_exact(total.cost),
            previous_cost=format_exact(total.against),
            change=format_exact(change),
            change_ratio=self.per.ratio(total.cost, total.against),
            effects=self._effects(),
            drivers=list(self._drivers(causes)),
            groups=[self._group(line, part) for line, part in zip(lines, changes, strict=True)],
            **self.meta.common_fields(self.current.period, [self.current, self.previous], self.notes),
        )

    @property
    def per(self) -> "Normalization":
        """What the amounts of both periods are divided by before one is held against the other."""
        return Normalization(len(self.current.period), len(self.previous.period))

    def _together(self, label: str, keys: Sequence[Key], others: int | None = None) -> _GroupCost:
        with exact():
            cost = sum((self.groups[key][0] for key in keys), Decimal(0))
            against = sum((self.groups[key][1] for key in keys), Decimal(0))
        return _GroupCost(label, None, cost, against, others)

    def _lines(self, top: int) -> list[_GroupCost]:
        """The groups that changed most, and the rest as one."""
        order = sorted(
            self.groups,
            key=lambda key: (-abs(self.per.fraction(*self.groups[key])), [(v is not None, v or "") for v in key]),
        )
        group_by, rest = self.query.group_by, order[top:]
        lines = [_GroupCost(self.labels.of_group(group_by, key), key, *self.groups[key]) for key in order[:top]]
        if rest:
            lines.append(self._together(f"Other ({len(rest)} group{'s'[: len(rest) > 1]})", rest, len(rest)))
        return lines

    def _group(self, line: _GroupCost, change: Decimal) -> GroupChange:
        status = "new" if line.cost and not line.against else "vanished" if line.against and not line.cost else None
        return GroupChange(
            label=line.label,
            group=None if line.key is None else dict(zip(self.query.group_by, line.key, strict=True)),
            cost=format_exact(line.cost),
            previous_cost=format_exact(line.against),
            change=format_exact(change),
            status=status,
            other_groups=line.others,
        )

    def _summary(self, total: _GroupCost, change: Decimal) -> str:
        per_day = " a day" if self.per.day else ""
        ratio = self.per.ratio(total.cost, total.against)
        share = "" if ratio is None else f" ({abs(ratio):.1%})"
        moved = (
            f"{format_dollars(abs(change))}{per_day}{share} {'more' if change > 0 else 'less'} than"
            if change
            else "as in"
        )
        causes = "; ".join(f"{self._cause(each)} {format_signed(each.change)}" for each in (self.drivers or ())[:3])
        said = f"Spend {self.current.period} was {format_dollars(total.cost)}, {moved} {self.previous.period}"
        return f"{said}. Largest causes{per_day and ', a day'}: {causes}." if causes else f"{said}."

    def _effects(self) -> dict[str, str]:
        if self.drivers is None:
            return {}
        with exact():
            return {
                effect: format_exact(sum((each.change for each in self.drivers if each.effect == effect), Decimal(0)))
                for effect in EFFECTS
            }

    def _drivers(self, most: int) -> Iterator[DriverItem]:
        drivers = self.drivers or ()
        for driver in drivers[:most]:
            yield DriverItem(
                effect=driver.effect, label=self._cause(driver), group=driver.group, change=format_exact(driver.change)
            )
        if rest := drivers[most:]:
            with exact():
                total = sum((driver.change for driver in rest), Decimal(0))
            yield DriverItem(effect="rest", label=f"{len(rest)} smaller causes", group=None, change=format_exact(total))

    def _cause(self, driver: Driver) -> str:
        return driver_label(driver, self.labels)


@dataclass(frozen=True, slots=True)
class Normalization:
    """Periods of unequal length are compared by the day."""

    days: int
    days_against: int

    @property
    def day(self) -> bool:
        """Whether amounts are divided by the days."""
        return self.days != self.days_against

    @property
    def divisors(self) -> tuple[int, int]:
        """What to divide by, the period's first."""
        return (self.days, self.days_against) if self.day else (1, 1)

    def fraction(self, cost: Decimal, against: Decimal) -> Fraction:
        """The change, exactly."""
        ours, theirs = self.divisors
        return Fraction(cost) / ours - Fraction(against) / theirs

    def difference(self, cost: Decimal, against: Decimal) -> Decimal:
        """The change: exact for equal lengths, to a millionth of a dollar by the day."""
        with exact():
            if not self.day:
                return cost - against
            return Decimal(round(self.fraction(cost, against) * _MILLIONTHS)).scaleb(-6).normalize()

    def ratio(self, cost: Decimal, against: Decimal) -> float | None:
        """The change as a share of what was; None where there was nothing, or a credit."""
        _, theirs = self.divisors
        return round(float(self.fraction(cost, against) / (Fraction(against) / theirs)), 4) if against > 0 else None


_MILLIONTHS = 10**6


def format_signed(dollars: Decimal) -> str:
    """An amount whose sign matters."""
    return f"{'+' if dollars > 0 else ''}{format_dollars(dollars)}"


def driver_label(driver: Driver, labels: Labels) -> str:
    """A cause as a person says it."""
    who = " / ".join(
        labels.of(dimension, value)
        for dimension, value in driver.group.items()
        if value is not None or dimension == "workspace_id"
    )
    more = driver.change > 0
    match driver.effect:
        case "volume":
            return f"{'more' if more else 'fewer'} tokens of {who}"
        case "price":
            return f"{'higher' if more else 'lower'} price of {who}"
        case "model_mix" | "tier_mix":
            lost, gained = driver.shift or ("", "")
            return f"{who}: from {lost} to {gained}"
        case "cache_mix":
            return f"{'less' if more else 'more'} of the input of {who} from the cache"
        case "output_mix":
            return f"{'more' if more else 'less'} output for the input of {who}"
        case "no_tokens":
            named = driver.group["description"] or driver.group["cost_type"] or NULL_LABELS["cost_type"]
            return f"{named} of {labels.of('workspace_id', driver.group['workspace_id'])}"


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
    """Hold a period against another one.

    Raises:
        InvalidQueryError: For anything that cannot be compared.
        UpstreamError: When the rows cannot be had, whole.
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
    ours = until_yesterday(query.period, context.today())
    theirs = parse_against(against, ours, context.today())
    filters = await resolve_filters(query, context, call)
    (now_cubes, then_cubes), labels = await gather_pair(
        _read(context, ours, theirs, call),
        fetch_labels(context.directory, {"workspace_id", *query.group_by, *query.filter_by}, call),
    )
    filters = normalize_geo_filter(normalize_values(filters, now_cubes.spend))
    now = context.now()
    groups, drivers = await run_in_thread_if(
        lambda: _compared(now_cubes, then_cubes, query, filters, now),
        when=now_cubes.rows + then_cubes.rows > OFFLOAD_ROWS,
    )
    return ComparisonResult(
        query=replace(query, default_size=top is None),
        filters=filters,
        current=now_cubes,
        previous=then_cubes,
        groups=groups,
        drivers=drivers,
        labels=labels,
        notes=[
            *_about_days(query.period, ours, theirs),
            *_about_the_other(then_cubes, now),
            *now_cubes.notes(now),
            *notes.label_notes(labels),
            *_about_causes(drivers, filters),
            *caveats(now_cubes.spend, filters),
        ],
        meta=result_meta(context, call, now),
    )


def parse_against(words: str, period: Period, today: date) -> Period:
    """The period that another one is held against.

    Raises:
        InvalidQueryError: When the words are not understood, or the two overlap.
    """
    earlier = period_before(words, period)
    found = earlier or parse_period(words, today)
    if found.end >= period.start and found.start <= period.end:
        raise InvalidQueryError(f"against {words}: {found} overlaps {period}; name days before or after it.")
    return found


async def _read(
    context: ReportContext, ours: Period, theirs: Period, call: CallContext
) -> tuple[SpendAndUsage, SpendAndUsage]:
    """Both periods; in one walk where they are neighbours."""
    if theirs.end + timedelta(days=1) == ours.start:
        whole = await fetch_spend_and_usage(context, Period(theirs.start, ours.end, ours.end), call)
        return whole.within(ours), whole.within(theirs)
    return await gather_pair(fetch_spend_and_usage(context, ours, call), fetch_spend_and_usage(context, theirs, call))


def _compared(
    ours: SpendAndUsage, theirs: SpendAndUsage, query: Query, filters: Filters, now: datetime
) -> tuple[Mapping[Key, tuple[Decimal, Decimal]], Sequence[Driver] | None]:
    costs, costs_against = (_costs(cubes, query.group_by, filters, now) for cubes in (ours, theirs))
    nothing = Decimal(0)
    groups = {key: (costs.get(key, nothing), costs_against.get(key, nothing)) for key in costs | costs_against}
    if not filters.keys() <= COMMON_DIMENSIONS:
        return groups, None
    per = Normalization(len(ours.period), len(theirs.period))
    with exact():
        change = per.difference(sum(costs.values(), nothing), sum(costs_against.values(), nothing))
    before, after = theirs.priced_cells(now, filters), ours.priced_cells(now, filters)
    return groups, decompose(before, after, change, per=(per.divisors[1], per.divisors[0]))


def _costs(cubes: SpendAndUsage, group_by: Sequence[str], filters: Filters, now: datetime) -> dict[Key, Decimal]:
    table = aggregate(cubes.spend.days, COST_REPORT, cubes.period, "total", now, group_by, filters)
    return {key: Decimal(add_up(columns)[0]) for key, columns in table.groups.items()}


def _about_days(asked: Period, ours: Period, theirs: Period) -> Iterator[Note]:
    yield from notes.today_notes(asked, ours)
    if len(ours) != len(theirs):
        yield Note(
            code="normalized_per_day",
            message=f"The periods have {len(ours)} and {len(theirs)} days, so every change is in dollars a day.",
        )


def _about_the_other(cubes: SpendAndUsage, now: datetime) -> Iterator[Note]:
    for held in (cubes.spend, cubes.usage):
        yield from notes.freshness_notes(held, now)
    if not cubes.spend.row_count:
        yield Note(code="comparison_period_empty", message=f"The cost report has no row for {cubes.period}.")


def _about_causes(drivers: Sequence[Driver] | None, filters: Filters) -> Iterator[Note]:
    if drivers is None:
        names = ", ".join(sorted(filters.keys() - COMMON_DIMENSIONS))
        yield Note(
            code="drivers_unavailable",
            message=f"Under a filter_by of {names} the causes cannot be told: the usage report does not have it.",
        )
