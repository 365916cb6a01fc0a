"""So many a minute: of calls by a principal, of requests to the Admin API."""

from typing import Protocol

from cachetools import TTLCache

from .clock import Clock

MINUTE = 60.0

_MOST_KEYS = 10_000


class Allowance(Protocol):
    """Counts what each key has used up."""

    async def take(self, key: str, a_minute: int) -> float:
        """Take one.

        Returns:
            0 when one was taken, else the seconds after which one can be.
        """
        ...


class OwnAllowance:
    """The allowance of one process.

    A whole minute's worth may be taken at once; it comes back evenly. What is kept for a key is the moment at which
    all of it will have come back (the generic cell rate algorithm).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._back_at: TTLCache[str, float] = TTLCache(_MOST_KEYS, 2 * MINUTE, timer=clock.monotonic)

    async def take(self, key: str, a_minute: int) -> float:
        """Take one, or say when one can be taken."""
        now = self._clock.monotonic()
        back_at = max(now, self._back_at.get(key, now)) + MINUTE / a_minute
        wait = back_at - now - MINUTE
        if wait > _A_MOMENT:
            return wait
        self._back_at[key] = back_at
        return 0.0


_A_MOMENT = 1e-6
"""Less than what rounding makes of sums of seconds."""
