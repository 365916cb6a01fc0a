"""Fetches days from the Admin API, window by window; a window that is too large is split."""

from collections.abc import Collection
from datetime import date

from cachetools import TTLCache

from usage_cost_mcp.errors import ResponseTooLargeError
from usage_cost_mcp.model.rows import DayRows
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.concurrency import gather_or_cancel

from .ports import DayCache, RowSource
from .views import View
from .windows import REDUCED_WINDOW_DAYS, Window, plan_windows

OVERSIZED_TTL_SECONDS = 3600.0
"""How long a view that was too large or too slow is requested in smaller windows, or not at all."""

MAX_OVERSIZED_VIEWS = 256


class WindowFetcher:
    """Plans windows, fetches them, and remembers for an hour which views need smaller ones."""

    def __init__(self, source: RowSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._max_days: TTLCache[View, int] = TTLCache(
            MAX_OVERSIZED_VIEWS, OVERSIZED_TTL_SECONDS, timer=clock.monotonic
        )

    def plan(self, view: View, days: Collection[date]) -> list[Window]:
        """The windows that cover the days, as large as the view allows."""
        max_days = self._max_days.get(view) or view.report.days_per_page(view.width)
        return plan_windows(days, view.width, self._clock.now(), max_days)

    async def fetch(self, view: View, days: Collection[date], cache: DayCache, call: CallContext) -> list[DayRows]:
        """Fetch days. The days of each window are cached as soon as it is complete, even if another one fails.

        Raises:
            UpstreamError: A window failed; ResponseTooLargeError if even the smallest one is too large.
        """
        windows = self.plan(view, days)
        fetched = await gather_or_cancel(self._fetch_window(view, window, cache, call) for window in windows)
        return [rows for days_of_window in fetched for rows in days_of_window]

    async def _fetch_window(self, view: View, window: Window, cache: DayCache, call: CallContext) -> list[DayRows]:
        try:
            fetched = await self._source.fetch(view.report, view.dimensions, view.width, window, call)
        except ResponseTooLargeError:
            smaller = next((max_days for max_days in REDUCED_WINDOW_DAYS if max_days < len(window.days)), None)
            if smaller is None:
                raise
            self._max_days[view] = smaller
            return await self.fetch(view, window.days, cache, call)
        return list(await cache.put_many(view, fetched))
