"""Several cache tiers used as one."""

from collections.abc import Sequence
from datetime import date

from usage_cost_mcp.model.rows import DayRows
from usage_cost_mcp.runtime.clock import Clock

from .ports import DayCache
from .ttl import is_fresh
from .views import View


class TieredDayCache:
    """Cache tiers, the fastest first. Days found in a lower tier are copied into the tiers above it."""

    def __init__(self, tiers: Sequence[DayCache], clock: Clock) -> None:
        self._tiers = tiers
        self._clock = clock

    async def get_many(self, view: View, days: Sequence[date], *, include_stale: bool = False) -> dict[date, DayRows]:
        """The days from the first tier that has them."""
        found: dict[date, DayRows] = {}
        for depth in range(len(self._tiers)):
            missing = [day for day in days if day not in found]
            if not missing:
                break
            found |= await self._get_from(depth, view, missing, include_stale=include_stale)
        return found

    async def _get_from(
        self, depth: int, view: View, days: Sequence[date], *, include_stale: bool
    ) -> dict[date, DayRows]:
        """The days that one tier has, marked as revised by the tiers above it.

        Stale days are copied upwards too: a later reading is compared with them, and an outage may need them.
        """
        cached = await self._tiers[depth].get_many(view, days, include_stale=include_stale or depth > 0)
        copied = await _put(self._tiers[:depth], view, list(cached.values()))
        now = self._clock.now()
        return {rows.day: rows for rows in copied if include_stale or is_fresh(view.report, rows, now)}

    async def put_many(self, view: View, days: Sequence[DayRows]) -> Sequence[DayRows]:
        """Keep days in every tier, from the top down; a mark that one tier makes is kept by those below."""
        return await _put(self._tiers, view, days)

    async def clear(self) -> None:
        """Drop all days from every tier."""
        for tier in self._tiers:
            await tier.clear()


async def _put(tiers: Sequence[DayCache], view: View, days: Sequence[DayRows]) -> Sequence[DayRows]:
    for tier in tiers:
        days = await tier.put_many(view, days)
    return days
