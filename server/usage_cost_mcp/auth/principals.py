"""Who asks, and which workspaces' numbers they may see."""

import re
from dataclasses import dataclass
from typing import cast

from usage_cost_mcp.model.rows import Workspaces


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
"""Whoever started the server, and therefore has the Admin key themselves; over stdio nobody else can ask."""


def workspaces_of(ids: object) -> Workspaces:
    """The workspaces of a list of ids, in which "default" is the default workspace.

    Names are not accepted: whoever may rename a workspace could let others see it.

    Raises:
        ValueError: When it is not a list of ids, or is empty.
    """
    listed = cast("list[object]", ids) if isinstance(ids, list) else []
    if not listed or not all(isinstance(each, str) and _WORKSPACE.fullmatch(each) for each in listed):
        raise ValueError('workspaces must be a list of ids, such as ["wrkspc_01AbC", "default"], not of names')
    return frozenset(None if each == _DEFAULT else cast("str", each) for each in listed)


_DEFAULT = "default"
_WORKSPACE = re.compile(rf"wrkspc_[A-Za-z0-9_-]{{1,100}}|{_DEFAULT}")
