"""Forecasts cumulative spend with an 80% prediction interval, and back-tests the forecast.

The point forecast is level x weekday share. The share of a weekday is its median over the last eight weeks. The level
is the winsorized mean of the last four weeks; where that differs from the last week by more than noise, of the last
two weeks, else the median of the last week, so that a new price is followed within days. The same forecast is then
repeated from every earlier day of the history. The median of those errors corrects the point forecast, because growth
biases each forecast in the same way, and their outer deciles bound the interval.

The forecast is deterministic: every past error is used once, nothing is sampled. Amounts are estimates: floats
inside, whole cents outside.
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
"""Exact dollars of complete UTC days, negative for credits. A missing day cost nothing."""

HISTORY_DAYS = 180
"""Days of history that a forecast uses: several months to back-test, in six pages of the cost report."""

_WEEK = 7
_TRAINING_DAYS = 14
"""The shortest history with weekday shares: one week cannot separate a weekday from a trend."""
_MIN_BACKTEST_DAYS = 21
"""The shortest history with a back-test and an interval: two weeks of training, and one to test on."""
_WEEKDAY_WEEKS = 8
"""Weeks in a weekday median: enough to resist an outlier, few enough to follow a new pattern."""
_LEVEL_WINDOWS = (28, 14)
"""Days over which the level is averaged, the least noisy first; the last week is used when both are out of date."""
_LEVEL_TOLERANCE = 2
"""Standard errors by which a window's level may differ from that of the last week."""
_DAYS_PER_OUTLIER = 14
"""One day in 14 at either end of the ranking may be a spike or a credit, and is winsorized."""
_MIN_WEEKDAY_SHARE = 0.05
"""Weekdays below this share of an average day do not enter the level: dividing by their share amplifies noise."""
_SIGMA_PER_MEDIAN_CHANGE = 1.05
"""Standard deviation over the median absolute change from day to day, for normal noise."""
_MEDIAN_ERROR_RATIO = 1.25
"""Standard error of a median over that of a mean, for normal noise."""
_INTERVAL_WIDENING = 1.5
"""The interval widens by this over the number of non-overlapping windows: overlapping errors vary too little."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ForecastDay:
    """Cumulative spend from the first day of the forecast to the end of this one.

    Attributes:
        day: The UTC day.
        expected: Dollars, never less than on the day before.
        low: Dollars, the lower bound of the 80% interval; None when the history is shorter than 21 days.
        high: Dollars, its upper bound.
    """

    day: date
    expected: Decimal
    low: Decimal | None
    high: Decimal | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Cumulative spend of the forecast days, one entry per day."""

    days: Sequence[ForecastDay]

    @property
    def expected(self) -> Decimal:
        """Dollars of all days."""
        return self.days[-1].expected

    @property
    def low(self) -> Decimal | None:
        """The lower bound of the 80% interval of all days."""
        return self.days[-1].low

    @property
    def high(self) -> Decimal | None:
        """The upper bound of the 80% interval of all days."""
        return self.days[-1].high


@dataclass(frozen=True, slots=True)
class Backtest:
    """The errors of the same forecast in earlier months.

    Attributes:
        median_error: The median absolute error as a share of the actual total (0.02 is 2%); None without a month.
        months: The number of months that were tested.
    """

    median_error: float | None
    months: int


def forecast(history: History, first: date, last: date) -> Forecast:
    """Forecast the cumulative spend from `first` to each day until `last`.

    With less than 14 days since the first spend, each day is forecast as the mean day, without an interval; with less
    than 21 days there is no interval; without any spend the forecast is zero.

    Args:
        history: Complete days. Days from `first` on, and more than `HISTORY_DAYS` before it, are ignored.
        first: The first day to forecast: today, because it is incomplete.
        last: The last day to forecast, not before `first`.
    """
    ahead = (last - first).days + 1
    expected, *interval = _interval_path(_spent_before(history, first), ahead)
    low, high = interval or ([None] * ahead, [None] * ahead)
    days = (first + n * _DAY for n in range(ahead))
    return Forecast(tuple(map(ForecastDay, days, expected, low, high)))


def backtest(history: History, start: date, first: date, last: date) -> Backtest:
    """Forecast the same period one month ago, two months ago, ..., and compare with the actual spend.

    Each forecast uses only the days before it, and needs 21 of them. The error is that of the total of the period
    from `start` to `last`.

    Args:
        history: Complete days, as for the forecast.
        start: The first day of the period; days before `first` are actual spend.
        first: The first day to forecast.
        last: The last day of the period.
    """
    begin = _begin(history, first)
    earlier = ([_same_day_earlier(day, back) for day in (start, first, last)] for back in count(1))
    in_history = takewhile(lambda days: days[0] >= begin and days[1] >= begin + _MIN_BACKTEST_DAYS * _DAY, earlier)
    errors = [_error(history, *days) for days in in_history if days[2] < first]
    known = [error for error in errors if error is not None]
    return Backtest(median(known) if known else None, len(known))


def exhaustion_date(spent: History, remaining: Forecast, budget: Decimal) -> date | None:
    """The first day on which cumulative spend exceeds the budget and stays above it.

    Args:
        spent: The complete days of the period.
        remaining: The forecast of the other days of the period.
        budget: Dollars for the whole period.

    Returns:
        A past day when the budget is already exceeded; None when the budget lasts.
    """
    exhausted = None
    for day, total in _cumulative(spent, remaining):
        if total <= budget:
            exhausted = None
        elif exhausted is None:
            exhausted = day
    return exhausted


def _cumulative(spent: History, remaining: Forecast) -> list[tuple[date, Decimal]]:
    """The cumulative spend at the end of each day of the period."""
    days = sorted(spent)
    with exact():
        totals = list(accumulate((spent[day] for day in days), initial=Decimal(0)))
        rest = [(each.day, totals[-1] + each.expected) for each in remaining.days]
    return [*zip(days, totals[1:], strict=True), *rest]


def _begin(history: History, first: date) -> date:
    """The first day of the history: the zeros before an organization's first spend are not part of its pattern."""
    oldest = first - HISTORY_DAYS * _DAY
    return min((day for day, dollars in history.items() if dollars and oldest <= day < first), default=first)


def _spent_before(history: History, first: date) -> list[float]:
    begin = _begin(history, first)
    return [float(history.get(begin + n * _DAY, 0)) for n in range((first - begin).days)]


def _error(history: History, start: date, first: date, last: date) -> float | None:
    """The absolute error of the forecast of a past period, as a share of its actual total."""
    actual = float(sum(history.get(first + n * _DAY, 0) for n in range((last - first).days + 1)))
    total = actual + float(sum(history.get(start + n * _DAY, 0) for n in range((first - start).days)))
    expected = float(forecast(history, first, last).expected)
    return abs(expected - actual) / total if total > 0 else None


def _same_day_earlier(day: date, months: int) -> date:
    """The same day of an earlier month; the last day of a month maps to the last day."""
    earlier, at_end = months_earlier(day, months), (day + _DAY).day == 1
    return month_of(earlier)[1] if at_end else earlier


def _interval_path(spent: Sequence[float], ahead: int) -> list[list[Decimal]]:
    """The cumulative expected, lower and upper amounts of each day; only the expected ones without past errors."""
    path = _expected(spent, ahead)
    errors = _past_errors(spent, ahead)
    if not errors:
        return [_cents(path)]
    horizon, daily = len(errors[0]), _scale(spent)
    widening = 1 + _INTERVAL_WIDENING * horizon / (len(spent) - _TRAINING_DAYS)
    deciles = [quantiles(column, n=10, method="inclusive") for column in zip(*errors, strict=True)]
    fan: list[list[float]] = []
    for days, point in enumerate(path, 1):
        low, _, _, _, middle, _, _, _, high = deciles[min(days, horizon) - 1]
        scale = daily * max(1, days / horizon)
        residuals = (middle, middle - (middle - low) * widening, middle + (high - middle) * widening)
        fan.append([point + scale * residual for residual in residuals])
    return [_cents(line) for line in zip(*fan, strict=True)]


def _cents(path: Sequence[float]) -> list[Decimal]:
    """Whole cents of a cumulative path, which starts at zero and does not decrease."""
    return [Decimal(f"{dollars:.2f}") for dollars in accumulate(path, max, initial=0.0)][1:]


def _past_errors(spent: Sequence[float], ahead: int) -> list[list[float]]:
    """The cumulative error (actual - expected) of every earlier forecast, in multiples of the daily scale at its time.

    The horizon is limited to half the days after training; beyond it, the error is extrapolated in proportion to time.
    """
    if len(spent) < _MIN_BACKTEST_DAYS:
        return []
    horizon = min(ahead, (len(spent) - _TRAINING_DAYS) // 2)
    errors: list[list[float]] = []
    for origin in range(_TRAINING_DAYS, len(spent) - horizon + 1):
        before, actuals = spent[:origin], accumulate(spent[origin : origin + horizon])
        if scale := _scale(before):
            path = zip(actuals, _expected(before, horizon), strict=True)
            errors.append([(actual - expected) / scale for actual, expected in path])
    return errors if len(errors) > 1 else []


def _scale(spent: Sequence[float]) -> float:
    """The mean absolute spend per day over the last four weeks, without the largest days: the unit of errors."""
    days = sorted(map(abs, spent[-_LEVEL_WINDOWS[0] :]))
    return fmean(days[: -(len(days) // _DAYS_PER_OUTLIER)])


def _expected(spent: Sequence[float], ahead: int) -> list[float]:
    """The cumulative point forecast: the level times the share of each weekday."""
    if not spent:
        return [0.0] * ahead
    if len(spent) < _TRAINING_DAYS:
        return list(accumulate([fmean(spent)] * ahead))
    shares = _weekday_shares(spent)
    level = _level(spent, shares)
    return list(accumulate(level * shares[n % _WEEK] for n in range(ahead)))


def _weekday_shares(spent: Sequence[float]) -> list[float]:
    """The median ratio of a day to the mean day of its week, with mean 1, by weekday from the first forecast day on."""
    ends = range(len(spent), _WEEK - 1, -_WEEK)[:_WEEKDAY_WEEKS]
    weeks = [spent[end - _WEEK : end] for end in ends]
    ratios = [[day / fmean(week) for day in week] for week in weeks if sum(week) > 0]
    shares = [max(0.0, median(column)) for column in zip(*ratios, strict=True)]
    average = fmean(shares) if shares else 0
    return [share / average for share in shares] if average else [1.0] * _WEEK


def _level(spent: Sequence[float], shares: Sequence[float]) -> float:
    """The deseasonalized spend per day, over the longest window that agrees with the last week."""
    now = _weighted_median(_rates(spent, shares, _WEEK))
    rates = [rate for rate, _ in _rates(spent, shares, _LEVEL_WINDOWS[0])]
    noise = _SIGMA_PER_MEDIAN_CHANGE * median(abs(b - a) for a, b in pairwise(rates))
    tolerance = _LEVEL_TOLERANCE * _MEDIAN_ERROR_RATIO * noise / _WEEK**0.5
    levels = (_winsorized_mean(_rates(spent, shares, days), days // _DAYS_PER_OUTLIER) for days in _LEVEL_WINDOWS)
    return max(0.0, next((level for level in levels if abs(level - now) <= tolerance), now))


def _rates(spent: Sequence[float], shares: Sequence[float], days: int) -> list[tuple[float, float]]:
    """The deseasonalized spend (dollars over weekday share) of the last days, and the share as its weight."""
    latest = ((spent[-ago], shares[-ago % _WEEK]) for ago in range(min(days, len(spent)), 0, -1))
    return [(dollars / share, share) for dollars, share in latest if share > _MIN_WEEKDAY_SHARE]


def _weighted_median(rates: Sequence[tuple[float, float]]) -> float:
    ranked = sorted(rates)
    half = sum(share for _, share in ranked) / 2
    weights = accumulate(share for _, share in ranked)
    return next(rate for (rate, _), weight in zip(ranked, weights, strict=True) if weight >= half)


def _winsorized_mean(rates: Sequence[tuple[float, float]], outliers: int) -> float:
    """The weighted mean after the lowest and the highest `outliers` rates are clamped to the next ones."""
    ranked = [rate for rate, _ in sorted(rates)]
    outliers = min(outliers, (len(ranked) - 1) // 2)
    low, high = ranked[outliers], ranked[-1 - outliers]
    return sum(min(max(rate, low), high) * share for rate, share in rates) / sum(share for _, share in rates)
