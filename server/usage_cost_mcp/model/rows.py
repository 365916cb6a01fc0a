"""The rows of one UTC day of a report, in the compact form in which they are cached.

A row pairs a key, the values of the view's dimensions (null as None), with its sums, one for each measure of the
report: money as a Decimal in dollars, counts as an int. Counts of input that the report did not have when this was
written follow, in days that have any.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from .dimensions import WORKSPACE
from .periods import midnight

Key = tuple[str | None, ...]
Number = int | Decimal
Sums = tuple[Number, ...]
Row = tuple[Key, Sums]
Values = frozenset[str | None]
Workspaces = frozenset[str | None]
"""Workspace ids; None is the default workspace, which also has the cost without a workspace."""

_MAX_FILTERED = 8
"""How many filtered copies of a day are cached: one for each set of workspaces that principals share."""


@dataclass(frozen=True, slots=True)
class DayRows:
    """The rows of one day in one view.

    Attributes:
        day: The UTC day.
        dimensions: The dimensions of each key, in order.
        rows: Rows by the minute of the day at which their bucket starts; a day bucket starts at 0.
        fetched_at: When they were read from upstream.
        reported: False if upstream omitted the day, or a bucket of it, instead of sending it empty.
        revised: The time of an earlier fetch after the end of the day that returned different rows; None if there
            was none.
        revised_in: The workspaces whose rows changed; empty if the view has no workspaces.
        more_inputs: Names of counts of input tokens that the sums have after the measures of the report: cache writes
            of a kind that is not documented.
    """

    day: date
    dimensions: tuple[str, ...]
    rows: Mapping[int, Sequence[Row]]
    fetched_at: datetime
    reported: bool
    revised: datetime | None = None
    revised_in: Values = frozenset()
    more_inputs: tuple[str, ...] = ()
    # Mutable, but only a cache: scoped principals share it, and filtering 90 days of 3,000 rows takes 30 ms in each
    # call without it. Outside the day, a cache would have to learn when days are dropped.
    _filtered_views: dict[tuple[str, Values], "DayRows"] = field(
        default_factory=dict[tuple[str, Values], "DayRows"], init=False, repr=False, compare=False
    )

    def __len__(self) -> int:
        """The number of rows, over all buckets."""
        return sum(map(len, self.rows.values()))

    def clipped(self, start: datetime, end: datetime) -> "DayRows":
        """The day without the buckets that start outside [start, end)."""
        begin = midnight(self.day)
        if start <= begin and begin + timedelta(days=1) <= end:
            return self
        kept = {minute: rows for minute, rows in self.rows.items() if start <= begin + timedelta(minutes=minute) < end}
        return replace(self, rows=kept)

    def filtered(self, dimension: str, values: Values) -> "DayRows":
        """The day with only the rows of some values of a dimension, as if there were no others; cached."""
        cached = self._filtered_views.get((dimension, values))
        if cached is None:
            if len(self._filtered_views) >= _MAX_FILTERED:
                self._filtered_views.clear()
            cached = self._filtered_views[dimension, values] = self._filter(dimension, values)
        return cached

    def _filter(self, dimension: str, values: Values) -> "DayRows":
        place = self.dimensions.index(dimension)
        revised_in = self.revised_in & values if dimension == WORKSPACE else frozenset[str | None]()
        return replace(
            self,
            rows={minute: [row for row in rows if row[0][place] in values] for minute, rows in self.rows.items()},
            revised=self.revised if revised_in else None,
            revised_in=revised_in,
        )

    def marked_if_revised(self, earlier: "DayRows") -> "DayRows":
        """Marked as revised if its rows differ, ignoring order, from those of an earlier fetch."""
        changed = {key for minute in self.rows.keys() | earlier.rows.keys() for key in self._changed(earlier, minute)}
        if not changed:
            return self
        places = [place for place, dimension in enumerate(self.dimensions) if dimension == WORKSPACE]
        workspaces = frozenset(key[place] for key in changed for place in places)
        return replace(self, revised=earlier.fetched_at, revised_in=workspaces)

    def _changed(self, earlier: "DayRows", minute: int) -> set[Key]:
        """The keys of the rows of a bucket that only one of the two days has."""
        current, previous = (Counter(day.rows.get(minute, ())) for day in (self, earlier))
        return set() if current == previous else {key for key, _ in (current - previous) + (previous - current)}


def alignment(names: Sequence[str], wanted: Sequence[str], known: int) -> Callable[[Sums], Sums]:
    """Converts sums that end with some named counts to sums that end with others; a count that is missing is zero.

    Args:
        names: The named counts of the sums.
        wanted: Those of the result.
        known: How many sums come before them.
    """
    if tuple(names) == tuple(wanted):
        return lambda sums: sums
    places = [known + names.index(name) if name in names else None for name in wanted]
    return lambda sums: (*sums[:known], *(0 if place is None else sums[place] for place in places))


def all_names(many: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Every name once, in order."""
    return tuple(sorted({name for names in many for name in names}))
