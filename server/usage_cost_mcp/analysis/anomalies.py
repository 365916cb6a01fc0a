"""Days on which a group's spend is out of line with its own weekday pattern.

What a day should cost is the median of the same weekdays of the last eight weeks, moved to the level of the last three.
A day is odd when it is away from that by the asked minimum, by 35% and by more than the group's noise, except
when three of those weeks saw the like: then it is a habit. A day is measured by earlier days only, so what was found
stays found when more days follow.

Odd days in a row are one finding. What still lasts on the same weekday of the next week is no accident: it is told
once, as a new level, and is what is usual from then on. Slow growth and small price changes become usual unnoticed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from math import sqrt
from statistics import NormalDist
from typing import Literal

from usage_cost_mcp.model.money import exact
from usage_cost_mcp.model.rows import Key

AnomalyStatus = Literal["resolved", "ongoing", "level_shift"]
"""Back to usual; still away on the last day that is known; away for more than a week, and usual from then on."""

MAX_WEEKS = 8
"""A median of eight weekdays forgets an old level within a month and is not moved by three odd days."""

MIN_WEEKS = 3
"""The fewest weekdays whose median is not the odd one among them; also how far back the level is read."""

HISTORY_DAYS = MAX_WEEKS * 7
"""How many days before the first judged one make the judgement as good as it gets."""

MIN_MINIMUM = Decimal(10)
"""Dollars that nobody looks into."""

MINIMUM_SHARE = Decimal("0.01")
"""Of what a day costs in all: what is less than this moves no budget."""

_WEEK = 7

_MIN_CHANGE = 0.35
"""Of what is usual: more than a steady service does by itself, far less than an accident does."""

_DEVIATIONS = 4.3
"""How far beyond its noise a day is odd: at normal noise of 10% a group has one false finding in 25 years."""

_CALM_SHARE = 0.8
"""Noise is what four days in five stay within: robust enough, and a quarter more precise than the median deviation."""

_CALM_DEVIATIONS = NormalDist().inv_cdf((1 + _CALM_SHARE) / 2)
"""Standard deviations within which normal noise has that share of the days."""

_HABIT_WEEKS = 3
"""In how many of the last weeks the like makes a habit; twice may be two accidents."""

_ALIKE = 0.5
"""The part of a departure that another one needs to be its like."""

_STILL_AWAY = 0.5
"""The part of an odd departure that the days after it need to belong to it: less proof than the first."""

_MAX_PAUSE = 2
"""Days within a finding that may look usual: a weekend on which hardly anything is spent."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Days of one group that are out of line in the same direction.

    Attributes:
        key: The group.
        days: The odd days, oldest first; of a new level those among its first eight.
        actual: What these days cost, exactly.
        expected: What they would usually have cost, to the cent.
        status: Resolved, ongoing or a lasting level shift.
    """

    key: Key
    days: tuple[date, ...]
    actual: Decimal
    expected: Decimal
    status: AnomalyStatus

    @property
    def excess(self) -> Decimal:
        """Dollars above what was expected, negative below."""
        with exact():
            return self.actual - self.expected


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """What was found, and what could not be judged.

    Attributes:
        anomalies: The largest excess first, up or down.
        unjudged: By group the days that have less than three weeks of history: the data, or the group, is too new.
    """

    anomalies: Sequence[Anomaly]
    insufficient_history: Mapping[Key, Sequence[date]]


def default_minimum(groups: Mapping[Key, Sequence[Decimal]]) -> Decimal:
    """The departure that is worth a look: 1% of what all groups together cost on an average day, at least $10."""
    days = max(map(len, groups.values()), default=0) or 1
    average = sum((sum(amounts, Decimal()) for amounts in groups.values()), Decimal()) / days
    return max(MIN_MINIMUM, round(average * MINIMUM_SHARE, 0))


def find_anomalies(
    groups: Mapping[Key, Sequence[Decimal]], first: date, evaluate_from: date, minimum: Decimal
) -> DetectionResult:
    """Judge every group by its own past.

    Args:
        groups: Dollars of every group for the same complete UTC days, one after the other, zeros included.
        first: The day of the first amount.
        evaluate_from: The first day to judge. Earlier ones are history, best `HISTORY_DAYS` of them; a finding that
            began there is told when it reaches into the judged days.
        minimum: Dollars, more than zero, by which a day must depart.
    """
    days = [first + timedelta(days=n) for n in range(max(map(len, groups.values()), default=0))]
    begin = (evaluate_from - first).days
    anomalies: list[Anomaly] = []
    unjudged: dict[Key, Sequence[date]] = {}
    for key, amounts in groups.items():
        runs, skipped = _scan([float(amount) for amount in amounts], float(minimum))
        anomalies += [_anomaly(key, run, days, amounts) for run in runs if run.days[-1] >= begin]
        if too_new := [days[day] for day in skipped if day >= begin]:
            unjudged[key] = too_new
    return DetectionResult(sorted(anomalies, key=lambda each: -abs(each.excess)), unjudged)


@dataclass(frozen=True, slots=True)
class _Streak:
    """An anomaly in terms of places in a list."""

    days: Sequence[int]
    expected: Sequence[float]
    status: AnomalyStatus


def _anomaly(key: Key, run: _Streak, days: Sequence[date], amounts: Sequence[Decimal]) -> Anomaly:
    with exact():
        actual = sum((amounts[day] for day in run.days), Decimal())
    expected = Decimal(f"{sum(run.expected):.2f}")
    return Anomaly(key, tuple(days[day] for day in run.days), actual, expected, run.status)


def _scan(spend: list[float], minimum: float) -> tuple[list[_Streak], list[int]]:
    """Day by day: the runs of odd days, and the days that have too little history."""
    runs: list[_Streak] = []
    too_new: list[int] = []
    told: set[int] = set()
    day = since = 0
    while day < len(spend):
        if day - since < MIN_WEEKS * _WEEK:
            too_new.append(day)
        elif day not in told and (pattern := _Pattern(spend, since, day, minimum)).is_odd():
            run = pattern.run()
            runs.append(run)
            told.update(run.days)
            if run.status == "level_shift":
                spend, since = _at_new_level(spend, since, run)
                day = run.days[-1]
        day += 1
    return runs, too_new


def _at_new_level(spend: list[float], since: int, run: _Streak) -> tuple[list[float], int]:
    """The past as if it had been on the new level. What was nothing has no pattern to keep and starts anew."""
    start = run.days[0]
    if not all(run.expected):
        return spend, start
    change = _median([spend[day] / expected for day, expected in zip(run.days, run.expected, strict=True)])
    return [amount * change for amount in spend[:start]] + spend[start:], since


class _Pattern:
    """What is usual as of a day, by the weeks before it. Places that are equal modulo 7 are the same weekday."""

    def __init__(self, spend: Sequence[float], since: int, day: int, minimum: float) -> None:
        self._spend = spend
        self._day = day
        self._minimum = minimum
        self._past = range(max(since, day - HISTORY_DAYS), day)
        self._weekdays = self._at_level_of(range(day - MIN_WEEKS * _WEEK, day), self._medians())
        self._busiest = max(map(abs, self._weekdays))
        self._noises: dict[bool, float] = {}

    def _medians(self) -> list[float]:
        start = self._past.start
        return [_median(self._spend[start + (n - start) % _WEEK : self._day : _WEEK]) for n in range(_WEEK)]

    def _at_level_of(self, recent: range, weekdays: Sequence[float]) -> list[float]:
        shares = [self._spend[day] / usual for day in recent if (usual := weekdays[day % _WEEK])]
        level = _median(shares) if shares else 1.0
        return [level * usual for usual in weekdays]

    def is_odd(self) -> bool:
        """Whether the day is too far from what is usual, and that is no habit."""
        usual = self._usual(self._day)
        if abs(self._spend[self._day] - usual) < max(self._minimum, _MIN_CHANGE * abs(usual)):
            return False  # as nearly always, and long before the noise is known
        departure = self._departure(self._day)
        return abs(departure) >= 1 and not self._is_habit(departure)

    def _is_habit(self, departure: float) -> bool:
        like = [day for day in self._past if self._departure(day) / departure >= _ALIKE]
        return len({(self._day - 1 - day) // _WEEK for day in like}) >= _HABIT_WEEKS

    def run(self) -> _Streak:
        """The odd day, and those of the week after it that stay away in the same direction."""
        week_later = self._day + _WEEK
        sign = self._departure(self._day)
        days = [self._day]
        for day in range(self._day + 1, min(week_later + 1, len(self._spend))):
            if day - days[-1] > _MAX_PAUSE + 1:
                break
            departure = self._departure(day)
            if abs(departure) >= _STILL_AWAY and departure * sign > 0:
                days.append(day)
        return _Streak(days, [self._usual(day) for day in days], self._status(days[-1]))

    def _status(self, last: int) -> AnomalyStatus:
        if last == self._day + _WEEK:
            return "level_shift"
        return "ongoing" if last == len(self._spend) - 1 else "resolved"

    def _usual(self, day: int) -> float:
        return self._weekdays[day % _WEEK]

    def _departure(self, day: int) -> float:
        """How far a day is from what is usual: odd begins at 1 and -1."""
        usual = self._usual(day)
        share = max(_MIN_CHANGE, _DEVIATIONS * self._noise(day))
        return (self._spend[day] - usual) / max(self._minimum, share * abs(usual))

    def _noise(self, day: int) -> float:
        """The standard deviation of days as busy as this one, as a share of what is usual: weekends have their own."""
        busy = self._is_busy(day)
        if busy not in self._noises:
            peers = [each for each in self._past if self._usual(each) and self._is_busy(each) is busy]
            self._noises[busy] = self._noise_of(peers) if peers else 0.0
        return self._noises[busy]

    def _noise_of(self, days: Sequence[int]) -> float:
        shares = sorted(abs(self._spend[day] / self._usual(day) - 1) for day in days)
        calm = shares[int(_CALM_SHARE * len(days))] / _CALM_DEVIATIONS
        # The medians and the level come from the same days, so these look closer to them than a new day will be.
        fitted = len({day % _WEEK for day in days}) + 1
        return calm * sqrt((len(days) + fitted) / (len(days) - fitted))

    def _is_busy(self, day: int) -> bool:
        return 2 * abs(self._usual(day)) >= self._busiest


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
