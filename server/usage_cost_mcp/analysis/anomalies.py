"""Days on which a group's spend deviates from its own weekday baseline.

The baseline of a day is the average of the same weekday over the last eight weeks, scaled to the level of the last
three; both averages leave out the outer quarters. Every day, the one, three and seven days that end with it are
compared with the baseline as of the first of them. They are an anomaly when together they deviate by at least the
requested minimum, by 35% and by about 3 standard deviations of noise: one day shows a spike, several show a change
that noise hides in a single one. No spend for more than twice as long as ever before is an anomaly at any noise. With
one to three weeks of history, only a day of more than twice the largest before is one.

A deviation is not an anomaly when it recurs: when three of the last eight weeks, or both of the last two months at
about the same day, had a similar one. In later baselines, the baseline of an anomalous day replaces its spend.

An anomaly ends where the spend returns to the baseline. One that lasts for more than a week, to the last known day or
for three weeks, is a level shift: the baseline moves to the new level. A change by 30% within four weeks that follows
a slope rather than a jump is a drift. Growth at the pace of the weeks before, and smaller changes, move the baseline
without being reported.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from math import copysign, expm1, sqrt
from statistics import NormalDist, fmean, median
from typing import Literal

from usage_cost_mcp.model.money import exact, exact_sum
from usage_cost_mcp.model.rows import Key

AnomalyStatus = Literal["resolved", "ongoing", "level_shift", "drift"]
"""Ended before the last known day; not known to have ended; became the new baseline, at once or gradually."""

MAX_WEEKS = 8
"""Weeks in a weekday average: half of them are left out, so that it resists two outliers."""

BASELINE_DAYS = 7 * MAX_WEEKS
"""Days before the first evaluated one that give it a full baseline."""

MIN_WEEKS = 3
"""Weeks of history that a baseline needs. Also the weeks that set the level."""

HISTORY_DAYS = 62
"""Days before the first evaluated one: a full baseline, and two months, which show a monthly job."""

MIN_MINIMUM, MAX_MINIMUM = Decimal(1), Decimal(1000)
"""Dollars. Bounds of the default minimum: a small organization cares about a few dollars, and in a large one a share
of its spend would hide the end of a whole workspace."""

MINIMUM_SHARE = Decimal("0.01")
"""The default minimum as a share of the average daily spend of all groups."""

SPIKE_FACTOR = 2
"""A day with less than three weeks of history is a spike above this multiple of the largest day before it."""

_WEEK = 7
_MIN_HISTORY = MIN_WEEKS * _WEEK

_MIN_DEVIATION = 0.35
"""Share of the baseline. More than the usual variation of a steady service, far less than a typical incident."""

_WINDOWS = (1, 3, 7)
"""Days that are compared as one: a spike, a short incident, a week."""

_SIGMAS, _SIGMAS_OF_SEVERAL = 3.1, 2.6
"""Standard deviations of noise, of one day and of several. Set with the development seed of `benchmarks/anomalies.py`,
for at most one false anomaly in five workspaces and half a year at normal noise of 15%."""

_UNCERTAINTY = 4.0
"""How much an estimate of noise is raised, over its degrees of freedom: as the tail of Student's t is wider than that
of the normal distribution at 3 standard deviations, and the quantile less efficient than the variance."""

_NOISE_QUANTILE = 0.8
"""The quantile of the absolute residuals that estimates noise: robust, and with a standard error that is a quarter
smaller than that of the median absolute deviation."""

_NOISE_QUANTILE_SIGMAS = NormalDist().inv_cdf((1 + _NOISE_QUANTILE) / 2)
"""That quantile for normal noise, in standard deviations."""

_CENTER_VARIANCE = 1.2
"""The variance of the mean of the inner half of many normal values, in variances of the mean of all."""

_SMALLEST = 0.01
"""Dollars: the smallest threshold, where the baseline is zero."""

_MAX_SKEW = 1.5
"""The largest noise, as a share of the baseline, for which high days lie further out in proportion."""

_RECURRING_WEEKS = 3
"""Weeks with a similar deviation that make it recurring. Two may be two incidents."""

_MONTHS = (30, 61)
"""Days to the same day one month and two months before."""

_MONTH_TOLERANCE = 3
"""Days by which they vary: months have 28 to 31 days, and some jobs wait for the first working day."""

_SIMILAR_EXCESS, _SIMILAR_SCORE = 0.5, 0.7
"""A deviation is similar to another with at least this share of its dollars. If the baselines differ in size or it is
one of many weeks, it must also be close to an anomaly itself: else the noise of large days would excuse a small one."""

_QUIET = 0.05
"""Share of an average day up to which a day counts as without spend."""

_SPORADIC_DEVIATION, _SPORADIC_SHARE = 0.9, 1 / 14
"""Use is sporadic if more days than these deviate by this share of the baseline."""

_MAX_CHANCE = 0.001
"""The chance of so many days without spend in a row, if they came at random as often as before."""

_MAX_STREAK = 21
"""Days after which a deviation counts as the new level, even if it ends later."""

_OUTLIER = 3
"""A day that deviates by more than this multiple of the first week of an anomaly is another one."""

_RETURN_SIGMAS = 2.5
"""Standard deviations of noise below the level of an anomaly that show its end."""

_WEEKEND = 2
"""Days that may have little spend in every week."""

_RETURN_SHARE = 0.75
"""And the share of that level that is missing then."""

_QUIET_SHARE = 0.95
"""The same where the baseline is zero: a weekend with little spend is no end."""

_MIN_DRIFT = 0.3
"""Share of the baseline by which the last week of a drift deviates, beyond the growth of the weeks before."""

_DRIFT_DAYS = 28
"""Days within which a drift takes place."""

_DRIFT_HISTORY = 42
"""Days of history that tell its earlier growth."""

_SLOPE_DAYS = (14, 21, 28)
"""Lengths of a gradual change, which is followed by the new level."""

_MIN_SLOPE_DAYS = 10
"""Days of a gradual change that must be known before it is told from a jump."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Consecutive days on which a group deviates from its baseline in one direction.

    Attributes:
        key: The group.
        start: The first day.
        end: The last day; of a level shift, at most three weeks after the first.
        actual: Exact dollars spent on these days.
        expected: Dollars of their baselines, in whole cents.
        status: Resolved, ongoing, level shift or drift.
    """

    key: Key
    start: date
    end: date
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
    """The anomalies, and the days that could not be evaluated, or only in part.

    Attributes:
        anomalies: In descending order of absolute excess.
        not_evaluated: By group, the days with less than a week of history.
        spikes_only: By group, the days with less than three weeks of history.
    """

    anomalies: Sequence[Anomaly]
    not_evaluated: Mapping[Key, Sequence[date]]
    spikes_only: Mapping[Key, Sequence[date]]


def default_minimum(groups: Mapping[Key, Sequence[Decimal]]) -> Decimal:
    """1% of the average daily spend of all groups together in whole dollars, from $1 to $1,000."""
    days = max(map(len, groups.values()), default=0) or 1
    average = sum((sum(amounts, Decimal()) for amounts in groups.values()), Decimal()) / days
    return min(MAX_MINIMUM, max(MIN_MINIMUM, round(average * MINIMUM_SHARE, 0)))


def find_anomalies(
    groups: Mapping[Key, Sequence[Decimal]], first: date, evaluate_from: date, minimum: Decimal
) -> DetectionResult:
    """Compare every group with its own history.

    Args:
        groups: Dollars of every group for the same complete, consecutive UTC days, zeros included.
        first: The day of the first amount.
        evaluate_from: The first day to evaluate. Earlier days are history, ideally `HISTORY_DAYS` of them. An anomaly
            that starts in the history is included when it reaches the evaluated days; a level shift, when its first
            eight days do.
        minimum: Dollars, positive: the smallest deviation of an anomaly.
    """
    days = [first + timedelta(days=n) for n in range(max(map(len, groups.values()), default=0))]
    begin = (evaluate_from - first).days
    anomalies: list[Anomaly] = []
    not_evaluated: dict[Key, Sequence[date]] = {}
    spikes_only: dict[Key, Sequence[date]] = {}
    for key, amounts in groups.items():
        detector = _Detector([float(amount) for amount in amounts], float(minimum))
        detector.run()
        anomalies += [_anomaly(key, each, days, amounts) for each in detector.streaks if each.news_until >= begin]
        for skipped, of_groups in ((detector.not_evaluated, not_evaluated), (detector.spikes_only, spikes_only)):
            if too_new := [days[day] for day in skipped if day >= begin]:
                of_groups[key] = too_new
    return DetectionResult(sorted(anomalies, key=lambda each: -abs(each.excess)), not_evaluated, spikes_only)


@dataclass(frozen=True, slots=True)
class _Streak:
    """An anomaly whose days are indices into the spend of its group."""

    days: range
    expected: Sequence[float]
    status: AnomalyStatus

    @property
    def news_until(self) -> int:
        """The last day on which it is news."""
        return min(self.days[-1], self.days[0] + _WEEK) if self.status == "level_shift" else self.days[-1]


def _anomaly(key: Key, streak: _Streak, days: Sequence[date], amounts: Sequence[Decimal]) -> Anomaly:
    actual = exact_sum(amounts[day] for day in streak.days)
    expected = Decimal(f"{sum(streak.expected):.2f}")
    return Anomaly(key, days[streak.days[0]], days[streak.days[-1]], actual, expected, streak.status)


def _center(values: Iterable[float]) -> float:
    """The mean without the outer quarters, which resists outliers and varies less than the median."""
    ordered = sorted(values)
    cut = len(ordered) // 4 or (len(ordered) - 1) // 2
    return fmean(ordered[cut : len(ordered) - cut])


class _Baseline:
    """The expected spend of each weekday as of a day, from the weeks before it.

    Indices that are equal modulo 7 are the same weekday.
    """

    def __init__(self, usual: Sequence[float], since: int, day: int) -> None:
        self._usual = usual
        self._history = range(max(since, day - BASELINE_DAYS), day)
        start = self._history.start
        weekdays = [_center(usual[start + (n - start) % _WEEK : day : _WEEK]) for n in range(_WEEK)]
        recent = self._history[-_MIN_HISTORY:]
        ratios = [usual[n] / weekdays[n % _WEEK] for n in recent if weekdays[n % _WEEK]]
        self._level = _center(ratios) if ratios else 1.0
        self._weekdays = [self._level * each for each in weekdays]
        self._largest = max(map(abs, self._weekdays))

    def __getitem__(self, day: int) -> float:
        return self._weekdays[day % _WEEK]

    @property
    def average(self) -> float:
        """Dollars of an average day."""
        return fmean(self._weekdays)

    def total(self, days: range) -> float:
        """Dollars of some days."""
        return sum(self[day] for day in days)

    def growth(self, days: float) -> float:
        """The factor by which spend grows in some days at the pace of the history."""
        lag = (len(self._history) - _MIN_HISTORY) / 2  # from the middle of the history to that of the last weeks
        return self._level ** (days / lag) if self._level > 0 and lag else 1.0

    def standard_error(self, days: range) -> float:
        """The standard deviation, in dollars, of the spend of some days from their baselines."""
        errors = [self.noise(day) for day in days]
        weeks, recent = len(self._history) / _WEEK, min(len(self._history), _MIN_HISTORY)
        of_weekdays = (1 + _CENTER_VARIANCE / weeks) * sum(error * error for error in errors)
        return sqrt(of_weekdays + _CENTER_VARIANCE / recent * sum(errors) ** 2)

    def noise(self, day: int) -> float:
        """The standard deviation of the noise of a day in dollars."""
        if self.is_high_volume(day):
            return self._high_volume_noise * abs(self[day])
        return self._low_volume_noise

    def is_high_volume(self, day: int) -> bool:
        """Whether a day's baseline is at least half of the largest. Other days, such as weekends, have other noise."""
        return 2 * abs(self[day]) >= self._largest > 0

    @cached_property
    def is_sporadic(self) -> bool:
        """Whether many days of the history are without spend that the baseline expects, or have some that it does not.

        Such days cluster by chance, so that several of them together show nothing.
        """
        days = self._history
        off = sum(abs(self._usual[day] - self[day]) > _SPORADIC_DEVIATION * abs(self[day]) for day in days)
        return off > _SPORADIC_SHARE * len(days)

    @cached_property
    def _high_volume_noise(self) -> float:
        """As a share of the baseline: a working day with more spend varies more."""
        days = [day for day in self._history if self.is_high_volume(day)]
        return _standard_deviation([self._usual[day] / self[day] - 1 for day in days], days)

    @cached_property
    def _low_volume_noise(self) -> float:
        """In dollars: the baseline may be zero."""
        days = [day for day in self._history if not self.is_high_volume(day)]
        return _standard_deviation([self._usual[day] - self[day] for day in days], days)


def _standard_deviation(residuals: Sequence[float], days: Sequence[int]) -> float:
    """The standard deviation of noise, from what a baseline leaves of the days that it was fitted to."""
    if not days:
        return 0.0
    sigma = sorted(map(abs, residuals))[int(_NOISE_QUANTILE * len(days))] / _NOISE_QUANTILE_SIGMAS
    # With p parameters and n days, the variance of the residuals is (n - p) / n of the noise. The parameters are the
    # weekday averages and the level.
    fitted = len({day % _WEEK for day in days}) + 1
    freedom = max(1, len(days) - fitted)
    return sigma * sqrt(len(days) / freedom) * (1 + _UNCERTAINTY / freedom)


class _Detector:
    """Walks through the days of a group.

    Attributes:
        spend: Dollars by day. A level shift scales the days before it to the new level.
        minimum: The smallest deviation of an anomaly.
        streaks: The anomalies.
        not_evaluated: Days with less than a week of history.
        spikes_only: Days with less than three weeks of history.
    """

    def __init__(self, spend: list[float], minimum: float) -> None:
        self.spend = spend
        self.minimum = minimum
        self.streaks: list[_Streak] = []
        self.not_evaluated: list[int] = []
        self.spikes_only: list[int] = []
        self._usual = list(spend)
        self._since = 0
        self._free = 0
        self._baselines: dict[int, _Baseline] = {}

    def run(self) -> None:
        """Evaluate every day that is not in an anomaly."""
        day = 0
        while day < len(self.spend):
            in_full = day - self._since >= _MIN_HISTORY
            streak = self._streak(day)
            if streak:
                if not in_full:
                    self.spikes_only += streak.days[1:]
                self.streaks.append(streak)
                self._absorb(streak)
            day = streak.days.stop if streak else day + 1

    def _streak(self, day: int) -> _Streak | None:
        known = day - self._since
        if known < _WEEK:
            self.not_evaluated.append(day)
            return None
        if known < _MIN_HISTORY:
            self.spikes_only.append(day)
            days = self._spike(day)
        else:
            days = self._deviation(day) or self._stop(day)
            if not days:
                return self._drift(day)
        return self._extend(days) if days else None

    def _baseline(self, day: int) -> _Baseline:
        if day not in self._baselines:
            self._baselines[day] = _Baseline(self._usual, self._since, day)
        return self._baselines[day]

    def _excess(self, days: range, baseline: _Baseline) -> float:
        return sum(self.spend[days.start : days.stop]) - baseline.total(days)

    def _score(self, days: range, baseline: _Baseline, share: float = _MIN_DEVIATION) -> float:
        """The deviation over its threshold: a share of the baseline, or more if there is much noise."""
        excess, expected = self._excess(days, baseline), abs(baseline.total(days))
        threshold = max(share * expected, _SMALLEST)
        if abs(excess) >= _SIMILAR_SCORE * threshold:
            noise = (_SIGMAS if len(days) == 1 else _SIGMAS_OF_SEVERAL) * baseline.standard_error(days)
            if excess > 0 and noise:
                # The logarithm of spend is closer to normal: high days lie further from the middle than low ones.
                ratio = min(noise / expected, _MAX_SKEW) if expected else _MAX_SKEW
                noise *= expm1(ratio) / ratio
            threshold = max(threshold, noise)
        return excess / threshold

    def _spike(self, day: int) -> range | None:
        days = range(day, day + 1)
        above = self.spend[day] > SPIKE_FACTOR * max(self._usual[self._since : day])
        return days if above and self._is_large(days, self._baseline(day)) else None

    def _deviation(self, day: int) -> range | None:
        """The days until a day that deviate together, if they do."""
        if not self._stands_out(day):
            return None  # Decides nearly every day at little cost.
        sign = copysign(1, self.spend[day] - self._baseline(day)[day])
        longest = 1 if self._baseline(day).is_sporadic else _WEEK
        earliest = max(self._free, self._since + _MIN_HISTORY, day - longest + 1)
        scored: list[tuple[float, range]] = []
        for first in range(earliest, day + 1):
            days = range(first, day + 1)
            is_window = len(days) in _WINDOWS or not self._baseline(day).average
            if is_window and self._stands_out(first) and self._is_large(days, self._baseline(first)):
                scored.append((round(sign * self._score(days, self._baseline(first)), 9), days))
        score, days = max(scored, key=lambda each: (each[0], each[1].start), default=(0.0, range(0)))
        return days if score >= 1 and not self._recurs(days) else None

    def _is_large(self, days: range, baseline: _Baseline) -> bool:
        return abs(self._excess(days, baseline)) >= self.minimum

    def _stands_out(self, day: int) -> bool:
        expected = self._baseline(day)[day]
        return abs(self.spend[day] - expected) > _MIN_DEVIATION / 2 * abs(expected)

    def _recurs(self, days: range) -> bool:
        """Whether similar deviations came before, in many weeks or in both of the last months."""
        baseline = self._baseline(days.start)
        excess = self._excess(days, baseline)

        def is_similar(then: range) -> bool:
            return self._excess(then, baseline) / excess >= _SIMILAR_EXCESS

        def is_close(then: range) -> bool:
            return abs(self._score(then, baseline)) >= _SIMILAR_SCORE

        starts = range(self._since, days.start - len(days) + 1)
        similar = [then for first in starts if is_similar(then := range(first, first + len(days)))]
        weeks = {(days.start - 1 - then.start) // _WEEK for then in similar if is_close(then)}
        if sum(week < MAX_WEEKS for week in weeks) >= _RECURRING_WEEKS:
            return True
        high = baseline.is_high_volume(days.start)
        ages = [
            days.start - then.start for then in similar if baseline.is_high_volume(then.start) is high or is_close(then)
        ]
        return all(any(abs(age - month) <= _MONTH_TOLERANCE for age in ages) for month in _MONTHS)

    def _stop(self, day: int) -> range | None:
        """The days without spend until a day, if there were never half as many."""
        average = self._baseline(day).average
        if average <= 0 or abs(self.spend[day]) > _QUIET * average:
            return None
        runs = [0]
        for amount in self.spend[self._since : day + 1]:
            if abs(amount) <= _QUIET * average:
                runs[-1] += 1
            elif runs[-1]:
                runs.append(0)
        share = (sum(runs[:-1]) + 1) / (day + 1 - self._since - runs[-1] + 1)
        if runs[-1] <= 2 * max([1, *runs[:-1]]) or share ** runs[-1] > _MAX_CHANCE:
            return None
        first = max(day - runs[-1] + 1, self._free, self._since + _MIN_HISTORY)
        while first < day and self._baseline(first)[first] <= _QUIET * average:
            first += 1  # a weekend that is always without spend
        days = range(first, day + 1)
        return days if self._is_large(days, self._baseline(first)) else None

    def _extend(self, days: range) -> _Streak:
        """The streak that begins with some days: it goes on while the spend is nearer to theirs than to the baseline.

        A deviation may be as large on every day, or in proportion to the baseline: the smaller level decides, unless it
        would be lost in the noise of a day.
        """
        baseline = self._baseline(days.start)
        excess, expected = self._excess(days, baseline), abs(baseline.total(days))
        per_day = abs(excess) / len(days)

        def level(day: int) -> float:
            in_proportion = abs(excess) / expected * abs(baseline[day]) if expected else per_day
            return min(per_day, in_proportion) if per_day > _RETURN_SIGMAS * baseline.noise(day) else in_proportion

        def above(day: int) -> float:
            return copysign(1, excess) * (self.spend[day] - baseline[day])

        until = min(days.start + _MAX_STREAK, len(self.spend))
        later = range(days.start + _WEEK + 1, until)
        largest = max(abs(above(day)) for day in range(days.start, min(later.start, until)))
        outlier = next((day for day in later if abs(above(day)) > _OUTLIER * largest), None)
        until = outlier or until
        best = balance = 0.0
        stop = days.stop
        for day in range(days.stop, until):
            balance += above(day) - level(day) / 2
            if balance >= best:
                best, stop = balance, day + 1
        ends = range(stop + 1, min(stop + _WEEK, outlier or len(self.spend)) + 1)
        if stop - days.start > _WEEK:
            ends = ends[_WEEKEND:][-1:]  # The weekends before were no end either.
        for end in ends:
            after = range(stop, end)
            missing = sum(level(day) - above(day) for day in after)
            share = _RETURN_SHARE if expected else _QUIET_SHARE
            if missing > max(_RETURN_SIGMAS * baseline.standard_error(after), share * sum(map(level, after))):
                return _streak(range(days.start, stop), baseline, "resolved")
        whole = range(days.start, until)
        start = days.start - _MAX_STREAK
        if len(whole) > 1 and start >= max(self._free, self._since + _MIN_HISTORY):
            slope = self._slope(range(start, until))
            if slope:
                return _streak(slope, self._baseline(start), "drift")
        return _streak(whole, baseline, "level_shift" if len(whole) > _WEEK else "ongoing")

    def _drift(self, day: int) -> _Streak | None:
        """The gradual change until a day, if its last week is far from the baseline as of four weeks before."""
        start = day - _DRIFT_DAYS + 1
        if start < max(self._free, self._since + _DRIFT_HISTORY):
            return None
        baseline, week = self._baseline(start), range(day - _WEEK + 1, day + 1)
        if baseline.total(week) <= 0:
            return None
        ratio = median(self.spend[n] / baseline[n] for n in week if baseline.is_high_volume(n))
        # From the middle of the weeks that set the level to the middle of the last week.
        growth = baseline.growth(_MIN_HISTORY / 2 + _DRIFT_DAYS - _WEEK / 2)
        rise, fall = min(ratio, ratio / growth) - 1, 1 - max(ratio, ratio / growth)
        if max(rise, fall) < _MIN_DRIFT or abs(self._score(week, baseline, _MIN_DRIFT)) < 1:
            return None
        if not self._is_large(week, baseline):
            return None
        slope = self._slope(range(start, min(day + _SLOPE_DAYS[0], len(self.spend))))
        return _streak(slope, baseline, "drift") if slope else None

    def _slope(self, among: range) -> range | None:
        """The days on which the spend changes gradually, if that explains the days better than a jump does.

        A change goes from the baseline as of the first day to a level that lasts; least squares choose the first day,
        the length and the level.
        """
        baseline = self._baseline(among.start)
        days = [day for day in among if baseline[day] and baseline.is_high_volume(day)]
        changes = [self.spend[day] / baseline[day] - 1 for day in days]

        def explained(first: int, length: int) -> float:
            path = [min(max((day - first + 1) / length, 0.0), 1.0) for day in days]
            fit = sum(change * share for change, share in zip(changes, path, strict=True))
            squares = sum(share * share for share in path)
            return fit * fit / squares if squares else 0.0

        jump = max(explained(first, 1) for first in among)
        gradual, first, length = max(
            (explained(first, length), first, length) for length in _SLOPE_DAYS for first in among[:-_MIN_SLOPE_DAYS]
        )
        return range(first, min(first + length, among.stop)) if gradual > jump else None

    def _absorb(self, streak: _Streak) -> None:
        """Keep a streak out of later baselines, or move the history to its level.

        With a baseline of zero there is nothing to scale: the history starts anew with the streak.
        """
        self._baselines.clear()
        self._free = streak.days.stop
        pairs = list(zip(streak.days, streak.expected, strict=True))
        if streak.status in {"resolved", "ongoing"}:
            for day, expected in pairs:
                self._usual[day] = expected
        elif not any(streak.expected):
            self._since = streak.days.start
        else:
            gradual = streak.status == "drift"
            ratios = [self.spend[day] / expected for day, expected in pairs if expected]
            factor = median(ratios[-_WEEK:] if gradual else ratios)
            for day, expected in pairs if gradual else ():
                self._usual[day] = expected * factor
            for day in range(streak.days.start):
                self._usual[day] *= factor
                self.spend[day] *= factor


def _streak(days: range, baseline: _Baseline, status: AnomalyStatus) -> _Streak:
    return _Streak(days, [baseline[day] for day in days], status)
