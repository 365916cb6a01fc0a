"""Shared days are for those whose key upstream has accepted, and for no longer than ten minutes after that."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date

from usage_cost_mcp.cache import View
from usage_cost_mcp.errors import AccessError, UnavailableError, UpstreamError
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import Clock

from .connection import RedisConnection
from .day_store import RedisDayStore
from .leases import Leases

VERIFIED_SECONDS = 600.0
"""How long a key that was accepted is taken to be good, in seconds."""

UNVERIFIED_SECONDS = 60.0
"""How long nothing is shared when it cannot be said whose key it is, in seconds."""

OrganizationLookup = Callable[[CallContext], Awaitable[tuple[str, str]]]


class SharedDays(RedisDayStore):
    """The days of an organization, and who fetches which."""

    def __init__(self, connection: RedisConnection, organization: str, clock: Clock) -> None:
        super().__init__(connection, organization, clock)
        self._leases = Leases(connection)

    @asynccontextmanager
    async def acquire_fetch(self, view: View, days: Sequence[date]) -> AsyncGenerator[Sequence[date]]:
        """The days that no other process is fetching; for as long as the block lasts, this one is."""
        names = {self._lease(view, day): day for day in days}
        async with self._leases.acquire(list(names)) as ours:
            yield [names[name] for name in ours]

    async def wait_for_fetch(self, view: View, days: Sequence[date], deadline: float) -> None:
        """Wait until no process is fetching any of the days.

        Raises:
            UnavailableError: When that takes longer than the call may.
        """
        left = deadline - self._clock.monotonic()
        if days and not await self._leases.wait_released([self._lease(view, day) for day in days], left):
            raise UnavailableError("The report is still being read by another replica. Ask again in a moment.")

    def _lease(self, view: View, day: date) -> str:
        return f"{self.name(view, day)}:lease"


class TenantGuard:
    """Lets this process share days, once upstream has said whose key it has.

    Args:
        connection: To Redis.
        get_organization: Returns the id and name of the organization; concurrent callers share one request.
        clock: How long the answer is good.
    """

    def __init__(self, connection: RedisConnection, get_organization: OrganizationLookup, clock: Clock) -> None:
        self._connection = connection
        self._get_organization = get_organization
        self._clock = clock
        self._shared: SharedDays | None = None
        self._good_until = 0.0

    async def open(self, call: CallContext) -> SharedDays | None:
        """What is shared; None when upstream cannot say who we are.

        Raises:
            AccessError: When upstream does not accept the key.
        """
        if self._clock.monotonic() < self._good_until:
            return self._shared
        return await self._verify_tenant(call)

    async def _verify_tenant(self, call: CallContext) -> SharedDays | None:
        self._shared, seconds = None, UNVERIFIED_SECONDS
        try:
            organization, _ = await self._get_organization(call)
            self._shared, seconds = SharedDays(self._connection, organization, self._clock), VERIFIED_SECONDS
        except AccessError:
            raise
        except UpstreamError:
            pass
        self._good_until = self._clock.monotonic() + seconds
        return self._shared

    async def clear(self) -> None:
        """Hold nothing any more, here and for the others: upstream does not accept the key."""
        shared, self._shared, self._good_until = self._shared, None, 0.0
        if shared is not None:
            await shared.clear()
