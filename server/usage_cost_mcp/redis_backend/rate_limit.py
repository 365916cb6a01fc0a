"""Per-minute rate limits that several processes share."""

from urllib.parse import quote

from usage_cost_mcp.runtime.rate_limit import MINUTE, RateLimiter

from .connection import RedisConnection, RedisUnavailable

_ACQUIRE_SCRIPT = """
local time = redis.call('TIME')
local now, minute, increment = time[1] + time[2] / 1000000, tonumber(ARGV[1]), ARGV[1] / ARGV[2]
local stored = tonumber(redis.call('GET', KEYS[1])) or now
local plausible = stored > now and stored <= now + minute
local full_at = (plausible and stored or now) + increment
local wait = full_at - now - minute
if wait > 0.000001 then return tostring(wait) end
redis.call('SET', KEYS[1], string.format('%.6f', full_at), 'PX', 2000 * minute)
return '0'
"""
"""GCRA as in `LocalRateLimiter`: the value of a key is the moment at which its quota will be full again."""


class RedisRateLimiter:
    """GCRA limiter shared by the processes of one organization, by the clock of Redis.

    Args:
        fallback: Used while Redis is unavailable.
        namespace: Separates the keys of this organization from equal keys of others on the same Redis.
    """

    def __init__(self, connection: RedisConnection, fallback: RateLimiter, namespace: str) -> None:
        self._connection = connection
        self._fallback = fallback
        self._prefix = f"usage-cost-rate-limit:{quote(namespace, safe='')}:"

    async def acquire(self, key: str, per_minute: int) -> float:
        """0 if a permit was acquired, else the seconds until one is available."""
        redis_key = f"{self._prefix}{quote(key, safe='')}"
        try:
            return float(
                await self._connection.execute(
                    lambda redis: redis.eval(_ACQUIRE_SCRIPT, 1, redis_key, int(MINUTE), per_minute)
                )
            )
        except RedisUnavailable:
            return await self._fallback.acquire(key, per_minute)
