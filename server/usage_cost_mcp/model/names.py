"""What the ids in the reports are called."""

from collections.abc import Mapping
from dataclasses import dataclass

UNKNOWN_WORKSPACE = ""
"""The workspace of what has none, or of a key whose workspace the list leaves out."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a person calls an id, whether it is still in use, and which workspace it belongs to.

    Attributes:
        workspace_id: None for the default workspace.
    """

    display: str
    archived: bool = False
    workspace_id: str | None = UNKNOWN_WORKSPACE


NamesById = Mapping[str, Name]
"""Names by id."""
