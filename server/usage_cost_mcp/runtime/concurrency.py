"""One fetch for many askers.

A flight is a piece of work that any number of askers wait for. One who gives up does not disturb the others; when
the last one leaves, the work is dropped.
"""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Hashable, Iterable
from typing import Any, Generic, TypeVar, cast

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
U = TypeVar("U")


class SharedTask(Generic[T]):
    """Work under way."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = asyncio.create_task(work)
        self._askers = 0
        self._dropped = False

    @property
    def is_active(self) -> bool:
        """False once it has landed or was dropped."""
        return not (self._task.done() or self._dropped)

    async def wait(self) -> T:
        """Wait for the result, or for the error, which every asker gets."""
        self._askers += 1
        try:
            return await asyncio.shield(self._task)
        finally:
            self._askers -= 1
            if not self._askers:
                self._dropped = True
                self._task.cancel()


class SingleFlight(Generic[K, T]):
    """The work under way, by what it will bring."""

    def __init__(self) -> None:
        self._by_key: dict[K, SharedTask[T]] = {}

    def find(self, key: K) -> SharedTask[T] | None:
        """The flight that will bring the key, if there is one."""
        flight = self._by_key.get(key)
        return flight if flight and flight.is_active else None

    def start(self, keys: Iterable[K], work: Coroutine[Any, Any, T]) -> SharedTask[T]:
        """Begin work that will bring all the keys."""
        self._by_key = {key: flight for key, flight in self._by_key.items() if flight.is_active}
        flight = SharedTask(work)
        self._by_key.update(dict.fromkeys(keys, flight))
        return flight


async def gather_or_cancel(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order, or the first error, upon which the rest is dropped."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def gather_pair(one: Coroutine[Any, Any, T], other: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """Two results of different kinds, side by side."""
    first, second = await gather_or_cancel([one, other])
    return cast("T", first), cast("U", second)


async def run_in_thread_if(work: Callable[[], T], *, when: bool) -> T:
    """The result of a computation, made in a thread when it is long, so that others are answered meanwhile."""
    return await asyncio.to_thread(_without_gc, work) if when else work()


def _without_gc(work: Callable[[], T]) -> T:
    """Looking for garbage among many new objects, again and again, takes longer than to make them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return work()
    finally:
        if was_on:
            gc.enable()
