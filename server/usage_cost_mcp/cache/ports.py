"""What the reports need of the outside: names by id, and whose key this is."""

from typing import Protocol

from usage_cost_mcp.model.names import NamesById
from usage_cost_mcp.runtime.call_context import CallContext


class Directory(Protocol):
    """Where names are looked up."""

    async def names(self, dimension: str, call: CallContext) -> NamesById | None:
        """The names of all values of a dimension, archived ones too; None when they cannot be looked up."""
        ...

    async def organization(self, call: CallContext) -> tuple[str, str]:
        """The id and the name of the organization."""
        ...
