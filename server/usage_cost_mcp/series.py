"""Rows become aligned series: filtered, grouped, cut into buckets, rolled up, folded into top + Other.

Everything here is a sum, so any roll-up of a roll-up is exact; ratios are made from sums, afterwards, elsewhere.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import itemgetter

from .dimensions import Filters, Report
from .money import exact
from .periods import Granularity, Period, bucket_end, bucket_start, bucket_starts, midnight
from .rows import DayRows, Key, Number, Sums

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
        inside = [max(start, midnight(self.period.start)) for start in self.starts]
        starts = bucket_starts(self.period, granularity, inside[-1])
        place = {start: n for n, start in enumerate(starts)}
        target = [place[bucket_start(start, granularity, self.period)] for start in inside]
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
                gathered[place] = _plus(gathered[place], sums)
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
    report: Report,
    period: Period,
    granularity: Granularity,
    now: datetime,
    group_by: Sequence[str] = (),
    filters: Filters | None = None,
) -> Table:
    """Sum the rows of a period by group and bucket.

    Days may come from different views, as long as each has the dimensions that are grouped and filtered by.
    Without `group_by` there is exactly one group, `()`, even when there is no row.
    """
    starts = bucket_starts(period, granularity, now)
    place = {start: n for n, start in enumerate(starts)}
    zero: Sums = (0,) * len(report.measures)
    groups: dict[Key, Columns] = {} if group_by else {(): [zero] * len(starts)}
    with exact():
        for day in days:
            key_of = _picker(day.dimensions, group_by)
            kept = _keeper(day.dimensions, filters or {})
            for minute, rows in day.rows.items():
                moment = midnight(day.day) + timedelta(minutes=minute)
                bucket = place[bucket_start(moment, granularity, period)]
                for key, sums in rows:
                    if kept(key):
                        group = key_of(key)
                        columns = groups.get(group)
                        if columns is None:
                            columns = groups[group] = [zero] * len(starts)
                        columns[bucket] = _plus(columns[bucket], sums)
    return Table(period, granularity, starts, zero, groups)


def add_up(columns: Columns) -> Sums:
    """The sums over all buckets, of which there is at least one."""
    with exact():
        return reduce(_plus, columns)


def add_columns(many: Iterable[Columns], zeros: Columns) -> Columns:
    """The sum of many series, bucket by bucket."""
    with exact():
        total = list(zeros)
        for columns in many:
            total = [_plus(left, right) for left, right in zip(total, columns, strict=True)]
        return total


def matching(days: Iterable[DayRows], filters: Filters) -> Iterator[Sums]:
    """The sums of every row that passes the filters."""
    for day in days:
        kept = _keeper(day.dimensions, filters)
        for rows in day.rows.values():
            yield from (sums for key, sums in rows if kept(key))


def values_of(days: Iterable[DayRows], dimension: str) -> set[str | None]:
    """Every value of a dimension that occurs."""
    return {key[day.dimensions.index(dimension)] for day in days for rows in day.rows.values() for key, _ in rows}


def _plus(left: Sums, right: Sums) -> Sums:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def _picker(dimensions: Sequence[str], group_by: Sequence[str]) -> Callable[[Key], Key]:
    """The part of a row's key that names its group."""
    indexes = [dimensions.index(dimension) for dimension in group_by]
    match indexes:
        case []:
            return lambda _: ()
        case [only]:
            return lambda key: (key[only],)
        case _:
            return itemgetter(*indexes)


def _keeper(dimensions: Sequence[str], filters: Filters) -> Callable[[Key], bool]:
    """Whether a row passes every filter."""
    tests = [(dimensions.index(dimension), values) for dimension, values in filters.items()]
    return lambda key: all(key[index] in values for index, values in tests)
