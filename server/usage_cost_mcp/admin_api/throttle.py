"""Keeps our load on the Admin API small, whatever happens: few requests at once and a minute, few retries.

All who wait for a rate limit to end, Anthropic's or our own, wait for one and the same moment.

A rate limit also halves how many requests may be under way; as many successes as there are places give one place back.

Why a reserve of retries: when everything fails, retrying everything would multiply our requests just when upstream
can bear them least. Each retry takes one from the reserve, each success gives half of one back.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from anyio import CapacityLimiter

from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.concurrency import SingleFlight
from usage_cost_mcp.runtime.limits import Limits

from .error_mapping import rate_limited

_GIVEN_BACK = 0.5
_PAUSE = "pause"
_MIN_PAUSE_SECONDS = 0.001
"""A pause shorter than this is skipped: the timer of the event loop is no more exact."""


Acquire = Callable[[], Awaitable[float]]
"""Takes one request from what may be sent a minute: 0, or the seconds after which there is one."""


async def unlimited() -> float:
    """Any number of requests may be sent."""
    return 0.0


class Throttle:
    """Says when a request may go out."""

    def __init__(self, clock: Clock, limits: Limits, take: Acquire = unlimited) -> None:
        self._clock = clock
        self._take = take
        self._places = CapacityLimiter(limits.max_concurrent_requests)
        self._most_places = limits.max_concurrent_requests
        self._successes = 0
        self._most = self._reserve = float(limits.retry_budget)
        self._paused_until = 0.0
        self._pauses: SingleFlight[str, None] = SingleFlight()

    @property
    def back_off_left(self) -> float:
        """The seconds for which nothing may be sent."""
        left = self._paused_until - self._clock.monotonic()
        return left if left > _MIN_PAUSE_SECONDS else 0.0

    def back_off(self, seconds: float) -> None:
        """Send nothing for a while, then less: the rate limit is the organization's, so it holds for every asker."""
        if not self.back_off_left:
            self._places.total_tokens = max(1, int(self._places.total_tokens) // 2)
            self._successes = 0
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    @asynccontextmanager
    async def slot(self, deadline: float) -> AsyncGenerator[None]:
        """A place among the requests under way. All who wait for a pause to end wait for one and the same.

        Raises:
            RateLimitedError: When the pause lasts longer than the call may.
        """
        while True:
            while left := self.back_off_left:
                if self._clock.monotonic() + left >= deadline:
                    raise rate_limited(left, self._clock.now())
                await self._pauses.run(_PAUSE, lambda seconds=left: self._clock.sleep(seconds))
            async with self._places:
                if not self.back_off_left:
                    if not (wait := await self._take()):
                        yield
                        return
                    self._paused_until = max(self._paused_until, self._clock.monotonic() + wait)

    def try_spend_retry(self) -> bool:
        """Whether the reserve allows one more retry, which it then counts."""
        if self._reserve < 1:
            return False
        self._reserve -= 1
        return True

    def record_success(self) -> None:
        """Give back a part of a retry, and after some a place."""
        self._reserve = min(self._most, self._reserve + _GIVEN_BACK)
        self._successes += 1
        if self._successes >= self._places.total_tokens < self._most_places:
            self._places.total_tokens += 1
            self._successes = 0
