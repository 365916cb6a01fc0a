"""Every sentence that states a change, a cause, a forecast or an oddity, against the numbers that it is made of."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from usage_cost_mcp.analysis.billing_lag import BillGap
from usage_cost_mcp.analysis.forecasting import Backtest, LevelChange
from usage_cost_mcp.analysis.price_volume_mix import Driver, Effect, Status
from usage_cost_mcp.analysis.working_days import WorkingDays, working_days
from usage_cost_mcp.model.dimensions import CACHE_READ, CACHE_WRITE_1H, CACHE_WRITE_5M, OUTPUT, UNCACHED
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.reports import wording
from usage_cost_mcp.reports.labels import Labels

DAY = date(2026, 11, 20)

COVERS = "of what its usage cost at earlier prices; from that day on it may not be complete."
NO_COST = "No cost is reported yet for the tokens of 2026-11-20; from that day on the bill may not be complete."
UNKNOWN = (
    "The bill from 2026-11-20 on may not be complete: the cost of that day is unusually low, and the usage to check "
    "it by is unavailable."
)


@pytest.mark.parametrize(
    ("coverage", "sentence"),
    [
        (None, UNKNOWN),
        (Fraction(0), NO_COST),
        (Fraction(1, 1000), f"The bill for 2026-11-20 covers 1% {COVERS}"),
        (Fraction(529, 1000), f"The bill for 2026-11-20 covers 52% {COVERS}"),
        (Fraction(9949, 10000), f"The bill for 2026-11-20 covers 99% {COVERS}"),
    ],
)
def test_an_incomplete_bill_is_told_by_the_share_that_has_arrived(coverage: Fraction | None, sentence: str) -> None:
    assert wording.bill_gap(BillGap(DAY, coverage)) == sentence


# --- comparisons

MORE = "6 of 9 days are Monday to Friday, 7 of 9 in the earlier period, when such a day cost $50.00 more than one of a "
LESS = "1 of 2 days is Monday to Friday, 1 of 4 in the earlier period, when such a day cost $80.00 less than one of a "


@pytest.mark.parametrize(
    ("days", "previous_days", "premium", "sentence"),
    [
        ((6, 9), (7, 9), 50, f"{MORE}weekend (medians). That explains about -$50.00 of the change."),
        ((1, 2), (1, 4), -80, f"{LESS}weekend (medians). That explains about -$40.00 of the change."),
        ((1, 1), (0, 1), None, "1 of 1 day is Monday to Friday, 0 of 1 in the earlier period."),
        ((22, 31), (21, 28), 4, None),
        ((22, 31), (22, 31), 400, None),
        ((1, 1), (1, 1), None, None),
    ],
)
def test_working_days_are_stated_where_they_may_explain_a_quarter_of_a_change(
    days: tuple[int, int], previous_days: tuple[int, int], premium: int | None, sentence: str | None
) -> None:
    both = WorkingDays(days, previous_days, None if premium is None else Decimal(premium))
    assert (wording.unequal_working_days(both) if both.is_material(Decimal(-100)) else None) == sentence


def test_the_premium_of_a_working_day_is_a_difference_of_medians_and_none_if_the_days_are_alike() -> None:
    october = [date(2026, 10, day) for day in range(1, 10)]
    costs = [Decimal(cost) for cost in (100, 110, 20, 30, 90, 900, 100, 100, -800)]
    assert working_days(october, october, costs) == WorkingDays((7, 9), (7, 9), Decimal(75))
    alike = [Decimal(cost) for cost in (100, 110, 95, 100, 105, 100, 100, 100, 100)]
    assert working_days(october, october, alike).premium == 0
    assert working_days(october, october[:2], costs[:2]).premium is None


# --- forecasts

TODAY = date(2026, 11, 22)
YESTERDAY = date(2026, 11, 21)
INTERVAL = (Decimal("6928.97"), Decimal("7058.14"))


@pytest.mark.parametrize(
    ("interval", "complete_days", "incomplete_days", "tested", "sentence"),
    [
        (
            INTERVAL,
            21,
            [TODAY],
            Backtest(0.002, 5),
            (
                "(80% interval $6,928.97 to $7,058.14); $5,100.00 is spent (21 complete days and what is reported so "
                "far for 2026-11-22). Earlier forecasts by this method were off by 0.2% (median of 5)."
            ),
        ),
        (None, 1, [TODAY], Backtest(None, 0), "; $5,100.00 is spent (1 complete day and what is reported so far for "),
        (None, 0, [TODAY], Backtest(None, 0), "; $5,100.00 is spent (what is reported so far for 2026-11-22)."),
        (
            None,
            20,
            [YESTERDAY, TODAY],
            Backtest(None, 0),
            "; $5,100.00 is spent (20 complete days and what is reported so far since 2026-11-21).",
        ),
        (None, 0, [], Backtest(None, 0), "; none of these days has begun."),
    ],
)
def test_a_forecast_says_what_is_spent_and_which_days_that_covers(
    interval: tuple[Decimal, Decimal] | None,
    complete_days: int,
    incomplete_days: Sequence[date],
    tested: Backtest,
    sentence: str,
) -> None:
    made = wording.forecast_summary(
        "November", Decimal("7003.9"), interval, Decimal(5100), complete_days, incomplete_days, tested
    )
    assert made.startswith("Spend for November is expected to be $7,003.90")
    assert sentence in made


@pytest.mark.parametrize(
    ("error", "months", "sentence"),
    [
        (0.2132, 5, "Earlier forecasts by this method were off by 21.3% (median of 5)."),
        (0.001, 2, "Earlier forecasts by this method were off by 0.1% (median of 2)."),
        (0.0005, 5, "Earlier forecasts by this method were off by less than 0.1% (median of 5)."),
        (0.0, 5, "Earlier forecasts by this method were off by less than 0.1% (median of 5)."),
        (0.03, 1, "An earlier forecast by this method was off by 3.0%."),
    ],
)
def test_a_past_error_is_never_told_as_zero(error: float, months: int, sentence: str) -> None:
    assert wording.past_error(Backtest(error, months)) == sentence


@pytest.mark.parametrize(
    ("budget", "spent", "exhausted_on", "sentence"),
    [
        (8000, 5100, None, "That is $996.10 under the budget of $8,000.00; 64% of it is used."),
        (
            7000,
            5100,
            date(2026, 11, 30),
            (
                "That is $3.90 over the budget of $7,000.00, which is within the interval; it is expected to be "
                "exhausted on 2026-11-30; 73% of it is used."
            ),
        ),
        (
            5000,
            5100,
            YESTERDAY,
            "That is $2,003.90 over the budget of $5,000.00; it was exhausted on 2026-11-21; 102% of it is used.",
        ),
        ("7003.9", 7000, None, "That is exactly the budget of $7,003.90, which is within the interval; more than 99%"),
        (8000, 1, None, "; less than 1% of it is used."),
        (8000, 0, None, "; none of it is used."),
        (8000, -100, None, "; none of it is used."),
    ],
)
def test_a_budget_is_compared_with_what_is_expected_the_interval_and_what_is_spent(
    budget: str | int, spent: int, exhausted_on: date | None, sentence: str
) -> None:
    made = wording.budget_summary(Decimal(budget), Decimal("7003.9"), INTERVAL, Decimal(spent), exhausted_on)
    assert sentence in made


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            LevelChange(YESTERDAY, Decimal(100), Decimal(400), 1),
            (
                "2026-11-21 cost $400.00, where about $100.00 was usual. The forecast takes that day for an exception; "
                "if spend stays there, the outcome may be outside the interval."
            ),
        ),
        (
            LevelChange(date(2026, 11, 20), Decimal(100), Decimal(200), 2),
            (
                "The level of spend changed on 2026-11-20: an average day costs $200.00 since then, and $100.00 "
                "before. It is too early to tell whether this lasts, so the interval covers both."
            ),
        ),
    ],
)
def test_a_young_change_is_told_by_both_levels(change: LevelChange, sentence: str) -> None:
    assert wording.level_change(change) == sentence


@pytest.mark.parametrize(
    ("granted", "sentence"),
    [
        (-50, "Credits and other negative amounts of $50.00 are deducted from what is spent; further ones are not"),
        (0, "Credits are not forecast, and earlier ones are not part of the pattern."),
    ],
)
def test_credits_are_told_apart_from_a_forecast(granted: int, sentence: str) -> None:
    assert wording.credits_left_out(Decimal(granted)).startswith(sentence)


# --- anomalies

OCTOBER = Period(date(2026, 10, 1), date(2026, 10, 31), date(2026, 10, 31))
IN_OCTOBER = "in spend for 2026-10-01 to 2026-10-31 (31 days, UTC)"
COMPARED = "with the same weekdays of the previous 56 days (threshold $3.00)."
FEW_WEEKS = "with less than three weeks of history: only large spikes can be found."


@pytest.mark.parametrize(
    ("coverage", "found", "sentence"),
    [
        ((5, 0, 0), 0, f"No anomalies {IN_OCTOBER}. Compared 5 workspaces {COMPARED}"),
        ((1, 0, 0), 1, f"1 anomaly {IN_OCTOBER}; largest: X. Compared 1 workspace {COMPARED}"),
        ((5, 0, 0), 3, f"3 anomalies {IN_OCTOBER}; largest: X. Compared 5 workspaces {COMPARED}"),
        (
            (5, 1, 2),
            0,
            (
                f"No anomalies {IN_OCTOBER}. Compared 2 workspaces {COMPARED} 1 workspace {FEW_WEEKS} "
                "2 workspaces with less than a week of history: not evaluated."
            ),
        ),
        ((2, 2, 0), 0, f"No large spikes {IN_OCTOBER}. 2 workspaces {FEW_WEEKS}"),
        ((2, 2, 0), 1, f"1 anomaly {IN_OCTOBER}; largest: X. 2 workspaces {FEW_WEEKS}"),
        (
            (2, 0, 2),
            0,
            f"Anomalies {IN_OCTOBER} cannot be found: there is less than a week of history of 2 workspaces.",
        ),
        (
            (0, 0, 0),
            0,
            f"There is no spend {IN_OCTOBER.removeprefix('in spend ')} or before it in which anomalies could be found.",
        ),
    ],
)
def test_no_anomalies_is_said_only_of_what_was_evaluated(
    coverage: tuple[int, int, int], found: int, sentence: str
) -> None:
    evaluated = wording.DetectionCoverage(*coverage)
    largest = "X" if found else None
    summary = wording.anomalies_summary(OCTOBER, evaluated, ["workspace_id"], 56, Decimal(3), found, largest)
    assert summary == sentence


@pytest.mark.parametrize(
    ("group_by", "named"),
    [([], "the total"), (["api_key_id"], "5 api keys"), (["model", "speed"], "5 groups by model / speed")],
)
def test_what_was_compared_is_named_by_the_grouping(group_by: list[str], named: str) -> None:
    coverage = wording.DetectionCoverage(5)
    summary = wording.anomalies_summary(OCTOBER, coverage, group_by, 56, Decimal(3), 0, None)
    assert summary == f"No anomalies {IN_OCTOBER}. Compared {named} {COMPARED}"


@pytest.mark.parametrize(
    ("end", "cost", "expected", "sentence"),
    [
        (1, "727.68", "77.49", "Research on 2026-10-01: $727.68 instead of $77.49"),
        (21, "0", "1400", "Research from 2026-10-01 to 2026-10-21: $0.00 instead of $1,400.00"),
        (1, "-449.736202", "0.26", "Research on 2026-10-01: -$449.74 instead of $0.26"),
    ],
)
def test_an_anomaly_is_told_by_its_days_and_both_amounts(end: int, cost: str, expected: str, sentence: str) -> None:
    days = date(2026, 10, 1), date(2026, 10, end)
    assert wording.anomaly_label("Research", *days, Decimal(cost), Decimal(expected)) == sentence


@pytest.mark.parametrize(
    ("excess", "sentence"),
    [("266.04", ", as cost moved to claude-a (+$266.04)"), ("-802.73", ", as cost moved from claude-a (-$802.73)")],
)
def test_a_move_between_models_is_told_in_its_direction(excess: str, sentence: str) -> None:
    assert wording.counterpart_clause("claude-a", Decimal(excess)) == sentence


# --- the causes of a change

OPUS: Mapping[str, str | None] = {"workspace_id": "prod", "model": "opus"}
CREDIT: Mapping[str, str | None] = {"workspace_id": None, "cost_type": None, "description": "Service Credit"}
SEARCH: Mapping[str, str | None] = {"workspace_id": "prod", "cost_type": "web_search", "description": "Web Search"}
PRIORITY = "the Priority Tier, whose cost Anthropic does not report"


def driver(
    effect: Effect,
    group: Mapping[str, str | None],
    change: int,
    shift: tuple[str, str] | None = None,
    status: Status | None = None,
    hit_rate: float | None = None,
) -> Driver:
    return Driver(effect, group, Decimal(change), shift, status, hit_rate)


@pytest.mark.parametrize(
    ("cause", "label"),
    [
        (driver("days", {}, 5, ("30", "31")), "31 instead of 30 days"),
        (driver("days", {}, -5, ("31", "1")), "1 instead of 31 days"),
        (driver("volume", OPUS, 5), "more use of opus in prod"),
        (driver("volume", OPUS, -5), "less use of opus in prod"),
        (driver("volume", {"workspace_id": None, "model": "opus"}, 5), "more use of opus in Default workspace"),
        (driver("volume", {**OPUS, "token_type": CACHE_READ}, 5), "more cache reads in prod / opus"),
        (driver("volume", {**OPUS, "token_type": CACHE_READ}, -5), "fewer cache reads in prod / opus"),
        (driver("volume", {**OPUS, "token_type": CACHE_WRITE_5M}, -5), "fewer 5-minute cache writes in prod / opus"),
        (driver("volume", {**OPUS, "token_type": OUTPUT}, -5), "less output in prod / opus"),
        (driver("volume", {**OPUS, "token_type": UNCACHED}, 5), "more uncached input in prod / opus"),
        (driver("volume", {**OPUS, "service_tier": "batch"}, 5), "more use of opus (batch) in prod"),
        (driver("volume", {**OPUS, "speed": "fast"}, -5), "less use of opus (fast speed) in prod"),
        (driver("volume", {"workspace_id": "prod", "model": None}, 5), "more use of an unknown model in prod"),
        (driver("price", {"model": "opus"}, 5), "higher price of opus"),
        (driver("price", {"model": "opus"}, -5), "lower price of opus"),
        (driver("price", {"model": "opus"}, 5, status="average"), "higher average price of opus"),
        (driver("price", {"model": "opus", "token_type": OUTPUT}, -5), "lower price of output of opus"),
        (driver("model_mix", {"workspace_id": "prod"}, -5, ("opus", "sonnet")), "shift from opus to sonnet in prod"),
        (driver("tier_mix", OPUS, -5, ("standard", "batch")), "shift from standard to batch of opus in prod"),
        (driver("tier_mix", OPUS, -5, ("standard", "priority")), f"move of opus in prod to {PRIORITY}"),
        (driver("tier_mix", OPUS, 5, ("priority_on_demand", "batch")), f"move of opus in prod from {PRIORITY}"),
        (driver("cache_mix", OPUS, 5, (CACHE_READ, UNCACHED), None, -0.2), "lower cache hit rate of opus in prod"),
        (driver("cache_mix", OPUS, -5, (UNCACHED, CACHE_READ), None, 0.2), "higher cache hit rate of opus in prod"),
        (
            driver("cache_mix", OPUS, 5, (CACHE_READ, UNCACHED), None, 0.1),
            "shift from cache reads to uncached input of opus in prod",
        ),
        (
            driver("cache_mix", OPUS, 5, (CACHE_READ, UNCACHED)),
            "shift from cache reads to uncached input of opus in prod",
        ),
        (
            driver("cache_mix", OPUS, 5, (CACHE_WRITE_5M, CACHE_WRITE_1H)),
            "shift from 5-minute cache writes to 1-hour cache writes of opus in prod",
        ),
        (driver("credits", CREDIT, -5, None, "new"), "Service Credit in Default workspace"),
        (driver("credits", CREDIT, 5, None, "ended"), "no more Service Credit in Default workspace"),
        (driver("credits", CREDIT, 5), "smaller Service Credit in Default workspace"),
        (driver("credits", CREDIT, -5), "larger Service Credit in Default workspace"),
        (driver("no_tokens", SEARCH, 5), "more Web Search in prod"),
        (driver("no_tokens", SEARCH, -5), "less Web Search in prod"),
        (driver("no_tokens", SEARCH, -5, None, "ended"), "no more Web Search in prod"),
        (driver("unmatched", OPUS, 5, None, "without_usage"), "cost of opus in prod without usage in the report"),
        (driver("unmatched", OPUS, -5, None, "without_cost"), "usage of opus in prod without cost in the report"),
    ],
    ids=str,
)
def test_a_cause_is_named_by_what_happened_and_by_its_sign(cause: Driver, label: str) -> None:
    assert wording.driver_label(cause, Labels()) == label


def days_of(first: str, last: str) -> Period:
    start, end = map(date.fromisoformat, (first, last))
    return Period(start, end, end)


SEPTEMBER, AUGUST = days_of("2026-09-01", "2026-09-30"), days_of("2026-08-01", "2026-08-31")
FOR_OCTOBER = "Spend for 2026-10-01 to 2026-10-31 (31 days, UTC) was"
FOR_AUGUST, FOR_SEPTEMBER = "for 2026-08-01 to 2026-08-31 (31 days, UTC)", "for 2026-09-01 to 2026-09-30 (30 days, UTC)"


@pytest.mark.parametrize(
    ("before", "cost", "previous_cost", "sentence"),
    [
        (AUGUST, "110", "100", f"{FOR_OCTOBER} $110.00, $10.00 (10.0%) more than {FOR_AUGUST}."),
        (AUGUST, "90", "100", f"{FOR_OCTOBER} $90.00, $10.00 (10.0%) less than {FOR_AUGUST}."),
        (AUGUST, "100", "100", f"{FOR_OCTOBER} $100.00, the same as {FOR_AUGUST}."),
        (AUGUST, "100.001", "100", f"{FOR_OCTOBER} $100.00, <$0.01 (<0.1%) more than {FOR_AUGUST}."),
        (AUGUST, "2500", "100", f"{FOR_OCTOBER} $2,500.00, $2,400.00 (2,400.0%) more than {FOR_AUGUST}."),
        (AUGUST, "100", "0", f"{FOR_OCTOBER} $100.00, $100.00 more than {FOR_AUGUST}."),
        (AUGUST, "0", "100", f"{FOR_OCTOBER} $0.00, $100.00 (100.0%) less than {FOR_AUGUST}."),
        (AUGUST, "-50", "100", f"{FOR_OCTOBER} -$50.00, $150.00 less than {FOR_AUGUST}."),
        (AUGUST, "100", "-50", f"{FOR_OCTOBER} $100.00, $150.00 more than {FOR_AUGUST}."),
        (SEPTEMBER, "310", "300", f"{FOR_OCTOBER} $310.00, $10.00 (3.3%) more than {FOR_SEPTEMBER}; per day the same."),
        (
            SEPTEMBER,
            "310",
            "330",
            f"{FOR_OCTOBER} $310.00, $20.00 (6.1%) less than {FOR_SEPTEMBER}; per day $1.00 (9.1%) less.",
        ),
        (
            SEPTEMBER,
            "305",
            "300",
            f"{FOR_OCTOBER} $305.00, $5.00 (1.7%) more than {FOR_SEPTEMBER}; per day $0.16 (1.6%) less.",
        ),
        (
            SEPTEMBER,
            "300",
            "300",
            f"{FOR_OCTOBER} $300.00, the same as {FOR_SEPTEMBER}; per day $0.32 (3.2%) less.",
        ),
    ],
)
def test_a_change_is_that_of_the_totals_with_that_of_a_day_beside_it(
    before: Period, cost: str, previous_cost: str, sentence: str
) -> None:
    said = wording.comparison_summary(OCTOBER, before, Decimal(cost), Decimal(previous_cost), [], Labels())
    assert said == sentence


def test_the_largest_causes_follow_with_their_dollars() -> None:
    causes = [driver("volume", OPUS, 8), driver("price", {"model": "opus"}, -3), *[driver("volume", OPUS, 1)] * 2]
    said = wording.comparison_summary(OCTOBER, AUGUST, Decimal(107), Decimal(100), causes, Labels())
    assert said.partition(". ")[2] == (
        "Largest drivers: more use of opus in prod +$8.00; lower price of opus -$3.00; more use of opus in prod +$1.00."
    )


def test_a_period_whose_cost_begins_late_is_named_first() -> None:
    costs = Decimal(310), Decimal(50)
    said = wording.incomparable_summary(OCTOBER, SEPTEMBER, *costs, SEPTEMBER, date(2026, 9, 26), "")
    assert said == (
        "There is no cost before 2026-09-26, so 2026-09-01 to 2026-09-30 (30 days, UTC) is not comparable. "
        f"{FOR_OCTOBER} $310.00; {FOR_SEPTEMBER} it was $50.00."
    )


def test_a_period_without_cost_is_named_first() -> None:
    costs = Decimal(310), Decimal(0)
    said = wording.incomparable_summary(OCTOBER, SEPTEMBER, *costs, SEPTEMBER, None, ", model opus")
    assert said == (
        "There is no cost at all for 2026-09-01 to 2026-09-30 (30 days, UTC), model opus, so there is nothing to "
        "compare. Spend for 2026-10-01 to 2026-10-31 (31 days, UTC), model opus was $310.00; "
        f"{FOR_SEPTEMBER} it was $0.00."
    )


def test_models_whose_prices_changed_are_named() -> None:
    assert wording.price_changes(["opus", "sonnet"]) == (
        "Prices of opus, sonnet changed within the period: the average is shown, with the lowest and highest daily "
        "price as range. Use a shorter period to see each price."
    )
