"""The note that results are limited to some workspaces, for principals with limited access."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from usage_cost_mcp.model.dimensions import WORKSPACE
from usage_cost_mcp.runtime.call_context import CallContext

from .answers import Note
from .context import ReportContext
from .labels import NULL_LABELS, Labels, fetch_labels

_SECONDS = 5.0
"""How long to wait for workspace names; after that, IDs are shown."""

_MAX_IN_SUMMARY = 3
_MAX_IN_NOTE = 10


@dataclass(frozen=True, slots=True)
class ScopeNote:
    """The names of the workspaces that a principal may see."""

    names: Sequence[str]

    @property
    def note(self) -> Note:
        """The note of every answer."""
        message = f"Results are limited to {_listed(self.names, _MAX_IN_NOTE)}."
        return Note(code="scoped_to_workspaces", message=message)

    @property
    def summary_suffix(self) -> str:
        """The end of a summary: some hosts show nothing else."""
        return f" Limited to {_listed(self.names, _MAX_IN_SUMMARY)}."


def _listed(names: Sequence[str], limit: int) -> str:
    """Such as "the workspace Production" or "the workspaces Production, Staging and 3 more"."""
    if not names:
        return "no workspace"
    if len(names) == 1:
        (name,) = names
        return f"the {name}" if name == NULL_LABELS[WORKSPACE] else f"the workspace {name}"
    *first, last = names if len(names) <= limit else [*names[: limit - 1], f"{len(names) - limit + 1} more"]
    return f"the workspaces {', '.join(first)} and {last}"


async def scope_note(context: ReportContext, call: CallContext) -> ScopeNote | None:
    """The note for the current principal; None without a limit.

    Raises:
        KeyRefusedError: 401.
    """
    if context.workspaces is None:
        return None
    try:
        async with asyncio.timeout(_SECONDS):
            labels = await fetch_labels(context.directory, [WORKSPACE], call)
    except TimeoutError:
        labels = Labels()
    return ScopeNote(sorted((labels.of(WORKSPACE, each) for each in context.workspaces), key=str.casefold))
