"""Where spending is going: an expected amount, an 80% interval, and how well the method has done before.

The method is simple enough to explain. Each weekday has its share of a week (the median over eight weeks), and
spending has a level (of the last four weeks; of the last two or the last one once those differ by more than chance,
so that a new price is followed within days). The same is then forecast anew from every earlier day of the history.
Those forecasts' errors are the outcomes that may come: their median corrects what is expected, because growth is
missed in the same way each time, and their outer deciles are the interval.

Nothing is drawn at random: every past error is used once, so the same history gives the same answer.
Amounts are estimates: floats inside, whole cents outside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import accumulate, count, pairwise, takewhile
from statistics import fmean, median, quantiles

from usage_cost_mcp.model.money import exact
from usage_cost_mcp.model.periods import month_of, months_earlier

History = Mapping[date, Decimal]
"""Exact dollars of complete UTC days. Days may be negative (credits); a day that is not there cost nothing."""

HISTORY_DAYS = 180
"""How far back a forecast looks: half a year holds several months to test on, in six pages of the cost report."""

_WEEK = 7
_LEARNING_DAYS = 14
"""Two weeks tell a weekday from a trend; with less, the mean day is all there is."""
_TESTING_DAYS = 21
"""A week to test on after two to learn from: below this there is no past error, so no interval and no back-test."""
_PATTERN_WEEKS = 8
"""Enough weeks for a median that no single odd day can move, few enough to follow a new habit."""
_LEVEL_DAYS = (28, 14)
"""The windows of the level, the steadiest first; the last week is what remains when both are out of date."""
_COVERAGE = 2
"""Standard errors by which a window may differ from the last week before it counts as out of date."""
_ODD_DAYS_EVERY = 14
"""One day at either end in so many may be a spike or a credit, and is cut down to its neighbour."""
_RARE_SHARE = 0.05
"""Weekdays with less than this share of an average day say nothing about the noise: they would be divided by it."""
_MEDIAN_OF_CHANGES = 1.05
"""Standard deviation over median absolute change from day to day, for normal noise."""
_MEDIAN_COSTS = 1.25
"""Standard error of a median over that of a mean, for normal noise."""
_MARGIN = 1.5
"""Past errors overlap, so they vary less than what may come: the interval grows by this over the spans held."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ForecastDay:
    """What will have been spent from the forecast's first day to the end of this one.

    Attributes:
        day: The UTC day.
        expected: Dollars, never less than on the day before.
        low: Where the 80% interval begins; None when the history is too short to know one.
        high: Where it ends.
    """

    day: date
    expected: Decimal
    low: Decimal | None
    high: Decimal | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """The spending of some days to come, cumulative, one entry a day."""

    days: Sequence[ForecastDay]

    @property
    def expected(self) -> Decimal:
        """Dollars of all the days together."""
        return self.days[-1].expected

    @property
    def low(self) -> Decimal | None:
        """Where the 80% interval of all the days together begins."""
        return self.days[-1].low

    @property
    def high(self) -> Decimal | None:
        """Where the 80% interval of all the days together ends."""
        return self.days[-1].high


@dataclass(frozen=True, slots=True)
class Backtest:
    """How far the same forecasts were off in the months before.

    Attributes:
        median_error: Half of them were off by less, as a share of the true total (0.02 is 2%); None without a test.
        months: How many there were.
    """

    median_error: float | None
    months: int


def forecast(history: History, first: date, last: date) -> Forecast:
    """What the days from `first` to `last` will cost together.

    Fewer than 14 days since the first spend give the mean day and no interval, fewer than 21 no interval; no spend
    at all gives zero.

    Args:
        history: Complete days; those from `first` on, and those more than `HISTORY_DAYS` before it, are not looked at.
        first: The first day to forecast: today, because it is incomplete.
        last: The last day to forecast, not before `first`.
    """
    ahead = (last - first).days + 1
    expected, *interval = _interval_path(_spent_before(history, first), ahead)
    low, high = interval or ([None] * ahead, [None] * ahead)
    days = (first + n * _DAY for n in range(ahead))
    return Forecast(tuple(map(ForecastDay, days, expected, low, high)))


def backtest(history: History, start: date, first: date, last: date) -> Backtest:
    """Ask the same question one month ago, two months ago, ..., and compare with what came.

    For a month's end these are the past months, each forecast on the same day of the month. Each forecast knows
    only the days before it, of which there must be 21. The error is that of the whole period from `start` to `last`.

    Args:
        history: Complete days, as for the forecast.
        start: The first day of the period whose total is asked for, maybe long spent.
        first: The first day that is forecast.
        last: The last day of the period.
    """
    begin = _begin(history, first)
    earlier = ([_same_day_earlier(day, back) for day in (start, first, last)] for back in count(1))
    held = takewhile(lambda days: days[0] >= begin and days[1] >= begin + _TESTING_DAYS * _DAY, earlier)
    errors = [_error(history, *days) for days in held if days[2] < first]
    known = [error for error in errors if error is not None]
    return Backtest(median(known) if known else None, len(known))


def exhaustion_date(spent: History, to_come: Forecast, budget: Decimal) -> date | None:
    """The first day on which spending passes the budget and stays above it.

    Args:
        spent: The days of the period that are complete, and no others.
        to_come: The rest of the period.
        budget: Dollars for the whole period.

    Returns:
        A day already gone when the budget is spent, None when it lasts.
    """
    passed = None
    for day, total in _cumulative(spent, to_come):
        if total <= budget:
            passed = None
        elif passed is None:
            passed = day
    return passed


def _cumulative(spent: History, to_come: Forecast) -> list[tuple[date, Decimal]]:
    """The total of the period at the end of each of its days."""
    days = sorted(spent)
    with exact():
        totals = list(accumulate((spent[day] for day in days), initial=Decimal(0)))
        rest = [(each.day, totals[-1] + each.expected) for each in to_come.days]
    return [*zip(days, totals[1:], strict=True), *rest]


def _begin(history: History, first: date) -> date:
    """The first day worth looking at: zeros before an organization's first spend say nothing about its habits."""
    oldest = first - HISTORY_DAYS * _DAY
    return min((day for day, dollars in history.items() if dollars and oldest <= day < first), default=first)


def _spent_before(history: History, first: date) -> list[float]:
    begin = _begin(history, first)
    return [float(history.get(begin + n * _DAY, 0)) for n in range((first - begin).days)]


def _error(history: History, start: date, first: date, last: date) -> float | None:
    """By how much the total of a period gone would have been missed, as a share of it."""
    came = float(sum(history.get(first + n * _DAY, 0) for n in range((last - first).days + 1)))
    total = came + float(sum(history.get(start + n * _DAY, 0) for n in range((first - start).days)))
    expected = float(forecast(history, first, last).expected)
    return abs(expected - came) / total if total > 0 else None


def _same_day_earlier(day: date, months: int) -> date:
    """The same day of an earlier month; the end of a month stays the end of a month."""
    earlier, at_end = months_earlier(day, months), (day + _DAY).day == 1
    return month_of(earlier)[1] if at_end else earlier


def _interval_path(spent: Sequence[float], ahead: int) -> list[list[Decimal]]:
    """The course of what is expected, then of both ends of the interval where there is one, day by day."""
    course = _expected(spent, ahead)
    errors = _past_errors(spent, ahead)
    if not errors:
        return [_cents(course)]
    tested, size = len(errors[0]), _scale(spent)
    margin = 1 + _MARGIN * tested / (len(spent) - _LEARNING_DAYS)
    deciles = [quantiles(column, n=10, method="inclusive") for column in zip(*errors, strict=True)]
    fan: list[list[float]] = []
    for days, plain in enumerate(course, 1):
        low, _, _, _, middle, _, _, _, high = deciles[min(days, tested) - 1]
        scale = size * max(1, days / tested)
        ends = (middle, middle - (middle - low) * margin, middle + (high - middle) * margin)
        fan.append([plain + scale * end for end in ends])
    return [_cents(line) for line in zip(*fan, strict=True)]


def _cents(course: Sequence[float]) -> list[Decimal]:
    """Whole cents of a sum that starts at zero and only grows."""
    return [Decimal(f"{dollars:.2f}") for dollars in accumulate(course, max, initial=0.0)][1:]


def _past_errors(spent: Sequence[float], ahead: int) -> list[list[float]]:
    """The course of the error of every earlier forecast, in sizes of its time.

    They reach as far ahead as the history holds twice over; beyond that, the error a day is taken to stay.
    """
    if len(spent) < _TESTING_DAYS:
        return []
    tested = min(ahead, (len(spent) - _LEARNING_DAYS) // 2)
    errors: list[list[float]] = []
    for origin in range(_LEARNING_DAYS, len(spent) - tested + 1):
        before, came = spent[:origin], accumulate(spent[origin : origin + tested])
        if size := _scale(before):
            errors.append([(real - plain) / size for real, plain in zip(came, _expected(before, tested), strict=True)])
    return errors if len(errors) > 1 else []


def _scale(spent: Sequence[float]) -> float:
    """What a day is about, whatever its sign: the scale of errors."""
    days = sorted(map(abs, spent[-_LEVEL_DAYS[0] :]))
    return fmean(days[: -(len(days) // _ODD_DAYS_EVERY)])


def _expected(spent: Sequence[float], ahead: int) -> list[float]:
    """The course of the days to come at the present level, each weekday with its share."""
    if not spent:
        return [0.0] * ahead
    if len(spent) < _LEARNING_DAYS:
        return list(accumulate([fmean(spent)] * ahead))
    shares = _weekday_shares(spent)
    level = _level(spent, shares)
    return list(accumulate(level * shares[n % _WEEK] for n in range(ahead)))


def _weekday_shares(spent: Sequence[float]) -> list[float]:
    """What a day costs over an average one of its week, beginning with the weekday that comes next."""
    ends = range(len(spent), _WEEK - 1, -_WEEK)[:_PATTERN_WEEKS]
    weeks = [spent[end - _WEEK : end] for end in ends]
    ratios = [[day / fmean(week) for day in week] for week in weeks if sum(week) > 0]
    shares = [max(0.0, median(column)) for column in zip(*ratios, strict=True)]
    average = fmean(shares) if shares else 0
    return [share / average for share in shares] if average else [1.0] * _WEEK


def _level(spent: Sequence[float], shares: Sequence[float]) -> float:
    """What an average day costs now: by the steadiest window that still agrees with the last week."""
    now = _weighted_median(_rates(spent, shares, _WEEK))
    rates = [rate for rate, _ in _rates(spent, shares, _LEVEL_DAYS[0])]
    noise = _MEDIAN_OF_CHANGES * median(abs(b - a) for a, b in pairwise(rates))
    tolerance = _COVERAGE * _MEDIAN_COSTS * noise / _WEEK**0.5
    levels = (_winsorized_mean(_rates(spent, shares, days), days // _ODD_DAYS_EVERY) for days in _LEVEL_DAYS)
    return max(0.0, next((level for level in levels if abs(level - now) <= tolerance), now))


def _rates(spent: Sequence[float], shares: Sequence[float], days: int) -> list[tuple[float, float]]:
    """What each of the last days says an average day costs, and the weekday's share as the weight of its word."""
    latest = ((spent[-ago], shares[-ago % _WEEK]) for ago in range(min(days, len(spent)), 0, -1))
    return [(dollars / share, share) for dollars, share in latest if share > _RARE_SHARE]


def _weighted_median(rates: Sequence[tuple[float, float]]) -> float:
    ranked = sorted(rates)
    half = sum(share for _, share in ranked) / 2
    weights = accumulate(share for _, share in ranked)
    return next(rate for (rate, _), weight in zip(ranked, weights, strict=True) if weight >= half)


def _winsorized_mean(rates: Sequence[tuple[float, float]], odd: int) -> float:
    """The mean after so many of the lowest and of the highest rates were replaced by their neighbours."""
    ranked = [rate for rate, _ in sorted(rates)]
    odd = min(odd, (len(ranked) - 1) // 2)
    low, high = ranked[odd], ranked[-1 - odd]
    return sum(min(max(rate, low), high) * share for rate, share in rates) / sum(share for _, share in rates)
