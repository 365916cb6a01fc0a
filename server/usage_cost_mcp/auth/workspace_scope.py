"""Workspace scoping: the report data and names that a principal may see.

This is the only place where a scope is applied. The cache holds each day once, for everybody; a scoped principal gets
only the rows of their workspaces, as if the organization had no others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.cache.ports import Directory, ReportData
from usage_cost_mcp.errors import KeyRefusedError, UpstreamError
from usage_cost_mcp.model.dimensions import API_KEY, WORKSPACE
from usage_cost_mcp.model.names import UNKNOWN_WORKSPACE, Name, NamesById
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import Values, Workspaces
from usage_cost_mcp.model.series import values_of
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT, UpstreamReport, Width
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.concurrency import gather_pair, run_in_thread_if

_ACCOUNT = "account_id"
_ACCOUNT_LOOKBACK = timedelta(days=30)
"""An account is shown by name if it used one of the workspaces in this period before today."""

_OFFLOAD_ROWS = 20_000
"""Above this number, rows are filtered in a thread so that other calls are not blocked."""


class ScopedReportCache:
    """The report data of some workspaces."""

    def __init__(self, cache: ReportData, directory: Directory, workspaces: Workspaces) -> None:
        self._cache = cache
        self._directory = directory
        self._workspaces = workspaces

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
        with_workspace = [_with_workspace(report, view) for view in views]
        result = await self._cache.days(report, with_workspace, width, period, call, also=also)
        return await _filter_days(result, WORKSPACE, self._workspaces)

    async def key_usage_days(
        self, report: UpstreamReport, view: tuple[str, ...], period: Period, call: CallContext
    ) -> CacheResult:
        """As in `ReportData`, limited to the keys that the directory lists in the workspaces."""
        result, names = await gather_pair(
            self._cache.key_usage_days(report, view, period, call), self._directory.names(API_KEY, call)
        )
        return await _filter_days(result, API_KEY, frozenset(_keys_of(names or {}, self._workspaces)))

    def is_known_oversized(self, report: UpstreamReport, dimensions: tuple[str, ...], width: Width) -> bool:
        return self._cache.is_known_oversized(report, _with_workspace(report, dimensions), width)

    def values(self, report: UpstreamReport, dimension: str, workspaces: Workspaces | None = None) -> set[str]:
        return self._cache.values(report, dimension, self._intersection(workspaces))

    def size(self, workspaces: Workspaces | None = None) -> tuple[int, int]:
        return self._cache.size(self._intersection(workspaces))

    def _intersection(self, workspaces: Workspaces | None) -> Workspaces:
        return self._workspaces if workspaces is None else self._workspaces & workspaces


def _with_workspace(report: UpstreamReport, view: Sequence[str]) -> tuple[str, ...]:
    """The view with the workspace dimension added.

    Raises:
        InvalidQueryError: When that is more than can be fetched together.
    """
    return report.views_for({*view, WORKSPACE})[-1]


async def _filter_days(result: CacheResult, dimension: str, values: Values) -> CacheResult:
    days = await run_in_thread_if(
        lambda: [day.filtered(dimension, values) for day in result.days], when=result.row_count > _OFFLOAD_ROWS
    )
    return replace(result, days=days)


class ScopedDirectory:
    """The names of some workspaces, of their keys, and of the accounts that use them.

    It lives for one call, and filters each list once, however many names are looked up.

    Args:
        directory: The whole directory.
        cache: The report data of the same workspaces.
        workspaces: The workspaces.
        clock: The source of time.
    """

    def __init__(self, directory: Directory, cache: ScopedReportCache, workspaces: Workspaces, clock: Clock) -> None:
        self._directory = directory
        self._cache = cache
        self._workspaces = workspaces
        self._clock = clock
        self._names: dict[str, NamesById | None] = {}

    async def names(self, dimension: str, call: CallContext) -> NamesById | None:
        """The names within the workspaces; None when they cannot be looked up.

        Raises:
            KeyRefusedError: When the Admin API rejects the key.
        """
        if dimension not in self._names:
            self._names[dimension] = await self._visible_names(dimension, call)
        return self._names[dimension]

    async def _visible_names(self, dimension: str, call: CallContext) -> NamesById | None:
        names = await self._directory.names(dimension, call)
        if names is None:
            return None
        match dimension:
            case "workspace_id":
                listed = {each: name for each, name in names.items() if each in self._workspaces}
                unlisted = sorted(each for each in self._workspaces if each and each not in names)
                return listed | {each: Name(each) for each in unlisted}
            case "api_key_id":
                # If the list does not say which workspace a key belongs to, the keys of a scope are unknown.
                incomplete = any(name.workspace_id is UNKNOWN_WORKSPACE for name in names.values())
                return None if incomplete else _keys_of(names, self._workspaces)
            case _:
                active = await self._active_accounts(call)
                return None if active is None else {each: name for each, name in names.items() if each in active}

    async def _active_accounts(self, call: CallContext) -> Values | None:
        """The accounts that used the workspaces recently; None when the usage cannot be fetched."""
        today = self._clock.now().date()
        try:
            result = await self._cache.days(
                USAGE_REPORT, [(WORKSPACE, _ACCOUNT)], "1d", Period(today - _ACCOUNT_LOOKBACK, today, today), call
            )
        except KeyRefusedError:
            raise
        except UpstreamError:
            return None
        return frozenset(values_of(result.days, _ACCOUNT))

    @property
    def known_organization(self) -> tuple[str, str] | None:
        """The id and the name of the organization if they have been looked up."""
        return self._directory.known_organization

    async def organization(self, call: CallContext) -> tuple[str, str]:
        return await self._directory.organization(call)


def _keys_of(names: NamesById, workspaces: Workspaces) -> Mapping[str, Name]:
    return {key: name for key, name in names.items() if name.workspace_id in workspaces}
