"""What a report says of one UTC day, in the compact form in which it is kept.

A row pairs a key (the values of the view's dimensions, null as None) with its sums (the report's measures).
Money is in dollars, tokens and requests are integers.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
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
"""Workspace ids; None is the default workspace, to which cost without a workspace belongs."""

_MAX_FILTERED = 8
"""How many cuts of a day are remembered: as many as there are limits that many people share."""


@dataclass(frozen=True, slots=True)
class DayRows:
    """The rows of one day under one view.

    Attributes:
        day: The UTC day.
        dimensions: What each key holds, in order.
        rows: Rows by the minute of the day at which their bucket starts; a day bucket starts at 0.
        fetched_at: When it was read from upstream.
        reported: False when upstream left the day out of its answer, or a bucket of it, instead of sending it empty.
        revised: When it was read before with other rows although it was over, the moment of that reading.
        revised_in: The workspaces whose rows were others; none where the view does not tell workspaces.
    """

    day: date
    dimensions: tuple[str, ...]
    rows: Mapping[int, Sequence[Row]]
    fetched_at: datetime
    reported: bool
    revised: datetime | None = None
    revised_in: Values = frozenset()
    _filtered_views: dict[tuple[str, Values], "DayRows"] = field(
        default_factory=dict[tuple[str, Values], "DayRows"], init=False, repr=False, compare=False
    )

    def __len__(self) -> int:
        """The number of rows."""
        return sum(map(len, self.rows.values()))

    def clipped(self, start: datetime, end: datetime) -> "DayRows":
        """The day without what happened before the start, or from the end on."""
        first = midnight(self.day)
        if start <= first and first + timedelta(days=1) <= end:
            return self
        kept = {minute: rows for minute, rows in self.rows.items() if start <= first + timedelta(minutes=minute) < end}
        return replace(self, rows=kept)

    def filtered(self, dimension: str, values: Values) -> "DayRows":
        """The day without the rows of other values, as if there were none; the same object when asked again."""
        found = self._filtered_views.get((dimension, values))
        if found is None:
            if len(self._filtered_views) >= _MAX_FILTERED:
                self._filtered_views.clear()
            found = self._filtered_views[dimension, values] = self._filter(dimension, values)
        return found

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
        """The day with a remark when it says something else than an earlier reading, whatever the order of its rows."""
        changed = {key for minute in self.rows.keys() | earlier.rows.keys() for key in self._changed(earlier, minute)}
        if not changed:
            return self
        places = [place for place, dimension in enumerate(self.dimensions) if dimension == WORKSPACE]
        workspaces = frozenset(key[place] for key in changed for place in places)
        return replace(self, revised=earlier.fetched_at, revised_in=workspaces)

    def _changed(self, earlier: "DayRows", minute: int) -> set[Key]:
        """The keys of the rows that a bucket of one of the two has and the other has not."""
        ours, theirs = (Counter(day.rows.get(minute, ())) for day in (self, earlier))
        return set() if ours == theirs else {key for key, _ in (ours - theirs) + (theirs - ours)}
