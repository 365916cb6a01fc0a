"""Rows become aligned series: filtered, grouped, cut into buckets, rolled up, folded into top + Other.

Everything here is a sum, so any roll-up of a roll-up is exact; ratios are made from sums, afterwards, elsewhere.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .buckets import bucket_end, bucket_starts
from .dimensions import Filters
from .money import exact
from .periods import Granularity, Period, midnight
from .rows import DayRows, Key, Number, Row, Sums
from .upstream_reports import UpstreamReport

Columns = list[Sums]
"""One tuple of sums per bucket."""


@dataclass(frozen=True, slots=True)
class Table:
    """Groups by buckets, complete: every group has sums for every bucket, zero where nothing happened."""

    period: Period
    granularity: Granularity
    starts: Sequence[datetime]
    zero: Sums
    groups: dict[Key, Columns]

    @property
    def zeros(self) -> Columns:
        """The series of a group that nothing happened in."""
        return [self.zero] * len(self.starts)

    def bucket_totals(self) -> Columns:
        """The sums of each bucket over all groups."""
        return add_columns(self.groups.values(), self.zeros)

    def totals(self) -> Sums:
        """The sums of everything."""
        return add_up(self.bucket_totals())

    def coarsened(self, granularity: Granularity) -> "Table":
        """The same sums in larger buckets; see `periods.coarser` for which are made of whole ones."""
        if granularity == self.granularity:
            return self
        # A week may start before the period; so does the first bucket that it takes in.
        inside = [max(start, self.period.begins) for start in self.starts]
        starts = bucket_starts(self.period, granularity, inside[-1])
        target = [_place(starts, start) for start in inside]
        return Table(
            self.period,
            granularity,
            starts,
            self.zero,
            {key: self._gather(columns, target, len(starts)) for key, columns in self.groups.items()},
        )

    def _gather(self, columns: Columns, target: Sequence[int], size: int) -> Columns:
        gathered = [self.zero] * size
        with exact():
            for place, sums in zip(target, columns, strict=True):
                gathered[place] = _sum([gathered[place], sums])
        return gathered

    def partial(self, now: datetime) -> list[datetime]:
        """The buckets that have not ended yet."""
        return [start for start in self.starts if bucket_end(start, self.granularity, self.period) > now]

    def ranked(self, rank: Callable[[Sums], Number]) -> list[Key]:
        """The groups from the largest to the smallest; a large credit is as worth seeing as a large cost."""
        with exact():
            sizes = {key: -abs(rank(add_up(columns))) for key, columns in self.groups.items()}
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
) -> Table:
    """Sum the rows of a period by group and bucket; there are no others in the days.

    Days may come from different views, as long as each has the dimensions that are grouped and filtered by.
    Without `group_by` there is exactly one group, `()`, even when there is no row.
    """
    starts = bucket_starts(period, granularity, now)
    zero: Sums = (0,) * (len(report.measures) + len(extra_measures))
    groups: dict[Key, Columns] = {} if group_by else {(): [zero] * len(starts)}
    grouping = _Grouping(group_by, filters or {})
    with exact():
        for day in days:
            group_of = grouping[day.dimensions]
            for minute, rows in day.rows.items():
                moment = midnight(day.day) + timedelta(minutes=minute)
                bucket = _place(starts, moment)
                for group, many in _gather_rows(rows, group_of).items():
                    columns = groups.setdefault(group, [])
                    if not columns:
                        columns += [zero] * len(starts)
                    columns[bucket] = _sum([columns[bucket], *many])
    return Table(period, granularity, starts, zero, groups)


def _place(starts: Sequence[datetime], moment: datetime) -> int:
    """Which of the buckets holds the moment."""
    return bisect(starts, moment) - 1


class _GroupOf(dict[Key, Key | None]):
    """The group of each key, None where a filter leaves it out; worked out once for a key, not for every row."""

    def __init__(self, dimensions: Sequence[str], group_by: Sequence[str], filters: Filters) -> None:
        super().__init__()
        self._places = [dimensions.index(dimension) for dimension in group_by]
        self._tests = [(dimensions.index(dimension), values) for dimension, values in filters.items()]

    def __missing__(self, key: Key) -> Key | None:
        kept = all(key[place] in values for place, values in self._tests)
        group = self[key] = tuple(key[place] for place in self._places) if kept else None
        return group


class _Grouping(dict[tuple[str, ...], _GroupOf]):
    """How keys become groups, by what the keys hold: days may come from different views."""

    def __init__(self, group_by: Sequence[str], filters: Filters) -> None:
        super().__init__()
        self._group_by = group_by
        self._filters = filters

    def __missing__(self, dimensions: tuple[str, ...]) -> _GroupOf:
        group_of = self[dimensions] = _GroupOf(dimensions, self._group_by, self._filters)
        return group_of


def _gather_rows(rows: Iterable[Row], group_of: _GroupOf) -> dict[Key, list[Sums]]:
    """The sums of the rows of each group."""
    gathered: defaultdict[Key | None, list[Sums]] = defaultdict(list)
    for key, sums in rows:
        gathered[group_of[key]].append(sums)
    return {group: many for group, many in gathered.items() if group is not None}


def add_up(columns: Columns) -> Sums:
    """The sums over all buckets, of which there is at least one."""
    with exact():
        return _sum(columns)


def add_columns(many: Iterable[Columns], zeros: Columns) -> Columns:
    """The sum of many series, bucket by bucket."""
    with exact():
        return [_sum(bucket) for bucket in zip(zeros, *many, strict=True)]


def matching(days: Iterable[DayRows], filters: Filters) -> Iterator[Sums]:
    """The sums of every row that passes the filters."""
    grouping = _Grouping((), filters)
    for day in days:
        group_of = grouping[day.dimensions]
        for rows in day.rows.values():
            yield from (sums for key, sums in rows if group_of[key] is not None)


def values_of(days: Iterable[DayRows], dimension: str) -> set[str | None]:
    """Every value of a dimension that occurs."""
    return {key[day.dimensions.index(dimension)] for day in days for rows in day.rows.values() for key, _ in rows}


def _sum(many: Sequence[Sums]) -> Sums:
    return tuple(map(sum, zip(*many, strict=True)))
