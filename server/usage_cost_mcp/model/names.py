"""Display names of the ids in the reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final


class UnknownWorkspace(Enum):
    """The type of `UNKNOWN_WORKSPACE`."""

    UNKNOWN_WORKSPACE = "unknown workspace"


UNKNOWN_WORKSPACE: Final = UnknownWorkspace.UNKNOWN_WORKSPACE
"""Sentinel: the API did not say which workspace an API key belongs to.

Why an enum member: None is the default workspace and any text may be an id. A key of unknown workspace must match
neither a list of workspace ids nor the default workspace, or a scoped principal could see its use.
"""


ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Name:
    """The display name of an id.

    Attributes:
        status: ACTIVE, or Anthropic's word for the reason why it cannot be used: archived, inactive or expired.
        workspace_id: The workspace of an API key; None for the default workspace.
    """

    display: str
    status: str = ACTIVE
    workspace_id: str | UnknownWorkspace | None = UNKNOWN_WORKSPACE


NamesById = Mapping[str, Name]
