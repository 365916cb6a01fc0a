"""Days on which a group's spend deviates from its own weekday baseline.

The baseline of a day is the median of the same weekday over the last eight weeks, scaled to the level of the last
three. A day is an anomaly when it deviates from its baseline by at least the requested minimum, by 35% and by 4.3
standard deviations of the group's noise. It is not one when three of the last eight weeks had a similar deviation:
then it is recurring. Only earlier days enter a baseline, so a detected anomaly stays the same when more days follow.

Consecutive anomalous days form one streak. A streak that lasts into the same weekday of the next week is a level
shift: it is reported once, and the baseline moves to the new level. Slow growth and small price changes move the
baseline without being reported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from math import sqrt
from statistics import NormalDist, median
from typing import Literal

from usage_cost_mcp.model.money import exact
from usage_cost_mcp.model.rows import Key

AnomalyStatus = Literal["resolved", "ongoing", "level_shift"]
"""Ended before the last known day; reaches the last known day; lasted into the next week and became the baseline."""

MAX_WEEKS = 8
"""Weeks in a weekday median. A median of eight follows a new level within a month and resists three outliers."""

MIN_WEEKS = 3
"""Weeks of history that a day needs: a median of three resists one outlier. Also the weeks that set the level."""

HISTORY_DAYS = MAX_WEEKS * 7
"""Days before the first evaluated one that give it a full baseline."""

MIN_MINIMUM = Decimal(10)
"""Dollars. The smallest default minimum."""

MINIMUM_SHARE = Decimal("0.01")
"""The default minimum as a share of the average daily spend of all groups."""

_WEEK = 7

_MIN_DEVIATION = 0.35
"""Share of the baseline. More than the usual variation of a steady service, far less than a typical incident."""

_MIN_SIGMAS = 4.3
"""Standard deviations of noise. With normal noise of 10%, a group has one false positive in 25 years."""

_NOISE_QUANTILE = 0.8
"""The quantile of the absolute residuals that estimates noise: robust, and with a standard error that is a quarter
smaller than that of the median absolute deviation."""

_NOISE_QUANTILE_SIGMAS = NormalDist().inv_cdf((1 + _NOISE_QUANTILE) / 2)
"""That quantile for normal noise, in standard deviations."""

_RECURRING_WEEKS = 3
"""Weeks with a similar deviation that make it recurring. Two may be two incidents."""

_SIMILAR_RATIO = 0.5
"""A deviation is similar to another when its score is at least this share of the other's, in the same direction."""

_CONTINUATION_SCORE = 0.5
"""The score that continues a streak. A streak starts at 1."""

_MAX_GAP = 2
"""Days below the continuation score that do not end a streak: a weekend with little spend."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A streak of days on which a group deviates from its baseline in one direction.

    Attributes:
        key: The group.
        days: The anomalous days in ascending order; of a level shift, only those among its first eight days.
        actual: Exact dollars spent on these days.
        expected: Dollars of their baselines, in whole cents.
        status: Resolved, ongoing or a lasting level shift.
    """

    key: Key
    days: tuple[date, ...]
    actual: Decimal
    expected: Decimal
    status: AnomalyStatus

    @property
    def excess(self) -> Decimal:
        """Dollars above the expected amount; negative below it."""
        with exact():
            return self.actual - self.expected


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """The anomalies, and the days without enough history to detect any.

    Attributes:
        anomalies: In descending order of absolute excess.
        insufficient_history: By group, the days that have less than three weeks of history.
    """

    anomalies: Sequence[Anomaly]
    insufficient_history: Mapping[Key, Sequence[date]]


def default_minimum(groups: Mapping[Key, Sequence[Decimal]]) -> Decimal:
    """1% of the average daily spend of all groups together in whole dollars, at least $10."""
    days = max(map(len, groups.values()), default=0) or 1
    average = sum((sum(amounts, Decimal()) for amounts in groups.values()), Decimal()) / days
    return max(MIN_MINIMUM, round(average * MINIMUM_SHARE, 0))


def find_anomalies(
    groups: Mapping[Key, Sequence[Decimal]], first: date, evaluate_from: date, minimum: Decimal
) -> DetectionResult:
    """Compare every group with its own history.

    Args:
        groups: Dollars of every group for the same complete, consecutive UTC days, zeros included.
        first: The day of the first amount.
        evaluate_from: The first day to evaluate. Earlier days are history, ideally `HISTORY_DAYS` of them. A streak
            that starts in the history is included when it reaches the evaluated days.
        minimum: Dollars, positive: the smallest deviation of an anomaly.
    """
    days = [first + timedelta(days=n) for n in range(max(map(len, groups.values()), default=0))]
    begin = (evaluate_from - first).days
    anomalies: list[Anomaly] = []
    insufficient_history: dict[Key, Sequence[date]] = {}
    for key, amounts in groups.items():
        streaks, skipped = _detect([float(amount) for amount in amounts], float(minimum))
        anomalies += [_anomaly(key, streak, days, amounts) for streak in streaks if streak.days[-1] >= begin]
        if too_new := [days[day] for day in skipped if day >= begin]:
            insufficient_history[key] = too_new
    return DetectionResult(sorted(anomalies, key=lambda each: -abs(each.excess)), insufficient_history)


@dataclass(frozen=True, slots=True)
class _Streak:
    """An anomaly whose days are indices into the spend of its group."""

    days: Sequence[int]
    expected: Sequence[float]
    status: AnomalyStatus


def _anomaly(key: Key, streak: _Streak, days: Sequence[date], amounts: Sequence[Decimal]) -> Anomaly:
    with exact():
        actual = sum((amounts[day] for day in streak.days), Decimal())
    expected = Decimal(f"{sum(streak.expected):.2f}")
    return Anomaly(key, tuple(days[day] for day in streak.days), actual, expected, streak.status)


def _detect(spend: list[float], minimum: float) -> tuple[list[_Streak], list[int]]:
    """The streaks of anomalous days, and the days with too little history."""
    streaks: list[_Streak] = []
    too_new: list[int] = []
    in_streak: set[int] = set()
    day = since = 0
    while day < len(spend):
        if day - since < MIN_WEEKS * _WEEK:
            too_new.append(day)
        elif day not in in_streak and (baseline := _Baseline(spend, since, day, minimum)).is_anomalous():
            streak = baseline.streak()
            streaks.append(streak)
            in_streak.update(streak.days)
            if streak.status == "level_shift":
                spend, since = _rescale_history(spend, since, streak)
                day = streak.days[-1]
        day += 1
    return streaks, too_new


def _rescale_history(spend: list[float], since: int, streak: _Streak) -> tuple[list[float], int]:
    """The spend with the days before a level shift scaled to the new level, and the start of its history.

    With a baseline of zero there is nothing to scale: the history starts anew with the streak.
    """
    start = streak.days[0]
    if not all(streak.expected):
        return spend, start
    factor = median(spend[day] / expected for day, expected in zip(streak.days, streak.expected, strict=True))
    return [amount * factor for amount in spend[:start]] + spend[start:], since


class _Baseline:
    """The expected spend of each weekday as of a day, from the weeks before it.

    Indices that are equal modulo 7 are the same weekday.
    """

    def __init__(self, spend: Sequence[float], since: int, day: int, minimum: float) -> None:
        self._spend = spend
        self._day = day
        self._minimum = minimum
        self._history = range(max(since, day - HISTORY_DAYS), day)
        self._weekdays = self._scale_to_level(self._weekday_medians(), range(day - MIN_WEEKS * _WEEK, day))
        self._largest = max(map(abs, self._weekdays))
        self._noise_by_volume: dict[bool, float] = {}

    def _weekday_medians(self) -> list[float]:
        start = self._history.start
        return [median(self._spend[start + (n - start) % _WEEK : self._day : _WEEK]) for n in range(_WEEK)]

    def _scale_to_level(self, medians: Sequence[float], recent: range) -> list[float]:
        """The weekday medians times the median ratio of recent spend to them."""
        ratios = [self._spend[day] / weekday for day in recent if (weekday := medians[day % _WEEK])]
        level = median(ratios) if ratios else 1.0
        return [level * weekday for weekday in medians]

    def is_anomalous(self) -> bool:
        """Whether the day deviates enough, and the deviation is not recurring."""
        expected = self._expected(self._day)
        if abs(self._spend[self._day] - expected) < max(self._minimum, _MIN_DEVIATION * abs(expected)):
            return False  # Decides nearly every day without the cost of estimating the noise.
        score = self._score(self._day)
        return abs(score) >= 1 and not self._is_recurring(score)

    def _is_recurring(self, score: float) -> bool:
        similar = [day for day in self._history if self._score(day) / score >= _SIMILAR_RATIO]
        return len({(self._day - 1 - day) // _WEEK for day in similar}) >= _RECURRING_WEEKS

    def streak(self) -> _Streak:
        """The anomalous day, and the days of the following week that deviate in the same direction."""
        week_later = self._day + _WEEK
        sign = self._score(self._day)
        days = [self._day]
        for day in range(self._day + 1, min(week_later + 1, len(self._spend))):
            if day - days[-1] > _MAX_GAP + 1:
                break
            score = self._score(day)
            if abs(score) >= _CONTINUATION_SCORE and score * sign > 0:
                days.append(day)
        return _Streak(days, [self._expected(day) for day in days], self._status(days[-1]))

    def _status(self, last: int) -> AnomalyStatus:
        if last == self._day + _WEEK:
            return "level_shift"
        return "ongoing" if last == len(self._spend) - 1 else "resolved"

    def _expected(self, day: int) -> float:
        return self._weekdays[day % _WEEK]

    def _score(self, day: int) -> float:
        """The deviation over its threshold: max(minimum, max(35%, 4.3 standard deviations) of the baseline)."""
        expected = self._expected(day)
        share = max(_MIN_DEVIATION, _MIN_SIGMAS * self._noise(day))
        return (self._spend[day] - expected) / max(self._minimum, share * abs(expected))

    def _noise(self, day: int) -> float:
        """The standard deviation of the residuals of days of similar volume, as a share of the baseline.

        Weekends with less than half the spend of the largest weekday thus have their own noise.
        """
        high = self._is_high_volume(day)
        if high not in self._noise_by_volume:
            peers = [each for each in self._history if self._expected(each) and self._is_high_volume(each) is high]
            self._noise_by_volume[high] = self._estimate_noise(peers) if peers else 0.0
        return self._noise_by_volume[high]

    def _estimate_noise(self, days: Sequence[int]) -> float:
        residuals = sorted(abs(self._spend[day] / self._expected(day) - 1) for day in days)
        sigma = residuals[int(_NOISE_QUANTILE * len(days))] / _NOISE_QUANTILE_SIGMAS
        # The baseline was fitted to these days: with p parameters and n days, their variance is (n - p) / n of the
        # noise, and that of a new day is (n + p) / n. The parameters are the weekday medians and the level.
        fitted = len({day % _WEEK for day in days}) + 1
        return sigma * sqrt((len(days) + fitted) / (len(days) - fitted))

    def _is_high_volume(self, day: int) -> bool:
        return 2 * abs(self._expected(day)) >= self._largest
