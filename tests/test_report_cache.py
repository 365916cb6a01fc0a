"""The cache: cached days cost no request, missing ones are fetched once for all concurrent callers."""

import asyncio
import threading
from dataclasses import dataclass, field

import pytest
from mcp import Client

from tests.support.harness import Connect, FrozenClock, Upstream, ask
from usage_cost_mcp.demo.http import Request, Response

pytestmark = pytest.mark.anyio

QUARTER = "2026-08-01..2026-10-29"


async def test_90_days_cost_three_requests(client: Client, upstream: Upstream) -> None:
    answer = await ask(client, "get_spend", period=QUARTER, group_by=["model"])
    assert answer["cache"] == {"status": "miss", "upstream_requests": 3}
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    "follow_up",
    [
        {"period": QUARTER, "group_by": ["model"]},
        {"period": "2026-09-10..2026-10-03", "group_by": ["model"]},
        {"period": QUARTER},
        {"period": QUARTER, "group_by": ["description", "service_tier"]},
        {"period": QUARTER, "filter_by": {"model": ["claude-opus-4-6"]}},
        {"period": QUARTER, "granularity": "week"},
    ],
    ids=["the same", "a part", "coarser", "another grouping", "a filter", "wider buckets"],
)
async def test_a_follow_up_on_cached_days_costs_no_request(
    client: Client, upstream: Upstream, follow_up: dict[str, object]
) -> None:
    await ask(client, "get_spend", period=QUARTER, group_by=["model"])
    upstream.requests.clear()
    answer = await ask(client, "get_spend", **follow_up)
    assert answer["cache"] == {"status": "hit", "upstream_requests": 0}
    assert not upstream.requests


async def test_days_without_use_are_cached(client: Client) -> None:
    await ask(client, "get_spend", period="2023-05")
    assert (await ask(client, "get_spend", period="2023-05"))["cache"]["status"] == "hit"


async def test_a_longer_period_fetches_only_the_missing_days(client: Client, upstream: Upstream) -> None:
    await ask(client, "get_spend", period="2026-10-01..2026-10-20")
    answer = await ask(client, "get_spend", period="2026-10-01..2026-10-31")
    assert answer["cache"] == {"status": "partial", "upstream_requests": 1}
    query = dict(upstream.requests[-1].query)
    assert (query["starting_at"], query["ending_at"]) == ("2026-10-21T00:00:00Z", "2026-11-01T00:00:00Z")


async def test_tokens_and_cache_ratio_share_the_rows_of_the_usage_report(client: Client, upstream: Upstream) -> None:
    await ask(client, "get_token_usage", period="2026-10", group_by=["model"])
    await ask(client, "cache_hit_ratio", period="2026-10", group_by=["service_tier"])
    assert upstream.asked("usage_report/messages") == 1


async def test_cached_rows_of_more_dimensions_answer_for_fewer(client: Client, upstream: Upstream) -> None:
    await ask(client, "get_token_usage", period="2026-10", group_by=["account_id", "model"])
    by_day = await ask(client, "get_token_usage", period="2026-10", group_by=["account_id"])
    in_total = await ask(client, "get_token_usage", period="2026-10", group_by=["account_id"], granularity="total")
    assert upstream.asked("usage_report/messages") == 1
    assert by_day["totals"] == in_total["totals"]


async def test_cached_hours_answer_for_their_days(client: Client, upstream: Upstream) -> None:
    hourly = await ask(client, "get_token_usage", period="2026-11-16..2026-11-18", granularity="hour")
    daily = await ask(client, "get_token_usage", period="2026-11-16..2026-11-18")
    assert daily["cache"]["status"] == "hit"
    assert upstream.asked("usage_report/messages") == 1
    assert daily["totals"] == hourly["totals"]


@pytest.mark.parametrize(
    ("period", "fresh_for", "stale_after"),
    [("today", 59, 61), ("yesterday", 14 * 60, 16 * 60), ("2026-11-01", 23 * 3600, 25 * 3600)],
)
async def test_the_younger_the_day_the_sooner_it_is_fetched_again(
    connect: Connect, clock: FrozenClock, period: str, fresh_for: int, stale_after: int
) -> None:
    clock.advance(-clock.moment.timestamp() % 86_400)  # midnight, so that a day passes within the test
    async with connect() as client:
        await ask(client, "get_spend", period=period)
        day = (await ask(client, "get_spend", period=period))["buckets"][0]
        clock.advance(fresh_for)
        assert (await ask(client, "get_spend", period=day))["cache"]["status"] == "hit"
        clock.advance(stale_after - fresh_for)
        assert (await ask(client, "get_spend", period=day))["cache"]["status"] == "miss"


async def test_only_today_is_refreshed(connect: Connect, clock: FrozenClock, upstream: Upstream) -> None:
    async with connect() as client:
        await ask(client, "get_spend", period="this_month")
        clock.advance(61)
        answer = await ask(client, "get_spend", period="this_month")
    assert answer["cache"] == {"status": "partial", "upstream_requests": 1}
    query = dict(upstream.requests[-1].query)
    assert (query["starting_at"], query["ending_at"]) == ("2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z")


async def test_fetched_at_is_that_of_the_oldest_day(connect: Connect, clock: FrozenClock) -> None:
    async with connect() as client:
        await ask(client, "get_spend", period="2026-10")
        clock.advance(3600)
        answer = await ask(client, "get_spend", period="2026-10-01..2026-11-05")
    assert answer["fetched_at"] == "2026-11-22T14:30:00Z"


@dataclass
class Gate:
    """Holds every report request until it is opened."""

    opened: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)

    def __call__(self, request: Request) -> Response | None:
        if request.path.endswith("_report"):
            self.reached.set()
            self.opened.wait(10)
        return None


async def test_equal_concurrent_calls_fetch_each_page_once(client: Client, upstream: Upstream) -> None:
    answers = await asyncio.gather(*(ask(client, "get_spend", period=QUARTER) for _ in range(20)))
    assert len(upstream.requests) == 3
    assert {answer["totals"]["cost"] for answer in answers} == {answers[0]["totals"]["cost"]}


async def test_a_cancelled_call_does_not_disturb_another_that_waits_for_the_same_days(
    client: Client, upstream: Upstream
) -> None:
    upstream.override = gate = Gate()
    impatient = asyncio.create_task(ask(client, "get_spend", period="2026-10"))
    await asyncio.to_thread(gate.reached.wait, 10)
    patient = asyncio.create_task(ask(client, "get_spend", period="2026-10"))
    for _ in range(20):  # both wait for the same request
        await asyncio.sleep(0)
    assert impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert not patient.done()
    gate.opened.set()
    assert (await patient)["totals"]["cost"] != "0"
    assert len(upstream.requests) == 1


async def test_names_are_looked_up_once(client: Client, upstream: Upstream) -> None:
    for period in ("2026-09", "2026-10"):
        await ask(client, "get_spend", period=period, group_by=["workspace_id"])
    assert upstream.asked("workspaces") == 1


async def test_names_and_rows_are_fetched_concurrently(client: Client, upstream: Upstream) -> None:
    together = threading.Barrier(2)

    def wait_for_both(_: Request) -> None:
        together.wait(10)

    upstream.override = wait_for_both
    answer = await ask(client, "get_spend", period="2026-10", group_by=["workspace_id"])
    assert answer["series"][0]["label"] == "Production"


async def test_unavailable_names_are_requested_again_after_a_minute(
    connect: Connect, upstream: Upstream, clock: FrozenClock
) -> None:
    upstream.override = lambda request: Response({}, 403) if request.path.endswith("workspaces") else None
    async with connect() as client:
        for _ in range(3):
            await ask(client, "get_spend", period="2026-10", group_by=["workspace_id"])
        assert upstream.asked("workspaces") == 1
        upstream.override = lambda _: None
        clock.advance(61)
        answer = await ask(client, "get_spend", period="2026-10", group_by=["workspace_id"])
    assert answer["series"][0]["label"] == "Production"


def groupings(request: Request) -> set[str]:
    return {value for name, value in request.query if name == "group_by[]"}


async def test_an_oversized_base_view_is_replaced_by_the_requested_dimensions(
    client: Client, upstream: Upstream
) -> None:
    upstream.override = lambda request: Response({}, 413) if len(groupings(request)) > 2 else None
    answer = await ask(client, "get_token_usage", period="2026-10", group_by=["model"])
    # A cancelled request may arrive late, so the order of requests is not asserted.
    assert {"model"} in map(groupings, upstream.requests)
    assert answer["cache"]["status"] == "miss"
    upstream.requests.clear()
    other = await ask(client, "cache_hit_ratio", period="2026-10", group_by=["workspace_id", "model"])
    assert {"workspace_id", "model"} in map(groupings, upstream.requests)
    assert other["totals"]["input_tokens"] == answer["totals"]["input_tokens"]
    upstream.requests.clear()
    assert (await ask(client, "cache_hit_ratio", period="2026-10"))["cache"]["status"] == "hit"


async def test_an_oversized_base_view_is_tried_again_after_an_hour(
    connect: Connect, upstream: Upstream, clock: FrozenClock
) -> None:
    upstream.override = lambda request: Response({}, 413) if len(groupings(request)) > 2 else None
    async with connect() as client:
        await ask(client, "get_token_usage", period="2026-10", group_by=["model"])
        upstream.override = lambda _: None
        clock.advance(3601)
        await ask(client, "get_token_usage", period="2026-09", group_by=["model"])
    asked = [dict(each.query)["ending_at"] for each in upstream.requests if len(groupings(each)) == 5]
    assert "2026-10-01T00:00:00Z" in asked


async def test_no_request_is_sent_before_the_first_question(client: Client, upstream: Upstream) -> None:
    await client.list_tools()
    assert not upstream.requests


async def test_progress_is_reported_while_several_windows_are_fetched(client: Client) -> None:
    reported: list[tuple[float, float | None]] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001 - the protocol names it
        reported.append((progress, total))

    await client.call_tool("get_spend", {"period": QUARTER}, progress_callback=listen)
    assert reported == [(1, 3), (2, 3), (3, 3)]
