"""What the ids in the reports are called."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from .calls import Call


@dataclass(frozen=True, slots=True)
class Name:
    """What a person calls an id, and whether it is still in use.

    Attributes:
        workspace_id: Of an API key the workspace that it belongs to; None is the default one.
        workspace_known: Whether the list says so.
    """

    text: str
    archived: bool = False
    workspace_id: str | None = None
    workspace_known: bool = False


Names = Mapping[str, Name]
"""Names by id."""


class Directory(Protocol):
    """Where names are looked up."""

    async def names(self, dimension: str, call: Call) -> Names | None:
        """The names of all values of a dimension, archived ones too; None when they cannot be looked up."""
        ...

    async def organization(self, call: Call) -> tuple[str, str]:
        """The id and the name of the organization."""
        ...
