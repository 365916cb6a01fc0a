"""What recurs in daily spend: weekdays, days of the month, growth, and the level, with changes that are still young.

Every part is used only as far as the history supports it: the weekdays in proportion to how far they exceed noise, a
day of the month after it stood out in several months, growth when both halves of the history show it. All estimates
resist outliers. Amounts are floats: a pattern is an estimate.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate, combinations, count, islice, pairwise
from statistics import fmean, median

from usage_cost_mcp.model.periods import month_of

WEEK = 7
_DAY = timedelta(days=1)

_LEVEL_WINDOWS = (28, 14)
"""Days over which the level is averaged, the least noisy first; the last week is used when both are out of date."""
_LEVEL_TOLERANCE = 2
"""Standard errors by which a window's level may differ from that of the last week."""
_DAYS_PER_OUTLIER = 14
"""One day in 14 at either end of the ranking may be a spike or a closed day, and is winsorized."""
_WEEKDAY_WEEKS = 8
"""Weeks in a weekday share: enough to resist an outlier, few enough to follow a new pattern."""
_MIN_WEEKDAY_SHARE = 0.05
"""Weekdays below this share of an average day do not enter the level: dividing by their share amplifies noise."""
_SIGMA_PER_MEDIAN_CHANGE = 1.05
"""Standard deviation over the median absolute change from day to day, for normal noise."""
_SIGMA_PER_MAD = 1.4826
"""Standard deviation over the median absolute deviation, for normal noise."""
_MEDIAN_ERROR_RATIO = 1.25
"""Standard error of a median over that of a mean, for normal noise."""
_MIN_NOISE = 0.02
"""The least noise of a day, in average days: even a history without any does not make the next days certain."""

_CALENDAR_SIGMAS = 3
"""A day of the month stands out when it differs from its weekday by this many standard deviations."""
_MONTH_EDGE = 3
"""The first and last days of a month, which are believed after two months; other days after three."""

_MIN_GROWTH_WEEKS = 12
_GROWTH_SIGMAS = 3
"""Standard errors that growth must exceed."""
_MAX_GROWTH = math.log(2) * WEEK / 30
"""Doubling every month: faster growth is a start, not a trend."""
_DAMPING = 0.98
"""What is left of the growth of a week in the next one: growth rarely goes on for a year."""

_INTERMITTENT = 0.25
"""With this share of days without spend, the level is the plain mean of the last eight weeks."""
_STOPPED = 0.01
"""The probability of a run of days without spend below which it has stopped."""

_CHANGE_SIGMAS = 4
"""Standard errors of a change of the level that is believed within two weeks."""
_MAX_CHANGE_DAYS = 13
_BELIEVED_DAYS = 4
"""Days after which a change of the level is expected to last."""
_EXCEPTION = 0.5
"""The share of the level by which the last day must differ to be pointed out."""

Rates = Sequence[tuple[float, float]]
"""Dollars over weekday share, and the share as its weight."""


@dataclass(frozen=True, slots=True)
class CalendarEffect:
    """What a day of the month costs on top of its weekday, in average days.

    Attributes:
        size: The median of the months.
        spread: The standard deviation of the next one.
        by_weekday: Whether the size is in proportion to the weekday's share.
    """

    size: float
    spread: float
    by_weekday: bool


CalendarEffects = Mapping[int, CalendarEffect]
"""By day of the month: 1 is the first day, -1 the last one."""


@dataclass(frozen=True, slots=True)
class Level:
    """The spend of an average day.

    Attributes:
        now: Dollars a day.
        days: The number of days over which it is averaged.
        noise: The standard deviation of a day, in dollars.
        before: Dollars a day before the level changed within the last two weeks, None if it did not.
        exception: Dollars a day of the last day alone, if it differs from `now` as a change would.
    """

    now: float
    days: int
    noise: float
    before: float | None = None
    exception: float | None = None

    @property
    def possible(self) -> Sequence[float]:
        """The levels that may be the true one: two if it changed within the last week, for it may return."""
        return (self.now,) if self.before is None or self.days >= WEEK else (self.now, self.before)

    @property
    def expected(self) -> float:
        """The level to forecast: a change counts for half after two days, and fully after most of a week."""
        believed = min(1.0, self.days / _BELIEVED_DAYS)
        return self.now if len(self.possible) == 1 else believed * self.now + (1 - believed) * self.possible[1]


@dataclass(frozen=True, slots=True)
class Pattern:
    """What recurs in a history.

    Attributes:
        flat: The history without growth, at the level of its last day, and with usual days for those that stand out.
        shares: The share of each weekday in an average day, from the first coming day on.
        growth: The logarithm of the factor by which spend grows in a week.
        growth_error: Its standard error.
    """

    flat: Sequence[float]
    shares: Sequence[float]
    level: Level
    effects: CalendarEffects
    growth: float
    growth_error: float

    def daily(self, coming: Sequence[date], level: float | None = None) -> list[float]:
        """Dollars of each coming day; a level other than the expected one may be assumed."""
        factors = self.growth_factors(len(coming))
        at = self.level.expected if level is None else level
        return [
            max(0.0, at * self._units(*each)) * factor for each, factor in zip(enumerate(coming), factors, strict=True)
        ]

    def _units(self, index: int, day: date) -> float:
        share, effect = self.shares[index % WEEK], _effect_on(day, self.effects)
        if effect is None:
            return share
        return share + effect.size * (share if effect.by_weekday else 1)

    def days_ago(self, days: int) -> int:
        """How long ago the last `days` days began that enter the level, 1 for yesterday: idle weekdays do not."""
        ago = (ago for ago in count(1) if self.shares[-ago % WEEK] > _MIN_WEEKDAY_SHARE)
        return next(islice(ago, days - 1, None))

    def growth_factors(self, ahead: int) -> list[float]:
        """The factor of each coming day."""
        daily = accumulate(self.growth / WEEK * _DAMPING ** (number / WEEK) for number in range(ahead))
        return [math.exp(total) for total in daily]

    def growth_bounds(self, coming: Sequence[date], tested: int) -> list[tuple[float, float]]:
        """The dollars of each day that growth may miss or add: after `tested` days it may end, or go on undamped."""
        damped = self.growth_factors(len(coming))
        last = damped[min(tested, len(coming)) - 1]
        steepest = (self.growth + math.copysign(2 * self.growth_error, self.growth)) / WEEK
        bounds: list[tuple[float, float]] = []
        for index, factor in enumerate(damped):
            undamped, ends = math.exp(steepest * (index + 1)), factor if index < tested else last
            dollars = self.level.now * self.shares[index % WEEK]
            bounds.append((dollars * (factor - min(undamped, ends)), dollars * (max(undamped, ends) - factor)))
        return bounds

    def effect_spreads(self, coming: Sequence[date]) -> list[float]:
        """The standard deviation of what each day costs on top of its weekday, in dollars."""
        factors = self.growth_factors(len(coming))
        found = ((effect, index) for index, effect in enumerate(_effect_on(day, self.effects) for day in coming))
        return [
            effect.spread * (self.shares[index % WEEK] if effect.by_weekday else 1) * self.level.now * factors[index]
            if effect
            else 0.0
            for effect, index in found
        ]


def find_pattern(spent: Sequence[float], days: Sequence[date]) -> Pattern:
    """What recurs in a history of at least a day, none below zero."""
    effects = _calendar_effects(spent, days)
    usual = _usual_days(spent)[0] if effects else spent
    plain = [usual[index] if _effect_on(day, effects) else spent[index] for index, day in enumerate(days)]
    growth, growth_error = _weekly_growth(plain)
    flat = [cost * math.exp(growth / WEEK * (len(plain) - 1 - index)) for index, cost in enumerate(plain)]
    shares = weekday_shares(flat)
    return Pattern(flat, shares, find_level(flat, shares), effects, growth, growth_error)


# --- weekdays


def weekday_shares(spent: Sequence[float]) -> list[float]:
    """The share of each weekday in an average day, from the first coming day on; their mean is 1.

    The mean of the last eight weeks without the highest and the lowest, shrunk towards 1 as far as it may be noise.
    """
    ends = range(len(spent), WEEK - 1, -WEEK)[:_WEEKDAY_WEEKS]
    weeks = [spent[end - WEEK : end] for end in ends]
    columns = [*zip(*([day / fmean(week) for day in week] for week in weeks if sum(week) > 0), strict=True)]
    shares = [_trimmed_mean(column) for column in columns]
    if not any(shares):
        return [1.0] * WEEK
    average, weight = fmean(shares), _signal_share(columns, shares)
    return [1 + weight * (share / average - 1) for share in shares]


def _trimmed_mean(values: Sequence[float]) -> float:
    outliers = len(values) // 4
    return fmean(sorted(values)[outliers : len(values) - outliers])


def _signal_share(columns: Sequence[Sequence[float]], shares: Sequence[float]) -> float:
    """The part of the differences between weekdays that is not noise (James-Stein); half with a single week."""
    weeks, between = len(columns[0]), _variance(shares)
    if weeks == 1 or not between:
        return 0.5
    within = fmean(
        (_SIGMA_PER_MAD * median(abs(day - share) for day in column)) ** 2
        for column, share in zip(columns, shares, strict=True)
    )
    return max(0.0, 1 - within / weeks / between)


# --- days of the month


def _effect_on(day: date, effects: CalendarEffects) -> CalendarEffect | None:
    """The effect of a day; the end of a month wins over its start."""
    start, end = _places_in_month(day)
    return effects.get(end) or effects.get(start)


def _places_in_month(day: date) -> tuple[int, int]:
    """The day of the month, counted from its start and from its end."""
    return day.day, (day - month_of(day)[1]).days - 1


def _calendar_effects(spent: Sequence[float], days: Sequence[date]) -> CalendarEffects:
    """The days of the month that stand out in the same direction in nearly every month."""
    usual, shares, levels = _usual_days(spent)
    excess = [(cost - base) / level if level else 0.0 for cost, base, level in zip(spent, usual, levels, strict=True)]
    sigma = max(_MIN_NOISE, _SIGMA_PER_MAD * median(map(abs, excess)))
    found: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for index, day in enumerate(days):
        start, end = _places_in_month(day)
        for place in (start, end) if end >= -_MONTH_EDGE else (start,):
            found[place].append((excess[index], shares[index]))
    return {place: _effect(sizes) for place, sizes in found.items() if _stands_out(place, sizes, sigma)}


def _usual_days(spent: Sequence[float]) -> tuple[list[float], list[float], list[float]]:
    """What each past day would cost by its weekday and the median level of four weeks around it; shares; levels."""
    coming, length = weekday_shares(spent), len(spent)
    shares = [coming[(index - length) % WEEK] for index in range(length)]
    rates = [cost / share if share > _MIN_WEEKDAY_SHARE else None for cost, share in zip(spent, shares, strict=True)]
    around = (rates[max(0, index - 2 * WEEK) : index + 2 * WEEK + 1] for index in range(length))
    levels = [median([rate for rate in window if rate is not None] or [0.0]) for window in around]
    return [level * share for level, share in zip(levels, shares, strict=True)], shares, levels


def _stands_out(place: int, found: Rates, sigma: float) -> bool:
    if len(found) < (2 if place <= _MONTH_EDGE else 3):
        return False
    sizes, exceptions = sorted(size for size, _ in found), len(found) // 4
    return max(sizes[exceptions], -sizes[-1 - exceptions]) > _CALENDAR_SIGMAS * sigma


def _effect(found: Rates) -> CalendarEffect:
    fixed, relative = [size for size, _ in found], [size / max(share, _MIN_WEEKDAY_SHARE) for size, share in found]
    by_weekday = _relative_variance(relative) < _relative_variance(fixed)
    sizes = relative if by_weekday else fixed
    few = 1 + 1 / (len(sizes) - 1)  # about the 90% quantile of Student's distribution over the normal one
    return CalendarEffect(median(sizes), few * math.sqrt(_variance(sizes) * (1 + 1 / len(sizes))), by_weekday)


def _relative_variance(values: Sequence[float]) -> float:
    return _variance(values) / fmean(values) ** 2 if fmean(values) else math.inf


# --- growth


def _weekly_growth(spent: Sequence[float]) -> tuple[float, float]:
    """The logarithm of the factor by which spend grows in a week, and its error; 0 unless both halves show it."""
    weeks = [sum(spent[end - WEEK : end]) for end in range(len(spent), WEEK - 1, -WEEK)][::-1]
    if len(weeks) < _MIN_GROWTH_WEEKS or min(weeks) <= 0:
        return 0.0, 0.0
    logs, half = [math.log(week) for week in weeks], len(weeks) // 2
    slope = _median_slope(logs)
    rest = [value - slope * index for index, value in enumerate(logs)]
    noise = _SIGMA_PER_MAD * median(abs(each - median(rest)) for each in rest)
    error = noise * math.sqrt(12 / len(logs) ** 3)
    of_halves = (math.copysign(1, slope) * _median_slope(part) for part in (logs[:half], logs[half:]))
    if min(of_halves) <= abs(slope) / 2 or abs(slope) <= _GROWTH_SIGMAS * error:
        return 0.0, 0.0
    return min(_MAX_GROWTH, max(-_MAX_GROWTH, slope)), error


def _median_slope(values: Sequence[float]) -> float:
    """The Theil-Sen estimator."""
    pairs = combinations(enumerate(values), 2)
    return median((later - earlier) / (right - left) for (left, earlier), (right, later) in pairs)


# --- the level


def find_level(spent: Sequence[float], shares: Sequence[float]) -> Level:
    """The deseasonalized spend per day, over the longest window that agrees with the latest days."""
    if _is_intermittent(spent):
        latest = spent[-2 * _LEVEL_WINDOWS[0] :]
        return Level(fmean(latest), len(latest), math.sqrt(_variance(latest)))
    rates = _rates(spent, shares)
    noise = max(_noise_of(rates, len(spent) // WEEK), _MIN_NOISE * scale_of(spent))
    if change := _young_change(rates, noise):
        days, before = change
        now = _mean(rates[-days:])
        return Level(now, days, noise * max(1, now / before) if before else noise, before)
    latest = _weighted_median(rates[-WEEK:])
    tolerance = _LEVEL_TOLERANCE * _MEDIAN_ERROR_RATIO * noise / WEEK**0.5
    averages = ((_winsorized_mean(rates[-days:]), min(days, len(rates))) for days in _LEVEL_WINDOWS)
    now, days = next((each for each in averages if abs(each[0] - latest) <= tolerance), (latest, min(WEEK, len(rates))))
    last = rates[-1][0]
    exceptional = abs(last - now) > max(_CHANGE_SIGMAS * noise, _EXCEPTION * now)
    return Level(now, days, noise, exception=last if exceptional else None)


def scale_of(spent: Sequence[float]) -> float:
    """The mean spend of a day: of the last four weeks, or of the whole history if these cost nothing."""
    return fmean(spent[-_LEVEL_WINDOWS[0] :]) or fmean(spent)


def _is_intermittent(spent: Sequence[float]) -> bool:
    """Whether many days cost nothing, without a weekday pattern that explains it and without having stopped."""
    idle = [not cost for cost in spent[-2 * _LEVEL_WINDOWS[0] :]]
    run = next((ago for ago, each in enumerate(reversed(idle)) if not each), len(idle))
    if len(idle) < 2 * WEEK or run == len(idle) or sum(idle) < _INTERMITTENT * len(idle):
        return False
    by_weekday = [fmean(idle[place::WEEK]) for place in range(WEEK)]
    return fmean(idle[: len(idle) - run]) ** run > _STOPPED and any(
        _INTERMITTENT <= share <= 1 - _INTERMITTENT for share in by_weekday
    )


def _young_change(rates: Rates, noise: float) -> tuple[int, float] | None:
    """The days since the level changed and the level before, if it did so within two weeks beyond doubt."""
    middle = median(rate for rate, _ in rates)
    latest = [rate - middle for rate, _ in rates[-2:]]
    if min(latest) < noise / 2 and max(latest) > -noise / 2:
        return None
    found: list[tuple[float, int, float]] = []
    for days in range(2, min(_MAX_CHANGE_DAYS, len(rates) - WEEK) + 1):
        before = _winsorized_mean(rates[:-days])
        changes = [rate - before for rate, _ in rates[-days:]]
        if min(changes) > noise or max(changes) < -noise:
            error = noise * math.sqrt(1 / days + 1 / (len(rates) - days))
            found.append((abs(fmean(changes)) / error, days, before))
    sigmas, days, before = max(found, default=(0.0, 0, 0.0))
    return (days, before) if sigmas > _CHANGE_SIGMAS else None


def _rates(spent: Sequence[float], shares: Sequence[float]) -> Rates:
    """The deseasonalized spend of the days of the longest window."""
    latest = ((spent[-ago], shares[-ago % WEEK]) for ago in range(min(_LEVEL_WINDOWS[0], len(spent)), 0, -1))
    return [(dollars / share, share) for dollars, share in latest if share > _MIN_WEEKDAY_SHARE]


def _noise_of(rates: Rates, weeks: int) -> float:
    """The standard deviation of a day. Weekday shares from few weeks take up part of it."""
    weeks = min(weeks, _WEEKDAY_WEEKS)
    free = weeks / (weeks - 1) if weeks > 1 else 4
    changes = [abs(later - earlier) for (earlier, _), (later, _) in pairwise(rates)]
    return _SIGMA_PER_MEDIAN_CHANGE * median(changes or [0.0]) * math.sqrt(free)


def _mean(rates: Rates) -> float:
    return sum(rate * share for rate, share in rates) / sum(share for _, share in rates)


def _weighted_median(rates: Rates) -> float:
    ranked = sorted(rates)
    half = sum(share for _, share in ranked) / 2
    weights = accumulate(share for _, share in ranked)
    return next(rate for (rate, _), weight in zip(ranked, weights, strict=True) if weight >= half)


def _winsorized_mean(rates: Rates) -> float:
    """The weighted mean after the lowest and the highest rates are clamped to the next ones."""
    ranked = [rate for rate, _ in sorted(rates)]
    outliers = min(max(1, len(ranked) // _DAYS_PER_OUTLIER), (len(ranked) - 1) // 2)
    low, high = ranked[outliers], ranked[-1 - outliers]
    return _mean([(min(max(rate, low), high), share) for rate, share in rates])


def _variance(values: Sequence[float]) -> float:
    """The sample variance; that of the library is exact, and slow."""
    middle = fmean(values)
    return sum((value - middle) ** 2 for value in values) / (len(values) - 1)
