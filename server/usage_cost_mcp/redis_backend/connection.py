"""The connection to Redis: what is wrong with it costs a moment once, then it is left alone for a while.

Why the time is counted here and not by the client's sockets: theirs also runs out while this process computes, and a
busy process would take a good Redis for a dead one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import SecretStr
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from usage_cost_mcp.runtime.clock import Clock

T = TypeVar("T")

TIMEOUT_SECONDS = 0.2
"""Seconds that one operation may take."""

_POLLS = 4
"""How often one looks in that time whether it is done: what this process is busy meanwhile counts as one look."""

OPEN_SECONDS = 10.0
"""Seconds for which nothing is tried after a failure."""

_MAX_CONCURRENT = 8
"""How many operations may be under way, each on a connection of its own."""

_log = logging.getLogger(__name__)


class RedisUnavailable(Exception):  # noqa: N818 - no error: all goes on without
    """Redis cannot be used at the moment; says what kind of failure it was."""


class RedisConnection:
    """A connection that fails fast.

    After a failure one operation is tried every ten seconds, and all others go on without waiting for it.

    Args:
        url: Where Redis is; it may hold a password, and is never said.
        clock: For how long it is left alone.
    """

    def __init__(self, url: SecretStr, clock: Clock) -> None:
        self._clock = clock
        self._redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType] - its options are untyped
            url.get_secret_value(),
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
        )
        self._places = asyncio.Semaphore(_MAX_CONCURRENT)
        self._failure: str | None = None
        self._again_at = 0.0

    async def aclose(self) -> None:
        """Close the connections."""
        with suppress(RedisError, OSError, TimeoutError):
            await _with_timeout(self._redis.aclose())

    async def execute(self, operation: Callable[[Redis], Awaitable[T]]) -> T:
        """The result of an operation.

        Raises:
            Away: When it failed, took too long, or was not tried.
        """
        async with self._places:
            on_trial = self._is_probe()
            try:
                result = await _with_timeout(self._work(operation, on_trial=on_trial))
            except Exception as error:  # noqa: BLE001 - the client trips in many ways over what is not Redis
                raise self._failed(type(error).__name__) from None
        if on_trial:
            _log.warning("The shared cache is back.")
            self._failure = None
        return result

    def _is_probe(self) -> bool:
        """Whether this operation finds out if all is well again; the others do not wait for it."""
        if self._failure is None:
            return False
        now = self._clock.monotonic()
        if now < self._again_at:
            raise RedisUnavailable(self._failure)
        self._again_at = now + OPEN_SECONDS
        return True

    async def _work(self, operation: Callable[[Redis], Awaitable[T]], *, on_trial: bool) -> T:
        if on_trial:
            await check_writable(self._redis)
        return await operation(self._redis)

    def _failed(self, kind: str) -> RedisUnavailable:
        if self._failure is None:
            _log.warning("The shared cache cannot be used (%s). Each process goes on with its own memory.", kind)
        self._failure = kind
        self._again_at = self._clock.monotonic() + OPEN_SECONDS
        return RedisUnavailable(kind)


async def check_writable(redis: Redis) -> None:
    """Whether Redis can be written to, which is more than that it can be read."""
    await redis.set("usage-cost-probe", "", px=1)


async def _with_timeout(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.create_task(work)
    try:
        for _ in range(_POLLS):
            if (await asyncio.wait([task], timeout=TIMEOUT_SECONDS / _POLLS))[0]:
                return task.result()
        raise TimeoutError
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_consume_exception)


def _consume_exception(task: asyncio.Task[Any]) -> None:
    """What it says on the way out interests nobody."""
    _ = task.cancelled() or task.exception()
