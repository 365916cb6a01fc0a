"""Rows and names as far as a principal may see them: the one place where a limit to workspaces is put.

All rows of a day are held once, for everybody; whoever is limited is handed those of their workspaces, as if there were
no others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.cache.ports import Directory
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
_KNOWN_FOR = timedelta(days=30)
"""How long before today an account is called by its name after it used a workspace."""

_OFFLOAD_ROWS = 20_000
"""Rows from which on they are picked in a thread, while others are answered."""


class ReportData(Protocol):
    """What the reports need of a ledger."""

    async def days(
        self, report: UpstreamReport, views: Sequence[tuple[str, ...]], width: Width, period: Period, call: CallContext
    ) -> CacheResult:
        """All days of the period, in the first view that can be had."""
        ...

    async def key_usage_days(self, view: tuple[str, ...], period: Period, call: CallContext) -> CacheResult:
        """All days of the period in a view of usage that has API keys but no room for workspaces."""
        ...

    def is_known_oversized(self, report: UpstreamReport, dimensions: tuple[str, ...], width: Width) -> bool:
        """Whether a view was too much for upstream not long ago."""
        ...

    def values(self, report: UpstreamReport, dimension: str, workspaces: Workspaces | None = None) -> set[str]:
        """Every value of a dimension in the days that are held, maybe only in the rows of some workspaces."""
        ...

    def size(self, workspaces: Workspaces | None = None) -> tuple[int, int]:
        """The number of days held and of their rows, maybe only of those of some workspaces."""
        ...


class ScopedReportCache:
    """A ledger that holds nothing but some workspaces."""

    def __init__(self, cache: ReportData, directory: Directory, workspaces: Workspaces) -> None:
        self._ledger = cache
        self._directory = directory
        self._workspaces = workspaces

    async def days(
        self, report: UpstreamReport, views: Sequence[tuple[str, ...]], width: Width, period: Period, call: CallContext
    ) -> CacheResult:
        """All days of the period; every view tells the workspace too.

        Raises:
            QuestionError: When a view has no room for that.
            UpstreamError: When any window fails.
        """
        telling = [_with_workspace(report, view) for view in views]
        return await _only(await self._ledger.days(report, telling, width, period, call), WORKSPACE, self._workspaces)

    async def key_usage_days(self, view: tuple[str, ...], period: Period, call: CallContext) -> CacheResult:
        """The same of a view without room for workspaces: the use of keys that are listed as theirs, and no other.

        Raises:
            UpstreamError: When any window fails.
        """
        held, names = await gather_pair(
            self._ledger.key_usage_days(view, period, call), self._directory.names(API_KEY, call)
        )
        return await _only(held, API_KEY, frozenset(_keys_of(names or {}, self._workspaces)))

    def is_known_oversized(self, report: UpstreamReport, dimensions: tuple[str, ...], width: Width) -> bool:
        """Whether a view was too much for upstream not long ago."""
        return self._ledger.is_known_oversized(report, _with_workspace(report, dimensions), width)

    def values(self, report: UpstreamReport, dimension: str, workspaces: Workspaces | None = None) -> set[str]:
        """Every value of a dimension in what is held of their days."""
        return self._ledger.values(report, dimension, self._among(workspaces))

    def size(self, workspaces: Workspaces | None = None) -> tuple[int, int]:
        """The number of days held and of their rows."""
        return self._ledger.size(self._among(workspaces))

    def _among(self, workspaces: Workspaces | None) -> Workspaces:
        return self._workspaces if workspaces is None else self._workspaces & workspaces


def _with_workspace(report: UpstreamReport, view: Sequence[str]) -> tuple[str, ...]:
    """A view that tells the workspace too.

    Raises:
        QuestionError: When that is more than can be fetched together.
    """
    return report.views_for({*view, WORKSPACE})[-1]


async def _only(held: CacheResult, dimension: str, values: Values) -> CacheResult:
    days = await run_in_thread_if(
        lambda: [day.filtered(dimension, values) for day in held.days], when=held.row_count > _OFFLOAD_ROWS
    )
    return replace(held, days=days)


class ScopedDirectory:
    """A directory that knows nothing but some workspaces: their names, their keys, and who uses them.

    It serves one question, and picks what is theirs out of each list once, however many names are looked for in it.

    Args:
        ledger: Limited to the same workspaces.
    """

    def __init__(self, directory: Directory, cache: ScopedReportCache, workspaces: Workspaces, clock: Clock) -> None:
        self._directory = directory
        self._ledger = cache
        self._workspaces = workspaces
        self._clock = clock
        self._picked: dict[str, NamesById | None] = {}

    async def names(self, dimension: str, call: CallContext) -> NamesById | None:
        """The names of the values of a dimension that are theirs; None when they cannot be looked up.

        Raises:
            KeyRefusedError: 401.
        """
        if dimension not in self._picked:
            self._picked[dimension] = await self._pick(dimension, call)
        return self._picked[dimension]

    async def _pick(self, dimension: str, call: CallContext) -> NamesById | None:
        names = await self._directory.names(dimension, call)
        if names is None:
            return None
        match dimension:
            case "workspace_id":
                listed = {each: name for each, name in names.items() if each in self._workspaces}
                unlisted = sorted(each for each in self._workspaces if each and each not in names)
                return listed | {each: Name(each) for each in unlisted}
            case "api_key_id":
                # Where the list does not tell whose a key is, nobody can say which are theirs.
                untold = any(name.workspace_id is UNKNOWN_WORKSPACE for name in names.values())
                return None if untold else _keys_of(names, self._workspaces)
            case _:
                seen = await self._accounts(call)
                return None if seen is None else {each: name for each, name in names.items() if each in seen}

    async def _accounts(self, call: CallContext) -> Values | None:
        """The accounts that used their workspaces not long ago; None when that cannot be had."""
        today = self._clock.now().date()
        try:
            held = await self._ledger.days(
                USAGE_REPORT, [(WORKSPACE, _ACCOUNT)], "1d", Period(today - _KNOWN_FOR, today, today), call
            )
        except KeyRefusedError:
            raise
        except UpstreamError:
            return None
        return frozenset(values_of(held.days, _ACCOUNT))

    async def organization(self, call: CallContext) -> tuple[str, str]:
        """The id and the name of the organization."""
        return await self._directory.organization(call)


def _keys_of(names: NamesById, workspaces: Workspaces) -> Mapping[str, Name]:
    """The keys that are known to belong to some workspaces."""
    return {key: name for key, name in names.items() if name.workspace_id in workspaces}
