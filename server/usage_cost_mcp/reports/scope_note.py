"""Whose numbers an answer holds: what every answer says to a principal who sees only some workspaces."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from usage_cost_mcp.model.dimensions import WORKSPACE
from usage_cost_mcp.runtime.call_context import CallContext

from .answers import Note
from .context import ReportContext
from .labels import Labels, fetch_labels

_SECONDS = 5.0
"""How long the answer waits for the names of workspaces; then their ids will do."""

_MAX_IN_SUMMARY = 3
_MAX_IN_NOTE = 10


@dataclass(frozen=True, slots=True)
class ScopeNote:
    """The workspaces that a principal sees, as they are called."""

    names: Sequence[str]

    @property
    def note(self) -> Note:
        """The whole truth."""
        named = _listed(self.names, _MAX_IN_NOTE)
        return Note(
            code="scoped_to_workspaces",
            message=f"You see only {named}: every total, share, price, name and estimate is of that alone.",
        )

    @property
    def summary_suffix(self) -> str:
        """What a summary ends with: some hosts show nothing else."""
        return f" Only {_listed(self.names, _MAX_IN_SUMMARY)}."


def _listed(names: Sequence[str], most: int) -> str:
    if not names:
        return "no workspace"
    shown = list(names) if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more workspaces"]
    *first, last = shown
    return f"{', '.join(first)} and {last}" if first else last


async def scope_note(context: ReportContext, call: CallContext) -> ScopeNote | None:
    """The limit of whoever asks; None where there is none.

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
