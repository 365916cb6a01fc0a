"""Cache writes of a kind that is not documented: counted as input, and as a measure and a token type of their own."""

from collections.abc import AsyncGenerator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from mcp import Client

from tests.support.harness import ask, refusal
from tests.support.planted_orgs import CACHE_READ, OUTPUT, UNCACHED, PlantedOrg, Workload, client_of
from usage_cost_mcp.render import csv_export
from usage_cost_mcp.reports.registry import parse_answer

pytestmark = pytest.mark.anyio

DAY = date(2026, 11, 10)
LONG = "cache_creation.ephemeral_24h_input_tokens"
TOKENS = {UNCACHED: 1_000_000, CACHE_READ: 2_000_000, OUTPUT: 500_000}
WITH_LONG = {**TOKENS, LONG: 7_000_000}


@pytest.fixture
async def client() -> AsyncGenerator[Client]:
    """An organization that writes to the cache for a day from the 10th on."""
    before = Workload(TOKENS, end=DAY - timedelta(days=1))
    org = PlantedOrg([before, Workload(WITH_LONG, start=DAY)])
    async with client_of(org) as client:
        yield client


async def asked(client: Client, tool: str, **more: Any) -> dict[str, Any]:
    return await ask(client, tool, period=str(DAY), **more)


async def test_it_is_input_and_a_measure(client: Client) -> None:
    answer = await asked(client, "get_token_usage", group_by=["model"])
    assert answer["totals"]["input_tokens"] == 10_000_000
    assert answer["totals"][LONG] == answer["series"][0]["totals"][LONG] == 7_000_000
    assert "10,000,000 input tokens" in answer["summary"]
    assert LONG not in answer["measures"]


@pytest.mark.parametrize("measures", [["all"], [LONG], ["output_tokens", LONG]], ids=str)
async def test_it_has_a_value_per_bucket_where_it_is_asked_for(client: Client, measures: list[str]) -> None:
    answer = await ask(client, "get_token_usage", period="2026-11-09..2026-11-10", measures=measures)
    assert answer["bucket_totals"][LONG] == [0, 7_000_000]
    assert LONG in csv_export.as_csv(parse_answer(answer).csv_rows())


async def test_a_member_that_is_not_reported_is_not_a_measure(client: Client) -> None:
    said = await refusal(client, "get_token_usage", period="2026-11-09", measures=[LONG])
    assert f"measures '{LONG}' is not known" in said
    earlier = await ask(client, "get_token_usage", period="2026-11-09")
    assert LONG not in earlier["totals"]
    assert earlier["totals"]["input_tokens"] == 3_000_000


async def test_the_ratio_and_the_savings_include_it(client: Client) -> None:
    answer = await asked(client, "cache_hit_ratio")
    assert answer["totals"]["cache_hit_ratio"] == 0.2
    assert answer["totals"]["input_tokens"] == 10_000_000
    assert answer["totals"][LONG] == 7_000_000
    # Reads save $4.50 a million; these writes cost as much as uncached input.
    assert Decimal(answer["totals"]["cache_savings"]) == 9
    assert not [note for note in answer["notes"] if note["code"].startswith("cache_savings")]


async def test_it_has_a_price(client: Client) -> None:
    answer = await asked(client, "get_effective_prices")
    assert answer["prices"][0]["usd_per_million_tokens"][LONG] == "5"
    assert answer["unpriced"] == []


@pytest.mark.parametrize("dimension", ["api_key_id", "account_id"])
async def test_its_cost_is_allocated(client: Client, dimension: str) -> None:
    answer = await asked(client, "get_spend", group_by=[dimension])
    assert [series["group"][dimension] for series in answer["series"]] != ["unallocated"]
    assert len(answer["series"]) == 1


async def test_it_is_a_cause(client: Client) -> None:
    answer = await asked(client, "compare_spend", against="2026-11-09")
    assert Decimal(answer["change"]) == 35
    (driver,) = answer["drivers"]
    assert (driver["effect"], driver["group"]["token_type"], Decimal(driver["change"])) == ("volume", LONG, 35)


async def test_values_and_status_count_it(client: Client) -> None:
    values = await asked(client, "list_dimension_values", dimension="model")
    assert values["values"][0]["tokens"] == 10_500_000
    status = await ask(client, "get_status")
    assert status["usage_mix"]["tokens"] == 30 * 3_500_000 + 12 * 7_000_000
