"""The cache tier in Redis."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from urllib.parse import quote

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from usage_cost_mcp.cache import View
from usage_cost_mcp.cache.codec import SCHEMA_VERSION, DayId, decode, encode, timestamp_prefix
from usage_cost_mcp.cache.ttl import expires_at, is_fresh
from usage_cost_mcp.model.rows import DayRows, Key
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.concurrency import run_in_thread_if
from usage_cost_mcp.runtime.limits import MEBIBYTE

from .connection import RedisConnection, RedisUnavailable

PREFIX = f"usage-cost:{SCHEMA_VERSION}:"

MAX_BYTES = 4 * MEBIBYTE
"""The largest compressed day that is stored."""

_BATCH_BYTES = MEBIBYTE
"""The most bytes of one operation, unless a single day has more."""

_OFFLOAD_BYTES = 2**16
_OFFLOAD_ROWS = 2**11
"""From this size on, days are decoded and encoded in a thread, so that the event loop stays responsive."""

_BATCH_KEYS = 1000

_PUT_SCRIPT = """
for n, key in ipairs(KEYS) do
  local now, value, milliseconds = ARGV[1], ARGV[2 * n], ARGV[2 * n + 1]
  local stored = redis.pcall('GETRANGE', key, 0, #now - 1)
  local later = type(stored) == 'string' and stored <= now and stored > string.sub(value, 1, #now)
  if not later then redis.call('SET', key, value, 'PX', milliseconds) end
end
"""
"""Stores each day unless a later reading is stored; a stored one from the future is overwritten."""


def day_key(organization: str, view: View, day: date) -> str:
    """The Redis key of a day."""
    return f"{_key_prefix(organization)}{view.report.name}:{','.join(view.dimensions)}:{view.width}:{day}"


def _key_prefix(organization: str) -> str:
    return f"{PREFIX}{quote(organization, safe='')}:"


class RedisDayStore:
    """The days of one organization. While Redis is unavailable, nothing is found and nothing is kept.

    A value that is not exactly the expected day, in the current schema, is not found.
    """

    def __init__(self, connection: RedisConnection, organization: str, clock: Clock) -> None:
        self._connection = connection
        self._organization = organization
        self._clock = clock

    async def get_many(self, view: View, days: Sequence[date], *, include_stale: bool = False) -> dict[date, DayRows]:
        """The days that are cached and fresh; with `include_stale`, also those that have not expired."""
        try:
            values = await self._values([self._key(view, day) for day in days])
        except RedisUnavailable:
            return {}
        now = self._clock.now()

        def decode_all() -> list[DayRows | None]:
            shared_keys: dict[Key, Key] = {}
            return [
                None if value is None else decode(DayId(self._organization, view, day), value, now, shared_keys)
                for day, value in zip(days, values, strict=True)
            ]

        size = sum(len(value or b"") for value in values)
        decoded = await run_in_thread_if(decode_all, when=size > _OFFLOAD_BYTES)
        unexpired = (rows for rows in decoded if rows is not None and now < expires_at(view.report, rows))
        return {rows.day: rows for rows in unexpired if include_stale or is_fresh(view.report, rows, now)}

    async def _values(self, keys: Sequence[str]) -> list[bytes | None]:
        sizes = dict(zip(keys, await self._sizes(keys), strict=True))
        values: dict[str, bytes] = {}
        for batch in _batches((key, size) for key, size in sizes.items() if 0 < size <= MAX_BYTES):
            found = await self._connection.execute(lambda redis, batch=batch: redis.mget(batch))
            values |= {key: value for key, value in zip(batch, found, strict=True) if isinstance(value, bytes)}
        return [values.get(key) for key in keys]

    async def _sizes(self, keys: Sequence[str]) -> list[int]:
        async def get_sizes(redis: Redis) -> list[int]:
            async with redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.strlen(key)
                return [_size(reply) for reply in await pipe.execute(raise_on_error=False)]

        return await self._connection.execute(get_sizes) if keys else []

    async def put_many(self, view: View, days: Sequence[DayRows]) -> Sequence[DayRows]:
        """Store days until they expire, except where a later reading is stored or the value is too large.

        Returns:
            The same days.
        """

        def encode_all() -> list[bytes]:
            return [encode(DayId(self._organization, view, rows.day), rows) for rows in days]

        values = await run_in_thread_if(encode_all, when=sum(map(len, days)) > _OFFLOAD_ROWS)
        by_key = {self._key(view, rows.day): (value, rows) for value, rows in zip(values, days, strict=True)}
        now = self._clock.now()
        for batch in _batches((key, len(value)) for key, (value, _) in by_key.items() if len(value) <= MAX_BYTES):
            arguments: list[bytes | int] = [timestamp_prefix(now)]
            for value, rows in (by_key[key] for key in batch):
                arguments += [value, max(1, int((expires_at(view.report, rows) - now).total_seconds() * 1000))]
            try:
                await self._connection.execute(
                    lambda redis, batch=batch, arguments=arguments: redis.eval(
                        _PUT_SCRIPT, len(batch), *batch, *arguments
                    )
                )
            except RedisUnavailable:
                break
        return days

    async def clear(self) -> None:
        """Delete all days of the organization, and its leases."""
        cursor = None
        try:
            while cursor != 0:
                cursor = await self._connection.execute(
                    lambda redis, cursor=cursor or 0: self._clear_batch(redis, cursor)
                )
        except RedisUnavailable:
            return

    async def _clear_batch(self, redis: Redis, cursor: int) -> int:
        next_cursor, keys = await redis.scan(  # pyright: ignore[reportUnknownMemberType] - its options are untyped
            cursor, match=f"{_key_prefix(self._organization)}*", count=_BATCH_KEYS
        )
        if keys:
            await redis.unlink(*keys)
        return next_cursor

    def _key(self, view: View, day: date) -> str:
        return day_key(self._organization, view, day)


def _size(reply: int | Exception) -> int:
    """The length of a value; 0 if the key holds another type than a string."""
    if isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE"):
        return 0
    if isinstance(reply, Exception):
        raise reply
    return reply


def _batches(sizes: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """The keys in batches of at most `_BATCH_BYTES`."""
    batch: list[str] = []
    remaining = _BATCH_BYTES
    for key, size in sizes:
        if batch and size > remaining:
            yield batch
            batch, remaining = [], _BATCH_BYTES
        batch.append(key)
        remaining -= size
    if batch:
        yield batch
