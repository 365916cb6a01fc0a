"""Principals: who calls, and which workspaces they may see."""

import re
from dataclasses import dataclass
from typing import cast

from usage_cost_mcp.model.rows import Workspaces


@dataclass(frozen=True, slots=True)
class Principal:
    """A person or an agent.

    Attributes:
        name: The name in the tokens file, or the subject of an access token after `oauth:`.
        workspaces: The only workspaces whose numbers and names they may see; None for the whole organization.
    """

    name: str
    workspaces: Workspaces | None = None


OPERATOR = Principal("operator")
"""The person who runs the server and therefore has the Admin key; the only caller over stdio."""

ANONYMOUS = Principal("demo")
"""Every caller of a demo server that requires no token."""


def parse_workspaces(ids: object) -> Workspaces:
    """The workspaces in a list of ids, in which "default" is the default workspace.

    Names are refused: anyone who may rename a workspace could grant access to it.

    Raises:
        ValueError: When it is not a list of ids, or is empty.
    """
    listed = cast("list[object]", ids) if isinstance(ids, list) else []
    if not listed or not all(isinstance(each, str) and _WORKSPACE_ID.fullmatch(each) for each in listed):
        raise ValueError('workspaces must be a list of ids, such as ["wrkspc_01AbC", "default"], not of names')
    return frozenset(None if each == _DEFAULT else cast("str", each) for each in listed)


_DEFAULT = "default"
_WORKSPACE_ID = re.compile(rf"wrkspc_[A-Za-z0-9_-]{{1,100}}|{_DEFAULT}")
