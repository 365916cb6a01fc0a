"""Fast mode, which has its own price: with the beta header accepted and refused, with the speed in the bill and not."""

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from mcp import Client

from tests.support.harness import FixedPrincipal, FrozenClock, ask, refusal
from tests.support.planted_orgs import (
    CACHE_READ,
    FAST_MODE,
    OPUS,
    PRODUCTION,
    RESEARCH,
    UNCACHED,
    PlantedOrg,
    Workload,
    client_of,
)
from usage_cost_mcp.app import build_server
from usage_cost_mcp.auth.principals import Principal
from usage_cost_mcp.cache import View
from usage_cost_mcp.demo import serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.model.upstream_reports import COST_REPORT, COST_REPORT_WITHOUT_SPEED
from usage_cost_mcp.redis_backend.day_store import day_key
from usage_cost_mcp.settings import Settings

pytestmark = pytest.mark.anyio

DAY = date(2026, 11, 10)
WEEK = f"{DAY}..{DAY + timedelta(days=6)}"
MILLION = 10**6
STANDARD = Workload({UNCACHED: MILLION, CACHE_READ: MILLION}, api_key="apikey_standard", account="user_standard")
FAST = Workload({UNCACHED: MILLION, CACHE_READ: MILLION}, api_key="apikey_fast", account="user_fast", speed="fast")
KEYS: dict[str, str | None] = {"apikey_standard": "wrkspc_production", "apikey_fast": "wrkspc_production"}


def organization(**more: Any) -> PlantedOrg:
    return PlantedOrg([STANDARD, FAST], keys=KEYS, **more)


def requests(org: PlantedOrg, path: str) -> list[dict[str, str]]:
    """The headers and the query of every request for a report."""
    return [
        {**dict(each.query), "beta": each.headers.get("anthropic-beta", "")}
        for each in org.requests
        if each.path.endswith(path)
    ]


def prices(answer: dict[str, Any]) -> dict[str, str]:
    """The price of uncached input by speed."""
    return {row["group"].get("speed", "standard"): row["usd_per_million_tokens"][UNCACHED] for row in answer["prices"]}


def costs(answer: dict[str, Any]) -> dict[str, Decimal]:
    return {series["label"]: Decimal(series["totals"]["cost"]) for series in answer["series"]}


async def test_spend_by_speed_is_what_the_bill_says() -> None:
    async with client_of(organization()) as client:
        answer = await ask(client, "get_spend", period=WEEK, group_by=["speed"], granularity="total")
        assert costs(answer) == {"fast": Decimal(77), "standard": Decimal("38.5")}
        only = await ask(client, "get_spend", period=WEEK, filter_by={"speed": ["fast"]})
        assert only["totals"]["cost"] == "77"
        assert only["cache"]["upstream_requests"] == 0


async def test_each_speed_has_its_own_price() -> None:
    async with client_of(organization()) as client:
        answer = await ask(client, "get_effective_prices", period=WEEK)
        assert prices(answer) == {"standard": "5", "fast": "10"}
        assert [row["group"] for row in answer["prices"] if "speed" not in row["group"]] == [
            {"model": OPUS, "service_tier": "standard", "context_window": "0-200k", "inference_geo": "global"}
        ]
        assert "range" not in answer["prices"][0]


async def test_cache_savings_are_those_of_each_speed() -> None:
    async with client_of(organization()) as client:
        answer = await ask(client, "cache_hit_ratio", period=WEEK, group_by=["api_key_id"], granularity="total")
        savings = {series["label"]: Decimal(series["totals"]["cache_savings"]) for series in answer["series"]}
        assert savings == {"apikey_standard": Decimal("31.5"), "apikey_fast": Decimal(63)}


async def test_only_organizations_with_fast_use_pay_a_request_for_it() -> None:
    ordinary = PlantedOrg([STANDARD], keys=KEYS)
    async with client_of(ordinary) as client:
        assert (await ask(client, "get_effective_prices", period=WEEK))["cache"]["upstream_requests"] == 2
    org = organization()
    async with client_of(org) as client:
        assert (await ask(client, "get_effective_prices", period=WEEK))["cache"]["upstream_requests"] == 3
        assert (await ask(client, "get_effective_prices", period=WEEK))["cache"]["upstream_requests"] == 0
    assert [each.get("speeds[]") for each in requests(org, "messages")] == [None, "fast"]


@pytest.mark.parametrize(
    ("dimension", "standard", "fast", "requested"),
    [("api_key_id", "apikey_standard", "apikey_fast", 6), ("account_id", "user_standard", "user_fast", 4)],
)
async def test_each_key_and_account_pays_the_price_of_its_speed(
    dimension: str, standard: str, fast: str, requested: int
) -> None:
    async with client_of(organization()) as client:
        answer = await ask(client, "get_spend", period=WEEK, group_by=[dimension], granularity="total")
        assert costs(answer) == {standard: Decimal("38.5"), fast: Decimal(77)}
        assert answer["cache"]["upstream_requests"] == requested
        both = await ask(client, "get_spend", period=WEEK, group_by=[dimension, "speed"], granularity="total")
        assert costs(both) == {f"{standard} / standard": Decimal("38.5"), f"{fast} / fast": Decimal(77)}


# ── The table: each answer with the header accepted, with speeds left out, and with the header refused ──

BEFORE, AFTER = "2026-10-11..2026-10-17", "2026-11-08..2026-11-14"


def moved(**more: Any) -> PlantedOrg:
    """In October both keys use standard mode; from November on, one of them uses fast mode."""
    november = date(2026, 11, 1)
    until = Workload({UNCACHED: MILLION, CACHE_READ: MILLION}, api_key="apikey_fast", end=november - timedelta(days=1))
    return PlantedOrg([STANDARD, until, replace(FAST, start=november)], keys=KEYS, **more)


def notes(answer: dict[str, Any]) -> set[str]:
    return {note["code"] for note in answer["notes"]}


UNTOLD: list[Any] = [
    pytest.param({"speed_in_costs": False}, id="the speed is left out"),
    pytest.param({"fast_mode": False}, id="the header is refused"),
]


async def test_a_move_to_fast_mode_is_its_own_cause() -> None:
    async with client_of(moved()) as client:
        answer = await ask(client, "compare_spend", period=AFTER, against=BEFORE)
        assert Decimal(answer["change"]) == Decimal("38.5")
        (driver,) = answer["drivers"]
        assert driver["effect"] == "tier_mix"
        assert "standard" in driver["label"]
        assert "fast" in driver["label"]
        assert Decimal(driver["change"]) == Decimal("38.5")
        assert "prices_mixed" not in notes(answer)


@pytest.mark.parametrize("speeds", UNTOLD)
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("get_spend", {"period": AFTER, "group_by": ["api_key_id"]}),
        ("get_spend", {"period": AFTER, "group_by": ["account_id"]}),
        ("get_effective_prices", {"period": AFTER}),
        ("cache_hit_ratio", {"period": AFTER}),
        ("compare_spend", {"period": AFTER, "against": BEFORE}),
    ],
    ids=["keys", "accounts", "prices", "savings", "causes"],
)
async def test_what_is_mixed_is_said(speeds: dict[str, Any], tool: str, arguments: dict[str, Any]) -> None:
    org = moved(**speeds)
    async with client_of(org) as client:
        answer = await ask(client, tool, **arguments)
    assert "prices_mixed" in notes(answer)
    assert not [each for each in requests(org, "messages") if "speeds[]" in each]


@pytest.mark.parametrize("speeds", UNTOLD)
async def test_a_move_to_fast_mode_that_no_line_shows_beside_the_other_is_said(speeds: dict[str, Any]) -> None:
    until = replace(STANDARD, end=date(2026, 10, 31))
    org = PlantedOrg([until, replace(FAST, start=date(2026, 11, 1))], keys=KEYS, **speeds)
    async with client_of(org) as client:
        both = await ask(client, "compare_spend", period=AFTER, against=BEFORE)
        after = await ask(client, "get_effective_prices", period=AFTER)
    assert "prices_mixed" in notes(both)
    assert both["drivers"][0]["label"].startswith("higher average price of claude-opus-4-6")
    assert "prices_mixed" not in notes(after)


@pytest.mark.parametrize("speeds", UNTOLD)
@pytest.mark.parametrize("tool", ["get_spend", "compare_spend"])
async def test_costs_whose_speed_is_not_reported_are_not_called_standard(speeds: dict[str, Any], tool: str) -> None:
    async with client_of(organization(**speeds)) as client:
        grouped = await ask(client, tool, period=WEEK, group_by=["speed"])
        groups = grouped["series"] if tool == "get_spend" else grouped["groups"]
        assert [group["label"] for group in groups] == ["No speed"]
        assert "speed_unknown" in notes(grouped)
        fast = await ask(client, tool, period=WEEK, filter_by={"speed": ["fast"]})
        assert "speed_unknown" in notes(fast)
        assert "filter_matches_nothing" not in notes(fast)


async def test_the_speed_of_fast_use_that_is_not_billed_yet_does_not_change_other_prices() -> None:
    late = organization(billing_lag=timedelta(hours=38.5))
    async with client_of(late) as client:
        answer = await ask(client, "get_effective_prices", period="2026-11-15..2026-11-20")
    assert prices(answer) == {"standard": "5", "fast": "10"}


@pytest.mark.parametrize("speeds", [{}, {"speed_in_costs": False}, {"fast_mode": False}], ids=str)
async def test_an_organization_without_fast_mode_sees_nothing_of_it(speeds: dict[str, Any]) -> None:
    org = PlantedOrg([STANDARD, replace(STANDARD, api_key="apikey_fast")], keys=KEYS, **speeds)
    async with client_of(org) as client:
        for tool in ("get_spend", "get_effective_prices", "cache_hit_ratio", "compare_spend"):
            answer = await ask(client, tool, period=WEEK)
            assert not notes(answer) & {"prices_mixed", "speed_unknown"}
            assert "speed" not in str(answer)
    assert not [each for each in requests(org, "messages") if "speeds[]" in each]


async def test_fast_use_by_the_hour_has_savings_of_its_own() -> None:
    async with client_of(organization()) as client:
        answer = await ask(client, "cache_hit_ratio", period=str(DAY), granularity="hour", group_by=["api_key_id"])
    savings = {series["label"]: Decimal(series["totals"]["cache_savings"]) for series in answer["series"]}
    assert {label: round(amount, 2) for label, amount in savings.items()} == {
        "apikey_standard": Decimal("4.5"),
        "apikey_fast": Decimal(9),
    }


# ── The header ──


async def test_a_refused_header_is_left_out_for_an_hour() -> None:
    org = organization(fast_mode=False)
    clock = FrozenClock(org.now)
    async with client_of(org, clock) as client:
        for period in (WEEK, "2026-10", "2026-09"):
            await ask(client, "get_spend", period=period)
        assert [each["beta"] for each in requests(org, "cost_report")] == [FAST_MODE, "", "", ""]
        clock.advance(3601)
        org.fast_mode = True
        answer = await ask(client, "get_spend", period=WEEK, group_by=["speed"])
        assert costs(answer) == {"fast": Decimal(77), "standard": Decimal("38.5")}
        assert requests(org, "cost_report")[-1]["beta"] == FAST_MODE


async def test_many_questions_at_once_send_few_refused_requests() -> None:
    org = organization(fast_mode=False)
    months = [f"2026-{month:02}" for month in range(1, 11)]
    async with client_of(org) as client:
        answers = await asyncio.gather(
            *(ask(client, "get_spend", period=month) for month in months),
            *(ask(client, "get_effective_prices", period=month) for month in months),
        )
    assert all(answer["notes"] for answer in answers)
    betas = [each["beta"] for each in requests(org, "cost_report")]
    assert betas.count("") == len(months)
    assert betas.count(FAST_MODE) <= len(months)


async def test_a_rejection_for_another_reason_is_an_error_and_does_not_cost_the_header() -> None:
    org = organization()
    rejected = 2

    def respond(request: Request) -> Response:
        nonlocal rejected
        if request.path.endswith("cost_report") and rejected:
            rejected -= 1
            return Response({"type": "error", "error": {"type": "invalid_request_error", "message": "limit"}}, 400)
        return org(request)

    with serve_on_loopback(respond) as url:
        async with Client(build_server(Settings.for_demo({}, url), FrozenClock(org.now))) as client:
            said = await refusal(client, "get_spend", period=WEEK)
            assert "rejected the server's request. It names limit." in said
            answer = await ask(client, "get_spend", period=WEEK, group_by=["speed"])
    assert costs(answer) == {"fast": Decimal(77), "standard": Decimal("38.5")}


async def test_usage_by_speed_without_the_header_is_refused_in_our_words() -> None:
    async with client_of(organization(fast_mode=False)) as client:
        said = await refusal(client, "get_token_usage", period=WEEK, group_by=["speed"])
    assert "Ask without the dimension speed" in said


def test_days_with_and_without_the_speed_are_never_taken_for_each_other() -> None:
    day = date(2026, 11, 1)
    views = [View(report, COST_REPORT.base_view, "1d") for report in (COST_REPORT, COST_REPORT_WITHOUT_SPEED)]
    assert not views[0].covers(views[1])
    assert not views[1].covers(views[0])
    assert len({day_key("org", view, day) for view in views}) == 2


async def test_a_reader_limited_to_a_workspace_gets_the_same_prices_and_shares() -> None:
    elsewhere = replace(FAST, workspace=RESEARCH, api_key="apikey_other", account="user_other")
    org = PlantedOrg([STANDARD, FAST, elsewhere], keys={**KEYS, "apikey_other": RESEARCH})
    reader = Principal("reader", workspaces=frozenset({PRODUCTION}))
    access = FixedPrincipal(lambda: reader)
    with serve_on_loopback(org) as url:
        async with Client(build_server(Settings.for_demo({}, url), FrozenClock(org.now), access=access)) as client:
            by_key = await ask(client, "get_spend", period=WEEK, group_by=["api_key_id"], granularity="total")
            assert costs(by_key) == {"apikey_standard": Decimal("38.5"), "apikey_fast": Decimal(77)}
            assert prices(await ask(client, "get_effective_prices", period=WEEK)) == {"standard": "5", "fast": "10"}
