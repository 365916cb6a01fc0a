"""compare_spend: the change by group and by cause, to the last digit, of an organization whose causes are known."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client

from tests.support.harness import NOW, Connect, Upstream, ask, refusal, text_of
from tests.support.oracle import dollars
from usage_cost_mcp.analysis.cost_usage_join import NonTokenCost, PriceCell, PricedCells, WorkspacePriceKey
from usage_cost_mcp.analysis.price_volume_mix import EFFECTS, apportioned, decompose, decompose_periods
from usage_cost_mcp.demo import organization
from usage_cost_mcp.demo.organization import Organization
from usage_cost_mcp.model.dimensions import TOKEN_TYPES

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


STORY = Organization(NOW.date())


def cost(first: date, last: date, story: Organization = STORY) -> Decimal:
    """The cost of some days, by the story of the demo organization."""
    days = [first + n * DAY for n in range((last - first).days + 1)]
    return sum((line.cents / 100 for day in days for line in story.costs(day)), Decimal(0))


def driver(answer: Mapping[str, Any], effect: str) -> dict[str, Any]:
    """The largest cause of a kind."""
    return next(each for each in answer["drivers"] if each["effect"] == effect)


def within_one_percent(told: str, truth: Decimal) -> bool:
    return abs(Decimal(told) - truth) <= abs(truth) / 100


# --- the events of the story, each compared with the story without it ------------------------------------------


async def test_a_price_cut_is_named_and_sized(client: Client) -> None:
    answer = await ask(client, "compare_spend", period="2026-06", against="2026-05")
    found = driver(answer, "price")
    first, last = date(2026, 6, 1), date(2026, 6, 30)
    without_it = cost(first, last, Organization(NOW.date(), price_cut_month=None))
    assert found["label"] == "lower price of claude-sonnet-4-6"
    assert found == answer["drivers"][0]
    assert within_one_percent(found["change"], cost(first, last) - without_it)


async def test_a_switch_of_models_is_named_and_sized(client: Client) -> None:
    answer = await ask(client, "compare_spend", period="2026-08", against="2026-07")
    found = driver(answer, "model_mix")
    story, truth = Organization(NOW.date()), Decimal(0)
    for day in (date(2026, 8, 1) + n * DAY for n in range(31)):
        for stream, counts in story.usage(day, 0, 1440):
            if stream.api_key == organization.CHAT:
                before = replace(stream, model=organization.OLD_SONNET)
                for token_type, tokens in zip(organization.TOKEN_TYPES, counts, strict=False):
                    dearer = story.price(stream, token_type, day) - story.price(before, token_type, day)
                    truth += tokens * dearer / 10**6
    assert found["label"] == "shift from claude-sonnet-4-5 to claude-haiku-4-5 in Support"
    assert found == answer["drivers"][0]
    assert within_one_percent(found["change"], truth)


async def test_a_cache_regression_is_named_and_sized(client: Client) -> None:
    answer = await ask(client, "compare_spend", period="2026-04", against="2026-03")
    first, second = answer["drivers"][:2]
    days = date(2026, 4, 1), date(2026, 4, 30)
    without_it = cost(*days, Organization(NOW.date(), regression_month=None))
    assert [each["label"] for each in (first, second)] == [
        "lower cache hit rate of claude-sonnet-4-6 in Production",
        "lower cache hit rate of claude-opus-4-6 in Production",
    ]
    told = Decimal(first["change"]) + Decimal(second["change"])
    assert within_one_percent(str(told), cost(*days) - without_it)


async def test_a_jump_of_traffic_is_named_and_sized(client: Client) -> None:
    answer = await ask(client, "compare_spend", period="2026-10-21", against="2026-10-14")
    found = driver(answer, "volume")
    spike = date(2026, 10, 21)
    without_it = cost(spike, spike, Organization(NOW.date(), spike_factor=1))
    assert found["label"] == "more use of claude-opus-4-6 in Research"
    assert found == answer["drivers"][0]
    assert within_one_percent(found["change"], cost(spike, spike) - without_it)


async def test_a_credit_is_named_and_sized(client: Client) -> None:
    answer = await ask(client, "compare_spend", period="2026-10-25", against="2026-10-18")
    found = driver(answer, "credits")
    assert found["label"] == "Service Credit in Default workspace"
    assert found["change"] == "-450"


# --- exactness ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"period": "2026-10", "against": "previous_month"},
        {"period": "2026-02", "against": "previous_year", "group_by": ["workspace_id"]},
        {"period": "2026-03", "against": "2026-02", "group_by": [], "top": 1},
        {"period": "last_7_days", "group_by": ["model", "token_type"], "top": 3},
        {"period": "2026-10", "filter_by": {"workspace_id": ["Production", "default"]}},
    ],
    ids=str,
)
async def test_causes_and_groups_add_up_to_the_change(client: Client, query: dict[str, Any]) -> None:
    answer = await ask(client, "compare_spend", **query)
    change = Fraction(answer["change"])
    assert sum(Fraction(each["change"]) for each in answer["drivers"]) == change
    assert sum(map(Fraction, answer["effects"].values())) == change
    assert list(answer["effects"]) == list(EFFECTS)
    for name, total in (("change", change), *((each, Fraction(answer[each])) for each in ("cost", "previous_cost"))):
        assert sum(Fraction(each[name]) for each in answer["groups"]) == total
    assert change == Fraction(answer["cost"]) - Fraction(answer["previous_cost"])


async def test_both_totals_are_those_of_the_report(client: Client, upstream: Upstream) -> None:
    answer = await ask(client, "compare_spend", period="2026-10", against="2026-08", group_by=["model"])
    for name, first, last in (("cost", "2026-10-01", "2026-10-31"), ("previous_cost", "2026-08-01", "2026-08-31")):
        truth = {key: sum(days.values()) for key, days in dollars(upstream.url, first, last, ["model"]).items()}
        told = {(each["group"]["model"],): Fraction(each[name]) for each in answer["groups"] if Fraction(each[name])}
        assert told == truth
        assert Fraction(answer[name]) == sum(truth.values())


workspaces = st.sampled_from([None, "wrkspc_a", "wrkspc_b"])
streams = st.builds(
    WorkspacePriceKey,
    workspaces,
    st.sampled_from(["claude-a", "claude-b", None]),
    st.sampled_from(["standard", "batch"]),
    st.sampled_from(["0-200k", "200k-1M"]),
    st.just("global"),
)
dollars_of_any_size = st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False, places=12)
cells = st.dictionaries(st.builds(PriceCell, streams, st.sampled_from(TOKEN_TYPES)), dollars_of_any_size, max_size=12)
tokens = st.dictionaries(
    st.builds(PriceCell, streams, st.sampled_from(TOKEN_TYPES)), st.integers(1, 10**15), max_size=12
)
others = st.dictionaries(st.builds(NonTokenCost, workspaces, st.just("web_search"), st.none()), dollars_of_any_size)


@st.composite
def organizations(draw: st.DrawFn) -> PricedCells:
    """Costs with tokens, costs without, tokens without costs."""
    cost, used = draw(cells), draw(tokens)
    return PricedCells(cost, {**used, **dict.fromkeys(cost, 7)} if draw(st.booleans()) else used, draw(others))


@given(organizations(), organizations(), st.sampled_from([(1, 1), (30, 31), (7, 1)]))
def test_the_causes_of_any_change_add_up_to_it(before: PricedCells, after: PricedCells, per: tuple[int, int]) -> None:
    truth = Fraction(after.total) / per[1] - Fraction(before.total) / per[0]
    change = Decimal(round(truth * 10**15)).scaleb(-15)
    drivers = decompose(before, after, change, per=per)
    assert sum((Fraction(each.change) for each in drivers), Fraction(0)) == (Fraction(change) if drivers else 0)
    assert drivers or abs(truth) < Fraction(1, 10**6)


@given(organizations(), organizations(), st.sampled_from([(30, 30), (30, 31), (7, 1)]))
def test_the_causes_between_any_two_periods_add_up_to_the_last_digit(
    before: PricedCells, after: PricedCells, lengths: tuple[int, int]
) -> None:
    drivers = decompose_periods(before, after, *lengths)
    truth = Fraction(after.total) - Fraction(before.total)
    assert sum((Fraction(each.change) for each in drivers), Fraction(0)) == (truth if drivers else 0)
    assert drivers or abs(truth) < Fraction(1, 10**6)


def test_a_charge_that_becomes_a_credit_is_not_scaled_to_the_length_of_the_period() -> None:
    kind = NonTokenCost(None, "web_search", "Web Search Usage")
    before, after = (PricedCells({}, {}, {kind: Decimal(dollars)}) for dollars in (30, -5))
    assert [(each.effect, each.change) for each in decompose_periods(before, after, 31, 30)] == [("credits", -35)]


@given(st.lists(st.fractions(-(10**6), 10**6), min_size=1, max_size=20))
def test_parts_are_rounded_to_next_to_nothing_and_add_up(parts: list[Fraction]) -> None:
    total = Decimal(round(sum(parts) * 10**9)).scaleb(-9)
    amounts = apportioned(total, parts)
    assert sum(map(Fraction, amounts)) == Fraction(total)
    assert all(abs(Fraction(a) - part) < Fraction(len(parts), 10**6) for a, part in zip(amounts, parts, strict=True))


# --- periods and groups ---------------------------------------------------------------------------------------------


def days(answer: Mapping[str, Any]) -> list[str]:
    return [answer["against"]["start"], answer["against"]["end"]]


@pytest.mark.parametrize(
    ("period", "against", "expected"),
    [
        ("2026-10-08..2026-10-14", "previous", ["2026-10-01", "2026-10-07"]),
        ("2026-10", "previous_month", ["2026-09-01", "2026-09-30"]),
        ("2026-03-29..2026-03-31", "Previous Month", ["2026-02-28", "2026-02-28"]),
        ("2026-02", "previous-year", ["2025-02-01", "2025-02-28"]),
        ("2026-02", "same_period_last_year", ["2025-02-01", "2025-02-28"]),
        ("this_month", "yoy", ["2025-11-01", "2025-11-21"]),
        ("last_7_days", "previous_week", ["2026-11-08", "2026-11-14"]),
        ("2026-10", "2026-Q2", ["2026-04-01", "2026-06-30"]),
        ("this_month", "October", ["2026-10-01", "2026-10-31"]),
        ("2026-03", "october", ["2025-10-01", "2025-10-31"]),
        ("2026-03", "Oct 2024", ["2024-10-01", "2024-10-31"]),
        ("last_month", "this_month", ["2026-11-01", "2026-11-21"]),
        ("last_month", "previous", ["2026-09-01", "2026-09-30"]),
        ("last_quarter", "previous", ["2026-04-01", "2026-06-30"]),
        ("last_year", "previous", ["2024-01-01", "2024-12-31"]),
        ("last_2_months", "previous", ["2026-07-01", "2026-08-31"]),
        ("last_7_days", "previous", ["2026-11-08", "2026-11-14"]),
        ("this_week", "previous", ["2026-11-09", "2026-11-14"]),
        ("this_month", "previous", ["2026-10-01", "2026-10-21"]),
        ("2026-11", "previous", ["2026-10-01", "2026-10-21"]),
        ("this_quarter", "previous", ["2026-07-01", "2026-08-21"]),
        ("this_year", "previous", ["2025-01-01", "2025-11-21"]),
    ],
)
async def test_which_days_a_period_is_compared_with(
    client: Client, period: str, against: str, expected: list[str]
) -> None:
    assert days(await ask(client, "compare_spend", period=period, against=against)) == expected


async def test_today_is_left_out_and_that_is_said(client: Client) -> None:
    answer = await ask(client, "compare_spend", period="this_month")
    assert answer["period"]["end"] == "2026-11-21"
    assert "today_excluded" in [note["code"] for note in answer["notes"]]


async def test_periods_of_unequal_length_state_the_total_the_day_and_what_the_length_explains(client: Client) -> None:
    result = await client.call_tool("compare_spend", {"period": "2026-06", "against": "2026-05"})
    answer: dict[str, Any] = result.structured_content or {}
    cost, previous_cost = Fraction(answer["cost"]), Fraction(answer["previous_cost"])
    assert Fraction(answer["change"]) == cost - previous_cost
    assert answer["change_ratio"] == round(float(cost / previous_cost - 1), 4)
    assert abs(Fraction(answer["change_per_day"]) - (cost / 30 - previous_cost / 31)) <= Fraction(1, 10**6)
    assert abs(Fraction(driver(answer, "days")["change"]) + previous_cost / 31) <= Fraction(1, 10**6)
    for half in (answer["summary"], text_of(result)):
        assert "$412.34 (5.3%) less" in half
        assert "per day $5.38 (2.1%) less" in half
    assert "unequal_lengths" in [note["code"] for note in answer["notes"]]


async def test_periods_of_equal_length_have_no_change_per_day(client: Client) -> None:
    assert "change_per_day" not in await ask(client, "compare_spend", period="2026-08", against="2026-07")


async def test_new_and_vanished_groups_are_named(client: Client) -> None:
    answer = await ask(client, "compare_spend", period="2026-02", against="2026-01", group_by=["model"])
    status = {each["label"]: each.get("status") for each in answer["groups"]}
    assert (status["claude-opus-4-6"], status["claude-opus-4-1"]) == ("new", "vanished")
    assert status["claude-haiku-4-5"] is None


async def test_neighbouring_periods_are_read_in_one_walk_and_asked_again_for_nothing(
    connect: Connect, upstream: Upstream
) -> None:
    async with connect() as client:
        await ask(client, "compare_spend", period="2026-10-08..2026-10-14")
        assert (upstream.asked("cost_report"), upstream.asked("messages")) == (1, 1)
        answer = await ask(client, "compare_spend", period="2026-10-08..2026-10-14", group_by=["workspace_id"])
    assert answer["cache"] == {"status": "hit", "upstream_requests": 0}


async def test_a_geo_that_is_not_told_is_one_that_is_not_available(client: Client) -> None:
    told, not_told = [
        await ask(client, "compare_spend", period="2026-10", filter_by={"inference_geo": [geo]})
        for geo in ("not_available", None)
    ]
    assert told["drivers"] == not_told["drivers"]
    assert {each["effect"] for each in told["drivers"]} >= {"volume"}


async def test_a_period_before_the_data_is_named_as_such(client: Client) -> None:
    answer = await ask(client, "compare_spend", period="2026-10", against="2023-10")
    assert answer["summary"].startswith("There is no cost at all for 2023-10-01 to 2023-10-31 (31 days, UTC)")
    assert answer["change_ratio"] is None
    assert answer["drivers"] == []
    assert "comparison_period_empty" in [note["code"] for note in answer["notes"]]


async def test_under_a_filter_that_usage_does_not_have_the_groups_are_told_without_causes(client: Client) -> None:
    answer = await ask(client, "compare_spend", filter_by={"token_type": ["output_tokens"]})
    assert answer["drivers"] == []
    assert answer["effects"] == {}
    assert answer["groups"]
    assert "drivers_unavailable" in [note["code"] for note in answer["notes"]]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"period": "2026-10", "against": "2026-10-15..2026-11-02"}, "overlaps"),
        ({"against": "the_good_old_days"}, "not known"),
        ({"group_by": ["fast_mode"]}, "is not known"),
        ({"group_by": ["api_key_id"]}, "get_spend estimates it"),
        ({"period": "today"}, "2026-11-22 (today, UTC) is not over"),
        ({"period": "last_month", "against": "today"}, "2026-11-22 (today, UTC) is not over"),
        ({"period": "last_month", "against": "previous_week"}, "overlaps"),
    ],
)
async def test_what_cannot_be_compared_is_refused_before_any_request(
    client: Client, upstream: Upstream, query: dict[str, Any], said: str
) -> None:
    assert said in await refusal(client, "compare_spend", **query)
    assert not upstream.requests


async def test_a_long_comparison_is_cut_to_what_fits_and_still_adds_up(connect: Connect) -> None:
    async with connect(max_answer_characters=4000) as client:
        answer = await ask(client, "compare_spend", period="2026-10", group_by=["description"], top=100)
    assert answer["groups"][-1]["other_groups"]
    assert sum(Fraction(each["change"]) for each in answer["groups"]) == Fraction(answer["change"])
