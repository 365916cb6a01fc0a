"""Runs the reports that are series: spend, token usage and the cache hit ratio."""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from usage_cost_mcp.runtime.concurrency import OFFLOAD_ROWS, gather_pair, run_in_thread_if

from . import notes
from .answers import Note, PeriodModel
from .billing import Bill
from .context import ReportContext
from .credits import credits_by_group
from .filters import FilterResolver, normalize_values
from .keyless_use import has_keyless_group
from .labels import Labels, fetch_labels
from .query import Query, RawFilters, parse_query, with_workspace_dimension
from .results import ResultMeta, result_meta, sorted_filters
from .series_answer import Series, SeriesAnswer, SeriesReport
from .tables import Value
from .wording import plural


@dataclass(frozen=True, slots=True)
class Measure:
    """A number computed from sums of rows, and therefore correct for any group and bucket."""

    name: str
    unit: str
    of: Callable[[Sums], Value]


def count_measure(name: str, place: int) -> Measure:
    """The count at a position of the sums."""
    return Measure(name, "requests" if name.endswith("requests") else "tokens", lambda sums: int(sums[place]))


@dataclass(frozen=True, slots=True)
class GroupLine:
    """A group with its sums per bucket. `key` is None for Other, into which `other_groups` groups are merged."""

    label: str
    key: Key | None
    columns: Columns
    sums: Sums
    other_groups: int | None = None


FilteredNotes = Callable[[Filters], Iterable[Note]]
"""Notes on the rows that pass the filters."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The rows of a series, and what is to be noted on them.

    Attributes:
        bill: How far the bill has arrived; None if the series has no dollars.
        bill_effect: What a missing bill means for the series, as a sentence.
    """

    held: CacheResult
    notes: FilteredNotes = lambda _: ()
    bill: Bill | None = None
    bill_effect: str = ""

    def data_notes(self, period: Period, now: datetime) -> Iterator[Note]:
        """Notes on the bill, which come first, on freshness, and on days without data."""
        if self.bill:
            yield from self.bill.notes(period, self.bill_effect) or notes.today_cost_notes(self.held, self.bill.today)
        yield from notes.freshness_notes(self.held, now)
        yield from notes.row_notes(self.held, self.bill.part_of(period) if self.bill else period.ended(now))


Fetch = Callable[[Query, Period, ReportContext, CallContext], Coroutine[Any, Any, Fetched]]


KeylessNotes = Callable[
    [CacheResult, Query, Filters, Period, ReportContext, CallContext], Coroutine[Any, Any, Sequence[Note]]
]


@dataclass(frozen=True, slots=True)
class SeriesDefinition:
    """What distinguishes one series report from another.

    Attributes:
        name: As in the answer's `report`.
        title: The start of the summary.
        schema: The upstream report, and what the tool accepts of it.
        shown: The measures that have a value per bucket.
        totals: The measures of the totals.
        sort_key: The size of a group, by which groups are ranked.
        headline: The end of the summary, after the period.
        caveats: Notes on what the numbers exclude or unexpectedly include.
        fetch: Fetches the rows of the UTC days, and notes on them; None for the plain rows of the report.
        extra_measures: The measures that `fetch` adds to each row.
        group_totals: The measures of each group's totals, if they are fewer than `totals`.
        ranked_measures: The measures whose largest group is not merged into Other, unless the caller chose a top.
        keyless_notes: Notes that split a group without an API key into sign-ins, service accounts and the Console.
        has_credits: Whether rows may be negative.
        more_inputs: Which of the counts of input that are not documented have a value per bucket; totals have all.
        is_unreported: Whether no report has the rows of the filters, so that the measures are unknown, not zero.
    """

    name: SeriesReport
    title: str
    schema: QuerySchema
    shown: Sequence[Measure]
    totals: Sequence[Measure]
    sort_key: Callable[[Sums], Number]
    headline: Callable[["SeriesResult"], str]
    caveats: Callable[[CacheResult, Filters], Iterator[Note]] = lambda _held, _filters: iter(())
    fetch: Fetch | None = None
    extra_measures: tuple[str, ...] = ()
    group_totals: Sequence[Measure] = ()
    ranked_measures: Sequence[Measure] = ()
    keyless_notes: KeylessNotes | None = None
    has_credits: bool = False
    more_inputs: Callable[[Sequence[str]], Sequence[str]] = lambda _names: ()
    is_unreported: Callable[[CacheResult, Filters], bool] = lambda _held, _filters: False


@dataclass(frozen=True, slots=True)
class SeriesResult:
    """The complete series, from which answers of several sizes are built.

    Attributes:
        group_sums: The sums of each group over the period, the largest group first.
        credits: The credits of each group that has some, in dollars below zero.
    """

    definition: SeriesDefinition
    query: Query
    filters: Filters
    held: CacheResult
    table: Table
    group_sums: Mapping[Key, Sums]
    totals: Sums
    credits: Mapping[Key, Number]
    is_unreported: bool
    labels: Labels
    notes: Sequence[Note]
    meta: ResultMeta

    @property
    def estimated(self) -> str:
        """How the numbers were estimated, for the summary; empty if they were not."""
        rule = self.query.allocation_rule
        return f", estimated by {notes.ALLOCATED_TO[rule.dimension]}" if rule else ""

    @property
    def filtered_to(self) -> str:
        """The filters, for the summary; empty without filters."""
        return notes.filter_clause(self.filters, self.labels)

    @property
    def default_size(self) -> bool:
        return self.query.default_size

    @property
    def shown(self) -> Sequence[Measure]:
        """The measures that have a value per bucket."""
        return [*self.definition.shown, *self._more_inputs(self.definition.more_inputs(self.table.more_inputs))]

    @property
    def _more_totals(self) -> Sequence[Measure]:
        return self._more_inputs(self.table.more_inputs)

    def _more_inputs(self, names: Sequence[str]) -> list[Measure]:
        """The measures of counts of input that are not documented; they are the last ones of the sums."""
        first = len(self.table.zero) - len(self.table.more_inputs)
        return [count_measure(name, first + self.table.more_inputs.index(name)) for name in names]

    def label(self, group: Key) -> str:
        return self.labels.of_group(self.query.group_by, group)

    def leaders(self, measures: Sequence[Measure]) -> dict[str, Key]:
        """The largest group by each measure of which there is any."""
        return {
            measure.name: max(self.group_sums, key=lambda group: measure.of(self.group_sums[group]) or 0)
            for measure in measures
            if self.group_sums and measure.of(self.totals)
        }

    def candidates(self) -> Iterator[SeriesAnswer]:
        """The requested answer, then smaller ones: with coarser buckets, then also with fewer groups."""
        tables: dict[Granularity, Table] = {}
        for top in self._tops():
            for granularity in granularities_from(self.query.granularity):
                if granularity not in tables:
                    tables[granularity] = self.table.at_granularity(granularity)
                yield self._answer(tables[granularity], top)

    def _tops(self) -> Iterator[int]:
        groups = len(self.group_sums)
        top = groups if self.query.top is None else self.query.top
        if self.query.is_default_top and groups <= top + _HANDFUL:
            top = groups
        yield top
        top = min(top, len(self.table.groups))
        while top > 1:
            top //= 2
            yield top

    def _lines(self, table: Table, top: int) -> list[GroupLine]:
        """The largest groups, and the others merged into one."""
        shown = list(self.group_sums)[:top]
        if self.query.is_default_top:
            leaders = self.leaders(self.definition.ranked_measures).values()
            shown += [group for group in dict.fromkeys(leaders) if group not in shown]
        lines = [GroupLine(self.label(key), key, table.groups[key], self.group_sums[key]) for key in shown]
        rest = [key for key in self.group_sums if key not in shown]
        if rest:
            columns = add_columns((table.groups[key] for key in rest), table.zeros)
            label = f"Other ({plural(len(rest), 'group')})"
            lines.append(GroupLine(label, None, columns, add_up(columns), len(rest)))
        return lines

    def _answer(self, table: Table, top: int) -> SeriesAnswer:
        query, granularity = self.query, table.granularity
        lines = self._lines(table, top)
        bucket_totals = table.bucket_totals()
        today = notes.TODAY_SO_FAR if self.meta.now < query.period.ends else ""
        subject = f"{query.period}{today}{self.estimated}{self.filtered_to}"
        return SeriesAnswer(
            report=self.definition.name,
            estimated=bool(query.allocation_rule),
            summary=f"{self.definition.title} {subject}: {self._headline()}.",
            measures={measure.name: measure.unit for measure in self.shown},
            period=PeriodModel(start=query.period.start, end=query.period.end, timezone=str(query.period.zone)),
            granularity=granularity,
            group_by=query.group_by,
            filter_by=sorted_filters(self.filters),
            buckets=self._names(table, table.starts),
            series=[self._series(line) for line in lines],
            bucket_totals=self._values(bucket_totals),
            totals=self._totals([*self.definition.totals, *self._more_totals], self.totals),
            partial_buckets=self._names(table, table.partial(self.meta.now)),
            **self.meta.common_fields(
                query.period,
                [self.held],
                [
                    *notes.period_notes(query.period, granularity, self.meta.now),
                    *self.notes,
                    *self._shortened(granularity, top),
                ],
            ),
        )

    def _names(self, table: Table, starts: Sequence[datetime]) -> list[str]:
        return [bucket_name(start, table.granularity, table.period) for start in starts]

    def _series(self, line: GroupLine) -> Series:
        group = None if line.key is None else dict(zip(self.query.group_by, line.key, strict=True))
        return Series(
            label=line.label,
            group=group,
            values=self._values(line.columns),
            totals=self._totals(
                self.definition.group_totals or [*self.definition.totals, *self._more_totals], line.sums
            ),
            other_groups=line.other_groups,
        )

    def _headline(self) -> str:
        return "not reported" if self.is_unreported else self.definition.headline(self)

    def _values(self, columns: Columns) -> dict[str, list[Value]]:
        if self.is_unreported:
            return {measure.name: [None] * len(columns) for measure in self.shown}
        return {measure.name: [measure.of(sums) for sums in columns] for measure in self.shown}

    def _totals(self, measures: Sequence[Measure], sums: Sums) -> dict[str, Value]:
        return {measure.name: None if self.is_unreported else measure.of(sums) for measure in measures}

    def _shortened(self, granularity: Granularity, top: int) -> Iterator[Note]:
        query = self.query
        if granularity != query.granularity:
            shown = "as one total" if granularity == "total" else f"per {granularity}"
            how = f"granularity={query.granularity}, " if query.default_size else ""
            yield Note(
                code="granularity_reduced",
                message=f"Shown {shown} instead of per {query.granularity} to keep the answer short; totals are "
                f"exact. To see each {query.granularity}, use {how}a shorter period, a filter_by or a smaller top.",
            )
        if top < min(query.top or len(self.table.groups), len(self.table.groups)):
            yield Note(
                code="groups_merged",
                message=f"Only the largest {top} of {len(self.table.groups)} groups are shown to keep the answer "
                "short; Other is the exact sum of the rest. To see more groups, use filter_by or a shorter period.",
            )


_HANDFUL = 5
"""So few groups more than by default are shown instead of merged into Other."""


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
    """Run a series report.

    Raises:
        InvalidQueryError: For a query that the report does not accept.
        UpstreamError: If any rows cannot be fetched.
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
    filters = await FilterResolver(context, query.schema, call).resolve(query.filter_by)
    fetched, labels = await gather_pair(
        (definition.fetch or _fetch)(query, days, context, call),
        fetch_labels(context.directory, [*query.group_by, *query.filter_by], call),
    )
    held = fetched.held.within(query.period)
    filters = normalize_values(filters, held)
    # The clock is read after the fetch, so that an hour that began meanwhile has a bucket.
    now = context.now()
    table, group_sums, credited = await run_in_thread_if(
        lambda: _sums(definition, query, filters, held, now), when=held.row_count > OFFLOAD_ROWS
    )
    split: Sequence[Note] = ()
    if definition.keyless_notes and has_keyless_group(query, group_sums):
        split = await definition.keyless_notes(held, query, filters, days, context, call)
    unreported = definition.is_unreported(held, filters)
    return SeriesResult(
        definition=definition,
        query=query,
        filters=filters,
        held=held,
        table=table,
        group_sums=group_sums,
        totals=table.totals(),
        credits=credited,
        is_unreported=unreported,
        labels=labels,
        notes=[
            *replace(fetched, held=held).data_notes(query.period, now),
            *notes.filter_notes({} if unreported else filters, held, labels),
            *notes.label_notes(labels),
            *notes.speed_notes([*query.group_by] if "speed" not in filters else [], filters, held.days),
            *fetched.notes(filters),
            *definition.caveats(held, filters),
            *split,
        ],
        meta=result_meta(context, call, now),
    )


def _sums(
    definition: SeriesDefinition, query: Query, filters: Filters, held: CacheResult, now: datetime
) -> tuple[Table, Mapping[Key, Sums], Mapping[Key, Number]]:
    """The series of each group, its sums over the period with the largest group first, and its credits."""
    table = aggregate(
        held.days,
        query.schema.report,
        query.period,
        query.granularity,
        now,
        query.group_by,
        filters,
        extra_measures=definition.extra_measures,
    )
    group_sums = {key: add_up(table.groups[key]) for key in table.ranked(definition.sort_key)}
    has_credits = definition.has_credits and query.group_by
    credited = credits_by_group(held, query.period, now, query.group_by, filters) if has_credits else {}
    return table, group_sums, credited


async def _fetch(query: Query, days: Period, context: ReportContext, call: CallContext) -> Fetched:
    """The rows of the report."""
    return Fetched(await context.cache.days(query.schema.report, query.views, query.width, days, call))
