"""Who asks, and which workspaces' numbers they may see."""

from dataclasses import dataclass

Workspaces = frozenset[str | None]
"""Workspace ids; None is the default workspace, to which cost without a workspace belongs."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A person or an agent.

    Attributes:
        name: As the operator or the identity provider calls them.
        workspaces: The only ones whose numbers and names they may see; None for the whole organization.
    """

    name: str
    workspaces: Workspaces | None = None


OPERATOR = Principal("operator")
"""Whoever started the server, and therefore has the Admin key themselves."""


def operator() -> Principal:
    """The one who asks where nobody else can: over stdio, or in this process."""
    return OPERATOR
