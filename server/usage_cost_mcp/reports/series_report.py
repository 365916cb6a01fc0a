"""From a question to exact series: the way that spend, tokens and the cache hit ratio have in common."""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.model.buckets import bucket_name
from usage_cost_mcp.model.dimensions import Filters
from usage_cost_mcp.model.periods import Granularity, Period, granularities_from, parse_zone
from usage_cost_mcp.model.query_schema import QuerySchema
from usage_cost_mcp.model.rows import Key, Number, Sums
from usage_cost_mcp.model.series import Columns, Table, add_columns, add_up, aggregate
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import gather_pair, run_in_thread_if

from . import notes
from .allocated_spend import allocated_days
from .answers import Note, PeriodModel
from .context import ReportContext
from .labels import Labels, fetch_labels, normalize_values, resolve_filters
from .query import Query, RawFilters, parse_query, with_workspace_dimension
from .results import ResultMeta, result_meta, sorted_filters
from .series_answer import Series, SeriesAnswer, SeriesReport
from .tables import Value

OFFLOAD_ROWS = 20_000
"""Rows from which on they are added up in a thread, while others are answered."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of an answer, made from the sums of rows, so that it is right for any group and any bucket."""

    name: str
    unit: str
    of: Callable[[Sums], Value]


@dataclass(frozen=True, slots=True)
class GroupLine:
    """A group with its sums per bucket. `key` is None for Other, which holds `others` groups."""

    label: str
    key: Key | None
    columns: Columns
    sums: Sums
    others: int | None = None


FilteredNotes = Callable[[Filters], Iterable[Note]]
"""What is to be said of the rows that pass the filters."""


Fetch = Callable[[Query, Period, ReportContext, CallContext], Coroutine[Any, Any, tuple[CacheResult, FilteredNotes]]]


@dataclass(frozen=True, slots=True)
class SeriesDefinition:
    """What sets one series tool apart from the others.

    Attributes:
        name: As in the answer's `report`.
        title: What the summary begins with.
        schema: What it accepts of the upstream report that it reads.
        shown: The measures that have a value per bucket.
        totals: The measures of the totals.
        group_totals: Those of each group's totals, where they are fewer.
        sort_key: The size of a group.
        headline: The summary after the period.
        caveats: Notes on what the numbers exclude, or include unexpectedly.
        fetch: Reads the rows of the UTC days, with notes on them; by default the report's, allocated if the query asks.
        extra_measures: What `fetch` adds to the measures of each row.
    """

    name: SeriesReport
    title: str
    schema: QuerySchema
    shown: Sequence[Measure]
    totals: Sequence[Measure]
    sort_key: Callable[[Sums], Number]
    headline: Callable[[Sums, Sequence[GroupLine]], str]
    caveats: Callable[[CacheResult, Filters], Iterator[Note]] = lambda _held, _filters: iter(())
    fetch: Fetch | None = None
    extra_measures: tuple[str, ...] = ()
    group_totals: Sequence[Measure] = ()


@dataclass(frozen=True, slots=True)
class SeriesResult:
    """All that was found out, to be told at the length that fits."""

    definition: SeriesDefinition
    query: Query
    filters: Filters
    held: CacheResult
    table: Table
    labels: Labels
    notes: Sequence[Note]
    meta: ResultMeta

    @property
    def estimated(self) -> str:
        """Whether the numbers are an estimate, as a person says it; empty when they are not."""
        by = self.query.allocation_rule
        return f", estimated by {notes.SHARED_BY[by.dimension]}" if by else ""

    @property
    def filtered_to(self) -> str:
        """What the numbers are restricted to, as a person says it; empty when they are not."""
        return notes.filter_clause(self.filters, self.labels)

    @property
    def warnings(self) -> str:
        """What must not be missed even by who reads the summary alone."""
        grave = [note.message for note in self.notes if note.code in notes.SUMMARY_WARNINGS]
        return "".join(f" {message}" for message in grave)

    @property
    def default_size(self) -> bool:
        """Whether the length was left to us."""
        return self.query.default_size

    def candidates(self) -> Iterator[SeriesAnswer]:
        """The answer as asked for, then ever briefer ones: in coarser buckets, if need be with fewer groups."""
        tables: dict[Granularity, Table] = {}
        for top in self._tops():
            for granularity in granularities_from(self.query.granularity):
                if granularity not in tables:
                    tables[granularity] = self.table.coarsened(granularity)
                yield self._answer(tables[granularity], top)

    def _tops(self) -> Iterator[int]:
        top = len(self.table.groups) if self.query.top is None else self.query.top
        yield top
        top = min(top, len(self.table.groups))
        while top > 1:
            top //= 2
            yield top

    def _lines(self, table: Table, top: int) -> list[GroupLine]:
        """The largest groups, and the rest as one."""
        order = table.ranked(self.definition.sort_key)
        group_by = self.query.group_by
        lines = [
            GroupLine(self.labels.of_group(group_by, key), key, table.groups[key], add_up(table.groups[key]))
            for key in order[:top]
        ]
        rest = order[top:]
        if rest:
            columns = add_columns((table.groups[key] for key in rest), table.zeros)
            label = f"Other ({len(rest)} group{'s'[: len(rest) > 1]})"
            lines.append(GroupLine(label, None, columns, add_up(columns), len(rest)))
        return lines

    def _answer(self, table: Table, top: int) -> SeriesAnswer:
        asked, granularity = self.query, table.granularity
        lines = self._lines(table, top)
        bucket_totals = table.bucket_totals()
        totals = add_up(bucket_totals)
        said = self.definition.headline(totals, lines)
        return SeriesAnswer(
            report=self.definition.name,
            estimated=bool(asked.allocation_rule),
            summary=f"{self.definition.title} {asked.period}{self.estimated}{self.filtered_to}: {said}.{self.warnings}",
            measures={measure.name: measure.unit for measure in self.definition.shown},
            period=PeriodModel(start=asked.period.start, end=asked.period.end, timezone=str(asked.period.zone)),
            granularity=granularity,
            group_by=asked.group_by,
            filter_by=sorted_filters(self.filters),
            buckets=self._names(table, table.starts),
            series=[self._series(line) for line in lines],
            bucket_totals=_values(self.definition.shown, bucket_totals),
            totals=_totals(self.definition.totals, totals),
            partial_buckets=self._names(table, table.partial(self.meta.now)),
            **self.meta.common_fields(
                asked.period,
                [self.held],
                [
                    *notes.period_notes(asked.period, granularity, self.meta.now),
                    *self.notes,
                    *self._shortened(granularity, top),
                ],
            ),
        )

    def _names(self, table: Table, starts: Sequence[datetime]) -> list[str]:
        return [bucket_name(start, table.granularity, table.period.zone) for start in starts]

    def _series(self, line: GroupLine) -> Series:
        group = None if line.key is None else dict(zip(self.query.group_by, line.key, strict=True))
        return Series(
            label=line.label,
            group=group,
            values=_values(self.definition.shown, line.columns),
            totals=_totals(self.definition.group_totals or self.definition.totals, line.sums),
            other_groups=line.others,
        )

    def _shortened(self, granularity: Granularity, top: int) -> Iterator[Note]:
        asked = self.query
        if granularity != asked.granularity:
            shown = "as one total" if granularity == "total" else f"per {granularity}"
            how = f"granularity={asked.granularity}, or for " if asked.default_size else ""
            yield Note(
                code="granularity_reduced",
                message=f"Shown {shown} instead of per {asked.granularity} to stay short; totals are exact. For each "
                f"{asked.granularity}, ask with {how}a shorter period, a filter_by or a smaller top.",
            )
        if top < min(asked.top or len(self.table.groups), len(self.table.groups)):
            yield Note(
                code="groups_merged",
                message=f"Only the largest {top} of {len(self.table.groups)} groups are shown to stay short; the rest "
                "is in Other, exactly. For more groups, ask with filter_by or a shorter period.",
            )


def _values(measures: Sequence[Measure], columns: Columns) -> dict[str, list[Value]]:
    return {measure.name: [measure.of(sums) for sums in columns] for measure in measures}


def _totals(measures: Sequence[Measure], sums: Sums) -> dict[str, Value]:
    return {measure.name: measure.of(sums) for measure in measures}


@dataclass(frozen=True, slots=True)
class SeriesArguments:
    """The arguments of a series tool, as given."""

    period: str
    group_by: Sequence[str]
    filter_by: RawFilters | None
    granularity: str | None
    top: int | None
    default_top: int | None
    timezone: str = "UTC"


async def run_series(
    definition: SeriesDefinition, arguments: SeriesArguments, context: ReportContext, call: CallContext
) -> SeriesResult:
    """Compute a series at full length.

    Raises:
        InvalidQueryError: When the report cannot answer the query.
        UpstreamError: When the rows cannot be read completely.
    """
    zone = parse_zone(arguments.timezone)
    query = parse_query(
        definition.schema,
        context.today(zone),
        period=arguments.period,
        zone=zone,
        group_by=arguments.group_by,
        filter_by=arguments.filter_by,
        granularity=arguments.granularity,
        top=arguments.top,
        default_top=arguments.default_top,
    )
    if context.workspaces is not None:
        query = with_workspace_dimension(query)
    days = query.period.in_utc(context.today())
    filters = await resolve_filters(query, context, call)
    (held, notes_on), labels = await gather_pair(
        (definition.fetch or _fetch)(query, days, context, call),
        fetch_labels(context.directory, [*query.group_by, *query.filter_by], call),
    )
    held = held.within(query.period)
    filters = normalize_values(filters, held)
    # Only now: an hour that began while the rows were read has its place too.
    now = context.now()
    table = await run_in_thread_if(
        lambda: aggregate(
            held.days,
            query.schema.report,
            query.period,
            query.granularity,
            now,
            query.group_by,
            filters,
            extra_measures=definition.extra_measures,
        ),
        when=held.row_count > OFFLOAD_ROWS,
    )
    return SeriesResult(
        definition=definition,
        query=query,
        filters=filters,
        held=held,
        table=table,
        labels=labels,
        notes=[
            *notes.freshness_notes(held, now),
            *notes.row_notes(held, query.period),
            *notes.filter_notes(filters, held, labels),
            *notes.label_notes(labels),
            *notes_on(filters),
            *definition.caveats(held, filters),
        ],
        meta=result_meta(context, call, now),
    )


async def _fetch(
    query: Query, days: Period, context: ReportContext, call: CallContext
) -> tuple[CacheResult, FilteredNotes]:
    """The rows of the report; allocated to a dimension that it lacks where the query asks for one."""
    if rule := query.allocation_rule:
        return await allocated_days(rule, days, context, call), lambda _: notes.allocation_notes(rule)
    return await context.cache.days(query.schema.report, query.views, query.width, days, call), lambda _: ()
