"""Fast mode, which has its own price: with the beta header accepted and refused, with the speed in the bill and not."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.support.harness import ask
from tests.support.planted_orgs import CACHE_READ, FAST_MODE, OPUS, UNCACHED, PlantedOrg, Workload, client_of

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


async def test_a_refused_header_is_left_out_for_an_hour() -> None:
    org = organization(fast_mode=False)
    async with client_of(org) as client:
        for period in (WEEK, "2026-10", "2026-09"):
            await ask(client, "get_spend", period=period)
    assert [each["beta"] for each in requests(org, "cost_report")] == [FAST_MODE, "", "", ""]


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
