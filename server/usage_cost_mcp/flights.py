"""One fetch for many askers.

A flight is a piece of work that any number of askers wait for. One who gives up does not disturb the others; when
the last one leaves, the work is dropped.
"""

import asyncio
from collections.abc import Coroutine, Hashable, Iterable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Flight(Generic[T]):
    """Work under way."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = asyncio.create_task(work)
        self._askers = 0
        self._dropped = False

    @property
    def can_be_joined(self) -> bool:
        """False once it has landed or was dropped."""
        return not (self._task.done() or self._dropped)

    async def landing(self) -> T:
        """Wait for the result, or for the error, which every asker gets."""
        self._askers += 1
        try:
            return await asyncio.shield(self._task)
        finally:
            self._askers -= 1
            if not self._askers:
                self._dropped = True
                self._task.cancel()


class Flights(Generic[K, T]):
    """The work under way, by what it will bring."""

    def __init__(self) -> None:
        self._by_key: dict[K, Flight[T]] = {}

    def find(self, key: K) -> Flight[T] | None:
        """The flight that will bring the key, if there is one."""
        flight = self._by_key.get(key)
        return flight if flight and flight.can_be_joined else None

    def start(self, keys: Iterable[K], work: Coroutine[Any, Any, T]) -> Flight[T]:
        """Begin work that will bring all the keys."""
        self._by_key = {key: flight for key, flight in self._by_key.items() if flight.can_be_joined}
        flight = Flight(work)
        self._by_key.update(dict.fromkeys(keys, flight))
        return flight


async def side_by_side(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order, or the first error, upon which the rest is dropped."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
