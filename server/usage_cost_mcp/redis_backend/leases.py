"""Distributed leases: one process fetches a day; a lease expires if its holder dies.

Leases only save requests. Without them every process fetches for itself.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date

from redis.asyncio import Redis

from usage_cost_mcp.cache import View
from usage_cost_mcp.errors import UnavailableError
from usage_cost_mcp.runtime.clock import Clock

from .connection import RedisConnection, RedisUnavailable
from .day_store import day_key

LEASE_SECONDS = 5.0
"""How long a lease lasts; its holder renews it while it needs longer."""

_RENEWAL_SECONDS = 1.5
_MIN_POLL_SECONDS = 0.05
_MAX_POLL_SECONDS = 0.25

_SET_EXPIRY_SCRIPT = """
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then redis.call('PEXPIRE', key, ARGV[2]) end
end
"""
"""Sets the remaining milliseconds of the leases of one holder; 0 releases them."""


class RedisFetchCoordinator:
    """Leases on days of one organization.

    Leases expire by the clock of Redis, so their holders and those who wait for them sleep in real time. The
    injected clock only measures deadlines.
    """

    def __init__(self, connection: RedisConnection, organization: str, clock: Clock) -> None:
        self._connection = connection
        self._organization = organization
        self._clock = clock

    @asynccontextmanager
    async def acquire_fetch(self, view: View, days: Sequence[date]) -> AsyncGenerator[Sequence[date]]:
        """The days that no other process is fetching; all of them if Redis is unavailable."""
        keys = self._keys(view, days)
        holder = secrets.token_hex(16)
        renewal = asyncio.create_task(self._renew(keys, holder))
        try:
            acquired = await self._acquire(keys, holder)
            yield [day for day, is_acquired in zip(days, acquired, strict=True) if is_acquired]
        finally:
            renewal.cancel()
            await self._set_expiry(keys, holder, 0)

    async def _acquire(self, keys: Sequence[str], holder: str) -> Sequence[bool | None]:
        async def set_if_absent(redis: Redis) -> list[bool | None]:
            async with redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.set(key, holder, nx=True, px=_milliseconds(LEASE_SECONDS))
                return await pipe.execute()

        try:
            return await self._connection.execute(set_if_absent)
        except RedisUnavailable:
            return [True] * len(keys)

    async def _renew(self, keys: Sequence[str], holder: str) -> None:
        while True:
            await asyncio.sleep(_RENEWAL_SECONDS)
            await self._set_expiry(keys, holder, LEASE_SECONDS)

    async def _set_expiry(self, keys: Sequence[str], holder: str, seconds: float) -> None:
        with suppress(RedisUnavailable):
            await self._connection.execute(
                lambda redis: redis.eval(_SET_EXPIRY_SCRIPT, len(keys), *keys, holder, _milliseconds(seconds))
            )

    async def wait_for_fetch(self, view: View, days: Sequence[date], deadline: float) -> None:
        """Wait until no process has a lease on any of the days, or Redis is unavailable.

        Raises:
            UnavailableError: The deadline passed.
        """
        keys = self._keys(view, days)
        remaining = deadline - self._clock.monotonic()
        interval = _MIN_POLL_SECONDS
        while keys and await self._is_any_leased(keys):
            if remaining <= 0:
                raise UnavailableError("Another replica is still fetching this report. Ask again in a moment.")
            await asyncio.sleep(interval)
            remaining -= interval
            interval = min(2 * interval, _MAX_POLL_SECONDS)

    async def _is_any_leased(self, keys: Sequence[str]) -> bool:
        try:
            return any(await self._connection.execute(lambda redis: redis.mget(keys)))
        except RedisUnavailable:
            return False

    def _keys(self, view: View, days: Sequence[date]) -> list[str]:
        return [f"{day_key(self._organization, view, day)}:lease" for day in days]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
