"""The planted organizations that other tests use add up, as a client sees them."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from tests.support.harness import ask
from tests.support.planted_orgs import (
    CACHE_READ,
    OUTPUT,
    RESEARCH,
    SONNET,
    UNCACHED,
    WRITE_1H,
    Charge,
    PlantedOrg,
    Workload,
    client_of,
)

pytestmark = pytest.mark.anyio

_FIRST, _LAST = date(2026, 11, 1), date(2026, 11, 21)
_PERIOD = f"{_FIRST}..{_LAST}"

ORG = PlantedOrg(
    [
        Workload({UNCACHED: 1_000_000, OUTPUT: 200_000}),
        Workload({UNCACHED: 2_000_000, CACHE_READ: 9_000_000, WRITE_1H: 500_000}, RESEARCH, SONNET, searches=48),
    ],
    [Charge(date(2026, 11, 3), Decimal(-25))],
)


async def test_the_cost_report_holds_the_true_costs_and_the_charges() -> None:
    async with client_of(ORG) as client:
        answer = await ask(client, "get_spend", period=_PERIOD)
    searches = Decimal("0.48") * 21
    assert Decimal(answer["totals"]["cost"]) == ORG.cost(_FIRST, _LAST) + searches - 25


async def test_a_late_bill_lacks_its_last_days_and_usage_does_not() -> None:
    async with client_of(replace(ORG, billing_lag=timedelta(days=2))) as client:
        usage = await ask(client, "get_token_usage", period="yesterday")
        spend = await ask(client, "get_spend", period="2026-11-19")
    assert usage["totals"]["input_tokens"] == 12_500_000
    assert Decimal(spend["totals"]["cost"]) == ORG.cost(date(2026, 11, 19), date(2026, 11, 19)) + Decimal("0.48")
