"""Shared days are for those whose key upstream has accepted, and for no longer than ten minutes after that."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date

from usage_cost_mcp.cache import View
from usage_cost_mcp.errors import AccessError, UnavailableError, UpstreamError
from usage_cost_mcp.runtime.call_context import Call
from usage_cost_mcp.runtime.clock import Clock

from .connection import Line
from .day_store import RedisDays
from .leases import Leases

SECONDS_ACCEPTED = 600.0
"""How long a key that was accepted is taken to be good, in seconds."""

SECONDS_WITHOUT = 60.0
"""How long nothing is shared when it cannot be said whose key it is, in seconds."""

WhoseKey = Callable[[Call], Awaitable[tuple[str, str]]]


class SharedDays(RedisDays):
    """The days of an organization, and who fetches which."""

    def __init__(self, line: Line, organization: str, clock: Clock) -> None:
        super().__init__(line, organization, clock)
        self._leases = Leases(line)

    @asynccontextmanager
    async def fetching(self, view: View, days: Sequence[date]) -> AsyncGenerator[Sequence[date]]:
        """The days that no other process is fetching; for as long as the block lasts, this one is."""
        names = {self._lease(view, day): day for day in days}
        async with self._leases.taken(list(names)) as ours:
            yield [names[name] for name in ours]

    async def fetched(self, view: View, days: Sequence[date], deadline: float) -> None:
        """Wait until no process is fetching any of the days.

        Raises:
            UnavailableError: When that takes longer than the call may.
        """
        left = deadline - self._clock.monotonic()
        if days and not await self._leases.ended([self._lease(view, day) for day in days], left):
            raise UnavailableError("The report is still being read by another replica. Ask again in a moment.")

    def _lease(self, view: View, day: date) -> str:
        return f"{self.name(view, day)}:lease"


class Membership:
    """Lets this process share days, once upstream has said whose key it has.

    Args:
        line: To Redis.
        whose_key: Asks upstream for the id and the name of the organization, once for all who ask at the same time.
        clock: How long the answer is good.
    """

    def __init__(self, line: Line, whose_key: WhoseKey, clock: Clock) -> None:
        self._line = line
        self._whose_key = whose_key
        self._clock = clock
        self._shared: SharedDays | None = None
        self._good_until = 0.0

    async def join(self, call: Call) -> SharedDays | None:
        """What is shared; None when upstream cannot say who we are.

        Raises:
            AccessError: When upstream does not accept the key.
        """
        if self._clock.monotonic() < self._good_until:
            return self._shared
        return await self._introduce(call)

    async def _introduce(self, call: Call) -> SharedDays | None:
        self._shared, seconds = None, SECONDS_WITHOUT
        try:
            organization, _ = await self._whose_key(call)
            self._shared, seconds = SharedDays(self._line, organization, self._clock), SECONDS_ACCEPTED
        except AccessError:
            raise
        except UpstreamError:
            pass
        self._good_until = self._clock.monotonic() + seconds
        return self._shared

    async def forget(self) -> None:
        """Hold nothing any more, here and for the others: upstream does not accept the key."""
        shared, self._shared, self._good_until = self._shared, None, 0.0
        if shared is not None:
            await shared.forget()
