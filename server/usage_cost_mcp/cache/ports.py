"""Interfaces around the cache: its tiers, its source, and what the reports read."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date
from typing import Protocol

from usage_cost_mcp.model.names import NamesById
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import DayRows, Workspaces
from usage_cost_mcp.model.upstream_reports import UpstreamReport, Width
from usage_cost_mcp.runtime.call_context import CallContext

from .cache_result import CacheResult
from .views import View
from .windows import Window


class DayCache(Protocol):
    """A cache tier: days by view. A tier that fails finds less and keeps less; it never raises."""

    async def get_many(self, view: View, days: Sequence[date], *, include_stale: bool = False) -> dict[date, DayRows]:
        """The days that are cached and fresh; with `include_stale`, also those that have not expired."""
        ...

    async def put_many(self, view: View, days: Sequence[DayRows]) -> Sequence[DayRows]:
        """Keep days until they expire, except where a later reading is cached.

        Returns:
            The days, marked as revised where the tier compares them with an earlier reading and they differ.
        """
        ...

    async def clear(self) -> None:
        """Drop all days."""
        ...


class FetchCoordinator(Protocol):
    """Decides which of the processes that share a cache fetches a day."""

    def acquire_fetch(self, view: View, days: Sequence[date]) -> AbstractAsyncContextManager[Sequence[date]]:
        """The days that no other process is fetching. Until the block ends, no other process acquires them."""
        ...

    async def wait_for_fetch(self, view: View, days: Sequence[date], deadline: float) -> None:
        """Wait until no process is fetching any of the days, or until the deadline (of the monotonic clock).

        Raises:
            UnavailableError: The deadline passed.
        """
        ...


class RowSource(Protocol):
    """Where rows come from: the Admin API."""

    async def fetch(
        self, report: UpstreamReport, dimensions: Sequence[str], width: Width, window: Window, call: CallContext
    ) -> list[DayRows]:
        """Every day that the window touches.

        Raises:
            UpstreamError: Any part of the window could not be read.
        """
        ...


class ReportData(Protocol):
    """The report data that the reports read: all of it, or that of some workspaces."""

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

        Raises:
            InvalidQueryError: A view cannot have the dimensions that it needs.
            UpstreamError: A day is neither cached nor available from the API.
        """
        ...

    async def key_usage_days(
        self, report: UpstreamReport, view: tuple[str, ...], period: Period, call: CallContext
    ) -> CacheResult:
        """All days of the period in a usage view with API keys that cannot also have workspaces.

        Raises:
            UpstreamError: A day is neither cached nor available from the API.
        """
        ...

    def is_known_oversized(self, report: UpstreamReport, dimensions: tuple[str, ...], width: Width) -> bool:
        """Whether a view was too large within the last hour, even in the smallest windows."""
        ...

    def values(self, report: UpstreamReport, dimension: str, workspaces: Workspaces | None = None) -> set[str]:
        """Every value of a dimension in memory; with `workspaces`, only in the rows of those workspaces."""
        ...

    def size(self, workspaces: Workspaces | None = None) -> tuple[int, int]:
        """The number of days and rows in memory; with `workspaces`, only those of these workspaces."""
        ...


class Directory(Protocol):
    """Names by id, and the organization of the Admin key."""

    async def names(self, dimension: str, call: CallContext) -> NamesById | None:
        """The names of all values of a dimension, archived ones included; None when they cannot be read."""
        ...

    @property
    def known_organization(self) -> tuple[str, str] | None:
        """The id and the name of the organization if they have been looked up; never makes a request."""
        ...

    async def organization(self, call: CallContext) -> tuple[str, str]:
        """The id and the name of the organization."""
        ...
