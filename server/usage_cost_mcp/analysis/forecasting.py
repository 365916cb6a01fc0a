"""Forecasts cumulative spend with an 80% prediction interval, and back-tests the forecast.

The point forecast is what recurs (`spend_pattern`): level x weekday share x growth, and the days of the month that
stand out. To bound the interval, the forecast by level and weekday is repeated from every earlier day of the history.
The outer deciles of its errors count, widened by what else is uncertain: the size of the days of the month that stand
out, the level after a change, growth beyond the days on which it was tested. Where a level changed within the last
week, the interval reaches from the old level to the new one.

The forecast is deterministic: every past error is used once, nothing is sampled. Amounts are estimates: floats
inside, whole cents outside.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import accumulate, count, takewhile
from statistics import fmean, median, quantiles

from usage_cost_mcp.model.periods import month_of, months_earlier

from .spend_pattern import WEEK, Level, Pattern, find_level, find_pattern, scale_of, weekday_shares

History = Mapping[date, Decimal]
"""Exact dollars of complete UTC days, without credits. A missing day cost nothing."""

HISTORY_DAYS = 180
"""Days of history that a forecast uses: several months to back-test, in six pages of the cost report."""

_TRAINING_DAYS = 14
"""The first earlier forecast: one week cannot separate a weekday from a trend."""
_MIN_BACKTEST_DAYS = 21
"""The shortest history whose earlier forecasts bound the interval: two weeks of training, and one to test on."""
_SIGMAS = 1.28
"""Half the width of an 80% interval, in standard deviations of normal noise."""
_SIGMAS_WHEN_SHORT = 1.5
"""The same when the standard deviation itself is estimated from one or two weeks."""
_INTERVAL_WIDENING = 1
"""The interval widens by this over the number of non-overlapping windows: overlapping errors vary too little."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ForecastDay:
    """Cumulative spend from the first day of the forecast to the end of this one.

    Attributes:
        day: The UTC day.
        expected: Dollars, never less than on the day before.
        low: Dollars, the lower bound of the 80% interval; None when the history is shorter than a week.
        high: Dollars, its upper bound.
    """

    day: date
    expected: Decimal
    low: Decimal | None
    high: Decimal | None


@dataclass(frozen=True, slots=True)
class LevelChange:
    """A change that is too young to tell whether it lasts.

    Attributes:
        since: The first day of the new level, or the only one that differs.
        before: Dollars of an average day before; of a single day, what its weekday usually costs.
        now: Dollars of an average day since, or of the single day.
        days: The number of complete days since. A single day is taken for an exception: the interval ignores it.
    """

    since: date
    before: Decimal
    now: Decimal
    days: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """Cumulative spend of the forecast days, one entry per day; and a change that unsettles it."""

    days: Sequence[ForecastDay]
    change: LevelChange | None = None

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


def forecast(history: History, first: date, last: date, start: date | None = None) -> Forecast:
    """Forecast the cumulative spend from `first` to each day until `last`.

    With less than a week since the first spend, each day is forecast as the mean day, without an interval; without any
    spend the forecast is zero.

    Args:
        history: Complete days. Days from `first` on, and more than `HISTORY_DAYS` before it, are ignored.
        first: The first day to forecast: the first one that is incomplete.
        last: The last day to forecast, not before `first`.
        start: The first day that counts, if it is later than `first`.
    """
    past, spent = _spent_before(history, first)
    coming = _days(first, last)
    lead = max(0, ((start or first) - first).days)
    if len(spent) < WEEK:
        mean = _cents(accumulate([fmean(spent) if spent else 0.0] * (len(coming) - lead)))
        return Forecast(
            [ForecastDay(day, dollars, None, None) for day, dollars in zip(coming[lead:], mean, strict=True)]
        )
    pattern = find_pattern(spent, past)
    path = accumulate(pattern.daily(coming)[lead:])
    low, high = zip(*_interval(pattern, coming, lead), strict=True)
    days = [*map(ForecastDay, coming[lead:], _cents(path), _cents(low), _cents(high))]
    return Forecast(days, _level_change(pattern, past))


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


def exhaustion_date(totals: Iterable[tuple[date, Decimal]], budget: Decimal) -> date | None:
    """The first day on which cumulative spend exceeds the budget and stays above it.

    Args:
        totals: The cumulative spend at the end of each day of the period, actual or expected.
        budget: Dollars for the whole period.

    Returns:
        A past day when the budget is already exceeded; None when the budget lasts.
    """
    exhausted = None
    for day, total in totals:
        if total <= budget:
            exhausted = None
        elif exhausted is None:
            exhausted = day
    return exhausted


def allow_for_errors(made: Forecast, tested: Backtest, spent: Decimal) -> Forecast:
    """Widen the interval to at least the median error of earlier months: they are errors of the same forecast.

    Args:
        made: The forecast.
        tested: Its back-test.
        spent: Dollars of the period before the forecast.
    """
    if not tested.median_error:
        return made
    error, days = Decimal(tested.median_error), list[ForecastDay]()
    for each in made.days:
        if each.low is not None and each.high is not None:
            off = round(error * (abs(spent) + each.expected), 2)
            low, high = min(each.low, max(Decimal("0.00"), each.expected - off)), max(each.high, each.expected + off)
            days.append(replace(each, low=max([low, *(day.low for day in days[-1:] if day.low)]), high=high))
    return replace(made, days=days or made.days)


def include_spent(made: Forecast, so_far: History, left_of_today: float) -> Forecast:
    """Add what the days that are not complete have cost so far, where it is more than expected by now.

    Less than expected changes nothing: the bill may be hours late.

    Args:
        made: The forecast.
        so_far: Dollars of its first days, the last of which is today; earlier ones are over, but not completely billed.
        left_of_today: The share of today that is still to come.
    """
    days: list[ForecastDay] = []
    spent, more, before = Decimal(0), Decimal(0), Decimal(0)
    for each in made.days:
        usual, before = each.expected - before, each.expected
        if each.day in so_far:
            left = Decimal(left_of_today) if each.day == max(so_far) else Decimal(0)
            spent += so_far[each.day]
            more += max(Decimal(0), so_far[each.day] - usual * (1 - left))
        expected, low, high = (_at_least(spent, line, more) for line in (each.expected, each.low, each.high))
        days.append(ForecastDay(each.day, expected or spent, low, high))
    return replace(made, days=days)


def _at_least(spent: Decimal, line: Decimal | None, more: Decimal) -> Decimal | None:
    return None if line is None else max(spent, line + more)


def _begin(history: History, first: date) -> date:
    """The first day of the history: the zeros before an organization's first spend are not part of its pattern."""
    oldest = first - HISTORY_DAYS * _DAY
    return min((day for day, dollars in history.items() if dollars > 0 and oldest <= day < first), default=first)


def _spent_before(history: History, first: date) -> tuple[list[date], list[float]]:
    days = _days(_begin(history, first), first - _DAY)
    return days, [max(0.0, float(history.get(day, 0))) for day in days]


def _error(history: History, start: date, first: date, last: date) -> float | None:
    """The absolute error of the forecast of a past period, as a share of its actual total."""
    coming = _days(first, last)
    ahead = coming[max(0, (start - first).days) :]
    actual, total = (float(sum(history.get(day, 0) for day in days)) for days in (ahead, _days(start, last)))
    past, spent = _spent_before(history, first)
    expected = sum(find_pattern(spent, past).daily(coming)[-len(ahead) :])
    return abs(expected - actual) / total if total > 0 else None


def _days(first: date, last: date) -> list[date]:
    return [first + number * _DAY for number in range((last - first).days + 1)]


def _same_day_earlier(day: date, months: int) -> date:
    """The same day of an earlier month; the last day of a month maps to the last day."""
    earlier, at_end = months_earlier(day, months), (day + _DAY).day == 1
    return month_of(earlier)[1] if at_end else earlier


def _cents(path: Iterable[float]) -> list[Decimal]:
    """Whole cents of a cumulative path, which starts at zero and does not decrease."""
    return [Decimal(f"{dollars:.2f}") for dollars in accumulate(path, max, initial=0.0)][1:]


def _level_change(pattern: Pattern, past: Sequence[date]) -> LevelChange | None:
    level = pattern.level
    if len(level.possible) > 1:
        now, before = level.possible
        return LevelChange(past[-pattern.days_ago(level.days)], _dollars(before), _dollars(now), level.days)
    if level.exception is not None:
        ago = pattern.days_ago(1)
        share = pattern.shares[-ago % WEEK]
        return LevelChange(past[-ago], _dollars(level.now * share), _dollars(level.exception * share), 1)
    return None


def _dollars(amount: float) -> Decimal:
    return Decimal(f"{amount:.2f}")


def _interval(pattern: Pattern, coming: Sequence[date], lead: int) -> Iterator[tuple[float, float]]:
    """The cumulative bounds of each day after the first `lead` ones."""
    totals = zip(*(accumulate(pattern.daily(coming, level)[lead:]) for level in pattern.level.possible), strict=True)
    errors = _past_errors(pattern.flat, lead, len(coming))
    noise = _noise_errors(pattern, coming, lead)
    growth = accumulate(pattern.growth_factors(len(coming))[lead:])
    bounds = pattern.growth_bounds(coming, _tested_days(pattern.flat, len(coming)))[lead:]
    slower, faster = (accumulate(line) for line in zip(*bounds, strict=True))
    rows = zip(totals, errors, noise, growth, slower, faster, strict=True)
    for days, (total, (low, high), (least, other), factors, less, more) in enumerate(rows, 1):
        below, above = (math.hypot(max(least, error) * factors / days, other) for error in (-low, high))
        yield min(total) - below - less, max(total) + above + more


def _noise_errors(pattern: Pattern, coming: Sequence[date], lead: int) -> Iterator[tuple[float, float]]:
    """The cumulative error by the noise of the days, and by what earlier forecasts did not have to foresee.

    The latter are the sizes of days of the month that stand out, and a level that is averaged over a few days only.
    """
    level, equal = pattern.level, min(pattern.flat) == max(pattern.flat)
    sigmas = _SIGMAS if len(pattern.flat) >= _MIN_BACKTEST_DAYS else _SIGMAS_WHEN_SHORT
    spreads = accumulate(spread**2 for spread in pattern.effect_spreads(coming)[lead:])
    squares = [pattern.shares[number % WEEK] ** 2 for number in range(len(coming))]
    of_day = level.noise * math.sqrt(fmean(share**2 for share in pattern.shares))
    for days, (variance, shares) in enumerate(zip(spreads, accumulate(squares[lead:]), strict=True), 1):
        of_days, of_level = level.noise * math.sqrt(shares), of_day * days / math.sqrt(level.days)
        changed = 0.0 if level.before is None else of_level
        least = 0.0 if equal else sigmas * math.hypot(of_days, of_level)
        yield least, _SIGMAS * math.hypot(math.sqrt(variance), changed)


def _tested_days(flat: Sequence[float], ahead: int) -> int:
    """How many days ahead earlier forecasts are tested: at most half the days after training."""
    return min(ahead, (len(flat) - _TRAINING_DAYS) // 2) if len(flat) >= _MIN_BACKTEST_DAYS else 0


def _past_errors(flat: Sequence[float], lead: int, ahead: int) -> list[tuple[float, float]]:
    """The outer deciles of the cumulative error (actual - expected) of every earlier forecast, by days after `lead`.

    They are in proportion to today's level. Beyond the days that can be tested, the error is in proportion to time.
    """
    tested, wanted = _tested_days(flat, ahead), ahead - lead
    if not tested:
        return [(0.0, 0.0)] * wanted
    counted = min(wanted, tested)
    skipped = min(lead, tested - counted)
    errors: list[list[float]] = []
    for origin in range(_TRAINING_DAYS, len(flat) - tested + 1):
        shares = weekday_shares(flat[:origin])
        level = find_level(flat[:origin], shares)
        if scale := _scale(flat[:origin], level):
            days = range(skipped, skipped + counted)
            missed = (flat[origin + day] - level.expected * shares[day % WEEK] for day in days)
            errors.append([error / scale for error in accumulate(missed)])
    if len(errors) < 2:  # noqa: PLR2004 - deciles need two
        return [(0.0, 0.0)] * wanted
    scale = _scale(flat, find_level(flat, weekday_shares(flat)))
    widened = scale * (1 + _INTERVAL_WIDENING * tested / (len(flat) - _TRAINING_DAYS))
    deciles = [quantiles(column, n=10, method="inclusive") for column in zip(*errors, strict=True)]
    outer = [(widened * low, widened * high) for low, *_, high in deciles]
    return [
        tuple(bound * (lead + day + 1) / (skipped + place + 1) for bound in outer[place])
        for day, place in ((day, min(day, counted - 1)) for day in range(wanted))
    ]


def _scale(spent: Sequence[float], level: Level) -> float:
    """The unit of errors, in dollars a day: a level that fell does not make them small at once."""
    return max(*level.possible, level.now, scale_of(spent))
