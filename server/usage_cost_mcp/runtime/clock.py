"""The clock, passed to everything that needs the time, so that tests control it."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

TOLERANCE = timedelta(minutes=1)
"""The clock skew up to which the machine's clock is used; beyond it, the API's clock."""


class Clock(Protocol):
    """The source of time."""

    def now(self) -> datetime:
        """The current moment in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start, for deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class CorrectedClock:
    """A clock that is corrected by the API's if it is off by more than a minute.

    Why: reports are by UTC day, and "today" must be the day that the API considers current.

    Attributes:
        skew: How far the machine's clock is ahead of the API's, by the last response; None before the first.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.skew: timedelta | None = None

    def record_api_time(self, api_time: datetime) -> None:
        """Update the skew from the time of a response."""
        self.skew = self._clock.now() - api_time

    def now(self) -> datetime:
        now = self._clock.now()
        return now if self.skew is None or abs(self.skew) <= TOLERANCE else now - self.skew

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
