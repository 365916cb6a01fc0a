"""An rate_limiter that several processes use up together."""

from urllib.parse import quote

from usage_cost_mcp.runtime.rate_limit import MINUTE, RateLimiter

from .connection import RedisConnection, RedisUnavailable

_ACQUIRE_SCRIPT = """
local time = redis.call('TIME')
local now, minute, one = time[1] + time[2] / 1000000, tonumber(ARGV[1]), ARGV[1] / ARGV[2]
local held = tonumber(redis.call('GET', KEYS[1])) or now
local believed = held > now and held <= now + minute
local back_at = (believed and held or now) + one
local wait = back_at - now - minute
if wait > 0.000001 then return tostring(wait) end
redis.call('SET', KEYS[1], string.format('%.6f', back_at), 'PX', 2000 * minute)
return '0'
"""
"""What is kept is the moment at which all of it will have come back, as in the rate_limiter of one process."""


class RedisRateLimiter:
    """The rate_limiter of all processes of one organization on one Redis, by its clock.

    Args:
        connection: To Redis.
        own: What this process may take when Redis cannot be used.
        whose: Tells the organization from others on the same Redis, who may call their people the same.
    """

    def __init__(self, connection: RedisConnection, own: RateLimiter, whose: str) -> None:
        self._connection = connection
        self._own = own
        self._prefix = f"usage-cost-rate_limiter:{quote(whose, safe='')}:"

    async def acquire(self, key: str, per_minute: int) -> float:
        """Take one, or say when one can be taken."""
        name = f"{self._prefix}{quote(key, safe='')}"
        try:
            return float(
                await self._connection.execute(
                    lambda redis: redis.eval(_ACQUIRE_SCRIPT, 1, name, int(MINUTE), per_minute)
                )
            )
        except RedisUnavailable:
            return await self._own.acquire(key, per_minute)
