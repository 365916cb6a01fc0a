import math
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from itertools import accumulate, pairwise
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.forecasts import DEVELOPMENT_SEEDS, SIMPLE_METHODS, Outcome, outcomes_of
from benchmarks.spend_histories import KINDS
from tests.support.harness import REPORTS
from usage_cost_mcp.analysis.forecasting import (
    HISTORY_DAYS,
    Backtest,
    Forecast,
    History,
    allow_for_errors,
    backtest,
    exhaustion_date,
    forecast,
    include_spent,
)
from usage_cost_mcp.demo.organization import Organization

DAY = timedelta(days=1)
TODAY = date(2026, 11, 22)
MONTHS = [date(2025 + month // 12, month % 12 + 1, 1) for month in range(4, 22)]
"""The 18 months before the demo's current one."""
OFFICE_WEEK = (100, 105, 100, 102, 95, 40, 35)


def month_end(day: date) -> date:
    return (day.replace(day=1) + 31 * DAY).replace(day=1) - DAY


def days_of(first: date, last: date) -> list[date]:
    return [first + n * DAY for n in range((last - first).days + 1)]


def cost(history: History, first: date, last: date) -> Decimal:
    return sum((history[day] for day in days_of(first, last)), Decimal(0))


def before(first: date, days: int, dollars: Callable[[date], float]) -> dict[date, Decimal]:
    """A history of `days` days that ends on the day before `first`."""
    return {day: Decimal(str(dollars(day))) for day in days_of(first - days * DAY, first - DAY)}


def week(day: date) -> float:
    return OFFICE_WEEK[day.weekday()]


def chance(seed: str) -> Random:
    return Random(seed)  # noqa: S311 - the same worlds in every run


def rather_steady(day: date) -> float:
    """The office week, with noise that is always the same."""
    return round(week(day) * chance(str(day)).gauss(1, 0.05), 6)


@cache
def demo() -> History:
    organization = Organization(TODAY)
    days = days_of(date(2024, 11, 1), TODAY - DAY)
    return {day: sum((line.cents for line in organization.costs(day)), Decimal(0)) / 100 for day in days}


def backtest_months(history: History, months: Sequence[date], day: int) -> tuple[float, float]:
    """The median error of the months' totals, and the coverage of the interval."""
    errors: list[float] = []
    covered = 0
    for month in months:
        first, last = month.replace(day=day), month_end(month)
        known = {each: dollars for each, dollars in history.items() if first - HISTORY_DAYS * DAY <= each < first}
        made, truth = forecast(known, first, last), cost(history, first, last)
        assert made.low is not None
        assert made.high is not None
        errors.append(float(abs(made.expected - truth) / cost(history, month, last)))
        covered += made.low <= truth <= made.high
    return median(errors), covered / len(months)


def test_eighteen_months_are_forecast_on_day_10_within_8_percent_and_with_the_stated_coverage() -> None:
    error, coverage = backtest_months(demo(), MONTHS, 10)
    REPORTS.append(f"forecast on day 10 of 18 months: median error {error:.1%}, the 80% interval held {coverage:.0%}")
    assert error < 0.08
    assert coverage >= 0.7


@pytest.mark.parametrize(("day", "max_error"), [(5, 0.04), (15, 0.02), (20, 0.02), (25, 0.01)])
def test_forecasts_on_other_days_of_the_month_are_at_least_as_accurate(day: int, max_error: float) -> None:
    error, coverage = backtest_months(demo(), MONTHS, day)
    assert error < max_error
    assert coverage >= 0.65


World = Callable[[Random, int], float]
"""The level of a day, by its number; called once a day, in order."""


def shifting(_: Random, number: int) -> float:
    return (1.0, 0.7, 1.1, 0.9, 1.5, 1.2)[number // 130 % 6]


WORLDS: dict[str, tuple[World, float, float]] = {
    "seasonality and little noise": (lambda _, __: 1, 0.08, 0.03),
    "seasonality and much noise": (lambda _, __: 1, 0.3, 0.12),
    "growth of 2.5% a month": (lambda _, number: 1.025 ** (number / 30), 0.08, 0.03),
    "growth of 15% a month": (lambda _, number: 1.15 ** (number / 30), 0.08, 0.04),
    "a new level every four months": (shifting, 0.08, 0.05),
    "a spike or credit a month": (
        lambda random, _: random.choice([8, -3]) if random.random() < 1 / 30 else 1,
        0.08,
        0.2,
    ),
}


@pytest.mark.parametrize("name", WORLDS)
def test_synthetic_histories_are_forecast_accurately_and_with_the_stated_coverage(name: str) -> None:
    level, noise, max_error = WORLDS[name]
    results: list[tuple[float, float]] = []
    for seed in range(4):
        random = chance(f"{name} {seed}")
        history = {
            day: Decimal(round(week(day) * level(random, number) * math.exp(random.gauss(0, noise)), 4)) + 0
            for number, day in enumerate(days_of(MONTHS[0] - HISTORY_DAYS * DAY, TODAY))
        }
        results.append(backtest_months(history, MONTHS[seed % 2 :: 2], 6 + 4 * seed))
    errors, coverage = zip(*results, strict=True)
    assert max(errors) < max_error
    assert 0.65 <= sum(coverage) / len(coverage) <= 0.95


def test_a_weekend_at_the_end_of_a_month_is_forecast_as_a_weekend() -> None:
    saturday, sunday = date(2026, 5, 30), date(2026, 5, 31)
    history = before(saturday, 60, lambda day: 10 if day.weekday() >= 5 else 100)
    assert forecast(history, saturday, sunday).expected == pytest.approx(Decimal(20), rel=Decimal("0.01"))


def test_a_weekday_that_costs_nothing_is_expected_to_cost_nothing() -> None:
    sunday, wednesday = TODAY, TODAY + 3 * DAY
    history = before(sunday, 60, lambda day: 70 if day.weekday() == wednesday.weekday() else 0)
    made = forecast(history, sunday, sunday + 6 * DAY)
    assert [each.expected for each in made.days] == [0, 0, 0, 70, 70, 70, 70]


@pytest.mark.parametrize("ago", [1, 3, 9, 20, 40])
@pytest.mark.parametrize("amount", [-5_000, -450, 900, 5_000])
def test_one_spike_or_credit_changes_the_forecast_by_less_than_3_percent(amount: int, ago: int) -> None:
    history = before(TODAY, HISTORY_DAYS, rather_steady)
    with_outlier = {**history, TODAY - ago * DAY: Decimal(amount)}
    plain, changed = (forecast(each, TODAY, month_end(TODAY)).expected for each in (history, with_outlier))
    assert changed == pytest.approx(plain, rel=Decimal("0.03"))


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.2, 3])
def test_a_new_level_is_followed_within_a_week(factor: float) -> None:
    history = before(TODAY, HISTORY_DAYS, lambda day: rather_steady(day) * (factor if day >= TODAY - 7 * DAY else 1))
    coming = days_of(TODAY, TODAY + 6 * DAY)
    truth = factor * sum(map(week, coming))
    assert float(forecast(history, coming[0], coming[-1]).expected) == pytest.approx(truth, rel=0.05)


def test_growth_does_not_bias_the_forecast() -> None:
    history = before(TODAY, HISTORY_DAYS, lambda day: 100 * 1.1 ** ((day - TODAY).days / 30))
    truth = sum(100 * 1.1 ** (n / 30) for n in range(30))
    assert float(forecast(history, TODAY, TODAY + 29 * DAY).expected) == pytest.approx(truth, rel=0.01)


def test_a_noisier_history_has_a_wider_interval() -> None:
    def width(noise: float) -> Decimal:
        random = chance("noise")
        history = before(TODAY, HISTORY_DAYS, lambda day: round(week(day) * random.gauss(1, noise), 6))
        made = forecast(history, TODAY, month_end(TODAY))
        assert made.low is not None
        assert made.high is not None
        return made.high - made.low

    assert 0 < 2 * width(0.02) < width(0.1)


def assert_consistent(made: Forecast, first: date, last: date) -> None:
    assert [each.day for each in made.days] == days_of(first, last)
    assert (made.expected, made.low, made.high) == (made.days[-1].expected, made.days[-1].low, made.days[-1].high)
    for each in made.days:
        assert each.expected.as_tuple().exponent == -2
        assert (each.low is None) == (each.high is None)
        if each.low is not None and each.high is not None:
            assert 0 <= each.low <= each.expected <= each.high
    for earlier, later in pairwise(made.days):
        assert earlier.expected <= later.expected
        assert (earlier.low or 0) <= (later.low or 0)
        assert (earlier.high or 0) <= (later.high or 0)


AMOUNTS = st.one_of(
    st.just(Decimal(0)),
    st.decimals(-1_000, 1_000, places=4),
    st.decimals(-(10**12), 10**12, places=0),
    st.integers(1, 9).map(lambda digit: Decimal(digit).scaleb(-32)),
)


@given(st.lists(AMOUNTS, max_size=60), st.integers(1, 40))
def test_any_history_gives_a_consistent_and_deterministic_forecast(amounts: list[Decimal], ahead: int) -> None:
    history = {TODAY - ago * DAY: dollars for ago, dollars in enumerate(amounts, 1)}
    last = TODAY + (ahead - 1) * DAY
    made = forecast(history, TODAY, last)
    assert_consistent(made, TODAY, last)
    assert forecast(dict(reversed(history.items())), TODAY, last) == made


@pytest.mark.parametrize("ahead", [1, 31, 92, 366])
def test_a_forecast_reaches_a_day_or_a_year_ahead(ahead: int) -> None:
    last = TODAY + (ahead - 1) * DAY
    made = forecast(demo(), TODAY, last)
    assert_consistent(made, TODAY, last)
    weekly = float(cost(demo(), TODAY - 7 * DAY, TODAY - DAY))
    if ahead > 7:
        assert float(made.expected) == pytest.approx(weekly / 7 * ahead, rel=0.1)


def test_later_days_and_days_that_are_too_old_are_ignored() -> None:
    first, last = date(2026, 6, 10), date(2026, 6, 30)
    known = {day: dollars for day, dollars in demo().items() if first - HISTORY_DAYS * DAY <= day < first}
    assert forecast(demo(), first, last) == forecast(known, first, last)


@pytest.mark.parametrize("history", [{}, before(TODAY, 90, lambda _: 0)], ids=["empty", "zeros"])
def test_a_history_without_spend_is_forecast_as_zero_without_an_interval(history: History) -> None:
    made = forecast(history, TODAY, month_end(TODAY))
    assert (made.expected, made.low, made.high) == (0, None, None)
    assert backtest(history, TODAY.replace(day=1), TODAY, month_end(TODAY)) == Backtest(None, 0)


def test_less_than_a_week_gives_the_mean_day_and_no_interval() -> None:
    made = forecast(before(TODAY, 6, lambda day: 10 + (day - TODAY).days % 2), TODAY, TODAY + 9 * DAY)
    assert (made.expected, made.low, made.high) == (Decimal("105.00"), None, None)


def test_a_week_gives_an_interval_and_the_zeros_before_the_first_spend_do_not_count() -> None:
    def made(days: int) -> Forecast:
        history = before(TODAY, 90, lambda day: rather_steady(day) if day >= TODAY - days * DAY else 0)
        return forecast(history, TODAY, month_end(TODAY))

    assert made(6).low is None
    assert made(7).low is not None
    assert float(made(20).expected) == pytest.approx(sum(map(week, days_of(TODAY, month_end(TODAY)))), rel=0.05)


def test_the_interval_of_a_short_history_is_wider() -> None:
    def width(days: int) -> Decimal:
        firsts = days_of(date(2026, 6, 1), date(2026, 6, 12))
        made = [forecast(before(first, days, rather_steady), first, first + 9 * DAY) for first in firsts]
        return sum(((each.high or Decimal(0)) - (each.low or Decimal(0)) for each in made), Decimal(0))

    assert width(8) > 2 * width(15) > 2 * width(120)


def test_a_history_of_credits_is_forecast_as_zero() -> None:
    assert forecast(before(TODAY, 60, lambda _: -5), TODAY, month_end(TODAY)).expected == 0


@pytest.mark.parametrize("days", [7, 20, 60, 180])
def test_only_equal_days_have_an_interval_without_width(days: int) -> None:
    equal = forecast(before(TODAY, days, lambda _: 10), TODAY, month_end(TODAY))
    one_differs = forecast(before(TODAY, days, lambda day: 10 + (day == TODAY - 5 * DAY)), TODAY, month_end(TODAY))
    assert equal.low == equal.expected == equal.high
    assert one_differs.low is not None
    assert one_differs.high is not None
    assert one_differs.low < one_differs.expected < one_differs.high


def expected_per_day(made: Forecast) -> dict[date, Decimal]:
    totals = [Decimal(0), *(each.expected for each in made.days)]
    return {each.day: later - earlier for each, (earlier, later) in zip(made.days, pairwise(totals), strict=True)}


@pytest.mark.parametrize(
    ("place", "stands_out"), [(1, date(2026, 12, 1)), (15, date(2026, 12, 15)), (-1, date(2026, 11, 30))]
)
def test_a_day_of_the_month_that_stood_out_in_every_month_is_forecast_on_that_day_only(
    place: int, stands_out: date
) -> None:
    usual = before(TODAY, HISTORY_DAYS, rather_steady)
    places = {day: (day.day, (day - month_end(day)).days - 1) for day in usual}
    with_extra_days = {day: dollars + 500 * (place in places[day]) for day, dollars in usual.items()}
    plain, with_extra = (
        expected_per_day(forecast(history, TODAY, date(2026, 12, 20))) for history in (usual, with_extra_days)
    )
    assert float(with_extra[stands_out] - plain[stands_out]) == pytest.approx(500, rel=0.1)
    assert sum(with_extra.values()) - with_extra[stands_out] == pytest.approx(
        sum(plain.values()) - plain[stands_out], rel=Decimal("0.03")
    )


def test_a_spike_of_one_month_is_not_taken_for_a_day_of_the_month() -> None:
    history = before(TODAY, HISTORY_DAYS, lambda day: rather_steady(day) + (500 if day == date(2026, 9, 30) else 0))
    assert expected_per_day(forecast(history, TODAY, month_end(TODAY)))[date(2026, 11, 30)] < 150


@pytest.mark.parametrize("factor", [0.4, 2, 5])
@pytest.mark.parametrize("days", [2, 3, 4, 5, 6])
def test_the_interval_reaches_from_the_old_level_to_one_of_this_week(days: int, factor: float) -> None:
    since = TODAY - days * DAY
    history = before(TODAY, HISTORY_DAYS, lambda day: rather_steady(day) * (factor if day >= since else 1))
    made = forecast(history, TODAY, month_end(TODAY))
    usual = sum(map(week, days_of(TODAY, month_end(TODAY))))
    assert float(made.low or 0) < min(usual, factor * usual)
    assert float(made.high or 0) > max(usual, factor * usual)
    assert made.change is not None
    assert (made.change.since, made.change.days) == (since, days)
    assert float(made.change.now / made.change.before) == pytest.approx(factor, rel=0.15)


def test_a_single_day_that_differs_is_pointed_out_and_taken_for_an_exception() -> None:
    history = before(TODAY, HISTORY_DAYS, rather_steady)
    plain, made = (
        forecast({**history, TODAY - DAY: Decimal(dollars)}, TODAY, month_end(TODAY)) for dollars in (40, 400)
    )
    assert plain.change is None
    assert made.change is not None
    assert (made.change.since, made.change.days) == (TODAY - DAY, 1)
    assert float(made.expected) == pytest.approx(float(plain.expected), rel=0.03)


@pytest.mark.parametrize(("since", "days"), [(date(2026, 11, 19), 2), (date(2026, 11, 20), 1)])
def test_a_change_before_a_weekend_without_use_is_dated_right(since: date, days: int) -> None:
    monday = date(2026, 11, 23)
    history = before(
        monday, HISTORY_DAYS, lambda day: 0 if day.weekday() >= 5 else (400 if day >= since else 100) + day.day / 10
    )
    change = forecast(history, monday, month_end(monday)).change
    assert change is not None
    assert (change.since, change.days) == (since, days)


def test_growth_to_the_end_of_the_year_is_within_the_interval() -> None:
    first, last = date(2026, 6, 10), date(2026, 12, 31)
    history = before(first, HISTORY_DAYS, lambda day: rather_steady(day) * 1.1 ** ((day - first).days / 30))
    made = forecast(history, first, last)
    truth = sum(week(day) * 1.1 ** ((day - first).days / 30) for day in days_of(first, last))
    assert float(made.low or 0) < truth < float(made.high or 0)
    assert float(made.expected) == pytest.approx(truth, rel=0.15)


def test_rare_use_is_forecast_at_its_mean_with_a_wide_interval() -> None:
    history = before(TODAY, HISTORY_DAYS, lambda day: 100 if chance(f"rare {day}").random() < 0.25 else 0)
    made = forecast(history, TODAY, TODAY + 29 * DAY)
    assert float(made.expected) == pytest.approx(750, rel=0.4)
    assert made.low is not None
    assert made.high is not None
    assert made.high - made.low > 300


def test_a_later_start_counts_only_the_days_from_there() -> None:
    history = before(TODAY, HISTORY_DAYS, rather_steady)
    start, last = date(2026, 12, 1), date(2026, 12, 31)
    whole, later = forecast(history, TODAY, last), forecast(history, TODAY, last, start)
    assert_consistent(later, start, last)
    before_it = expected_per_day(whole)
    assert later.expected == pytest.approx(
        sum(dollars for day, dollars in before_it.items() if day >= start), abs=Decimal("0.5")
    )


def test_the_interval_is_never_narrower_than_the_median_error_of_earlier_months() -> None:
    made = forecast(before(TODAY, HISTORY_DAYS, rather_steady), TODAY, month_end(TODAY))
    allowed = allow_for_errors(made, Backtest(0.2, 5), Decimal(1_000))
    off = (1_000 + made.expected) * Decimal("0.2")
    assert allowed.low == pytest.approx(made.expected - off, abs=Decimal("0.01"))
    assert allowed.high == pytest.approx(made.expected + off, abs=Decimal("0.01"))
    assert_consistent(allowed, TODAY, month_end(TODAY))
    assert allow_for_errors(made, Backtest(None, 0), Decimal(0)) == made


def test_what_today_has_cost_is_included_and_the_rest_of_it_is_forecast() -> None:
    made = forecast(before(TODAY, 60, lambda day: 24 + (day == TODAY - 9 * DAY)), TODAY, TODAY + DAY)

    def with_today(dollars: int, left: float) -> Forecast:
        return include_spent(made, {TODAY: Decimal(dollars)}, left)

    usual = made.days[0].expected
    assert with_today(100, 0.25).days[0].expected == pytest.approx(100 + usual / 4)
    assert with_today(100, 0.25).expected == pytest.approx(100 + usual / 4 + (made.expected - usual))
    assert with_today(5, 0.5) == made, "the bill may be late: less than expected changes nothing"
    assert (with_today(100, 0.0).low or 0) >= 100


def test_the_forecast_of_days_without_a_bill_includes_what_they_have_cost() -> None:
    made = forecast(before(TODAY, 60, lambda day: 24 + (day == TODAY - 9 * DAY)), TODAY, TODAY + 2 * DAY)
    included = include_spent(made, {TODAY: Decimal(2), TODAY + DAY: Decimal(60)}, 1.0)
    assert float(expected_per_day(included)[TODAY]) == pytest.approx(24, abs=0.5)
    assert float(expected_per_day(included)[TODAY + DAY]) == pytest.approx(84, abs=0.5)


@cache
def outcomes() -> list[Outcome]:
    return list(outcomes_of(DEVELOPMENT_SEEDS[:2], SIMPLE_METHODS, days_apart=7))


def test_sixteen_kinds_of_organizations_are_forecast_better_than_by_simple_methods() -> None:
    ours, *others = (median(each.errors[name] for each in outcomes()) for name in ("ours", *SIMPLE_METHODS))
    assert ours < min(others)


@pytest.mark.parametrize("kind", KINDS)
def test_the_interval_of_every_kind_of_organization_holds_most_outcomes(kind: str) -> None:
    covered = [each.covered for each in outcomes() if each.kind == kind and each.covered is not None]
    assert sum(covered) > len(covered) / 2


def test_spend_that_stopped_is_not_forecast_to_return() -> None:
    history = before(TODAY, HISTORY_DAYS, lambda day: rather_steady(day) if day < TODAY - 10 * DAY else 0)
    made = forecast(history, TODAY, TODAY + 9 * DAY)
    assert made.expected < 30
    assert made.high is not None


def test_the_back_test_repeats_the_forecast_in_each_earlier_month() -> None:
    first, last = date(2026, 11, 10), date(2026, 11, 30)
    known = {day: demo()[day] for day in days_of(first - HISTORY_DAYS * DAY, first - DAY)}
    errors: list[float] = []
    for month in range(6, 11):
        start, then, end = date(2026, month, 1), date(2026, month, 10), month_end(date(2026, month, 1))
        missed = forecast(known, then, end).expected - cost(known, then, end)
        errors.append(float(abs(missed)) / float(cost(known, start, end)))
    tested = backtest(known, first.replace(day=1), first, last)
    assert (tested.median_error, tested.months) == (pytest.approx(median(errors), rel=1e-3), 5)


@pytest.mark.parametrize(
    ("start", "first", "last", "months"),
    [
        (date(2026, 11, 1), date(2026, 11, 1), date(2026, 11, 30), 5),
        (date(2026, 10, 1), date(2026, 10, 31), date(2026, 10, 31), 4),
        (date(2026, 10, 1), date(2026, 11, 22), date(2026, 12, 31), 3),
        (date(2026, 11, 22), date(2026, 11, 22), date(2026, 12, 24), 4),
        (date(2026, 11, 22), date(2026, 11, 22), date(2027, 11, 22), 0),
    ],
    ids=["from the first day", "on the last day", "quarter", "any day", "too far to test"],
)
def test_only_periods_within_the_history_are_back_tested(start: date, first: date, last: date, months: int) -> None:
    known = {day: dollars for day, dollars in demo().items() if first - HISTORY_DAYS * DAY <= day < first}
    assert backtest(known, start, first, last).months == months


def test_a_perfectly_regular_history_has_no_back_test_error() -> None:
    history = before(TODAY, HISTORY_DAYS, week)
    tested = backtest(history, TODAY.replace(day=1), TODAY, month_end(TODAY))
    assert (tested.median_error, tested.months) == (pytest.approx(0, abs=1e-5), 5)


def totals(spent: History, made: Forecast) -> list[tuple[date, Decimal]]:
    known = [*accumulate(spent.values())]
    return [*zip(spent, known, strict=True), *((each.day, known[-1] + each.expected) for each in made.days)]


@pytest.mark.parametrize(
    ("budget", "day"),
    [
        ("209.99", date(2026, 11, 21)),
        ("210", TODAY),
        ("219.99", TODAY),
        ("220", TODAY + DAY),
        ("299.99", date(2026, 11, 30)),
        ("300", None),
        ("0", date(2026, 11, 1)),
    ],
)
def test_a_budget_is_exhausted_on_the_first_day_that_exceeds_it(budget: str, day: date | None) -> None:
    history = before(TODAY, 60, lambda _: 10)
    spent = {each: history[each] for each in days_of(TODAY.replace(day=1), TODAY - DAY)}
    assert exhaustion_date(totals(spent, forecast(history, TODAY, month_end(TODAY))), Decimal(budget)) == day


def test_a_credit_restores_an_exhausted_budget() -> None:
    history = {**before(TODAY, 60, lambda _: 10), TODAY - DAY: Decimal(-100)}
    spent = {each: history[each] for each in days_of(TODAY.replace(day=1), TODAY - DAY)}
    made = forecast({**history, TODAY - DAY: Decimal(10)}, TODAY, month_end(TODAY))
    assert exhaustion_date(totals(spent, made), Decimal(150)) == date(2026, 11, 27)
