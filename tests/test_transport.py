"""Faults that the fault table cannot show in one call: quotas, shared waits, split windows, clocks, past failures."""

import asyncio
import gzip
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest
from mcp import Client

from tests.support.fault_cases import sends
from tests.support.fault_server import Act, fault_server, http
from tests.support.harness import NOW, Connect, FrozenClock, Upstream, ask, refusal
from usage_cost_mcp.app import build_server
from usage_cost_mcp.demo import DemoApi, serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.settings import Settings

pytestmark = pytest.mark.anyio

DOWN = Response({}, 503)


def bounded(upstream: Upstream, clock: FrozenClock, limits: Limits) -> AbstractAsyncContextManager[Client]:
    return Client(build_server(Settings.for_demo({}, upstream.url), clock, limits))


async def test_an_outage_does_not_multiply_our_requests(upstream: Upstream, clock: FrozenClock) -> None:
    upstream.override = lambda _: DOWN
    async with bounded(upstream, clock, Limits(retry_budget=10)) as client:
        for day in range(1, 29):
            await refusal(client, "get_spend", period=f"2026-10-{day:02}")
    assert len(upstream.requests) == 28 + 10


async def test_successes_refill_the_retry_budget(upstream: Upstream, clock: FrozenClock) -> None:
    async with bounded(upstream, clock, Limits(retry_budget=2)) as client:
        upstream.override = lambda _: DOWN
        await refusal(client, "get_spend", period="2026-10-01")
        upstream.override = lambda _: None
        await ask(client, "get_spend", period="2026-10-02")
        await ask(client, "get_spend", period="2026-10-03")
        upstream.requests.clear()
        upstream.override = lambda _: DOWN
        await refusal(client, "get_spend", period="2026-10-04")
    assert len(upstream.requests) == 2


class CountingClock(FrozenClock):
    """Counts the waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await super().sleep(seconds)


async def test_many_callers_wait_for_one_rate_limit_once(upstream: Upstream) -> None:
    clock = CountingClock()
    limited = [Response({}, 429, {"retry-after": "20"})]
    upstream.override = lambda _: limited.pop() if limited else None
    async with bounded(upstream, clock, Limits()) as client:
        await asyncio.gather(*(ask(client, "get_spend", period=f"2026-10-{day:02}") for day in range(1, 9)))
    assert len(clock.waits) == 1
    assert len(upstream.requests) == 9


async def test_no_request_is_sent_while_a_rate_limit_outlasts_the_call(upstream: Upstream, clock: FrozenClock) -> None:
    upstream.override = lambda _: Response({}, 429, {"retry-after": "120"})
    async with bounded(upstream, clock, Limits()) as client:
        await refusal(client, "get_spend", period="2026-10-01")
        clock.advance(30)
        message = await refusal(client, "get_token_usage", period="2026-10-01")
        assert "Ask again in 90 seconds" in message
        assert len(upstream.requests) == 1
        clock.advance(90)
        upstream.override = lambda _: None
        await ask(client, "get_spend", period="2026-10-01")


def too_much_for(most: int) -> Callable[[Request], Response | None]:
    """An upstream that rejects windows above a number of days."""

    def instead(request: Request) -> Response | None:
        query = dict(request.query)
        if "starting_at" not in query:
            return None
        days = datetime.fromisoformat(query["ending_at"]) - datetime.fromisoformat(query["starting_at"])
        return Response({}, 413) if days > timedelta(days=most) else None

    return instead


@pytest.mark.parametrize(("most", "requests"), [(31, 1), (8, 1 + 4), (2, 1 + 4 + 16)])
async def test_an_oversized_window_is_fetched_in_pieces_and_nothing_is_lost(
    connect: Connect, upstream: Upstream, most: int, requests: int
) -> None:
    async with connect() as client:
        whole = await ask(client, "get_spend", period="2026-10")
    upstream.requests.clear()
    upstream.override = too_much_for(most)
    async with connect() as client:
        answer = await ask(client, "get_spend", period="2026-10")
        assert answer["series"] == whole["series"]
        assert len(upstream.requests) == requests
        upstream.requests.clear()
        await ask(client, "get_spend", period="2026-09-01..2026-09-08")
        assert len(upstream.requests) == {31: 1, 8: 1, 2: 4}[most]


async def test_two_days_that_are_still_oversized_are_an_error(client: Client, upstream: Upstream) -> None:
    upstream.override = too_much_for(1)
    assert "too much data for one request" in await refusal(client, "get_spend", period="2026-10")


async def test_a_revoked_key_ends_the_use_of_cached_data(client: Client, upstream: Upstream) -> None:
    await ask(client, "get_spend", period="2026-10")
    upstream.override = lambda _: Response({}, 401)
    assert "does not accept the Admin key" in await refusal(client, "get_spend", period="2026-09")
    assert "does not accept the Admin key" in await refusal(client, "get_spend", period="2026-10")


async def test_a_key_that_is_rejected_for_names_is_rejected_for_everything(client: Client, upstream: Upstream) -> None:
    upstream.override = lambda request: Response({}, 401) if request.path.endswith("workspaces") else None
    message = await refusal(client, "get_spend", period="2026-10", group_by=["workspace_id"])
    assert "does not accept the Admin key" in message


@pytest.fixture(params=[-30, 30], ids=["a month behind", "a month ahead"])
def wrong_clock(request: pytest.FixtureRequest) -> FrozenClock:
    return FrozenClock(NOW + timedelta(days=request.param))


@pytest.fixture
def elsewhere() -> Generator[str]:
    """An upstream with a correct clock."""
    with serve_on_loopback(DemoApi(lambda: NOW).respond) as url:
        yield url


async def test_today_is_the_day_of_the_upstream_clock(wrong_clock: FrozenClock, elsewhere: str) -> None:
    async with Client(build_server(Settings.for_demo({}, elsewhere), wrong_clock)) as client:
        answer = await ask(client, "get_spend", period="this_month")
    assert answer["period"] == {"start": "2026-11-01", "end": "2026-11-22", "timezone": "UTC"}
    assert answer["partial_buckets"] == ["2026-11-22"]
    assert answer["totals"]["cost"] != "0"


async def test_a_clock_that_is_off_by_seconds_is_trusted(upstream: Upstream, clock: FrozenClock) -> None:
    def later(request: Request) -> Response:
        response = upstream.respond(request)
        date = format_datetime(NOW + timedelta(seconds=40), usegmt=True)
        return Response(response.body, response.status, {**response.headers, "date": date})

    upstream.override = later
    async with bounded(upstream, clock, Limits()) as client:
        assert (await ask(client, "get_spend", period="today"))["fetched_at"] == "2026-11-22T14:30:00Z"


async def test_a_revised_day_is_noted(connect: Connect, upstream: Upstream, clock: FrozenClock) -> None:
    def dearer(request: Request) -> Response:
        response = upstream.respond(request)
        response.body["data"][-1]["results"][0]["amount"] = "999999"
        return response

    async with connect() as client:
        await ask(client, "get_spend", period="2026-11-20")
        clock.advance(20 * 60)
        same = await ask(client, "get_spend", period="2026-11-20")
        upstream.override = dearer
        clock.advance(20 * 60)
        other = await ask(client, "get_spend", period="2026-11-20")
    assert "revised" not in [note["code"] for note in same["notes"]]
    (note,) = [note for note in other["notes"] if note["code"] == "revised"]
    assert note["message"] == "Anthropic has revised 2026-11-20 since an earlier fetch."


async def test_hours_that_upstream_omits_are_noted(client: Client, upstream: Upstream) -> None:
    def without_an_hour(request: Request) -> Response:
        response = upstream.respond(request)
        response.body["data"].pop(5)
        return response

    upstream.override = without_an_hour
    answer = await ask(client, "get_token_usage", period="2026-11-11", granularity="hour")
    assert answer["bucket_totals"]["input_tokens"][5] == 0
    assert "days_not_reported" in [note["code"] for note in answer["notes"]]


async def test_the_newest_cached_day_of_any_view_is_used_in_an_outage(
    connect: Connect, upstream: Upstream, clock: FrozenClock
) -> None:
    async with connect() as client:
        await ask(client, "get_token_usage", period="2026-11-21", group_by=["api_key_id"])
        clock.advance(20 * 60)
        await ask(client, "get_token_usage", period="2026-11-21", group_by=["api_key_id", "model"])
        clock.advance(20 * 60)
        upstream.override = lambda _: DOWN
        answer = await ask(client, "get_token_usage", period="2026-11-21", group_by=["api_key_id"])
    assert (answer["cache"]["status"], answer["fetched_at"]) == ("stale", "2026-11-22T14:50:00Z")


async def test_days_too_old_even_for_an_outage_are_not_shown(
    connect: Connect, upstream: Upstream, clock: FrozenClock
) -> None:
    async with connect() as client:
        await ask(client, "get_spend", period="2026-11-21")
        clock.advance(8 * 86_400)
        upstream.override = lambda _: DOWN
        assert "the API is unavailable" in await refusal(client, "get_spend", period="2026-11-21")


async def test_a_lone_surrogate_in_a_name_does_not_break_the_names(client: Client, upstream: Upstream) -> None:
    def halved(request: Request) -> Response | None:
        if not request.path.endswith("workspaces"):
            return None
        response = upstream.respond(request)
        response.body["data"][0]["name"] = "Half \ud83d of it"
        return response

    upstream.override = halved
    answer = await ask(client, "get_spend", period="2026-10", group_by=["workspace_id"])
    assert "Half ? of it" in [series["label"] for series in answer["series"]]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_cancelled_call_drops_its_request_and_the_next_one_works(clock: FrozenClock, mode: str) -> None:
    with fault_server(DemoApi(clock.now).respond) as server:
        server.fail([sends(Act.HANG)])
        async with Client(build_server(Settings.for_demo({}, server.url), clock), mode=mode) as client:
            given_up = asyncio.create_task(ask(client, "get_spend", period="2026-10"))
            assert await asyncio.to_thread(server.asked.wait, 2)
            given_up.cancel()
            assert await asyncio.to_thread(server.hung_up.wait, 2)
            assert (await ask(client, "get_spend", period="2026-10"))["totals"]["cost"] != "0"


async def test_a_call_ends_when_its_time_is_up_and_the_next_one_works(clock: FrozenClock) -> None:
    with fault_server(DemoApi(clock.now).respond) as server:
        server.fail([sends(Act.HANG)], forever=True)
        limits = Limits(call_seconds=3, request_seconds=2)
        async with Client(build_server(Settings.for_demo({}, server.url), clock, limits)) as client:
            message = await refusal(client, "get_spend", period="2026")
            assert message.startswith("The answer took longer than 3 seconds. The data received so far is cached")
            server.heal()
            assert (await ask(client, "get_spend", period="2026-10"))["totals"]["cost"] != "0"


async def test_a_gzip_bomb_is_stopped_long_before_it_is_inflated(clock: FrozenClock) -> None:
    bomb = gzip.compress(bytes(300 * 2**20), compresslevel=9)
    with fault_server(DemoApi(clock.now).respond) as server:
        server.fail([sends(http(200, bomb, {"content-encoding": "gzip"}))], forever=True)
        async with Client(build_server(Settings.for_demo({}, server.url), clock)) as client:
            tracemalloc.start()
            message = await refusal(client, "get_spend", period="2026-10-01")
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    assert "more than 64 MiB" in message
    assert peak < 150 * 2**20
