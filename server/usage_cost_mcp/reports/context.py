"""What a report needs to answer a question."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo

from usage_cost_mcp.auth.principals import Principal
from usage_cost_mcp.auth.workspace_scope import LimitedDirectory, LimitedLedger, Rows
from usage_cost_mcp.cache.ports import Directory
from usage_cost_mcp.model.rows import WORKSPACE, Workspaces
from usage_cost_mcp.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Desk:
    """The ledger of rows, the directory of names, a clock, and whether the organization is the demo.

    Attributes:
        workspaces: The only ones that the ledger and the directory know; None for the whole organization.
    """

    ledger: Rows
    directory: Directory
    clock: Clock
    demo: bool = False
    workspaces: Workspaces | None = None

    def seen_by(self, principal: Principal) -> "Desk":
        """The same, as far as a principal may see it."""
        if principal.workspaces is None:
            return self
        ledger = LimitedLedger(self.ledger, self.directory, principal.workspaces)
        directory = LimitedDirectory(self.directory, ledger, principal.workspaces, self.clock)
        return replace(self, ledger=ledger, directory=directory, workspaces=principal.workspaces)

    def shows(self, dimension: str, value: str | None) -> bool:
        """Whether a value of a dimension may be spoken of."""
        return dimension != WORKSPACE or self.workspaces is None or value in self.workspaces

    def now(self) -> datetime:
        """The current moment in UTC."""
        return self.clock.now()

    def today(self, zone: tzinfo = UTC) -> date:
        """The current day of a zone."""
        return self.now().astimezone(zone).date()
