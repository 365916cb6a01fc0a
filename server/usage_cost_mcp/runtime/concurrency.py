"""Single-flight (concurrent callers of the same work share one task), and helpers for tasks and threads."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Hashable, Iterable
from typing import Any, Generic, TypeVar, cast

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
U = TypeVar("U")


class SharedTask(Generic[T]):
    """A task with any number of waiters. One that is cancelled does not disturb the others; the last cancels the task.

    A cancelled task may still be running its cleanup, so it counts as inactive as soon as its last waiter has left.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = asyncio.create_task(work)
        self._waiters = 0
        self._abandoned = False

    @property
    def is_active(self) -> bool:
        """Whether another caller may wait for it."""
        return not (self._task.done() or self._abandoned)

    async def wait(self) -> T:
        """The result, or the error, which every waiter gets."""
        self._waiters += 1
        try:
            return await asyncio.shield(self._task)
        finally:
            self._waiters -= 1
            if not self._waiters:
                self._abandoned = True
                self._task.cancel()


class SingleFlight(Generic[K, T]):
    """Active tasks by the keys that they produce."""

    def __init__(self) -> None:
        self._by_key: dict[K, SharedTask[T]] = {}

    async def run(self, key: K, factory: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for the active task of the key; start one if there is none."""
        task = self.find(key) or self.start([key], factory())
        return await task.wait()

    def find(self, key: K) -> SharedTask[T] | None:
        """The active task that produces the key."""
        task = self._by_key.get(key)
        return task if task and task.is_active else None

    def start(self, keys: Iterable[K], work: Coroutine[Any, Any, T]) -> SharedTask[T]:
        """Start a task that produces all the keys."""
        self._by_key = {key: task for key, task in self._by_key.items() if task.is_active}
        task = SharedTask(work)
        self._by_key.update(dict.fromkeys(keys, task))
        return task


async def gather_or_cancel(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order; on the first error the rest is cancelled and the error raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def gather_pair(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """`gather_or_cancel` for two results of different types."""
    one, other = await gather_or_cancel([first, second])
    return cast("T", one), cast("U", other)


OFFLOAD_ROWS = 5_000
"""Work on more rows than this is done in a thread, unless it takes much more or less time for each row than a sum."""


async def run_in_thread_if(work: Callable[[], T], *, when: bool) -> T:
    """The result of a computation, made in a thread when it takes long, so that the event loop stays responsive."""
    return await asyncio.to_thread(_without_gc, work) if when else work()


def _without_gc(work: Callable[[], T]) -> T:
    """Run with the garbage collector off.

    Why: work that takes long allocates hundreds of thousands of rows, and each collection walks all of them again to
    find no garbage. That takes longer than the allocations. Objects without cycles are freed all the same.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return work()
    finally:
        if was_on:
            gc.enable()
