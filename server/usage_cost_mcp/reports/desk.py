"""What a report needs to answer a question."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo

from usage_cost_mcp.clock import Clock
from usage_cost_mcp.ledger import Ledger
from usage_cost_mcp.names import Directory
from usage_cost_mcp.principals import Principal


@dataclass(frozen=True, slots=True)
class Desk:
    """The ledger of rows, the directory of names, a clock, and whether the organization is the demo."""

    ledger: Ledger
    directory: Directory
    clock: Clock
    demo: bool = False

    def seen_by(self, principal: Principal) -> "Desk":
        """The same, as far as a principal may see it."""
        if principal.workspaces is not None:
            raise NotImplementedError
        return self

    def now(self) -> datetime:
        """The current moment in UTC."""
        return self.clock.now()

    def today(self, zone: tzinfo = UTC) -> date:
        """The current day of a zone."""
        return self.now().astimezone(zone).date()
