"""What a report needs to answer a question."""

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
    """The ledger of rows, the directory of names, a clock, and whether the organization is the demo.

    Attributes:
        workspaces: The only ones that the ledger and the directory know; None for the whole organization.
    """

    cache: ReportData
    directory: Directory
    clock: Clock
    demo: bool = False
    workspaces: Workspaces | None = None

    def scoped_to(self, principal: Principal) -> "ReportContext":
        """The same, as far as a principal may see it."""
        if principal.workspaces is None:
            return self
        cache = ScopedReportCache(self.cache, self.directory, principal.workspaces)
        directory = ScopedDirectory(self.directory, cache, principal.workspaces, self.clock)
        return replace(self, cache=cache, directory=directory, workspaces=principal.workspaces)

    def can_see(self, dimension: str, value: str | None) -> bool:
        """Whether a value of a dimension may be spoken of."""
        return dimension != WORKSPACE or self.workspaces is None or value in self.workspaces

    def now(self) -> datetime:
        """The current moment in UTC."""
        return self.clock.now()

    def today(self, zone: tzinfo = UTC) -> date:
        """The current day of a zone."""
        return self.now().astimezone(zone).date()
