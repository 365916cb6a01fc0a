"""What `cache_hit_ratio` says of dollars: saved by the cache at the prices really paid, less the premium of writing."""

import time
from collections.abc import Generator
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client

from tests.support.generated_orgs import DAY, SPEND, GeneratedOrg, Harness, Row, billed, open_harness, used
from tests.support.harness import NOW, Connect, FrozenClock, Upstream, ask, calls_a_server, refusal, text_of
from usage_cost_mcp.app import build_server
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.demo.organization import MINUTES_PER_DAY, TOKEN_TYPES, Organization
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.settings import Settings

DEMO = Organization(NOW.date())
UNIT = Fraction(1, 10**6)
"""Each row is rounded to it."""
UNCACHED, *CACHED = TOKEN_TYPES[:4]

pytestmark = pytest.mark.anyio


def truth(first: str, last: str, **whose: str | None) -> tuple[Fraction, int]:
    """What some streams saved by the demo's own prices, and how many rows that is made of."""
    day, saved, rows = date.fromisoformat(first), Fraction(), 0
    while day <= date.fromisoformat(last):
        for stream, counts in DEMO.usage(day, 0, MINUTES_PER_DAY):
            if stream.tier != "priority" and all(getattr(stream, name) == value for name, value in whose.items()):
                whole = DEMO.price(stream, UNCACHED, day)
                for token_type, count in zip(CACHED, counts[1:4], strict=True):
                    saved += count * Fraction(whole - DEMO.price(stream, token_type, day)) / 10**6
                rows += 1
        day += timedelta(days=1)
    return saved, rows


def agrees(told: str, true: tuple[Fraction, int]) -> bool:
    saved, rows = true
    return abs(Fraction(told) - saved) <= rows * UNIT / 2


def codes(answer: dict[str, Any]) -> set[str]:
    return {note["code"] for note in answer["notes"]}


async def test_savings_are_the_true_ones_by_workspace_and_day(client: Client) -> None:
    answer = await ask(client, "cache_hit_ratio", period="2026-10", group_by=["workspace_id"], granularity="day")
    for series in answer["series"]:
        whose = series["group"]["workspace_id"]
        days = zip(answer["buckets"], series["values"]["cache_savings"], strict=True)
        for day, told in days:
            assert agrees(told, truth(day, day, workspace=whose)), (whose, day)
        assert agrees(series["totals"]["cache_savings"], truth("2026-10-01", "2026-10-31", workspace=whose))
    assert agrees(answer["totals"]["cache_savings"], truth("2026-10-01", "2026-10-31"))


async def test_savings_are_the_true_ones_by_model_also_when_its_price_changes(client: Client) -> None:
    answer = await ask(client, "cache_hit_ratio", period="2026-05-15..2026-06-15", group_by=["model"])
    for series in answer["series"]:
        model = series["group"]["model"]
        true = truth("2026-05-15", "2026-06-15", model=model)
        assert agrees(series["totals"]["cache_savings"], true), model
    assert "cache_savings_estimated" not in codes(answer)


async def test_savings_add_up_over_groups_and_buckets(client: Client) -> None:
    answer = await ask(client, "cache_hit_ratio", period="2026-10", group_by=["model", "workspace_id"], top=2)
    total = Fraction(answer["totals"]["cache_savings"])
    assert sum(Fraction(series["totals"]["cache_savings"] or 0) for series in answer["series"]) == total
    assert sum(Fraction(each or 0) for each in answer["bucket_totals"]["cache_savings"]) == total


async def test_savings_by_key_use_the_prices_of_what_the_key_used(client: Client) -> None:
    answer = await ask(client, "cache_hit_ratio", period="2026-10", group_by=["api_key_id"], granularity="total")
    for series in answer["series"]:
        key = series["group"]["api_key_id"]
        assert agrees(series["totals"]["cache_savings"], truth("2026-10-01", "2026-10-31", api_key=key))


async def test_savings_by_the_hour_are_those_of_the_day(client: Client) -> None:
    hours = await ask(client, "cache_hit_ratio", period="2026-10-06", granularity="hour")
    total = Fraction(hours["totals"]["cache_savings"])
    assert sum(map(Fraction, hours["bucket_totals"]["cache_savings"])) == total
    saved, rows = truth("2026-10-06", "2026-10-06")
    assert abs(total - saved) <= 24 * rows * UNIT / 2


async def test_the_summary_says_what_was_saved(client: Client) -> None:
    result = await client.call_tool("cache_hit_ratio", {"period": "last_month"})
    assert "saving about $3,181.88" in text_of(result)


async def test_follow_up_questions_about_savings_make_no_request(client: Client, upstream: Upstream) -> None:
    await ask(client, "get_spend", period="2026-10")
    await ask(client, "get_token_usage", period="2026-10")
    upstream.requests.clear()
    answer = await ask(client, "cache_hit_ratio", period="2026-10-05..2026-10-11", group_by=["model"])
    assert answer["cache"] == {"status": "hit", "upstream_requests": 0}
    assert not upstream.requests


async def test_priority_tier_has_no_savings_and_its_share_is_told(client: Client) -> None:
    answer = await ask(client, "cache_hit_ratio", period="2026-10", group_by=["service_tier"], granularity="total")
    saved = {series["group"]["service_tier"]: series["totals"]["cache_savings"] for series in answer["series"]}
    assert (saved["priority"], saved["batch"]) == (None, "0")
    (note,) = [note["message"] for note in answer["notes"] if note["code"] == "priority_tier_excluded"]
    assert "2% of the cache tokens" in note
    other = await ask(client, "cache_hit_ratio", period="2026-10", filter_by={"service_tier": ["standard"]})
    assert not codes(other)


def without_the_bill(upstream: Upstream, status: int) -> None:
    def refused(request: Request) -> Response | None:
        return Response({}, status) if request.path.endswith("cost_report") else None

    upstream.override = refused


@pytest.mark.parametrize(("status", "reason"), [(403, "may not read"), (500, "Ask again")])
async def test_without_the_bill_the_ratio_is_answered_and_savings_are_null(
    connect: Connect, upstream: Upstream, status: int, reason: str
) -> None:
    async with connect() as client:
        whole = await ask(client, "cache_hit_ratio", period="2026-10")
    without_the_bill(upstream, status)
    async with connect() as client:
        answer = await ask(client, "cache_hit_ratio", period="2026-10")
    assert answer["bucket_totals"]["cache_hit_ratio"] == whole["bucket_totals"]["cache_hit_ratio"]
    assert set(answer["bucket_totals"]["cache_savings"]) == {None}
    (note,) = [note["message"] for note in answer["notes"] if note["code"] == "cache_savings_unavailable"]
    assert reason in note
    assert "saved" not in answer["summary"]


async def test_a_key_that_is_not_accepted_gives_no_ratio_either(client: Client, upstream: Upstream) -> None:
    without_the_bill(upstream, 401)
    assert "does not accept the Admin key" in await refusal(client, "cache_hit_ratio")


async def test_the_ratio_does_not_wait_for_a_bill_that_hangs(upstream: Upstream, clock: FrozenClock) -> None:
    def hangs(request: Request) -> None:
        time.sleep(1.2 if request.path.endswith("cost_report") else 0)

    upstream.override = hangs
    hasty = build_server(Settings.for_demo({}, upstream.url), clock, Limits(call_seconds=1))
    async with Client(hasty) as client:
        answer = await ask(client, "cache_hit_ratio", period="2026-10-06")
    assert answer["totals"]["cache_hit_ratio"] > 0
    (note,) = [note["message"] for note in answer["notes"] if note["code"] == "cache_savings_unavailable"]
    assert "did not arrive in time" in note


async def test_more_dimensions_than_fit_beside_the_price_leave_savings_null(client: Client, upstream: Upstream) -> None:
    answer = await ask(client, "cache_hit_ratio", period="2026-10", group_by=["api_key_id", "workspace_id"])
    assert answer["totals"]["cache_savings"] is None
    assert answer["totals"]["cache_hit_ratio"] > 0
    assert "cache_savings_unavailable" in codes(answer)
    assert upstream.asked("cost_report") == 0


async def test_a_report_too_large_for_prices_is_not_asked_for_them_again(client: Client, upstream: Upstream) -> None:
    def too_large(request: Request) -> Response | None:
        groupings = [name for name, _ in request.query if name == "group_by[]"]
        return Response({}, 413) if len(groupings) > 2 else None

    upstream.override = too_large
    first = await ask(client, "cache_hit_ratio", period="2026-10", group_by=["model"])
    upstream.requests.clear()
    again = await ask(client, "cache_hit_ratio", period="2026-10", group_by=["model"])
    assert (first["totals"], "cache_savings_unavailable" in codes(again)) == (again["totals"], True)
    assert not upstream.requests


# Worlds made by hand


@pytest.fixture(scope="module")
def house() -> Generator[Harness]:
    with open_harness() as house:
        yield house


def caching_in(house: Harness, bill: list[Row], use: list[Row], **arguments: Any) -> dict[str, Any]:
    house.enter(GeneratedOrg(SPEND, (DAY, DAY), bill, other_report=use))
    return house.ask("cache_hit_ratio", period=str(DAY), **arguments)


WHOLE, READ, WRITTEN = "uncached_input_tokens", "cache_read_input_tokens", "cache_creation.ephemeral_5m_input_tokens"
HERE, THERE = {"workspace_id": "wrkspc_one"}, {"workspace_id": "wrkspc_two"}


def test_a_price_that_a_cell_does_not_have_is_borrowed_and_said_to_be(house: Harness) -> None:
    bill = [billed("300", WHOLE, **HERE), billed("60", READ, **THERE)]
    answer = caching_in(house, bill, [used(1_000_000, **HERE), used(0, 2_000_000, **THERE)])
    assert answer["totals"]["cache_savings"] == "5.4"
    (note,) = [note["message"] for note in answer["notes"] if note["code"] == "cache_savings_estimated"]
    assert "100% of the cache tokens" in note


def test_a_price_of_the_same_cell_goes_before_that_of_another(house: Harness) -> None:
    bill = [billed("300", WHOLE, **HERE), billed("30", READ, **HERE), billed("900", WHOLE, **THERE)]
    answer = caching_in(house, bill, [used(1_000_000, 1_000_000, **HERE), used(1_000_000, **THERE)])
    assert answer["totals"]["cache_savings"] == "2.7"
    assert "cache_savings_estimated" not in codes(answer)


def test_without_any_price_savings_are_null_and_the_reason_is_told(house: Harness) -> None:
    answer = caching_in(house, [billed("30", READ)], [used(0, 1_000_000)])
    assert answer["totals"]["cache_savings"] is None
    (note,) = [note["message"] for note in answer["notes"] if note["code"] == "cache_savings_incomplete"]
    assert "100% of the cache tokens" in note
    assert "no price" in note


def test_without_cache_tokens_savings_are_zero_and_not_null(house: Harness) -> None:
    answer = caching_in(house, [billed("300", WHOLE)], [used(1_000_000)])
    assert answer["totals"]["cache_savings"] == "0"


def test_a_cache_that_is_only_written_costs(house: Harness) -> None:
    bill = [billed("300", WHOLE), billed("375", WRITTEN)]
    answer = caching_in(house, bill, [used(1_000_000, 0, 1_000_000)])
    assert answer["totals"]["cache_savings"] == "-0.75"
    assert "at a net cost of about $0.75" in answer["summary"]


@st.composite
def groups(draw: st.DrawFn) -> dict[str, str | None]:
    return {
        "workspace_id": draw(st.sampled_from([None, "wrkspc_one"])),
        "model": draw(st.sampled_from(["claude-opus-4-6", "claude-haiku-4-5"])),
        "service_tier": draw(st.sampled_from(["standard", "priority"])),
    }


@st.composite
def bills(draw: st.DrawFn) -> list[Row]:
    lines = draw(st.lists(st.tuples(st.integers(1, 10**9), st.sampled_from(TOKEN_TYPES), groups()), max_size=12))
    return [billed(f"{cents}.{cents}", token_type, **group) for cents, token_type, group in lines]


@st.composite
def uses(draw: st.DrawFn) -> list[Row]:
    counts = st.tuples(*[st.integers(0, 10**9)] * 5)
    return [used(*each, **group) for each, group in draw(st.lists(st.tuples(counts, groups()), min_size=1, max_size=8))]


@calls_a_server
@given(bills(), uses(), st.lists(st.sampled_from(["workspace_id", "model", "service_tier"]), min_size=1, unique=True))
def test_savings_of_any_groups_add_up_to_those_of_all(
    house: Harness, bill: list[Row], use: list[Row], group_by: list[str]
) -> None:
    answer = caching_in(house, bill, use, group_by=group_by)
    whole = house.ask("cache_hit_ratio", period=str(DAY))["totals"]["cache_savings"]
    parts = [series["totals"]["cache_savings"] for series in answer["series"]]
    assert answer["totals"]["cache_savings"] == whole
    assert sum(Fraction(part) for part in parts if part is not None) == Fraction(whole or 0)


@calls_a_server
@given(bills(), uses())
def test_every_billed_token_is_priced_or_explained(house: Harness, bill: list[Row], use: list[Row]) -> None:
    house.enter(GeneratedOrg(SPEND, (DAY, DAY), bill, other_report=use))
    answer = house.ask("get_effective_prices", period=str(DAY))
    rows = [*answer["prices"], *answer["unpriced"]]
    assert sum(Fraction(row["cost"]) for row in rows) == sum(Fraction(each.values[0]) / 100 for each in bill)
    assert sum(row["tokens"] for row in rows) == sum(sum(map(int, each.values[:5])) for each in use)
