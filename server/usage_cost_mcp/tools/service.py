"""What one running server holds for its tools: the report context, the limits and the access control."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from usage_cost_mcp.auth.access import LOCAL, AccessControl
from usage_cost_mcp.reports.context import ReportContext


@dataclass(frozen=True)
class Service:
    """The state behind the tools of one running server.

    Attributes:
        context_factory: Connects to the Admin API and builds the report context.
        call_seconds: The time limit of a call, in seconds.
        max_answer_characters: The limit of either half of an answer; None for no limit.
        access: Identifies the caller, limits the rate and writes the audit log.
        render_lock: Held while a chart is rendered: each one starts a process with a JavaScript engine.
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
        """The context of the whole organization, built at first use. Answers use `caller_context`."""
        return self.context_factory()

    @property
    def caller_context(self) -> ReportContext:
        """The context, scoped to what the caller may see."""
        return self.unscoped_context.scoped_to(self.access.principal())


ServiceGetter = Callable[[], Service]
"""Returns the running service. Resources and completions need it, because the SDK gives them no context."""
