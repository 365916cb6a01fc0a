"""From a question to exact series: the way that spend, tokens and the cache hit ratio have in common."""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from usage_cost_mcp.cache import Held
from usage_cost_mcp.model.buckets import bucket_name
from usage_cost_mcp.model.dimensions import Filters, Report
from usage_cost_mcp.model.periods import Granularity, Period, coarser, provisional_since
from usage_cost_mcp.model.rows import Key, Number, Sums
from usage_cost_mcp.model.series import Columns, Table, add_columns, add_up, aggregate
from usage_cost_mcp.runtime.call_context import Call
from usage_cost_mcp.runtime.concurrency import aside, both

from . import notes
from .answers import CacheUse, Note, PeriodEcho, Series, SeriesAnswer, Value
from .context import Desk
from .labels import Labels, as_spelled, look_up, resolve
from .query import Question, telling_workspaces

MANY_ROWS = 20_000
"""Rows from which on they are added up in a thread, while others are answered."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of an answer, made from the sums of rows, so that it is right for any group and any bucket."""

    name: str
    unit: str
    of: Callable[[Sums], Value]


@dataclass(frozen=True, slots=True)
class Line:
    """A group with its sums per bucket. `key` is None for Other, which holds `others` groups."""

    label: str
    key: Key | None
    columns: Columns
    others: int | None = None

    @property
    def sums(self) -> Sums:
        """The sums over all buckets."""
        return add_up(self.columns)


NotesOn = Callable[[Filters], Iterable[Note]]
"""What is to be said of the rows that pass the filters."""


async def read_rows(question: Question, days: Period, desk: Desk, call: Call) -> tuple[Held, NotesOn]:
    """The rows of the report as they are, with nothing to say of them."""
    return await desk.ledger.days(question.report, question.views, question.width, days, call), lambda _: ()


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """What sets one series tool apart from the others.

    Attributes:
        name: As in the answer's `report`.
        title: What the summary begins with.
        report: The upstream report that it reads.
        shown: The measures that have a value per bucket.
        totals: The measures of the totals.
        group_totals: Those of each group's totals, where they are fewer.
        rank: What makes a group large.
        headline: What a person would say first, after the period.
        leaves_out: Notes on what the numbers do not hold, or hold unexpectedly.
        read: Brings the rows of the UTC days that the question touches, and notes on how they were come by.
        added: What `read` adds to the measures of each row.
    """

    name: str
    title: str
    report: Report
    shown: Sequence[Measure]
    totals: Sequence[Measure]
    rank: Callable[[Sums], Number]
    headline: Callable[[Sums, Sequence[Line]], str]
    leaves_out: Callable[[Held, Filters], Iterator[Note]] = lambda _held, _filters: iter(())
    read: Callable[[Question, Period, Desk, Call], Coroutine[Any, Any, tuple[Held, NotesOn]]] = read_rows
    added: tuple[str, ...] = ()
    group_totals: Sequence[Measure] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """All that was found out, to be told at the length that fits."""

    kind: SeriesReport
    question: Question
    filters: Filters
    held: Held
    table: Table
    labels: Labels
    notes: Sequence[Note]
    requests: int
    now: datetime
    demo: bool

    @property
    def estimated(self) -> str:
        """Whether the numbers are an estimate, as a person says it; empty when they are not."""
        by = self.question.attribution
        return f", estimated by {notes.SHARED_BY[by.dimension]}" if by else ""

    @property
    def filtered_to(self) -> str:
        """What the numbers are restricted to, as a person says it; empty when they are not."""
        return notes.restricted(self.filters, self.labels)

    @property
    def warnings(self) -> str:
        """What must not be missed even by who reads the summary alone."""
        grave = [note.message for note in self.notes if note.code in notes.GRAVE]
        return "".join(f" {message}" for message in grave)

    @property
    def by_default(self) -> bool:
        """Whether the length was left to us."""
        return self.question.by_default

    def answers(self) -> Iterator[SeriesAnswer]:
        """The answer as asked for, then ever briefer ones: in coarser buckets, if need be with fewer groups."""
        tables: dict[Granularity, Table] = {}
        for top in self._tops():
            for granularity in coarser(self.question.granularity):
                if granularity not in tables:
                    tables[granularity] = self.table.coarsened(granularity)
                yield self._answer(tables[granularity], top)

    def _tops(self) -> Iterator[int]:
        top = len(self.table.groups) if self.question.top is None else self.question.top
        yield top
        top = min(top, len(self.table.groups))
        while top > 1:
            top //= 2
            yield top

    def _lines(self, table: Table, top: int) -> list[Line]:
        """The largest groups, and the rest as one."""
        order = table.ranked(self.kind.rank)
        group_by = self.question.group_by
        lines = [Line(self.labels.of_group(group_by, key), key, table.groups[key]) for key in order[:top]]
        rest = order[top:]
        if rest:
            columns = add_columns((table.groups[key] for key in rest), table.zeros)
            lines.append(Line(f"Other ({len(rest)} group{'s'[: len(rest) > 1]})", None, columns, len(rest)))
        return lines

    def _answer(self, table: Table, top: int) -> SeriesAnswer:
        asked, granularity = self.question, table.granularity
        lines = self._lines(table, top)
        bucket_totals = table.bucket_totals()
        totals = add_up(bucket_totals)
        said = self.kind.headline(totals, lines)
        return SeriesAnswer(
            report=self.kind.name,
            estimated=bool(asked.attribution),
            summary=f"{self.kind.title} {asked.period}{self.estimated}{self.filtered_to}: {said}.{self.warnings}",
            measures={measure.name: measure.unit for measure in self.kind.shown},
            period=PeriodEcho(start=asked.period.start, end=asked.period.end, timezone=str(asked.period.zone)),
            granularity=granularity,
            group_by=asked.group_by,
            filter_by={dimension: sorted(values, key=str) for dimension, values in self.filters.items()},
            buckets=self._names(table, table.starts),
            series=[self._series(line) for line in lines],
            bucket_totals=_values(self.kind.shown, bucket_totals),
            totals=_totals(self.kind.totals, totals),
            partial_buckets=self._names(table, table.partial(self.now)),
            provisional_since=provisional_since(asked.period, self.now.date()),
            fetched_at=self.held.fetched_at,
            cache=CacheUse(status=self.held.status, upstream_requests=self.requests),
            demo=self.demo,
            notes=[
                *notes.about_period(asked.period, granularity, self.now),
                *self.notes,
                *self._shortened(granularity, top),
            ],
        )

    def _names(self, table: Table, starts: Sequence[datetime]) -> list[str]:
        return [bucket_name(start, table.granularity, table.period.zone) for start in starts]

    def _series(self, line: Line) -> Series:
        group = None if line.key is None else dict(zip(self.question.group_by, line.key, strict=True))
        return Series(
            label=line.label,
            group=group,
            values=_values(self.kind.shown, line.columns),
            totals=_totals(self.kind.group_totals or self.kind.totals, line.sums),
            other_groups=line.others,
        )

    def _shortened(self, granularity: Granularity, top: int) -> Iterator[Note]:
        asked = self.question
        if granularity != asked.granularity:
            shown = "as one total" if granularity == "total" else f"per {granularity}"
            how = f"granularity={asked.granularity}, or for " if asked.by_default else ""
            yield Note(
                code="coarsened",
                message=f"Shown {shown} instead of per {asked.granularity} to stay short; totals are exact. For each "
                f"{asked.granularity}, ask with {how}a shorter period, a filter_by or a smaller top.",
            )
        if top < min(asked.top or len(self.table.groups), len(self.table.groups)):
            yield Note(
                code="folded",
                message=f"Only the largest {top} of {len(self.table.groups)} groups are shown to stay short; the rest "
                "is in Other, exactly. For more groups, ask with filter_by or a shorter period.",
            )


def _values(measures: Sequence[Measure], columns: Columns) -> dict[str, list[Value]]:
    return {measure.name: [measure.of(sums) for sums in columns] for measure in measures}


def _totals(measures: Sequence[Measure], sums: Sums) -> dict[str, Value]:
    return {measure.name: measure.of(sums) for measure in measures}


async def find(kind: SeriesReport, question: Question, desk: Desk, call: Call) -> Finding:
    """Answer a question, at full length.

    Raises:
        QuestionError: For a filter value that cannot be meant.
        UpstreamError: When the rows cannot be had, whole.
    """
    if desk.workspaces is not None:
        question = telling_workspaces(question)
    days = question.period.in_utc(desk.today())
    filters = await resolve(question, desk, call)
    (held, notes_on), labels = await both(
        kind.read(question, days, desk, call),
        look_up(desk.directory, [*question.group_by, *question.filter_by], call),
    )
    held = held.within(question.period)
    filters = as_spelled(filters, held)
    # Only now: an hour that began while the rows were read has its place too.
    now = desk.now()
    measured = replace(question.report, measures=question.report.measures + kind.added)
    table = await aside(
        lambda: aggregate(held.days, measured, question.period, question.granularity, now, question.group_by, filters),
        when=held.rows > MANY_ROWS,
    )
    return Finding(
        kind=kind,
        question=question,
        filters=filters,
        held=held,
        table=table,
        labels=labels,
        notes=[
            *notes.about_age(held, now),
            *notes.about_rows(held, question.period),
            *notes.about_filters(filters, held, labels),
            *notes.about_labels(labels),
            *notes_on(filters),
            *kind.leaves_out(held, filters),
        ],
        requests=call.requests,
        now=now,
        demo=desk.demo,
    )
