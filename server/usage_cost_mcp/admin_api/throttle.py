"""Bounds the load on the Admin API: concurrent requests, requests per minute, and retries.

All callers that wait for a rate limit, Anthropic's or our own, resume at the same time. A rate limit also halves the
number of concurrent requests; each time as many requests have succeeded as are allowed at once, it grows by one.

Why a retry budget: if everything fails, retrying everything would multiply the load when upstream can bear it least.
Each retry costs one from the budget, each success restores half of one.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from anyio import CapacityLimiter

from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.concurrency import SingleFlight
from usage_cost_mcp.runtime.limits import Limits

from .error_mapping import rate_limited

_RETRY_PER_SUCCESS = 0.5
_PAUSE = "pause"
_MIN_PAUSE_SECONDS = 0.001
"""A pause shorter than this is skipped: the timer of the event loop is no more exact."""


Acquire = Callable[[], Awaitable[float]]
"""Reserves one request of the quota per minute: 0, or the seconds until one is available."""


async def unlimited() -> float:
    """No limit on requests per minute."""
    return 0.0


class Throttle:
    """Decides when a request may be sent."""

    def __init__(self, clock: Clock, limits: Limits, acquire: Acquire = unlimited) -> None:
        self._clock = clock
        self._acquire = acquire
        self._slots = CapacityLimiter(limits.max_concurrent_requests)
        self._max_slots = limits.max_concurrent_requests
        self._successes = 0
        self._max_retry_budget = self._retry_budget = float(limits.retry_budget)
        self._paused_until = 0.0
        self._pauses: SingleFlight[str, None] = SingleFlight()

    @property
    def back_off_left(self) -> float:
        """The seconds for which no request may be sent."""
        left = self._paused_until - self._clock.monotonic()
        return left if left > _MIN_PAUSE_SECONDS else 0.0

    def back_off(self, seconds: float) -> None:
        """Pause all requests, then send fewer at once: the rate limit applies to the whole organization."""
        if not self.back_off_left:
            self._slots.total_tokens = max(1, int(self._slots.total_tokens) // 2)
            self._successes = 0
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    @asynccontextmanager
    async def slot(self, deadline: float) -> AsyncGenerator[None]:
        """Permission to have one request in flight; waits for a pause to end.

        Raises:
            RateLimitedError: The pause outlasts the deadline.
        """
        while True:
            while left := self.back_off_left:
                if self._clock.monotonic() + left >= deadline:
                    raise rate_limited(left, self._clock.now())
                await self._pauses.run(_PAUSE, lambda seconds=left: self._clock.sleep(seconds))
            async with self._slots:
                if not self.back_off_left:
                    if not (wait := await self._acquire()):
                        yield
                        return
                    self._paused_until = max(self._paused_until, self._clock.monotonic() + wait)

    def try_spend_retry(self) -> bool:
        """Spend one retry of the budget, if there is one."""
        if self._retry_budget < 1:
            return False
        self._retry_budget -= 1
        return True

    def record_success(self) -> None:
        """Restore part of the retry budget and, after enough successes, one concurrent request."""
        self._retry_budget = min(self._max_retry_budget, self._retry_budget + _RETRY_PER_SUCCESS)
        self._successes += 1
        if self._successes >= self._slots.total_tokens < self._max_slots:
            self._slots.total_tokens += 1
            self._successes = 0
