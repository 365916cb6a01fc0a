"""What the numbers of working days explain of the difference between two periods."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from statistics import median

SATURDAY = 5


@dataclass(frozen=True, slots=True)
class WorkingDays:
    """The working days, Monday to Friday, of two periods.

    Attributes:
        days: Working days and all days of the current period.
        previous_days: Working days and all days of the previous one.
        premium: How much more a working day cost than a day of a weekend: medians of the previous period. None if it
            lacks either.
    """

    days: tuple[int, int]
    previous_days: tuple[int, int]
    premium: Decimal | None

    @property
    def effect(self) -> Decimal | None:
        """Dollars, compared with the previous period as if it had the length of the current one."""
        (working, days), (previous_working, previous_days) = self.days, self.previous_days
        if self.premium is None:
            return None
        return self.premium * (working * previous_days - previous_working * days) / previous_days

    def is_material(self, change: Decimal) -> bool:
        """Whether they explain much of a change; where no premium is known, whether they could explain any of it."""
        if self.effect is not None:
            return abs(self.effect) * _MATERIAL >= abs(change) and self.effect != 0
        (working, days), (previous_working, previous_days) = self.days, self.previous_days
        return change != 0 and working * previous_days != previous_working * days


_MATERIAL = 4
"""An effect is worth a mention from a quarter of the change on."""
_LEAST_PREMIUM = 10
"""Days differ from those of a weekend if a tenth or more of the dearer ones lies between them."""


def working_days(current: Sequence[date], previous: Sequence[date], costs: Sequence[Decimal]) -> WorkingDays:
    """The working days of two periods; `costs` are those of the days of the previous period."""
    by_kind: tuple[list[Decimal], list[Decimal]] = [], []
    for day, cost in zip(previous, costs, strict=True):
        by_kind[_is_working(day)].append(cost)
    weekend, working = (median(kind) if kind else None for kind in by_kind)
    premium = None if weekend is None or working is None else working - weekend
    if premium is not None and abs(premium) * _LEAST_PREMIUM < max(abs(weekend or 0), abs(working or 0)):
        premium = Decimal(0)
    return WorkingDays(_counts(current), _counts(previous), premium)


def _counts(days: Sequence[date]) -> tuple[int, int]:
    return sum(map(_is_working, days)), len(days)


def _is_working(day: date) -> bool:
    return day.weekday() < SATURDAY
