"""The one source of time, handed to whoever needs it, so that nothing else asks the machine."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

TOLERANCE = timedelta(minutes=1)
"""How far our clock may be off before upstream's is believed instead."""


class Clock(Protocol):
    """What the server needs to know about time."""

    def now(self) -> datetime:
        """The current moment in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever grow, for deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let the given time pass."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class CorrectedClock:
    """A clock that follows upstream's when it is off by more than a minute: "today" is what the reports call so.

    Attributes:
        skew: How far our clock is ahead of upstream's, by the last response; None before the first.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.skew: timedelta | None = None

    def heard(self, upstream: datetime) -> None:
        """Compare with the moment at which upstream answered."""
        self.skew = self._clock.now() - upstream

    def now(self) -> datetime:
        now = self._clock.now()
        return now if self.skew is None or abs(self.skew) <= TOLERANCE else now - self.skew

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
