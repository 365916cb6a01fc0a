"""forecast_spend: exact days so far, an estimate with an interval for the rest, and how a budget stands."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from mcp import Client

from tests.support.harness import Connect, FrozenClock, Upstream, ask, refusal, text_of
from tests.support.oracle import dollars
from tests.support.planted_orgs import NOW, RESEARCH, UNCACHED, Charge, PlantedOrg, Workload, client_of
from usage_cost_mcp.demo.http import Response

pytestmark = pytest.mark.anyio


def codes(answer: Mapping[str, Any]) -> list[str]:
    return [note["code"] for note in answer["notes"]]


async def test_what_is_spent_is_exact_and_equals_the_spend_to_date(client: Client, upstream: Upstream) -> None:
    answer = await ask(client, "forecast_spend")
    truth = dollars(upstream.url, "2026-11-01", "2026-11-22", [])
    assert Fraction(answer["spent"]) == sum(truth[()].values())
    assert answer["spent"] == (await ask(client, "get_spend", period="this_month"))["totals"]["cost"]
    assert "(21 complete days and what is reported so far for 2026-11-22)" in answer["summary"]
    assert answer["period"] == {"start": "2026-11-01", "end": "2026-11-30", "timezone": "UTC"}
    assert answer["complete_until"] == "2026-11-21"


async def test_the_course_is_exact_until_yesterday_and_ends_in_what_is_expected(
    client: Client, upstream: Upstream
) -> None:
    answer = await ask(client, "forecast_spend")
    course = {day: place for place, day in enumerate(answer["buckets"])}
    lines: dict[str, list[str]] = answer["cumulative"]
    assert len(course) == 30
    truth = dollars(upstream.url, "2026-11-01", "2026-11-21", [])
    assert {Fraction(line[course["2026-11-21"]]) for line in lines.values()} == {sum(truth[()].values())}
    assert [line[-1] for line in lines.values()] == [answer[name] for name in lines]
    for low, expected, high in zip(lines["low"], lines["expected"], lines["high"], strict=True):
        assert Decimal(low) <= Decimal(expected) <= Decimal(high)


async def test_half_a_year_of_history_is_six_requests_and_then_none(client: Client, upstream: Upstream) -> None:
    assert (await ask(client, "forecast_spend"))["cache"] == {"status": "miss", "upstream_requests": 6}
    assert (await ask(client, "forecast_spend", until="quarter_end"))["cache"]["status"] == "hit"
    assert upstream.asked("messages") == 0


async def test_a_forecast_says_how_well_it_did_before(client: Client) -> None:
    result = await client.call_tool("forecast_spend", {})
    answer: dict[str, Any] = result.structured_content or {}
    assert 0 < answer["median_error"] < 0.08
    assert answer["tested_periods"] == 5
    assert f"off by {answer['median_error']:.1%} (median of 5)" in text_of(result)
    assert f"off by {answer['median_error']:.1%} (median of 5)" in answer["summary"]


@pytest.mark.parametrize("day", [5, 10, 15, 25])
async def test_a_past_month_comes_out_as_it_was_forecast(
    connect: Connect, clock: FrozenClock, upstream: Upstream, day: int
) -> None:
    clock.moment = datetime(2026, 9, day, 12, tzinfo=UTC)
    async with connect() as client:
        answer = await ask(client, "forecast_spend")
    clock.moment = datetime(2026, 10, 2, tzinfo=UTC)
    truth = float(sum(dollars(upstream.url, "2026-09-01", "2026-09-30", [])[()].values()))
    assert abs(float(answer["expected"]) - truth) < 0.08 * truth


async def test_a_budget_that_is_too_small_is_over_and_runs_out_on_a_day(client: Client) -> None:
    answer = await ask(client, "forecast_spend", budget=6000)
    budget = answer["budget"]
    assert budget["over_budget"] is True
    assert Decimal(budget["projected_overrun"]) == Decimal(answer["expected"]) - 6000
    assert budget["share_used"] == round(float(answer["spent"]) / 6000, 4)
    assert budget["pace"] == 0.7
    course = dict(zip(answer["buckets"], map(Decimal, answer["cumulative"]["expected"]), strict=True))
    gone = date.fromisoformat(budget["exhausted_on"])
    assert course[str(gone - timedelta(days=1))] <= 6000 < course[str(gone)]
    assert f"exhausted on {gone}" in answer["summary"]


@pytest.mark.parametrize("budget", ["$9,000", "9000.00", "9k", 9000, 9000.0])
async def test_a_budget_that_holds_is_under_however_it_is_written(client: Client, budget: object) -> None:
    stands = (await ask(client, "forecast_spend", budget=budget))["budget"]
    assert (stands["over_budget"], stands["exhausted_on"], Decimal(stands["amount"])) == (False, None, 9000)


async def test_one_workspace_is_forecast_by_its_name(client: Client, upstream: Upstream) -> None:
    answer = await ask(client, "forecast_spend", filter_by={"workspace_id": ["Production"]})
    truth = dollars(upstream.url, "2026-11-01", "2026-11-22", ["workspace_id"])[("wrkspc_demoProduction",)]
    assert Fraction(answer["spent"]) == sum(truth.values())
    assert "workspace_id Production" in answer["summary"]


@pytest.mark.parametrize(
    ("until", "start", "end"),
    [
        ("quarter_end", "2026-10-01", "2026-12-31"),
        ("year end", "2026-01-01", "2026-12-31"),
        ("2026-12-15", "2026-11-01", "2026-12-15"),
        ("2026-12", "2026-12-01", "2026-12-31"),
        ("2026-11", "2026-11-01", "2026-11-30"),
        ("2026-Q4", "2026-10-01", "2026-12-31"),
        ("2026", "2026-01-01", "2026-12-31"),
        ("2027-Q1", "2027-01-01", "2027-03-31"),
        ("2026-11-22", "2026-11-01", "2026-11-22"),
    ],
)
async def test_how_far_a_forecast_reaches(client: Client, until: str, start: str, end: str) -> None:
    answer = await ask(client, "forecast_spend", until=until)
    assert (answer["period"]["start"], answer["period"]["end"]) == (start, end)
    assert answer["buckets"][-1] == end


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"until": "2026-11-21"}, "a day from today"),
        ({"until": "2028-01-01"}, "a year ahead"),
        ({"until": "doomsday"}, "Accepted: month_end, quarter_end, year_end"),
        ({"budget": "a lot"}, "budget must be a dollar amount above zero"),
        ({"budget": -5}, "budget must be a dollar amount above zero"),
        ({"budget": "1e99"}, "budget must be a dollar amount above zero"),
        ({"budget": "1e-400"}, "budget must be a dollar amount above zero"),
        ({"budget": True}, "budget must be a number of dollars"),
    ],
)
async def test_what_cannot_be_forecast_is_refused_before_any_request(
    client: Client, upstream: Upstream, query: dict[str, Any], said: str
) -> None:
    assert said in await refusal(client, "forecast_spend", **query)
    assert not upstream.requests


async def test_without_a_history_nothing_is_expected_and_that_is_said(client: Client, upstream: Upstream) -> None:
    upstream.override = lambda request: Response(
        {"data": [], "has_more": False, "next_page": None} if request.path.endswith("cost_report") else {}
    )
    answer = await ask(client, "forecast_spend", budget=10)
    assert (answer["spent"], answer["expected"], answer["low"], answer["median_error"]) == ("0", "0", None, None)
    assert {"no_history", "backtest_unavailable"} <= set(codes(answer))
    assert "There is no spend on earlier days to forecast from" in answer["summary"]
    assert answer["budget"]["over_budget"] is False


async def test_on_the_first_of_a_month_all_of_it_is_still_to_come(connect: Connect, clock: FrozenClock) -> None:
    clock.moment = datetime(2026, 11, 1, 9, tzinfo=UTC)
    async with connect() as client:
        answer = await ask(client, "forecast_spend")
    assert answer["complete_until"] is None
    assert 0 < Decimal(answer["spent"]) < 200
    assert "(what is reported so far for 2026-11-01)" in answer["summary"]
    assert Decimal(answer["expected"]) > 5000


LATE = NOW.replace(hour=23, minute=0)
TODAY = NOW.date()


def input_tokens(count: Callable[[date], float]) -> Workload:
    """Some tokens a day, at five dollars a million."""
    return Workload(lambda day: {UNCACHED: int(count(day))})


async def forecast_of(org: PlantedOrg, **arguments: Any) -> Mapping[str, Any]:
    async with client_of(org) as client:
        return await ask(client, "forecast_spend", **arguments)


async def test_a_forecast_is_never_below_what_is_spent_and_includes_today() -> None:
    org = PlantedOrg([input_tokens(lambda day: 400_000_000 if day == TODAY else 20_000_000)], now=LATE)
    answer = await forecast_of(org, budget=4000)
    before_today, today = 21 * 100, Decimal(2000) * 23 / 24
    assert Decimal(answer["spent"]) == pytest.approx(before_today + today, abs=Decimal("0.01"))
    assert Decimal(answer["low"]) >= Decimal(answer["spent"]).quantize(Decimal("0.01"))
    assert Decimal(answer["expected"]) == pytest.approx(
        before_today + today + Decimal(100) / 24 + 800, rel=Decimal("0.001")
    )
    assert answer["budget"]["exhausted_on"] == str(TODAY)
    assert "it was exhausted on 2026-11-22" in answer["summary"]


async def test_days_without_a_bill_are_forecast_and_named_first() -> None:
    org = PlantedOrg([input_tokens(lambda _: 26_000_000)], billing_lag=timedelta(days=1.5))
    answer = await forecast_of(org, budget=3800)
    assert answer["complete_until"] == "2026-11-20"
    assert float(answer["expected"]) == pytest.approx(3900, rel=0.002)
    assert answer["budget"]["over_budget"] is True
    assert codes(answer)[0] == "not_billed_yet"
    assert answer["summary"].count("The bill for 2026-11-21 covers") == 1
    assert "(20 complete days and what is reported so far since 2026-11-21)" in answer["summary"]


async def test_credits_are_deducted_from_what_is_spent_and_not_forecast() -> None:
    charges = [Charge(date(2026, month, 5), Decimal(-5000)) for month in (8, 9, 10, 11)]
    org = PlantedOrg([input_tokens(lambda _: 26_000_000)], charges)
    answer = await forecast_of(org)
    assert float(answer["expected"]) == pytest.approx(30 * 130 - 5000, abs=1)
    assert "credits_not_forecast" in codes(answer)
    assert any("negative amounts of $5,000.00 are deducted" in note["message"] for note in answer["notes"])
    assert "credits_not_forecast" not in codes(await forecast_of(PlantedOrg([input_tokens(lambda _: 26_000_000)])))


@pytest.mark.parametrize(("days", "code"), [(1, "no_interval"), (3, "no_interval"), (12, "short_history")])
async def test_the_history_of_a_new_workspace_starts_with_its_first_day(days: int, code: str) -> None:
    new = Workload({UNCACHED: 10_000_000}, RESEARCH, start=TODAY - timedelta(days=days))
    org = PlantedOrg([input_tokens(lambda _: 20_000_000), new])
    answer = await forecast_of(org, filter_by={"workspace_id": ["Research"]})
    (message,) = (note["message"] for note in answer["notes"] if note["code"] == code)
    assert f"{days} day{'s' if days > 1 else ''} of spend history" in message
    assert float(answer["expected"]) == pytest.approx(50 * (days + 9), rel=0.001)
    assert (answer["low"] is None) == (code == "no_interval")


async def test_a_level_of_this_week_is_pointed_out_and_the_interval_covers_both() -> None:
    since = TODAY - timedelta(days=3)
    org = PlantedOrg([input_tokens(lambda day: (40 if day >= since else 20) * 10**6 + day.day)])
    answer = await forecast_of(org)
    assert "level_changed" in codes(answer)
    assert "The level of spend changed on 2026-11-19: an average day costs $200.00 since then" in answer["summary"]
    spent = 18 * 100 + 3 * 200
    assert float(answer["low"]) <= spent + 9 * 100
    assert float(answer["high"]) >= spent + 9 * 200


@pytest.mark.parametrize("until", ["month_end", "quarter_end"])
async def test_the_stated_error_is_within_the_interval(until: str) -> None:
    def spend(day: date) -> float:
        return 10**6 * (20 + 80 * ((day + timedelta(days=1)).day == 1)) * (1 + (day.month % 3) / 4)

    answer = await forecast_of(PlantedOrg([input_tokens(spend)]), until=until)
    expected, off = float(answer["expected"]), answer["median_error"]
    assert off > 0
    assert float(answer["low"]) <= expected * (1 - off) + 0.01
    assert float(answer["high"]) >= expected * (1 + off) - 0.01


async def test_a_later_month_is_forecast_without_the_rest_of_this_one() -> None:
    answer = await forecast_of(PlantedOrg([input_tokens(lambda day: 20_000_000 + day.day)]), until="2026-12")
    assert answer["spent"] == "0"
    assert float(answer["expected"]) == pytest.approx(3100, rel=0.002)
    assert "none of these days has begun" in answer["summary"]
