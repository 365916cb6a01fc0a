"""What a report says of one UTC day, in the compact form in which it is kept.

A row pairs a key (the values of the view's dimensions, null as None) with its sums (the report's measures).
Money is in dollars, tokens and requests are integers.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from .periods import midnight

Key = tuple[str | None, ...]
Number = int | Decimal
Sums = tuple[Number, ...]
Row = tuple[Key, Sums]


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
    """

    day: date
    dimensions: tuple[str, ...]
    rows: Mapping[int, Sequence[Row]]
    fetched_at: datetime
    reported: bool
    revised: datetime | None = None

    def __len__(self) -> int:
        """The number of rows."""
        return sum(map(len, self.rows.values()))

    def between(self, start: datetime, end: datetime) -> "DayRows":
        """The day without what happened before the start, or from the end on."""
        first = midnight(self.day)
        if start <= first and first + timedelta(days=1) <= end:
            return self
        kept = {minute: rows for minute, rows in self.rows.items() if start <= first + timedelta(minutes=minute) < end}
        return replace(self, rows=kept)

    def differs_from(self, earlier: "DayRows") -> bool:
        """Whether the rows say something else, in whatever order they came."""
        buckets = self.rows.keys() | earlier.rows.keys()
        return any(Counter(self.rows.get(each, ())) != Counter(earlier.rows.get(each, ())) for each in buckets)
