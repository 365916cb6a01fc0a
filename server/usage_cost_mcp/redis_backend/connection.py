"""Redis connection with a circuit breaker.

After a failure, operations fail fast for 10 s, then one probe is let through.

Why operations are timed here and not by the client's sockets: socket timeouts also run out while this process
computes, and a busy process would mistake a healthy Redis for a dead one.
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
"""How long one operation may take."""

_POLLS = 4
"""How often the result is checked within the timeout. However long this process is busy, it counts as one check."""

OPEN_SECONDS = 10.0
"""How long operations fail fast after a failure."""

_MAX_CONCURRENT = 8
"""Concurrent operations; each needs a connection."""

_logger = logging.getLogger(__name__)


class RedisUnavailable(Exception):  # noqa: N818 - not an error: the caller continues without Redis
    """Redis cannot be used now. The message is the kind of failure."""


class RedisConnection:
    """A Redis client whose operations take at most 0.2 s and share a circuit breaker.

    Args:
        url: May contain a password, so it never appears in a message.
        clock: Measures how long the circuit stays open.
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
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._failure: str | None = None
        self._next_probe_at = 0.0

    async def aclose(self) -> None:
        """Close the connections."""
        with suppress(RedisError, OSError, TimeoutError):
            await _with_timeout(self._redis.aclose())

    async def execute(self, operation: Callable[[Redis], Awaitable[T]]) -> T:
        """The result of an operation.

        Raises:
            RedisUnavailable: The operation failed, timed out, or was not tried because the circuit is open.
        """
        async with self._slots:
            is_probe = self._is_probe()
            try:
                result = await _with_timeout(self._run(operation, is_probe=is_probe))
            except Exception as error:  # noqa: BLE001 - a broken server makes the client raise almost anything
                raise self._open_circuit(type(error).__name__) from None
        if is_probe:
            _logger.warning("The shared cache is available again.")
            self._failure = None
        return result

    def _is_probe(self) -> bool:
        """Whether this operation is the one that tests whether Redis is back.

        Raises:
            RedisUnavailable: The circuit is open, or another operation is the probe.
        """
        if self._failure is None:
            return False
        now = self._clock.monotonic()
        if now < self._next_probe_at:
            raise RedisUnavailable(self._failure)
        self._next_probe_at = now + OPEN_SECONDS
        return True

    async def _run(self, operation: Callable[[Redis], Awaitable[T]], *, is_probe: bool) -> T:
        if is_probe:
            await check_writable(self._redis)
        return await operation(self._redis)

    def _open_circuit(self, failure: str) -> RedisUnavailable:
        """Record a failure; log it unless the circuit was open already."""
        if self._failure is None:
            _logger.warning("The shared cache is unavailable (%s). Each process uses its own memory.", failure)
        self._failure = failure
        self._next_probe_at = self._clock.monotonic() + OPEN_SECONDS
        return RedisUnavailable(failure)


async def check_writable(redis: Redis) -> None:
    """Write a key that expires at once: a Redis that is full or read-only still answers reads."""
    await redis.set("usage-cost-probe", "", px=1)


async def _with_timeout(coroutine: Coroutine[Any, Any, T]) -> T:
    task = asyncio.create_task(coroutine)
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
    """Consume the exception so that asyncio does not report it."""
    _ = task.cancelled() or task.exception()
