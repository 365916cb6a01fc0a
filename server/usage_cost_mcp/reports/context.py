"""What a report runs with: data, names and a clock, all limited to what the principal may see."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo

from usage_cost_mcp.auth.principals import Principal
from usage_cost_mcp.auth.workspace_scope import ScopedDirectory, ScopedReportCache
from usage_cost_mcp.cache.ports import Directory, ReportData
from usage_cost_mcp.model.dimensions import WORKSPACE
from usage_cost_mcp.model.rows import Workspaces
from usage_cost_mcp.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class ReportContext:
    """The report cache, the directory of names and the clock of one organization.

    Attributes:
        demo: Whether this is the demo organization.
        workspaces: The workspaces that the cache and the directory are limited to; None for all.
    """

    cache: ReportData
    directory: Directory
    clock: Clock
    demo: bool = False
    workspaces: Workspaces | None = None

    def scoped_to(self, principal: Principal) -> "ReportContext":
        """The same context, limited to the workspaces of a principal."""
        if principal.workspaces is None:
            return self
        cache = ScopedReportCache(self.cache, self.directory, principal.workspaces)
        directory = ScopedDirectory(self.directory, cache, principal.workspaces, self.clock)
        return replace(self, cache=cache, directory=directory, workspaces=principal.workspaces)

    def can_see(self, dimension: str, value: str | None) -> bool:
        """Whether answers and errors may name a value of a dimension."""
        return dimension != WORKSPACE or self.workspaces is None or value in self.workspaces

    def now(self) -> datetime:
        """The current UTC time."""
        return self.clock.now()

    def today(self, zone: tzinfo = UTC) -> date:
        """The current day in a time zone."""
        return self.now().astimezone(zone).date()
