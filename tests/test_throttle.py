"""How many requests may be under way: fewer after a rate limit, more again when all goes well."""

import asyncio
import math

import pytest

from tests.support.harness import FrozenClock
from usage_cost_mcp.admin_api.throttle import Throttle
from usage_cost_mcp.runtime.limits import Limits

pytestmark = pytest.mark.anyio


async def under_way(throttle: Throttle, askers: int = 10) -> int:
    """How many of some askers get a place before any of them gives it back."""
    placed = 0
    done = asyncio.Event()

    async def ask() -> None:
        nonlocal placed
        async with throttle.slot(deadline=math.inf):
            placed += 1
            await done.wait()

    asking = [asyncio.create_task(ask()) for _ in range(askers)]
    for _ in range(5 * askers):
        await asyncio.sleep(0)
    count = placed
    done.set()
    await asyncio.gather(*asking)
    return count


@pytest.fixture
def throttle(clock: FrozenClock) -> Throttle:
    return Throttle(clock, Limits(max_concurrent_requests=4))


async def test_each_rate_limit_halves_the_requests_under_way_down_to_one(throttle: Throttle) -> None:
    counts: list[int] = []
    for _ in range(4):
        counts.append(await under_way(throttle))
        throttle.back_off(5)
    assert counts == [4, 2, 1, 1]


async def test_rate_limits_that_come_together_count_once(throttle: Throttle) -> None:
    for _ in range(4):
        throttle.back_off(5)
    assert await under_way(throttle) == 2


async def test_successes_give_the_places_back_one_by_one_and_no_more(throttle: Throttle) -> None:
    throttle.back_off(5)
    counts: list[int] = []
    for successes in (1, 1, 3, 4, 100):
        for _ in range(successes):
            throttle.record_success()
        counts.append(await under_way(throttle))
    assert counts == [2, 3, 4, 4, 4]


async def test_who_waited_for_a_place_during_a_pause_shares_what_is_left(throttle: Throttle) -> None:
    first = asyncio.create_task(under_way(throttle, askers=4))
    later = asyncio.create_task(under_way(throttle))
    for _ in range(5):
        await asyncio.sleep(0)
    throttle.back_off(5)
    assert (await first, await later) == (4, 2)
