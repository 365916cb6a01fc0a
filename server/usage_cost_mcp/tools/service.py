"""What one running server holds for its tools: the report context, the limits and the access control."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from usage_cost_mcp.auth.access import LOCAL, AccessControl
from usage_cost_mcp.reports.context import ReportContext


@dataclass(frozen=True)
class Service:
    """What the tools work with.

    Attributes:
        open_desk: Connects to the Admin API.
        call_seconds: The longest that a call may take.
        max_answer_characters: The bound of either half of an answer; None for no bound at all.
        gate: Where questions come in; says who asks.
        drawing: Held by the one picture that is being drawn: each takes a process with a JavaScript engine.
    """

    context_factory: Callable[[], ReportContext]
    version: str
    key_source: str
    call_seconds: float
    max_answer_characters: int | None
    access: AccessControl = LOCAL
    render_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @cached_property
    def unscoped_context(self) -> ReportContext:
        """What the reports work with, opened at the first use; all of it, so not for answers."""
        return self.context_factory()

    @property
    def caller_context(self) -> ReportContext:
        """What the reports work with, as far as whoever asks may see it."""
        return self.unscoped_context.scoped_to(self.access.principal())


ServiceGetter = Callable[[], Service]
"""The service of the server that runs, for those whom the SDK gives no context: resources and completions."""
