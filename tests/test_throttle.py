"""Concurrent requests: halved by a rate limit, restored one by one by successes."""

import asyncio
import math

import pytest

from tests.support.harness import FrozenClock
from usage_cost_mcp.admin_api.throttle import Throttle
from usage_cost_mcp.runtime.limits import Limits

pytestmark = pytest.mark.anyio


async def concurrent_requests(throttle: Throttle, callers: int = 10) -> int:
    """How many callers hold a slot before the first one releases it."""
    active = 0
    done = asyncio.Event()

    async def send() -> None:
        nonlocal active
        async with throttle.slot(deadline=math.inf):
            active += 1
            await done.wait()

    tasks = [asyncio.create_task(send()) for _ in range(callers)]
    for _ in range(5 * callers):
        await asyncio.sleep(0)
    count = active
    done.set()
    await asyncio.gather(*tasks)
    return count


@pytest.fixture
def throttle(clock: FrozenClock) -> Throttle:
    return Throttle(clock, Limits(max_concurrent_requests=4))


async def test_each_rate_limit_halves_the_concurrent_requests_down_to_one(throttle: Throttle) -> None:
    counts: list[int] = []
    for _ in range(4):
        counts.append(await concurrent_requests(throttle))
        throttle.back_off(5)
    assert counts == [4, 2, 1, 1]


async def test_simultaneous_rate_limits_count_once(throttle: Throttle) -> None:
    for _ in range(4):
        throttle.back_off(5)
    assert await concurrent_requests(throttle) == 2


async def test_successes_restore_the_slots_one_by_one_up_to_the_maximum(throttle: Throttle) -> None:
    throttle.back_off(5)
    counts: list[int] = []
    for successes in (1, 1, 3, 4, 100):
        for _ in range(successes):
            throttle.record_success()
        counts.append(await concurrent_requests(throttle))
    assert counts == [2, 3, 4, 4, 4]


async def test_callers_that_wait_for_a_slot_during_a_pause_share_the_remaining_slots(throttle: Throttle) -> None:
    first = asyncio.create_task(concurrent_requests(throttle, callers=4))
    later = asyncio.create_task(concurrent_requests(throttle))
    for _ in range(5):
        await asyncio.sleep(0)
    throttle.back_off(5)
    assert (await first, await later) == (4, 2)
