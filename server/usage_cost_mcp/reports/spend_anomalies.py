"""Days on which a group's spend was out of line with its own weekdays, each with what is likely behind it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from pydantic import Field

from usage_cost_mcp.analysis.anomalies import HISTORY_DAYS, MOST_WEEKS, Anomaly, Review, default_minimum, find_anomalies
from usage_cost_mcp.analysis.cost_usage_join import Cells, join
from usage_cost_mcp.analysis.price_volume_mix import Driver, decompose
from usage_cost_mcp.cache import CacheStatus, Held, together
from usage_cost_mcp.model.dimensions import SPEND, USAGE, Filters
from usage_cost_mcp.model.money import exact, plain, readable
from usage_cost_mcp.model.periods import Period, provisional_since, until_yesterday
from usage_cost_mcp.model.rows import Key
from usage_cost_mcp.model.series import aggregate
from usage_cost_mcp.runtime.call_context import Call
from usage_cost_mcp.runtime.concurrency import aside, both

from . import notes
from .answers import CacheUse, Note, Part, PeriodEcho, Provenance
from .context import Desk
from .joined_reports import IN_BOTH
from .labels import Labels, as_spelled, look_up, resolve
from .query import GivenFilters, Question, billed_question
from .series_report import MANY_ROWS
from .spend_comparison import Per, cause, signed
from .spend_forecast import parse_dollars

DEFAULT_GROUP_BY = ("workspace_id",)


class AnomalyEcho(Part):
    """One finding. `outcome`: over, lasting (still away on the last day), new_level (usual from then on)."""

    start: date
    end: date
    label: str
    group: Mapping[str, str | None]
    cost: str
    expected: str
    excess: str
    outcome: str
    driver: str | None = Field(default=None, exclude_if=lambda driver: driver is None)


class _AnomaliesBody(Part):
    report: str = "spend_anomalies"
    summary: str
    period: PeriodEcho
    history_days: int
    minimum: str
    group_by: Sequence[str]
    filter_by: Mapping[str, Sequence[str | None]]
    anomalies: Sequence[AnomalyEcho]
    omitted: int


class AnomaliesAnswer(Provenance, _AnomaliesBody):
    """What was out of line, the largest first; nothing when nothing was."""


@dataclass(frozen=True, slots=True)
class AnomaliesFinding:
    """All that was found out, to be told as far as there is room.

    Attributes:
        between: For each finding, what its days cost that were as usual.
    """

    question: Question
    period: Period
    filters: Filters
    labels: Labels
    minimum: Decimal
    review: Review
    between: Sequence[Decimal]
    drivers: Sequence[Driver | None]
    groups: int
    fetched_at: datetime
    status: CacheStatus
    notes: Sequence[Note]
    requests: int
    now: datetime
    demo: bool

    @property
    def by_default(self) -> bool:
        """Whether the length was left to us."""
        return self.question.top is None

    def answers(self) -> Iterator[AnomaliesAnswer]:
        """The answer with all findings that were asked for, then with ever fewer."""
        found = list(map(self._echo, self.review.anomalies, self.drivers, self.between))
        count = min(len(found), self.question.top or len(found))
        yield self._answer(found, count)
        while count > 1:
            count = count * 2 // 3
            yield self._answer(found, count)

    def _echo(self, anomaly: Anomaly, driver: Driver | None, between: Decimal) -> AnomalyEcho:
        with exact():
            cost, expected = anomaly.actual + between, anomaly.expected + between
        return AnomalyEcho(
            start=anomaly.days[0],
            end=anomaly.days[-1],
            label=self.labels.of_group(self.question.group_by, anomaly.key),
            group=dict(zip(self.question.group_by, anomaly.key, strict=True)),
            cost=plain(cost),
            expected=plain(expected),
            excess=plain(anomaly.excess),
            outcome=anomaly.outcome,
            driver=driver and f"{cause(driver, self.labels)} {signed(driver.change)}",
        )

    def _answer(self, found: Sequence[AnomalyEcho], count: int) -> AnomaliesAnswer:
        return AnomaliesAnswer(
            summary=self._summary(found),
            period=PeriodEcho(start=self.period.start, end=self.period.end),
            history_days=HISTORY_DAYS,
            minimum=plain(self.minimum),
            group_by=self.question.group_by,
            filter_by={dimension: sorted(values, key=str) for dimension, values in self.filters.items()},
            anomalies=found[:count],
            omitted=len(found) - count,
            provisional_since=provisional_since(self.period, self.now.date()),
            fetched_at=self.fetched_at,
            cache=CacheUse(status=self.status, upstream_requests=self.requests),
            demo=self.demo,
            notes=self.notes,
        )

    def _summary(self, found: Sequence[AnomalyEcho]) -> str:
        by = " / ".join(self.question.group_by) or "in total"
        looked = (
            f"{self.groups} group{'s'[: self.groups != 1]} by {by}, each against its own weekdays of the "
            f"{HISTORY_DAYS} days before, {readable(self.minimum)} and more"
        )
        if not found:
            return f"Nothing odd in the spend of {self.period} ({looked})."
        first = found[0]
        when = f"on {first.start}" if first.start == first.end else f"from {first.start} to {first.end}"
        largest = (
            f"{first.label} {when}: {readable(Decimal(first.cost))} instead of {readable(Decimal(first.expected))}"
        )
        return (
            f"{len(found)} finding{'s'[: len(found) > 1]} in the spend of {self.period} ({looked}); largest: {largest}."
        )


async def find_spend_anomalies(
    period: str,
    group_by: Sequence[str],
    filter_by: GivenFilters | None,
    minimum: str | None,
    top: int | None,
    desk: Desk,
    call: Call,
) -> AnomaliesFinding:
    """Judge every complete day of a period.

    Raises:
        QuestionError: For anything that cannot be judged.
        UpstreamError: When the rows cannot be had, whole.
    """
    least = None if minimum is None else parse_dollars("minimum", minimum)
    question = billed_question(
        desk.today(), period=period, group_by=group_by, filter_by=filter_by, top=top, default_top=None
    )
    judged = until_yesterday(question.period, desk.today())
    filters = await resolve(question, desk, call)
    looked_at = Period(judged.start - HISTORY_DAYS * _DAY, judged.end, judged.end)
    held, labels = await both(
        desk.ledger.days(SPEND, [SPEND.base], "1d", looked_at, call),
        look_up(desk.directory, {"workspace_id", *question.group_by, *question.filter_by}, call),
    )
    filters, now = as_spelled(filters, held), desk.now()
    # Days before the first row are no zeros: nothing is known of them.
    begun = min((rows.day for rows in held.days if len(rows)), default=looked_at.end)

    def reviewed() -> tuple[Mapping[Key, Sequence[Decimal]], Decimal, Review]:
        table = aggregate(held.days, SPEND, looked_at, "day", now, question.group_by, filters)
        known = slice((begun - looked_at.start).days, None)
        groups = {key: [Decimal(cost) for (cost,) in columns[known]] for key, columns in table.groups.items()}
        floor = least or default_minimum(groups)
        return groups, floor, find_anomalies(groups, begun, max(judged.start, begun), floor)

    groups, floor, review = await aside(reviewed, when=held.rows > MANY_ROWS)
    drivers, usage = await _drivers(review, question, filters, held, replace(looked_at, start=begun), desk, call)
    parts = [held, *usage]
    return AnomaliesFinding(
        question=question,
        period=judged,
        filters=filters,
        labels=labels,
        minimum=floor,
        review=review,
        between=[_between(each, groups[each.key], begun) for each in review.anomalies],
        drivers=drivers,
        groups=len(groups),
        fetched_at=min(each.fetched_at for each in parts),
        status=together(each.status for each in parts),
        notes=[
            *notes.about_today(question.period, judged),
            *notes.about_age(held, now),
            *notes.about_rows(replace(held, days=held.of(judged.days)), judged),
            *notes.about_filters(filters, held, labels),
            *notes.about_labels(labels),
            *_about_unjudged(review, question, labels),
        ],
        requests=call.requests,
        now=now,
        demo=desk.demo,
    )


def _between(anomaly: Anomaly, amounts: Sequence[Decimal], first: date) -> Decimal:
    """What the days cost that lie between the odd ones."""
    with exact():
        run = amounts[(anomaly.days[0] - first).days : (anomaly.days[-1] - first).days + 1]
        return sum(run, Decimal(0)) - anomaly.actual


_DAY = timedelta(days=1)
_WEEK = timedelta(weeks=1)


async def _drivers(
    review: Review, question: Question, filters: Filters, spend: Held, looked_at: Period, desk: Desk, call: Call
) -> tuple[Sequence[Driver | None], Sequence[Held]]:
    """What is likely behind each finding: the largest cause of the change from its weekdays before."""
    if not review.anomalies or not {*question.group_by, *filters} <= IN_BOTH:
        return [None] * len(review.anomalies), []
    usage = await desk.ledger.days(USAGE, [USAGE.base], "1d", looked_at, call)
    now = desk.now()

    def cells(days: Iterable[date], only: Filters) -> Cells:
        return join(spend.of(days), usage.of(days), looked_at, now, only)

    def driver(anomaly: Anomaly) -> Driver | None:
        own = {dimension: frozenset([value]) for dimension, value in zip(question.group_by, anomaly.key, strict=True)}
        weeks = min(MOST_WEEKS, (anomaly.days[0] - looked_at.start).days // _WEEK.days)
        usual = [day - n * _WEEK for day in anomaly.days for n in range(1, weeks + 1)]
        before, after = cells(usual, {**filters, **own}), cells(anomaly.days, {**filters, **own})
        change = Per(1, weeks).difference(after.total, before.total)
        return next(iter(decompose(before, after, change, per=(weeks, 1))), None)

    drivers = await aside(lambda: [driver(each) for each in review.anomalies], when=spend.rows + usage.rows > MANY_ROWS)
    return drivers, [usage]


def _about_unjudged(review: Review, question: Question, labels: Labels) -> Iterator[Note]:
    """Groups with too short a history; nothing is guessed of them."""
    if review.unjudged:
        named = [labels.of_group(question.group_by, key) for key in list(review.unjudged)[:_MOST_NAMED]]
        more = len(review.unjudged) - len(named)
        yield Note(
            code="not_judged",
            message=f"Too little history to judge some days of {', '.join(named)}{f' and {more} more' * (more > 0)}.",
        )


_MOST_NAMED = 3
