"""A bill that is late by half a day to two and a half: no tool may state anything false, on any weekday.

The organization spends the same on every day, or half of it on weekends. So whatever a tool says of a change, a new
price, an oddity or a missing use is false.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from mcp import Client

from tests.support.harness import FrozenClock, ask, refusal
from tests.support.planted_orgs import CACHE_READ, OUTPUT, UNCACHED, Charge, PlantedOrg, Workload, client_of
from usage_cost_mcp.app import build_server
from usage_cost_mcp.demo import serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.model.periods import midnight, month_of
from usage_cost_mcp.settings import Settings

pytestmark = pytest.mark.anyio

_DAY = timedelta(days=1)
DAILY = {UNCACHED: 20_000_000, CACHE_READ: 10_000_000, OUTPUT: 1_000_000}
SAVED = Decimal(45)
"""What the cache reads of a day save: ten million tokens at $0.50 instead of $5 a million."""


def half_on_weekends(day: date) -> Mapping[str, int]:
    return {name: count // (2 if day.weekday() >= 5 else 1) for name, count in DAILY.items()}


@dataclass(frozen=True)
class Case:
    """A moment, and how late the bill is."""

    now: datetime
    late: timedelta
    weekly: bool = False

    def __str__(self) -> str:
        pattern = "quiet-weekends" if self.weekly else "steady"
        return f"{self.now:%a-%d-%H:%M}-{self.late / _DAY}-days-{pattern}"

    @property
    def today(self) -> date:
        return self.now.date()

    @property
    def unbilled(self) -> date:
        """The first day that is not billed completely; today if all before it are."""
        return min((self.now - self.late).date(), self.today)

    @property
    def org(self) -> PlantedOrg:
        workload = Workload(half_on_weekends if self.weekly else DAILY)
        return PlantedOrg([workload], now=self.now, billing_lag=self.late)

    def used_on(self, day: date) -> Mapping[str, int]:
        return half_on_weekends(day) if self.weekly else DAILY

    def share(self, day: date) -> Decimal:
        return Decimal(self.used_on(day)[OUTPUT]) / DAILY[OUTPUT]


MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
LATE = [timedelta(hours=hours) for hours in (12, 36, 60)]
HOURS = [timedelta(hours=8), timedelta(hours=14, minutes=30)]
CASES = [
    Case(MONDAY + weekday * _DAY + hour, late, weekly)
    for weekday in range(7)
    for hour in HOURS
    for late in LATE
    for weekly in (False, True)
]
FIRST_OF_MONTH = [Case(datetime(2026, 12, 1, 8, tzinfo=UTC), late) for late in LATE]
QUICK = {CASES[place] for place in (0, 17, 34, 51, 68, 83)} | {FIRST_OF_MONTH[1]}


late_bills = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=str(case), marks=[] if case in QUICK else pytest.mark.slow)
        for case in [*CASES, *FIRST_OF_MONTH]
    ],
)


def check_notes(case: Case, answer: Mapping[str, Any], last: date) -> None:
    """The answer names the days up to `last` that are not billed, before anything else; it calls no day unused."""
    notes = [note["message"] for note in answer["notes"] if note["code"] == "not_billed_yet"]
    if case.unbilled > min(last, case.today - _DAY):
        assert not [note for note in notes if "(today, UTC)" not in note]
    else:
        assert answer["notes"][0]["message"] == notes[0]
        assert f"{case.unbilled}" in notes[0]
        assert answer["summary"].startswith(notes[0])
    assert "no_data" not in {note["code"] for note in answer["notes"]}


@late_bills
@pytest.mark.parametrize("group_by", [[], ["model"], ["api_key_id"]], ids=["total", "by model", "by key"])
async def test_spend_is_what_is_reported_and_says_what_is_not(case: Case, group_by: list[str]) -> None:
    yesterday = case.today - _DAY
    async with client_of(org := case.org) as client:
        answer = await ask(client, "get_spend", period="yesterday", group_by=group_by)
        requests = [each for each in org.requests if each.path.endswith(("cost_report", "messages"))]
        check_notes(case, answer, yesterday)
        check_notes(case, await ask(client, "get_spend", period="last_7_days", group_by=group_by), yesterday)
        today = await ask(client, "get_spend", period="today", group_by=group_by)
    assert len(requests) <= (3 if group_by == ["api_key_id"] else 2), (
        "at most one request more than without a late bill"
    )
    if case.unbilled == case.today and not group_by:
        assert len(requests) == 1
    assert "today as far as it is reported" in today["summary"]
    assert ("No cost is reported yet" in today["summary"]) == (case.now - case.late < midnight(case.today))


@late_bills
async def test_tokens_are_complete(case: Case) -> None:
    yesterday = case.today - _DAY
    async with client_of(case.org) as client:
        answer = await ask(client, "get_token_usage", period="yesterday")
    assert answer["totals"]["output_tokens"] == case.used_on(yesterday)[OUTPUT]
    assert answer["notes"] == []


@late_bills
async def test_the_status_names_the_last_billed_day(case: Case) -> None:
    async with client_of(case.org) as client:
        answer = await ask(client, "get_status")
    assert answer["newest_data"]["billed_through"] == f"{case.unbilled - _DAY}"
    assert answer["newest_data"]["usage"] == f"{case.today}"
    check_notes(case, answer, case.today - _DAY)


@late_bills
async def test_prices_are_those_of_the_billed_days(case: Case) -> None:
    yesterday = case.today - _DAY
    async with client_of(case.org) as client:
        week = await ask(client, "get_effective_prices", period="last_7_days")
        day = await ask(client, "get_effective_prices", period="yesterday")
    (price,) = week["prices"]
    assert price["usd_per_million_tokens"] == {UNCACHED: "5", CACHE_READ: "0.5", OUTPUT: "25"}
    assert "range" not in price
    assert week["unpriced"] == day["unpriced"] == []
    assert week["period"]["end"] == f"{case.unbilled - _DAY}"
    assert len(day["prices"]) == (case.unbilled == case.today)
    check_notes(case, week, yesterday)
    check_notes(case, day, yesterday)


@late_bills
async def test_cache_savings_use_the_prices_of_the_billed_days(case: Case) -> None:
    yesterday = case.today - _DAY
    async with client_of(case.org) as client:
        answer = await ask(client, "cache_hit_ratio", period="yesterday")
        today = await ask(client, "cache_hit_ratio", period="today")
    assert Decimal(answer["totals"]["cache_savings"]) == SAVED * case.share(yesterday)
    assert answer["totals"]["cache_hit_ratio"] == pytest.approx(1 / 3)
    assert Decimal(today["totals"]["cache_savings"]) > 0
    check_notes(case, answer, yesterday)


@late_bills
async def test_values_are_in_use_though_their_cost_is_late(case: Case) -> None:
    yesterday = case.today - _DAY
    async with client_of(case.org) as client:
        for dimension in ("model", "cost_type"):
            check_notes(
                case, await ask(client, "list_dimension_values", dimension=dimension, period="yesterday"), yesterday
            )
        keys = await ask(client, "list_dimension_values", dimension="api_key_id", period="yesterday")
    assert [(each["label"], each["used"]) for each in keys["values"]] == [("apikey_main", True)]
    assert keys["notes"] == []


@late_bills
async def test_equal_weeks_compare_as_equal(case: Case) -> None:
    async with client_of(case.org) as client:
        answer = await ask(client, "compare_spend", period="last_7_days")
        assert Decimal(answer["change"]) == 0
        assert answer["drivers"] == []
        check_notes(case, answer, case.today - _DAY)
        if case.unbilled == case.today:
            day = await ask(client, "compare_spend", period="yesterday", against=f"{case.today - 8 * _DAY}")
            assert Decimal(day["change"]) == 0
        else:
            assert "may not be complete" in await refusal(client, "compare_spend", period="yesterday")


@late_bills
async def test_the_forecast_does_not_take_a_late_bill_for_a_cheap_day(case: Case) -> None:
    first, last = month_of(case.today)
    true = case.org.cost(first, last)
    async with client_of(case.org) as client:
        answer = await ask(client, "forecast_spend", budget=f"{true * Decimal('0.97'):.2f}")
    assert float(answer["expected"]) == pytest.approx(float(true), rel=0.01)
    assert answer["budget"]["over_budget"]
    check_notes(case, answer, case.today - _DAY)


@late_bills
async def test_a_late_bill_is_no_anomaly(case: Case) -> None:
    async with client_of(case.org) as client:
        answer = await ask(client, "find_spend_anomalies", period="last_30_days")
        assert answer["anomalies"] == []
        check_notes(case, answer, case.today - _DAY)


NOW = MONDAY + 6 * _DAY + HOURS[1]
YESTERDAY = NOW.date() - _DAY
LATE_BILL = timedelta(days=1, hours=12)


def codes(answer: Mapping[str, Any]) -> list[str]:
    return [note["code"] for note in answer["notes"]]


async def test_a_price_that_was_cut_yesterday_is_told_with_care_and_known_three_days_later() -> None:
    def half_since_yesterday(day: date) -> Decimal:
        return Decimal("0.52") if day >= YESTERDAY else Decimal(1)

    org = PlantedOrg([Workload(DAILY, discount=half_since_yesterday)], now=NOW)
    async with client_of(org) as client:
        spend = await ask(client, "get_spend", period="yesterday")
        prices = await ask(client, "get_effective_prices", period="last_7_days")
    assert "covers 52% of what its usage cost at earlier prices" in spend["summary"]
    assert "may not be complete" in spend["summary"]
    assert prices["prices"][0]["usd_per_million_tokens"][UNCACHED] == "5"
    assert "prices_changed" not in codes(prices)
    async with client_of(replace(org, now=NOW + 3 * _DAY)) as client:
        spend = await ask(client, "get_spend", period="last_7_days")
        prices = await ask(client, "get_effective_prices", period="last_7_days")
    assert "not_billed_yet" not in codes(spend)
    assert prices["prices"][0]["range"][UNCACHED] == ["2.6", "5"]


@pytest.mark.parametrize("late", [timedelta(), LATE_BILL], ids=["in time", "late"])
async def test_an_organization_that_began_yesterday_is_billed_as_soon_as_it_has_a_cost(late: timedelta) -> None:
    async with client_of(PlantedOrg([Workload(DAILY, start=YESTERDAY)], now=NOW, billing_lag=late * 2)) as client:
        answer = await ask(client, "get_spend", period="yesterday")
    assert (codes(answer)[0] == "not_billed_yet") == bool(late)
    assert "no_data" not in codes(answer)


@pytest.mark.parametrize("late", [timedelta(), LATE_BILL], ids=["in time", "late"])
async def test_a_tiny_organization_is_judged_like_a_large_one(late: timedelta) -> None:
    tiny = PlantedOrg([Workload({UNCACHED: 37, OUTPUT: 3})], now=NOW, billing_lag=late)
    async with client_of(tiny) as client:
        answer = await ask(client, "get_spend", period="last_7_days")
    assert ("not_billed_yet" in codes(answer)) == bool(late)


async def test_an_organization_without_any_use_is_not_told_that_its_bill_is_late() -> None:
    async with client_of(PlantedOrg([], now=NOW)) as client:
        answer = await ask(client, "get_spend", period="yesterday")
    assert codes(answer)[0] == "no_data"
    assert "not_billed_yet" not in codes(answer)


async def test_the_priority_tier_has_no_bill_to_wait_for() -> None:
    async with client_of(PlantedOrg([Workload(DAILY, tier="priority")], now=NOW)) as client:
        answer = await ask(client, "get_spend", period="yesterday")
    assert "not_billed_yet" not in codes(answer)
    assert "nothing was used" not in str(answer["notes"])


async def test_credits_neither_hide_a_late_bill_nor_make_one() -> None:
    credited = [Charge(YESTERDAY, Decimal(500), "Correction"), Charge(YESTERDAY - _DAY, Decimal(-500))]
    for late in (timedelta(), timedelta(days=1)):
        async with client_of(PlantedOrg([Workload(DAILY)], credited, now=NOW, billing_lag=late)) as client:
            answer = await ask(client, "get_spend", period="last_7_days")
        assert ("not_billed_yet" in codes(answer)) == bool(late)


async def test_when_usage_is_unavailable_an_unusually_low_day_may_not_be_complete() -> None:
    org = PlantedOrg([Workload(DAILY)], now=NOW, billing_lag=LATE_BILL)

    def without_usage(request: Request) -> Response:
        return Response({}, 404) if request.path.endswith("usage_report/messages") else org(request)

    with serve_on_loopback(without_usage) as url:
        async with Client(build_server(Settings.for_demo({}, url), FrozenClock(NOW))) as client:
            answer = await ask(client, "get_spend", period="yesterday")
    assert "the cost of that day is unusually low" in answer["summary"]


async def test_usage_by_every_price_dimension_that_is_too_large_still_shows_a_day_without_cost() -> None:
    org = PlantedOrg([Workload(DAILY)], now=NOW, billing_lag=2 * LATE_BILL)

    def too_large(request: Request) -> Response:
        groupings = [value for name, value in request.query if name == "group_by[]"]
        return Response({}, 413) if len(groupings) > 4 else org(request)

    with serve_on_loopback(too_large) as url:
        async with Client(build_server(Settings.for_demo({}, url), FrozenClock(NOW))) as client:
            answer = await ask(client, "get_spend", period="yesterday")
    assert "No cost is reported yet for the tokens of 2026-11-20" in answer["summary"]


@pytest.mark.parametrize("tool", ["get_spend", "get_token_usage", "cache_hit_ratio"])
async def test_nothing_is_called_unused_while_today_is_not_over(tool: str) -> None:
    async with client_of(PlantedOrg([], now=NOW)) as client:
        today = await ask(client, tool, period="today")
        week = await ask(client, tool, period="2026-11-16..2026-11-22")
    assert "no_data" not in codes(today)
    assert "today as far as it is reported" in today["summary"]
    assert any("no data at all for 2026-11-16 to 2026-11-21" in note["message"] for note in week["notes"])
