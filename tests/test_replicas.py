"""Several replicas: with Redis they share days and limits, without it each one works alone."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from tests.support.canary import KEY
from tests.support.harness import NOW, REPORTS, FrozenClock, Upstream, ask, refusal
from tests.support.processes import connected_to, run
from tests.support.redis_servers import PASSWORD, PROGRAMS, Store, running
from tests.support.replicas import REPLICAS, RunningClock, replica, replicas, truth
from usage_cost_mcp.app import SharedResources
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.settings import Settings

pytestmark = pytest.mark.anyio

CALLS_EACH = 50
NINETY_DAYS = "2026-08-01..2026-10-29"
ONE_WALK = 3
BY_MODEL: dict[str, Any] = {"period": NINETY_DAYS, "group_by": ["model"]}


@pytest.fixture(params=PROGRAMS)
def redis(request: pytest.FixtureRequest) -> Generator[Store]:
    """A server with a password. It never contains the password or the Admin key, and every key in it expires."""
    with running(request.param, PASSWORD) as store:
        yield store
        if store.process is not None and store.process.poll() is None:
            assert store.said(PASSWORD) == set()
            assert store.endless() == []


@pytest.fixture(autouse=True)
def no_password_in_the_log(caplog: pytest.LogCaptureFixture) -> Generator[None]:
    yield
    assert PASSWORD not in "".join(record.getMessage() for record in caplog.get_records("call"))


def spend_of(answers: list[dict[str, Any]]) -> set[str]:
    return {answer["totals"]["cost"] for answer in answers}


def delay(seconds: float) -> Any:
    def override(request: Request) -> None:
        if request.path.endswith("cost_report"):
            time.sleep(seconds)

    return override


async def test_200_equal_cold_calls_to_four_replicas_fetch_each_page_once(redis: Store, upstream: Upstream) -> None:
    expected = await truth(upstream, **BY_MODEL)
    started = time.monotonic()
    async with replicas(upstream, redis) as clients:
        answers = await asyncio.gather(
            *(ask(client, "get_spend", **BY_MODEL) for _ in range(CALLS_EACH) for client in clients)
        )
    seconds = time.monotonic() - started
    assert len(answers) == REPLICAS * CALLS_EACH
    assert spend_of(answers) == {expected}
    assert upstream.asked("cost_report") == ONE_WALK
    assert upstream.asked("me") == REPLICAS
    REPORTS.append(
        f"replicas: {len(answers)} equal cold calls, {upstream.asked('cost_report')} requests, {seconds:.1f} s"
    )


async def test_without_redis_each_replica_fetches_for_itself(upstream: Upstream) -> None:
    expected = await truth(upstream, **BY_MODEL)
    async with replicas(upstream, None) as clients:
        answers = await asyncio.gather(
            *(ask(client, "get_spend", **BY_MODEL) for _ in range(CALLS_EACH) for client in clients)
        )
    assert spend_of(answers) == {expected}
    assert upstream.asked("cost_report") <= REPLICAS * ONE_WALK
    assert upstream.asked("me") == 0


async def test_days_fetched_by_one_replica_cost_another_one_no_request(redis: Store, upstream: Upstream) -> None:
    async with replicas(upstream, redis, 2) as (one, other):
        first = await ask(one, "get_spend", **BY_MODEL)
        await ask(other, "list_dimension_values", dimension="service_tier", period="2026-10-31")  # verifies the key
        upstream.requests.clear()
        second = await ask(other, "get_spend", **BY_MODEL)
    assert not upstream.requests
    assert second["cache"] == {"status": "hit", "upstream_requests": 0}
    assert (second["series"], second["fetched_at"]) == (first["series"], first["fetched_at"])


async def test_a_longer_period_fetches_only_the_days_that_no_replica_has(redis: Store, upstream: Upstream) -> None:
    async with replicas(upstream, redis, 2) as (one, other):
        await ask(one, "get_spend", period="2026-10-01..2026-10-20")
        answer = await ask(other, "get_spend", period="2026-10-01..2026-10-31")
    assert answer["cache"]["status"] == "partial"
    query = dict([request for request in upstream.requests if request.path.endswith("cost_report")][-1].query)
    assert (query["starting_at"], query["ending_at"]) == ("2026-10-21T00:00:00Z", "2026-11-01T00:00:00Z")


async def test_concurrent_overlapping_questions_are_exact_and_rarely_fetch_a_day_twice(
    redis: Store, upstream: Upstream
) -> None:
    periods = ["2026-08", "2026-09", "2026-10", NINETY_DAYS, "2026-08-15..2026-10-15", "2026-10-05", "2026-Q3"]
    expected = {period: await truth(upstream, period=period) for period in periods}
    upstream.override = delay(0.05)
    async with replicas(upstream, redis) as clients:
        answers = await asyncio.gather(
            *(ask(client, "get_spend", period=period) for client in clients for period in periods)
        )
    assert [answer["totals"]["cost"] for answer in answers] == [*expected.values()] * REPLICAS
    fetched = Counter[str]()
    for request in upstream.requests:
        if request.path.endswith("cost_report"):
            query = dict(request.query)
            first, end = (datetime.fromisoformat(query[name]) for name in ("starting_at", "ending_at"))
            fetched.update(str((first + timedelta(days=n)).date()) for n in range((end - first).days))
    assert sum(fetched.values()) <= 2 * len(fetched)  # a window may include days that are cached


async def test_a_revision_is_noted_by_a_replica_that_did_not_read_the_day_before(
    redis: Store, upstream: Upstream, clock: FrozenClock
) -> None:
    async with replica(upstream, redis) as one:
        await ask(one, "get_spend", period="yesterday")

    def with_higher_cost(request: Request) -> Response | None:
        response = upstream.respond(request)
        if request.path.endswith("cost_report"):
            response.body["data"][-1]["results"][0]["amount"] = "123456.5"
        return response

    upstream.override = with_higher_cost
    clock.advance(16 * 60)  # the clock of the API, which the replicas follow
    async with replica(upstream, redis) as other:
        answer = await ask(other, "get_spend", period="yesterday")
    assert "revised" in {note["code"] for note in answer["notes"]}


async def test_in_an_outage_a_replica_serves_stale_days_that_another_one_fetched(
    redis: Store, upstream: Upstream, clock: FrozenClock
) -> None:
    async with replica(upstream, redis) as one:
        first = await ask(one, "get_spend", period="yesterday")
    upstream.override = lambda request: Response({}, 500) if request.path.endswith("cost_report") else None
    clock.advance(16 * 60)  # the clock of the API, which the replicas follow
    async with replica(upstream, redis, limits=Limits(attempts=1)) as other:
        answer = await ask(other, "get_spend", period="yesterday")
    assert answer["cache"]["status"] == "stale"
    assert answer["totals"] == first["totals"]


REFUSED = Response({"type": "error", "error": {"type": "authentication_error"}}, 401)


async def test_a_rejected_key_reads_no_shared_days(redis: Store, upstream: Upstream) -> None:
    async with replica(upstream, redis) as one:
        await ask(one, "get_spend", period="2026-10")
    upstream.override = lambda _: REFUSED
    async with replica(upstream, redis) as other:
        assert "does not accept the Admin key" in await refusal(other, "get_spend", period="2026-10")


async def test_a_revoked_key_stops_reading_shared_days_within_ten_minutes(redis: Store, upstream: Upstream) -> None:
    clock = RunningClock()
    async with replica(upstream, redis, clock=clock) as one, replica(upstream, redis) as other:
        await ask(one, "get_spend", period="2026-10-05")
        await ask(other, "get_spend", period="2026-10")
        upstream.override = lambda _: REFUSED
        clock.ahead = 599
        assert (await ask(one, "get_spend", period="2026-10-06"))["cache"]["status"] == "hit"
        clock.ahead = 601
        assert "does not accept the Admin key" in await refusal(one, "get_spend", period="2026-10-07")


async def test_a_rejected_key_clears_the_shared_days(redis: Store, upstream: Upstream) -> None:
    async with replica(upstream, redis) as one:
        await ask(one, "get_spend", period="2026-10")
        assert any(b":cost:" in each for each in redis.everything())
        upstream.override = lambda request: REFUSED if request.path.endswith("cost_report") else None
        assert "does not accept the Admin key" in await refusal(one, "get_spend", period="2026-11-01")
    assert not any(b":cost:" in each for each in redis.everything())


async def test_nothing_is_shared_while_the_organization_of_the_key_is_unknown(redis: Store, upstream: Upstream) -> None:
    upstream.override = lambda request: Response({}, 500) if request.path.endswith("me") else None
    async with replica(upstream, redis, limits=Limits(attempts=1)) as one:
        assert (await ask(one, "get_spend", period="2026-10"))["cache"]["status"] == "miss"
    assert not any(b":cost:" in each for each in redis.everything())


async def test_all_replicas_share_the_rate_limit_of_requests(redis: Store, upstream: Upstream) -> None:
    tight = Limits(requests_per_minute=6, call_seconds=5)
    async with (
        replica(upstream, redis, demo=False, limits=tight) as one,
        replica(upstream, redis, demo=False, limits=tight) as other,
    ):
        await ask(one, "get_spend", period=NINETY_DAYS)  # four requests, one of them for the organization
        await ask(other, "get_spend", period="2026-07-01")  # two
        error = await refusal(one, "get_spend", period="2026-06-01")
    assert "rate limit for report requests is reached. Ask again in " in error
    assert len(upstream.requests) == 6


async def test_principals_of_the_same_name_in_two_organizations_have_separate_rate_limits(
    redis: Store, upstream: Upstream
) -> None:
    settings = replace(Settings.for_demo({}, upstream.url), redis_url=redis.url)
    replica_1, replica_2, other_organization = (
        SharedResources(replace(settings, admin_key=SecretStr(key)), RunningClock())
        for key in (KEY, KEY, f"{KEY[:-4]}zzzz")
    )
    try:
        assert not await replica_1.rate_limiter.acquire("calls:ana", 1)
        assert await replica_2.rate_limiter.acquire("calls:ana", 1) > 50
        assert not await other_organization.rate_limiter.acquire("calls:ana", 1)
    finally:
        for resources in (replica_1, replica_2, other_organization):
            await resources.aclose()


async def test_without_redis_each_replica_has_its_own_rate_limit(upstream: Upstream) -> None:
    tight = Limits(requests_per_minute=3, call_seconds=5)
    async with replica(upstream, None, demo=False, limits=tight) as one:
        await ask(one, "get_spend", period=NINETY_DAYS)
        assert "rate limit for report requests is reached" in await refusal(one, "get_spend", period="2026-06-01")
    assert len(upstream.requests) == 3


async def test_a_request_over_the_rate_limit_waits_if_the_call_has_time(upstream: Upstream) -> None:
    clock = FrozenClock()
    async with replica(upstream, None, demo=False, clock=clock, limits=Limits(requests_per_minute=3)) as one:
        await ask(one, "get_spend", period=NINETY_DAYS)
        await ask(one, "get_spend", period="2026-06-01")
    assert clock.moment - NOW == timedelta(seconds=20)


def test_doctor_checks_the_shared_cache(redis: Store, upstream: Upstream) -> None:
    env = {**connected_to(upstream.url), "USAGE_COST_MCP_REDIS_URL": redis.url.get_secret_value()}
    healthy = run("doctor", env=env)
    assert "ok   Shared cache: Redis is writable" in healthy.stdout
    redis.kill()
    broken = run("doctor", env=env)
    assert PASSWORD not in f"{healthy.stdout}{healthy.stderr}{broken.stdout}{broken.stderr}"
    assert broken.returncode == 1
    assert "FAIL Shared cache: Redis is not writable (ConnectionError). Answers do not depend on it" in broken.stdout
    assert "ok   Cost report" in broken.stdout


def test_redis_is_not_imported_without_the_setting(upstream: Upstream) -> None:
    program = (
        "import sys; from usage_cost_mcp.cli.main import main; "
        "assert main(['call', 'get_spend', 'period=2025-10']) == 0; sys.exit('redis' in sys.modules)"
    )
    env = connected_to(upstream.url)
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
