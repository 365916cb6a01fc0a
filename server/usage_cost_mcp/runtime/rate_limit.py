"""Per-minute rate limits: tool calls per principal, requests to the Admin API."""

from typing import Protocol

from cachetools import TTLCache

from .clock import Clock

MINUTE = 60.0

_MAX_KEYS = 10_000

_ROUNDING_SECONDS = 1e-6
"""A wait up to this length is a rounding error of float sums; the quota was free already."""


class RateLimiter(Protocol):
    """A rate limit per key."""

    async def acquire(self, key: str, per_minute: int) -> float:
        """Acquire a permit.

        Returns:
            0 if a permit was acquired, else the seconds until one is available.
        """
        ...


class LocalRateLimiter:
    """GCRA limiter: bursts of up to one minute's quota, refilled evenly.

    The generic cell rate algorithm keeps one number per key: the moment at which the quota will be full again.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: TTLCache[str, float] = TTLCache(_MAX_KEYS, 2 * MINUTE, timer=clock.monotonic)

    async def acquire(self, key: str, per_minute: int) -> float:
        """0 if a permit was acquired, else the seconds until one is available."""
        now = self._clock.monotonic()
        full_at = max(now, self._full_at.get(key, now)) + MINUTE / per_minute
        wait = full_at - now - MINUTE
        if wait > _ROUNDING_SECONDS:
            return wait
        self._full_at[key] = full_at
        return 0.0
