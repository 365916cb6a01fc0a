import calendar
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.anomalies import DEVELOPMENT_SEED, NOISE, false_findings, missed, monthly_job, not_a_drift, ours
from tests.support.harness import NOW
from usage_cost_mcp.analysis.anomalies import (
    HISTORY_DAYS,
    MIN_MINIMUM,
    Anomaly,
    AnomalyStatus,
    DetectionResult,
    default_minimum,
    find_anomalies,
)
from usage_cost_mcp.demo.organization import CREDIT_CENTS, DATA, HACKATHON, PRODUCTION, RESEARCH, SUPPORT, Organization
from usage_cost_mcp.model.rows import Key

FIRST = date(2026, 1, 5)
GROUP: Key = ("group",)
MINIMUM = Decimal(10)
YEAR = 365

Noise = Callable[[Random], float]
Found = tuple[str, str | None, AnomalyStatus]


def uniform(random: Random) -> float:
    return random.uniform(0.9, 1.1)


def gaussian(random: Random) -> float:
    return random.gauss(1, 0.1)


def seasonal(seed: int, days: int, noise: Noise = uniform, *, monthly_growth: float | None = None) -> list[Decimal]:
    """$10 to $1,000 on a working day, 5-45% or 100% of it on weekends, with slow growth or decline."""
    random = Random(seed)  # noqa: S311 - no secret
    working_day, weekend = 10 ** random.uniform(1, 3), random.choice([random.uniform(0.05, 0.45), 1])
    growth = 1 + (random.choice([-0.025, 0, 0.025]) if monthly_growth is None else monthly_growth)
    amounts: list[Decimal] = []
    for n in range(days):
        pace = weekend if (FIRST + timedelta(days=n)).weekday() >= calendar.SATURDAY else 1
        amounts.append(dollars(working_day * pace * growth ** (n / 30) * noise(random)))
    return amounts


def dollars(amount: float) -> Decimal:
    return Decimal(f"{amount:.6f}")


def steady(days: int, weekend: int = 30, working_day: int = 100) -> list[Decimal]:
    week = [working_day] * 5 + [weekend] * 2
    return [Decimal(week[n % 7]) for n in range(days)]


def nth(n: int) -> date:
    return FIRST + timedelta(days=n)


def detect(
    amounts: Sequence[Decimal], evaluate_from: int = HISTORY_DAYS, minimum: Decimal = MINIMUM
) -> DetectionResult:
    return find_anomalies({GROUP: amounts}, FIRST, nth(evaluate_from), minimum)


def anomalies(
    amounts: Sequence[Decimal], evaluate_from: int = HISTORY_DAYS, minimum: Decimal = MINIMUM
) -> Sequence[Anomaly]:
    found = detect(amounts, evaluate_from, minimum)
    assert not found.not_evaluated
    assert not found.spikes_only
    return found.anomalies


def span(found: Anomaly) -> range:
    return range((found.start - FIRST).days, (found.end - FIRST).days + 1)


def only(found: Sequence[Anomaly]) -> Anomaly:
    assert len(found) == 1, found
    return found[0]


# The demo organization


BILL = [
    NOW.date().replace(year=NOW.year - 1, day=1) - timedelta(days=HISTORY_DAYS - n) for n in range(HISTORY_DAYS + 386)
]


def bill(dimension: str) -> Mapping[Key, Sequence[Decimal]]:
    """The daily cost of the demo organization, from eight weeks before its last twelve months."""
    organization = Organization(NOW.date())
    groups: dict[Key, list[Decimal]] = {}
    for n, day in enumerate(BILL):
        for line in organization.costs(day):
            key: Key = (getattr(line, dimension),) if dimension else ()
            groups.setdefault(key, [Decimal()] * len(BILL))[n] += line.cents / 100
    return groups


def months_of(groups: Mapping[Key, Sequence[Decimal]]) -> list[Anomaly]:
    """The anomalies of every month, each detected with eight weeks of history, as the tool does."""
    found: list[Anomaly] = []
    for begin, day in enumerate(BILL):
        if day.day == 1 and begin >= HISTORY_DAYS:
            end = begin + calendar.monthrange(day.year, day.month)[1]
            window = {key: amounts[begin - HISTORY_DAYS : end] for key, amounts in groups.items()}
            found += find_anomalies(window, BILL[begin - HISTORY_DAYS], day, default_minimum(window)).anomalies
    return found


def summarized(found: Sequence[Anomaly]) -> set[Found]:
    return {(str(each.start), each.key[0] if each.key else "all", each.status) for each in found}


def test_the_spike_the_credit_and_each_level_shift_of_the_demo_organization_are_found_once() -> None:
    found = months_of(bill("workspace"))
    assert summarized(found) == {
        ("2025-11-01", HACKATHON, "level_shift"),  # the hackathon is over
        ("2026-02-01", DATA, "level_shift"),  # the move to the 4.6 models
        ("2026-02-01", RESEARCH, "level_shift"),
        ("2026-04-01", PRODUCTION, "level_shift"),  # the broken prompt prefix, and its end
        ("2026-05-01", PRODUCTION, "level_shift"),
        ("2026-08-01", SUPPORT, "level_shift"),  # the move to Haiku
        ("2026-10-21", RESEARCH, "resolved"),  # the runaway evaluation
        ("2026-10-25", None, "resolved"),  # the service credit
    }
    assert len(found) == 8
    spike, credit = (each for each in found if each.status == "resolved")
    assert spike.excess > 600
    assert abs(credit.excess - CREDIT_CENTS / 100) < 1
    assert spike.actual == sum(
        (line.cents / 100 for line in Organization(NOW.date()).costs(date(2026, 10, 21)) if line.workspace == RESEARCH),
        Decimal(),
    )


def test_by_model_the_models_that_the_demo_organization_started_and_stopped_using_are_found() -> None:
    found = months_of(bill("model"))
    assert summarized(found) == {
        ("2025-11-01", "claude-sonnet-4-5", "level_shift"),
        ("2026-02-01", "claude-opus-4-1", "level_shift"),
        ("2026-02-01", "claude-sonnet-4-5", "level_shift"),
        ("2026-02-01", "claude-opus-4-6", "level_shift"),
        ("2026-02-01", "claude-sonnet-4-6", "level_shift"),
        ("2026-04-01", "claude-sonnet-4-6", "level_shift"),
        ("2026-04-04", "claude-opus-4-6", "level_shift"),
        ("2026-05-01", "claude-sonnet-4-6", "level_shift"),
        ("2026-08-01", "claude-sonnet-4-5", "level_shift"),
        ("2026-08-03", "claude-haiku-4-5", "level_shift"),
        ("2026-10-21", "claude-opus-4-6", "resolved"),
        ("2026-10-25", None, "resolved"),
    }
    assert len(found) == 12


def test_in_total_only_changes_that_move_the_total_of_the_demo_organization_are_found() -> None:
    found = months_of(bill(""))
    assert summarized(found) == {
        ("2025-11-01", "all", "level_shift"),
        ("2026-02-02", "all", "level_shift"),
        ("2026-04-05", "all", "level_shift"),
        ("2026-10-21", "all", "resolved"),
        ("2026-10-25", "all", "resolved"),
    }
    assert len(found) == 5


# Not anomalies


def test_a_year_of_weekly_seasonality_has_no_anomaly() -> None:
    for seed in range(40):
        assert not anomalies(seasonal(seed, HISTORY_DAYS + YEAR))


def test_gaussian_noise_of_10_percent_has_less_than_one_false_positive_per_group_in_six_years() -> None:
    groups = 60
    found = sum(len(anomalies(seasonal(seed, HISTORY_DAYS + YEAR, gaussian))) for seed in range(groups))
    assert found < groups / 6


def test_fast_growth_is_not_an_anomaly() -> None:
    for seed in range(20):
        assert not anomalies(seasonal(seed, HISTORY_DAYS + YEAR, monthly_growth=0.2))


@pytest.mark.parametrize(
    "amounts",
    [
        pytest.param([Decimal()] * 100, id="nothing was ever spent"),
        pytest.param(steady(100), id="every week is the same"),
        pytest.param([Decimal(500) if n % 7 == 2 else Decimal() for n in range(100)], id="a job that runs once a week"),
        pytest.param([Decimal(500) if n % 14 == 2 else Decimal(9) for n in range(100)], id="or every second week"),
        pytest.param([Decimal(-50)] * 100, id="a credit every day"),
    ],
)
def test_a_recurring_pattern_is_not_an_anomaly(amounts: Sequence[Decimal]) -> None:
    assert not anomalies(amounts)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_sporadic_use_of_a_group_is_seldom_an_anomaly(share: float) -> None:
    groups = 40
    found = 0
    for seed in range(groups):
        random = Random(seed)  # noqa: S311 - no secret
        days = HISTORY_DAYS + 30
        found += len(
            anomalies([dollars(random.uniform(40, 60)) if random.random() < share else Decimal() for _ in range(days)])
        )
    assert found <= groups / 8


def test_a_small_price_change_moves_the_baseline_without_an_anomaly() -> None:
    cut = HISTORY_DAYS + 10
    assert not anomalies(steady(cut) + [amount * Decimal("0.8") for amount in steady(cut + 60)[cut:]])


# Anomalies


FACTORS = (0, 0.3, 0.5, 1.6, 2, 5, 14)


@pytest.mark.parametrize("factor", FACTORS)
def test_a_planted_spike_or_drop_is_found(factor: float) -> None:
    for seed in range(40):
        random = Random(f"{factor} {seed}")  # noqa: S311 - no secret
        amounts = seasonal(seed, HISTORY_DAYS + 30)
        normal = seasonal(seed, HISTORY_DAYS + 30, lambda _: 1)
        worth = [n for n in range(HISTORY_DAYS, len(amounts)) if abs(factor - 1) * float(normal[n]) > 15]
        if worth:
            day = random.choice(worth)
            amounts[day] = dollars(float(normal[day]) * factor)
            found = only(anomalies(amounts))
            assert span(found) == range(day, day + 1)
            assert found.actual == amounts[day]
            assert abs(found.expected / normal[day] - 1) < 0.15
            assert (found.excess > 0) == (factor > 1)


def test_several_anomalies_are_found_in_descending_order_of_excess() -> None:
    groups: dict[Key, list[Decimal]] = {(str(seed),): seasonal(seed, HISTORY_DAYS + 30) for seed in range(20)}
    planted = [(("3",), 64, 1000), (("4",), 66, 3000), (("4",), 75, -4000), (("9",), 85, 2000)]
    for key, day, extra in planted:
        groups[key][day] += extra
    found = find_anomalies(groups, FIRST, nth(HISTORY_DAYS), MINIMUM).anomalies
    expected = sorted(planted, key=lambda each: -abs(each[2]))
    assert [(each.key, span(each)) for each in found] == [(key, range(day, day + 1)) for key, day, _ in expected]


@given(
    day=st.integers(HISTORY_DAYS, HISTORY_DAYS + 29),
    extra=st.decimals(-(10**6), 10**6, places=8).filter(lambda extra: abs(extra) >= 100),
    seed=st.integers(0, 10**6),
)
def test_a_deviation_of_any_size_from_a_steady_week_is_found_exactly(day: int, extra: Decimal, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - no secret
    amounts = [amount * dollars(uniform(random)) for amount in steady(HISTORY_DAYS + 30)]
    amounts[day] += extra
    found = only(anomalies(amounts))
    assert span(found) == range(day, day + 1)
    assert found.actual == amounts[day]
    assert found.excess == amounts[day] - found.expected
    assert found.expected == round(found.expected, 2)


def test_a_weekly_deviation_is_found_three_times_and_is_then_recurring() -> None:
    amounts = steady(HISTORY_DAYS + 40)
    days = [HISTORY_DAYS + 7 * n for n in range(5)]
    for day in days:
        amounts[day] += 500
    assert sorted(each.start for each in anomalies(amounts)) == [nth(day) for day in days[:3]]


# Streaks and level shifts


def test_consecutive_anomalous_days_are_one_anomaly() -> None:
    amounts = steady(HISTORY_DAYS + 20)
    for n in (1, 2, 3):
        amounts[HISTORY_DAYS + n] *= 4
    found = only(anomalies(amounts))
    assert span(found) == range(HISTORY_DAYS + 1, HISTORY_DAYS + 4)
    assert (found.actual, found.expected, found.excess, found.status) == (1200, 300, 900, "resolved")


def test_a_weekend_with_little_spend_does_not_end_a_streak() -> None:
    amounts = steady(HISTORY_DAYS + 20, weekend=1)
    for n in (3, 4, 5, 6, 7):
        amounts[HISTORY_DAYS + n] *= 4
    assert span(only(anomalies(amounts))) == range(HISTORY_DAYS + 3, HISTORY_DAYS + 8)


def test_a_drop_within_a_streak_of_high_spend_is_a_separate_anomaly() -> None:
    amounts = steady(HISTORY_DAYS + 20)
    for n, amount in enumerate((500, 500, -900, 500)):
        amounts[HISTORY_DAYS + n] = Decimal(amount)
    assert [(len(span(each)), each.excess) for each in anomalies(amounts)] == [(1, -1000), (2, 870), (1, 400)]


@pytest.mark.parametrize("length", range(1, 8))
def test_a_streak_that_includes_the_last_day_is_ongoing(length: int) -> None:
    amounts = steady(HISTORY_DAYS + length)
    found = only(anomalies([*amounts[:HISTORY_DAYS], *(amount * 3 for amount in amounts[HISTORY_DAYS:])]))
    assert (len(span(found)), found.status) == (length, "ongoing")


@pytest.mark.parametrize("change", [0, Decimal("0.4"), 2, 10, -1])
def test_a_level_shift_is_found_once_and_so_is_a_spike_after_it(change: Decimal) -> None:
    begin, spike = HISTORY_DAYS + 3, HISTORY_DAYS + 16
    amounts = steady(HISTORY_DAYS + 90)
    amounts[begin:] = [amount * change for amount in amounts[begin:]]
    amounts[spike] += 50_000
    spike_found, level = anomalies(amounts)
    assert spike_found.start == spike_found.end == nth(spike)
    assert span(level) == range(begin, spike)
    assert level.status == "level_shift"
    assert spike_found.excess == 50_000


@pytest.mark.parametrize("change", [Decimal("0.2"), 2, 5])
def test_a_level_shift_in_noise_is_found_once(change: Decimal) -> None:
    for seed in range(40):
        amounts = [5 * amount for amount in seasonal(seed, HISTORY_DAYS + 90)]
        begin = HISTORY_DAYS + seed % 14
        found = only(anomalies([*amounts[:begin], *(amount * change for amount in amounts[begin:])]))
        assert found.status == "level_shift"
        assert begin <= span(found)[0] <= begin + 3


def test_a_new_group_is_a_level_shift_and_is_evaluated_again_after_three_weeks() -> None:
    begin, spike = HISTORY_DAYS + 3, HISTORY_DAYS + 40
    amounts = [Decimal()] * begin + steady(60)
    amounts[spike] += 500
    found = detect(amounts)
    assert [(each.start, each.status) for each in found.anomalies] == [
        (nth(begin), "level_shift"),
        (nth(spike), "resolved"),
    ]
    assert found.anomalies[0].expected == 0
    assert not found.not_evaluated


@pytest.mark.parametrize("share", [0.02, 0.3, 1])
def test_a_new_group_is_dated_by_its_first_day_however_little_that_has(share: float) -> None:
    amounts = [Decimal()] * (HISTORY_DAYS + 5) + steady(20)
    amounts[HISTORY_DAYS + 5] *= Decimal(str(share))
    assert only(anomalies(amounts)).start == nth(HISTORY_DAYS + 5)


def test_a_streak_that_starts_before_the_evaluated_days_is_found_when_it_reaches_them() -> None:
    amounts = steady(HISTORY_DAYS + 20)
    for n in (-2, -1, 0):
        amounts[HISTORY_DAYS + n] *= 4
    assert only(anomalies(amounts)).start == nth(HISTORY_DAYS - 2)
    assert not anomalies(amounts, HISTORY_DAYS + 1)


def test_an_anomaly_does_not_change_when_more_days_follow() -> None:
    amounts = seasonal(1, HISTORY_DAYS + 60)
    amounts[HISTORY_DAYS + 5] *= 4
    first = only(anomalies(amounts[: HISTORY_DAYS + 7]))
    assert all(only(anomalies(amounts[: HISTORY_DAYS + more])) == first for more in range(7, 60))


def test_spikes_in_the_history_do_not_move_the_baseline() -> None:
    amounts = steady(HISTORY_DAYS + 20)
    for n in (11, 12, 13, 14, 15, 50):
        amounts[n] *= 50
    amounts[HISTORY_DAYS + 4] *= 2
    assert only(anomalies(amounts)).excess == 100


# Minimum and history


def test_no_anomaly_is_smaller_than_the_minimum() -> None:
    for seed in range(60):
        amounts = seasonal(seed, HISTORY_DAYS + 60)
        for day in (60, 73, 87, 101):
            amounts[day] *= 3
        everything = anomalies(amounts, minimum=Decimal(10))
        for minimum in (Decimal(50), Decimal(200), Decimal(1000)):
            large = anomalies(amounts, minimum=minimum)
            assert all(abs(each.excess) >= minimum for each in large)
            assert all(any(day in span(other) for other in everything for day in span(each)) for each in large)


def test_detection_does_not_depend_on_the_unit_of_money() -> None:
    for seed in range(30):
        amounts = seasonal(seed, HISTORY_DAYS + 60, gaussian)
        amounts[70] *= 3
        found = anomalies(amounts)
        tenfold = anomalies([10 * amount for amount in amounts], minimum=10 * MINIMUM)
        assert [(each.start, each.end, each.status, 10 * each.actual) for each in found] == [
            (each.start, each.end, each.status, each.actual) for each in tenfold
        ]


@pytest.mark.parametrize("history", [0, 1, 6])
def test_days_with_less_than_a_week_of_history_are_not_evaluated(history: int) -> None:
    amounts = steady(history + 1)
    amounts[-1] *= 100
    assert detect(amounts, history) == DetectionResult([], {GROUP: [nth(history)]}, {})


@pytest.mark.parametrize("history", [7, 10, 20])
def test_with_less_than_three_weeks_of_history_only_a_day_of_twice_the_largest_is_found(history: int) -> None:
    amounts = steady(history + 1)
    assert detect(amounts, history) == DetectionResult([], {}, {GROUP: [nth(history)]})
    amounts[-1] = Decimal(500)
    found = detect(amounts, history)
    assert found.spikes_only == {GROUP: [nth(history)]}
    assert only(found.anomalies) == Anomaly(
        GROUP, nth(history), nth(history), Decimal(500), steady(history + 1)[-1], "ongoing"
    )


def test_three_weeks_of_history_are_enough_for_a_single_day() -> None:
    amounts = steady(22)
    assert detect(amounts, 21) == DetectionResult([], {}, {})
    amounts[21] *= 4
    assert only(anomalies(amounts, 21)) == Anomaly(GROUP, nth(21), nth(21), Decimal(400), Decimal(100), "ongoing")


def test_without_groups_there_are_no_anomalies() -> None:
    assert find_anomalies({}, FIRST, FIRST, MINIMUM) == DetectionResult([], {}, {})
    assert default_minimum({}) == MIN_MINIMUM


@pytest.mark.parametrize(("a_day", "minimum"), [("0.10", 1), ("55", 1), ("400", 4), ("40049", 400), ("2000000", 1000)])
def test_the_default_minimum_is_1_percent_of_an_average_day_within_bounds(a_day: str, minimum: int) -> None:
    half = Decimal(a_day) / 2
    assert default_minimum({("a",): [half] * 9, ("b",): [half] * 9}) == minimum


def test_the_end_of_a_workspace_is_found_in_an_organization_a_hundred_times_as_large() -> None:
    large = [1000 * amount for amount in seasonal(3, HISTORY_DAYS + 30, lambda _: 2)]
    small = [Decimal(15_000)] * (HISTORY_DAYS + 10) + [Decimal()] * 20
    groups: dict[Key, list[Decimal]] = {("large",): large, ("small",): small}
    found = only(find_anomalies(groups, FIRST, nth(HISTORY_DAYS), default_minimum(groups)).anomalies)
    assert (found.key, found.start, found.actual) == (("small",), nth(HISTORY_DAYS + 10), 0)


@pytest.mark.timing
def test_fifty_groups_of_ninety_days_take_less_than_half_a_second() -> None:
    groups: dict[Key, list[Decimal]] = {(str(seed),): seasonal(seed, 90, gaussian) for seed in range(50)}
    taken: list[float] = []
    for _ in range(3):
        begin = process_time()
        find_anomalies(groups, FIRST, nth(HISTORY_DAYS), MINIMUM)
        taken.append(process_time() - begin)
    assert min(taken) < 0.5


# The benchmark in small, with its development seed


@pytest.mark.parametrize("level", NOISE)
def test_at_every_noise_a_stop_is_found_and_few_anomalies_are_false(level: str) -> None:
    assert missed(ours, "a stop", level, 20, DEVELOPMENT_SEED) == 0
    bound = {"calm": 0, "normal": 0.3, "noisy": 0.5}
    assert false_findings(ours, level, 10, DEVELOPMENT_SEED) <= bound[level]


@pytest.mark.parametrize(
    ("kind", "at_most"),
    [
        ("half as much", 10),
        ("three days of 1.5 times as much", 40),
        ("one day of 3 times as much", 5),
        ("a job on a weekend", 5),
    ],
)
def test_at_normal_noise_most_events_are_found(kind: str, at_most: float) -> None:
    assert missed(ours, kind, "calm", 10, DEVELOPMENT_SEED) == 0
    assert missed(ours, kind, "normal", 20, DEVELOPMENT_SEED) <= at_most


def test_a_slow_leak_is_a_drift_and_a_monthly_job_is_nothing() -> None:
    assert not_a_drift("calm", 20, DEVELOPMENT_SEED) == 0
    assert not_a_drift("normal", 20, DEVELOPMENT_SEED) <= 40
    assert monthly_job(ours, "calm", 20, DEVELOPMENT_SEED) == 0
    assert monthly_job(ours, "normal", 20, DEVELOPMENT_SEED) == 0
