"""An allowance that several processes use up together."""

from urllib.parse import quote

from usage_cost_mcp.runtime.rate_limit import MINUTE, Allowance

from .connection import Away, Line

_TAKE = """
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
"""What is kept is the moment at which all of it will have come back, as in the allowance of one process."""


class SharedAllowance:
    """The allowance of all processes of one organization on one Redis, by its clock.

    Args:
        line: To Redis.
        own: What this process may take when Redis cannot be used.
        whose: Tells the organization from others on the same Redis, who may call their people the same.
    """

    def __init__(self, line: Line, own: Allowance, whose: str) -> None:
        self._line = line
        self._own = own
        self._prefix = f"usage-cost-allowance:{quote(whose, safe='')}:"

    async def take(self, key: str, a_minute: int) -> float:
        """Take one, or say when one can be taken."""
        name = f"{self._prefix}{quote(key, safe='')}"
        try:
            return float(await self._line.ask(lambda redis: redis.eval(_TAKE, 1, name, int(MINUTE), a_minute)))
        except Away:
            return await self._own.take(key, a_minute)
