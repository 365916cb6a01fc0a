"""What `cache_hit_ratio` says: a ratio of sums, never a mean of ratios."""

from fractions import Fraction

import pytest
from mcp import Client

from tests.support import oracle
from tests.support.harness import Upstream, ask

pytestmark = pytest.mark.anyio


def ratio(*days: dict[str, int]) -> float:
    read = sum(day["cache_read_input_tokens"] for day in days)
    return round(read / sum(day[each] for day in days for each in oracle.INPUTS), 9)


async def test_every_ratio_is_made_from_summed_counts(client: Client, upstream: Upstream) -> None:
    answer = await ask(client, "cache_hit_ratio", period="2026-10", group_by=["workspace_id"])
    expected = oracle.tokens(upstream.url, "2026-10-01", "2026-10-31", ["workspace_id"])
    for series in answer["series"]:
        days = expected[(series["group"]["workspace_id"],)]
        assert series["totals"]["cache_hit_ratio"] == ratio(*days.values())
    everything = [day for days in expected.values() for day in days.values()]
    assert answer["totals"]["cache_hit_ratio"] == ratio(*everything)


async def test_the_ratio_of_a_month_is_not_the_mean_of_its_days(client: Client) -> None:
    days = await ask(client, "cache_hit_ratio", period="2026-10", granularity="day")
    month = await ask(client, "cache_hit_ratio", period="2026-10", granularity="month")
    ratios = days["bucket_totals"]["cache_hit_ratio"]
    assert month["bucket_totals"]["cache_hit_ratio"] == [days["totals"]["cache_hit_ratio"]]
    assert month["bucket_totals"]["cache_hit_ratio"] != [pytest.approx(sum(ratios) / len(ratios), rel=1e-6)]


async def test_the_counts_that_the_ratio_came_from_are_in_the_totals(client: Client) -> None:
    totals = (await ask(client, "cache_hit_ratio", period="last_7_days"))["totals"]
    assert totals["input_tokens"] == sum(totals[each] for each in oracle.INPUTS)
    exact = Fraction(totals["cache_read_input_tokens"], totals["input_tokens"])
    assert totals["cache_hit_ratio"] == pytest.approx(float(exact), abs=1e-9)


async def test_nothing_to_divide_by_is_null_and_not_zero(client: Client) -> None:
    answer = await ask(client, "cache_hit_ratio", period="2024-10-31..2024-11-01")
    assert answer["bucket_totals"]["cache_hit_ratio"][0] is None
    assert answer["bucket_totals"]["cache_hit_ratio"][1] > 0
    nothing = await ask(client, "cache_hit_ratio", period="2023-05")
    assert nothing["totals"]["cache_hit_ratio"] is None
    assert "no input tokens" in nothing["summary"]


async def test_groups_that_never_cache_have_a_ratio_of_zero(client: Client) -> None:
    answer = await ask(client, "cache_hit_ratio", period="2026-10", filter_by={"workspace_id": ["Data Platform"]})
    assert answer["totals"]["cache_hit_ratio"] == 0
