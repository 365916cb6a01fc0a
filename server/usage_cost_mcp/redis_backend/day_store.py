"""The days of one organization, in Redis."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from urllib.parse import quote

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from usage_cost_mcp.cache import View
from usage_cost_mcp.cache.codec import SCHEMA_VERSION, DayId, decode, encode, timestamp_prefix
from usage_cost_mcp.cache.memory_store import expires_at, is_fresh
from usage_cost_mcp.model.rows import DayRows, Key
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.concurrency import run_in_thread_if
from usage_cost_mcp.runtime.limits import MEBIBYTE

from .connection import RedisConnection, RedisUnavailable

PREFIX = f"usage-cost:{SCHEMA_VERSION}:"

MAX_BYTES = 4 * MEBIBYTE
"""The largest day that is shared, compressed."""

_BATCH_BYTES = MEBIBYTE
"""How much one operation carries, if it carries more than one day."""

_OFFLOAD_BYTES = 2**16
_OFFLOAD_ROWS = 2**11
"""Bytes and rows from which on days are read and written in a thread, while others are answered."""

_BATCH_KEYS = 1000

_PUT_SCRIPT = """
for n, key in ipairs(KEYS) do
  local value, life = ARGV[2 * n], ARGV[2 * n + 1]
  local length = #ARGV[1]
  local held = redis.pcall('GETRANGE', key, 0, length - 1)
  local later = type(held) == 'string' and held <= ARGV[1] and held > string.sub(value, 1, length)
  if not later then redis.call('SET', key, value, 'PX', life) end
end
"""
"""Keeps each day unless a later reading of it is there; one from the future is not believed."""


class RedisDayStore:
    """Days by view, found and kept as far as Redis can be used; what is unreadable there is not found.

    Args:
        connection: To Redis.
        organization: Whose days they are, by its id.
        clock: What is fresh depends on it.
    """

    def __init__(self, connection: RedisConnection, organization: str, clock: Clock) -> None:
        self._connection = connection
        self._organization = organization
        self._clock = clock
        self.prefix = f"{PREFIX}{quote(organization, safe='')}:"

    def name(self, view: View, day: date) -> str:
        """The name that a day has in Redis."""
        return f"{self.prefix}{view.report.name}:{','.join(view.dimensions)}:{view.width}:{day}"

    async def get_many(self, view: View, days: Sequence[date], *, include_stale: bool = False) -> dict[date, DayRows]:
        """Those of the days that are held and fresh."""
        try:
            values = await self._values([self.name(view, day) for day in days])
        except RedisUnavailable:
            return {}
        now = self._clock.now()

        def parsed() -> list[DayRows | None]:
            known: dict[Key, Key] = {}
            return [
                None if value is None else decode(DayId(self._organization, view, day), value, now, known)
                for day, value in zip(days, values, strict=True)
            ]

        found = await run_in_thread_if(parsed, when=sum(len(value or b"") for value in values) > _OFFLOAD_BYTES)
        usable = (rows for rows in found if rows is not None and now < expires_at(view.report, rows))
        return {rows.day: rows for rows in usable if include_stale or is_fresh(view.report, rows, now)}

    async def _values(self, names: Sequence[str]) -> list[bytes | None]:
        sizes = dict(zip(names, await self._sizes(names), strict=True))
        values: dict[str, bytes] = {}
        for part in _batches((name, size) for name, size in sizes.items() if 0 < size <= MAX_BYTES):
            found = await self._connection.execute(lambda redis, part=part: redis.mget(part))
            values |= {name: value for name, value in zip(part, found, strict=True) if isinstance(value, bytes)}
        return [values.get(name) for name in names]

    async def _sizes(self, names: Sequence[str]) -> list[int]:
        async def ask(redis: Redis) -> list[int]:
            async with redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.strlen(name)
                return [_size(answer) for answer in await pipe.execute(raise_on_error=False)]

        return await self._connection.execute(ask) if names else []

    async def put_many(self, view: View, days: Sequence[DayRows]) -> None:
        """Hold days until they are too old even for an outage; what is too large is left out."""

        def values() -> list[bytes]:
            return [encode(DayId(self._organization, view, rows.day), rows) for rows in days]

        made = await run_in_thread_if(values, when=sum(map(len, days)) > _OFFLOAD_ROWS)
        by_name = {self.name(view, rows.day): (value, rows) for value, rows in zip(made, days, strict=True)}
        now = self._clock.now()
        for part in _batches((name, len(value)) for name, (value, _) in by_name.items() if len(value) <= MAX_BYTES):
            arguments: list[bytes | int] = [timestamp_prefix(now)]
            for value, rows in (by_name[name] for name in part):
                arguments += [value, max(1, int((expires_at(view.report, rows) - now).total_seconds() * 1000))]
            try:
                await self._connection.execute(
                    lambda redis, part=part, args=arguments: redis.eval(_PUT_SCRIPT, len(part), *part, *args)
                )
            except RedisUnavailable:
                return

    async def clear(self) -> None:
        """Hold nothing of the organization any more."""
        cursor = None
        try:
            while cursor != 0:
                cursor = await self._connection.execute(lambda redis, at=cursor or 0: self._clear_batch(redis, at))
        except RedisUnavailable:
            return

    async def _clear_batch(self, redis: Redis, cursor: int) -> int:
        following, names = await redis.scan(  # pyright: ignore[reportUnknownMemberType] - its options are untyped
            cursor, match=f"{self.prefix}*", count=_BATCH_KEYS
        )
        if names:
            await redis.unlink(*names)
        return following


def _size(answer: int | Exception) -> int:
    """The length of what is held; nothing when it is something else than a text."""
    if isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE"):
        return 0
    if isinstance(answer, Exception):
        raise answer
    return answer


def _batches(sizes: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """The names in portions of a bounded size."""
    portion: list[str] = []
    left = _BATCH_BYTES
    for name, size in sizes:
        if portion and size > left:
            yield portion
            portion, left = [], _BATCH_BYTES
        portion.append(name)
        left -= size
    if portion:
        yield portion
