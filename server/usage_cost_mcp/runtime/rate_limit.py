"""So many a minute: of calls by a principal, of requests to the Admin API."""

from typing import Protocol

from cachetools import TTLCache

from .clock import Clock

MINUTE = 60.0

_MAX_KEYS = 10_000


class RateLimiter(Protocol):
    """Counts what each key has used up."""

    async def acquire(self, key: str, per_minute: int) -> float:
        """Take one.

        Returns:
            0 when one was taken, else the seconds after which one can be.
        """
        ...


class LocalRateLimiter:
    """The rate_limiter of one process.

    A whole minute's worth may be taken at once; it comes back evenly. What is kept for a key is the moment at which
    all of it will have come back (the generic cell rate algorithm).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._back_at: TTLCache[str, float] = TTLCache(_MAX_KEYS, 2 * MINUTE, timer=clock.monotonic)

    async def acquire(self, key: str, per_minute: int) -> float:
        """Take one, or say when one can be taken."""
        now = self._clock.monotonic()
        back_at = max(now, self._back_at.get(key, now)) + MINUTE / per_minute
        wait = back_at - now - MINUTE
        if wait > _EPSILON_SECONDS:
            return wait
        self._back_at[key] = back_at
        return 0.0


_EPSILON_SECONDS = 1e-6
"""Less than what rounding makes of sums of seconds."""
