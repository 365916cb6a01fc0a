"""Who fetches what, among several processes: a lease says so, and ends by itself when its holder does.

Nothing depends on it but the number of requests: without leases everybody fetches for themselves.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis

from .connection import RedisConnection, RedisUnavailable

LEASE_SECONDS = 5.0
"""Seconds for which a lease is given; who still needs it then has renewed it."""

_RENEWAL_SECONDS = 1.5
_MIN_POLL_SECONDS = 0.05
_MAX_POLL_SECONDS = 0.25

_SET_EXPIRY_SCRIPT = """
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then redis.call('PEXPIRE', key, ARGV[2]) end
end
"""
"""Gives the leases of one holder so many more milliseconds; none ends them."""


class Leases:
    """Leases by name.

    Their time passes in Redis, so what waits for it here is real time as well.
    """

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def acquire(self, names: Sequence[str]) -> AsyncGenerator[Sequence[str]]:
        """The names that nobody else has a lease on, for as long as the block lasts."""
        holder = secrets.token_hex(16)
        renewing = asyncio.create_task(self._renew(names, holder))
        try:
            yield await self._take(names, holder)
        finally:
            renewing.cancel()
            await self._set_expiry(names, holder, 0)

    async def _take(self, names: Sequence[str], holder: str) -> Sequence[str]:
        async def take(redis: Redis) -> list[bool | None]:
            async with redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.set(name, holder, nx=True, px=_milliseconds(LEASE_SECONDS))
                return await pipe.execute()

        try:
            taken = await self._connection.execute(take)
        except RedisUnavailable:
            return names
        return [name for name, done in zip(names, taken, strict=True) if done]

    async def _renew(self, names: Sequence[str], holder: str) -> None:
        while True:
            await asyncio.sleep(_RENEWAL_SECONDS)
            await self._set_expiry(names, holder, LEASE_SECONDS)

    async def _set_expiry(self, names: Sequence[str], holder: str, seconds: float) -> None:
        with suppress(RedisUnavailable):
            await self._connection.execute(
                lambda redis: redis.eval(_SET_EXPIRY_SCRIPT, len(names), *names, holder, _milliseconds(seconds))
            )

    async def wait_released(self, names: Sequence[str], seconds: float) -> bool:
        """Wait until nobody has a lease on any of the names; False when that takes longer."""
        look = _MIN_POLL_SECONDS
        left = seconds
        with suppress(RedisUnavailable):
            while any(await self._connection.execute(lambda redis: redis.mget(names))):
                if left <= 0:
                    return False
                await asyncio.sleep(look)
                left -= look
                look = min(2 * look, _MAX_POLL_SECONDS)
        return True


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
