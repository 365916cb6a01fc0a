"""Read-through cache of report days: memory, then the tiers shared with other processes, then the Admin API."""

from collections.abc import Sequence
from datetime import date

from cachetools import TTLCache

from usage_cost_mcp.errors import (
    AccessError,
    BetaHeaderError,
    RateLimitedError,
    ResponseTooLargeError,
    UnavailableError,
    UpstreamError,
)
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import Workspaces
from usage_cost_mcp.model.upstream_reports import UpstreamReport, Width
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import Clock

from .cache_result import CacheResult, CacheStatus
from .day_loader import DayLoader
from .memory_store import MemoryDayStore
from .ports import RowSource
from .tenant import TenantGuard
from .views import View
from .window_fetcher import MAX_OVERSIZED_VIEWS, OVERSIZED_TTL_SECONDS

MAX_ROWS = 500_000
"""How many rows are kept in memory."""

REFUSED_HEADERS_TTL_SECONDS = 3600.0
"""How long a report is read without its headers after the API did not accept them."""


class ReportCache:
    """The days of both reports, by view.

    Why oversized views are remembered: a view that was too large in the smallest windows fails again for the next
    hour at the cost of a slow request each time. Until then the next coarser view is requested at once.

    Args:
        source: Where missing days are fetched.
        guard: Opens the tiers shared with other processes; None without them.
    """

    def __init__(
        self, source: RowSource, clock: Clock, max_rows: int = MAX_ROWS, guard: TenantGuard | None = None
    ) -> None:
        self._memory = MemoryDayStore(clock, max_rows)
        self._loader = DayLoader(source, self._memory, guard, clock)
        self._oversized_views: TTLCache[View, bool] = TTLCache(
            MAX_OVERSIZED_VIEWS, OVERSIZED_TTL_SECONDS, timer=clock.monotonic
        )
        self._refused_headers: TTLCache[str, bool] = TTLCache(1, REFUSED_HEADERS_TTL_SECONDS, timer=clock.monotonic)

    async def days(
        self,
        report: UpstreamReport,
        views: Sequence[tuple[str, ...]],
        width: Width,
        period: Period,
        call: CallContext,
        *,
        also: Sequence[date] = (),
    ) -> CacheResult:
        """All days of the period, in the first view (a list of dimensions) that is not too large.

        Before them come those of the earlier days `also` that are cached, or fit the requests that the period needs.
        If the API is unavailable, stale days are used, provided that they cover the whole period. If it rejects a
        request with the headers of the report, the same question is asked without them. If that is answered, the
        headers were the reason, and are left out for an hour; otherwise its error is raised.

        Raises:
            AccessError: The API rejected the key; all tiers are cleared.
            UpstreamError: A window failed. The windows that succeeded are cached, so a retry continues from there.
        """
        plain = report.without_headers
        if plain is None:
            return await self._days(report, views, width, period, also, call)
        if report.name in self._refused_headers:
            return await self._days(plain, views, width, period, also, call)
        try:
            return await self._days(report, views, width, period, also, call)
        except BetaHeaderError:
            result = await self._days(plain, views, width, period, also, call)
            if result.status != "stale":
                self._refused_headers[report.name] = True
            return result

    async def _days(
        self,
        report: UpstreamReport,
        views: Sequence[tuple[str, ...]],
        width: Width,
        period: Period,
        also: Sequence[date],
        call: CallContext,
    ) -> CacheResult:
        usable = [View(report, dimensions, width) for dimensions in views]
        not_oversized = [view for view in usable if view not in self._oversized_views]
        try:
            result = await self._read_first(not_oversized or usable[-1:], period, also, call)
        except AccessError:
            await self._loader.clear()
            raise
        call.rows += result.row_count
        return result

    async def key_usage_days(
        self, report: UpstreamReport, view: tuple[str, ...], period: Period, call: CallContext
    ) -> CacheResult:
        """All days of the period in a usage view with API keys that cannot also have workspaces.

        Raises:
            UpstreamError: A window failed.
        """
        return await self.days(report, [view], "1d", period, call)

    async def _read_first(
        self, views: Sequence[View], period: Period, also: Sequence[date], call: CallContext
    ) -> CacheResult:
        """Read the first view that is not too large."""
        view, *coarser = views
        try:
            return await self._read(view, period, also, call)
        except ResponseTooLargeError as error:
            self._oversized_views[view] = True
            if coarser:
                return await self._read_first(coarser, period, also, call)
            return await self._read_stale(view, period, error, call)
        except (RateLimitedError, UnavailableError) as error:
            return await self._read_stale(view, period, error, call)

    async def _read(self, view: View, period: Period, also: Sequence[date], call: CallContext) -> CacheResult:
        days = period.days
        found = await self._memory.get_many(view, [*also, *days])
        missing = [day for day in days if day not in found]
        fetched: set[date] = set()
        if missing:
            missing_also = [day for day in also if day not in found]
            loaded = await self._loader.load(view, self._loader.that_fit(view, missing, missing_also), call)
            found |= loaded.days
            fetched = {*missing} - loaded.cached
        status: CacheStatus = "hit" if not fetched else "partial" if len(fetched) < len(days) else "miss"
        return CacheResult([found[day] for day in (*also, *days) if day in found], status)

    async def _read_stale(self, view: View, period: Period, error: UpstreamError, call: CallContext) -> CacheResult:
        found = await self._loader.find_stale(view, period.days, call)
        if len(found) < len(period):
            raise await self._with_progress_note(error, view, period) from error
        return CacheResult([found[day] for day in period.days], "stale", stale_reason=str(error))

    async def _with_progress_note(self, error: UpstreamError, view: View, period: Period) -> UpstreamError:
        fresh = len(await self._memory.get_many(view, period.days))
        if not fresh:
            return error
        return error.with_note(f"{fresh} of the {len(period)} days are cached, so a retry continues from there.")

    def is_known_oversized(self, report: UpstreamReport, dimensions: tuple[str, ...], width: Width) -> bool:
        """Whether a view was too large within the last hour, even in the smallest windows."""
        return View(report, dimensions, width) in self._oversized_views

    def values(self, report: UpstreamReport, dimension: str, workspaces: Workspaces | None = None) -> set[str]:
        """Every value of a dimension in memory; with `workspaces`, only in the rows of those workspaces."""
        return self._memory.values(report, dimension, workspaces)

    def size(self, workspaces: Workspaces | None = None) -> tuple[int, int]:
        """The number of days and rows in memory; with `workspaces`, only those of these workspaces."""
        return self._memory.size(workspaces)
