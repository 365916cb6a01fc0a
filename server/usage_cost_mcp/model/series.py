"""Aggregates rows into aligned series: filtered, grouped, per bucket, and rolled up into coarser buckets.

Everything here is a sum, so a roll-up of a roll-up is exact. Ratios are computed from sums, later and elsewhere.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from .buckets import bucket_end, bucket_starts
from .dimensions import Filters
from .money import exact
from .periods import Granularity, Period, midnight
from .rows import DayRows, Key, Number, Row, Sums, alignment, all_names
from .upstream_reports import UpstreamReport

Columns = list[Sums]
"""One tuple of sums per bucket."""


@dataclass(frozen=True, slots=True)
class Table:
    """The sums of each group in each bucket; zero where a group has no rows.

    Attributes:
        more_inputs: Names of the counts that the sums have after the known measures, as in `DayRows`.
    """

    period: Period
    granularity: Granularity
    starts: Sequence[datetime]
    zero: Sums
    groups: dict[Key, Columns]
    more_inputs: tuple[str, ...] = ()

    @property
    def zeros(self) -> Columns:
        """The series of a group without rows."""
        return [self.zero] * len(self.starts)

    def bucket_totals(self) -> Columns:
        """The sums of each bucket over all groups."""
        return add_columns(self.groups.values(), self.zeros)

    def totals(self) -> Sums:
        """The sums over all groups and buckets."""
        return add_up(self.bucket_totals())

    def at_granularity(self, granularity: Granularity) -> "Table":
        """The same sums in buckets of a coarser granularity, one of `granularities_from`."""
        if granularity == self.granularity:
            return self
        # A week may start before the period: the bucket of its first day then lies before the period, too.
        inside = [max(start, self.period.begins) for start in self.starts]
        starts = bucket_starts(self.period, granularity, inside[-1])
        target = [_bucket_index(starts, start) for start in inside]
        return Table(
            self.period,
            granularity,
            starts,
            self.zero,
            {key: self._gather(columns, target, len(starts)) for key, columns in self.groups.items()},
            self.more_inputs,
        )

    def _gather(self, columns: Columns, target: Sequence[int], size: int) -> Columns:
        gathered = [self.zero] * size
        with exact():
            for place, sums in zip(target, columns, strict=True):
                gathered[place] = _sum([gathered[place], sums])
        return gathered

    def partial(self, now: datetime) -> list[datetime]:
        """The starts of the buckets that have not ended, or that are only partly in the period."""
        complete_until = min(now, self.period.ends)
        return [
            start
            for start in self.starts
            if start < self.period.begins or bucket_end(start, self.granularity, self.period) > complete_until
        ]

    def ranked(self, sort_key: Callable[[Sums], Number]) -> list[Key]:
        """The groups in descending order of magnitude: a large credit matters as much as a large cost."""
        with exact():
            sizes = {key: -abs(sort_key(add_up(columns))) for key, columns in self.groups.items()}
        return sorted(sizes, key=lambda key: (sizes[key], [(value is not None, value or "") for value in key]))


def aggregate(
    days: Iterable[DayRows],
    report: UpstreamReport,
    period: Period,
    granularity: Granularity,
    now: datetime,
    group_by: Sequence[str] = (),
    filters: Filters | None = None,
    extra_measures: Sequence[str] = (),
    defaults: Mapping[str, str | None] = MappingProxyType({}),
) -> Table:
    """Sum the rows of some days, all of which lie in the period, by group and bucket.

    Args:
        days: Possibly of different views, each of which has the dimensions of `group_by` and `filters`, except those
            of `defaults`.
        report: The report of the rows.
        period: The period of the result.
        granularity: The size of its buckets.
        now: Buckets that start later are left out.
        group_by: Without it there is exactly one group, `()`, even if there is no row.
        filters: Rows with other values are left out.
        extra_measures: Measures that the rows have after those of the report, and before any `more_inputs`.
        defaults: The value of a dimension in the rows of days that do not have the dimension.
    """
    starts = bucket_starts(period, granularity, now)
    days = list(days)
    more_inputs = all_names(day.more_inputs for day in days)
    known = len(report.measures) + len(extra_measures)
    zero: Sums = (0,) * (known + len(more_inputs))
    groups: dict[Key, Columns] = {} if group_by else {(): [zero] * len(starts)}
    grouping = _Grouping(group_by, filters or {}, defaults)
    with exact():
        for day in days:
            group_of = grouping[day.dimensions]
            aligned = alignment(day.more_inputs, more_inputs, known)
            for minute, rows in day.rows.items():
                moment = midnight(day.day) + timedelta(minutes=minute)
                bucket = _bucket_index(starts, moment)
                for group, many in _gather_rows(rows, group_of).items():
                    columns = groups.setdefault(group, [])
                    if not columns:
                        columns += [zero] * len(starts)
                    columns[bucket] = _sum([columns[bucket], *map(aligned, many)])
    return Table(period, granularity, starts, zero, groups, more_inputs)


def _bucket_index(starts: Sequence[datetime], moment: datetime) -> int:
    """The index of the bucket that contains a moment."""
    return bisect(starts, moment) - 1


class _GroupOf(dict[Key, Key | None]):
    """The group of a key, None if a filter excludes it; computed once per distinct key: most occur every day."""

    def __init__(
        self,
        dimensions: Sequence[str],
        group_by: Sequence[str],
        filters: Filters,
        defaults: Mapping[str, str | None],
    ) -> None:
        super().__init__()
        absent = {dimension: value for dimension, value in defaults.items() if dimension not in dimensions}
        columns = [*dimensions, *absent]
        self._absent = tuple(absent.values())
        self._places = [columns.index(dimension) for dimension in group_by]
        self._tests = [(columns.index(dimension), values) for dimension, values in filters.items()]

    def __missing__(self, key: Key) -> Key | None:
        whole = key + self._absent
        kept = all(whole[place] in values for place, values in self._tests)
        group = self[key] = tuple(whole[place] for place in self._places) if kept else None
        return group


class _Grouping(dict[tuple[str, ...], _GroupOf]):
    """The groups of keys, by the dimensions of the keys: days may be of different views."""

    def __init__(self, group_by: Sequence[str], filters: Filters, defaults: Mapping[str, str | None]) -> None:
        super().__init__()
        self._group_by = group_by
        self._filters = filters
        self._defaults = defaults

    def __missing__(self, dimensions: tuple[str, ...]) -> _GroupOf:
        group_of = self[dimensions] = _GroupOf(dimensions, self._group_by, self._filters, self._defaults)
        return group_of


def _gather_rows(rows: Iterable[Row], group_of: _GroupOf) -> dict[Key, list[Sums]]:
    """The sums of each row, by group."""
    gathered: defaultdict[Key | None, list[Sums]] = defaultdict(list)
    for key, sums in rows:
        gathered[group_of[key]].append(sums)
    return {group: many for group, many in gathered.items() if group is not None}


def add_up(columns: Columns) -> Sums:
    """The sums over all buckets; `columns` must not be empty."""
    with exact():
        return _sum(columns)


def add_columns(many: Iterable[Columns], zeros: Columns) -> Columns:
    """The sum of several series, bucket by bucket."""
    with exact():
        return [_sum(bucket) for bucket in zip(zeros, *many, strict=True)]


def matching(days: Iterable[DayRows], filters: Filters) -> Iterator[Sums]:
    """The sums of every row that passes the filters."""
    grouping = _Grouping((), filters, {})
    for day in days:
        group_of = grouping[day.dimensions]
        for rows in day.rows.values():
            yield from (sums for key, sums in rows if group_of[key] is not None)


def values_of(days: Iterable[DayRows], dimension: str) -> set[str | None]:
    """The values of a dimension that occur in the rows."""
    return {key[day.dimensions.index(dimension)] for day in days for rows in day.rows.values() for key, _ in rows}


def _sum(many: Sequence[Sums]) -> Sums:
    return tuple(map(sum, zip(*many, strict=True)))
