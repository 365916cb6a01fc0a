"""From a finding to a result that fits: both halves complete, both within bounds."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent

from usage_cost_mcp.calls import CALL_SECONDS, Call
from usage_cost_mcp.errors import QuestionError, UnavailableError
from usage_cost_mcp.reports.desk import Desk

from .text import Answer, as_text

BRIEF_CHARACTERS = 6_000
"""The bound of either half when the caller left the length to us."""


@dataclass(frozen=True, slots=True)
class Service:
    """What the tools work with.

    Attributes:
        max_answer_characters: The bound of either half of an answer; None for no bound at all.
    """

    desk: Desk
    version: str
    key_source: str
    max_answer_characters: int | None


class Finding(Protocol):
    """All that was found out about a question, ready to be told at several lengths."""

    @property
    def by_default(self) -> bool:
        """Whether the length was left to us."""
        ...

    def answers(self) -> Iterator[Answer]:
        """The answer, then ever briefer ones."""
        ...


ToolContext = Context[Service, Any]


async def tell(ctx: ToolContext, ask: Callable[[Desk, Call], Awaitable[Finding]]) -> CallToolResult:
    """Ask, within the time that a call has, and put the answer into both halves of a result.

    Raises:
        UsageCostError: Whatever kept the question from being answered.
    """
    service = ctx.request_context.lifespan_context
    call = Call(service.desk.clock.monotonic() + CALL_SECONDS, ctx.report_progress)
    try:
        async with asyncio.timeout(CALL_SECONDS):
            finding = await ask(service.desk, call)
    except TimeoutError:
        raise UnavailableError(
            f"The answer took longer than {CALL_SECONDS:.0f} seconds. What has arrived is kept: ask again to go on "
            "from there, or ask for a shorter period."
        ) from None
    return _fitting(finding, service.max_answer_characters)


def _fitting(finding: Finding, most: int | None) -> CallToolResult:
    """The fullest answer that fits: into the brief bound where the length was left to us, else into the hard one."""
    bounds = [most] if most is None or not finding.by_default else [min(most, BRIEF_CHARACTERS), most]
    for bound in bounds:
        for answer in finding.answers():
            text = as_text(answer)
            if bound is None or max(len(text), len(answer.model_dump_json())) <= bound:
                return CallToolResult(
                    content=[TextContent(text=text)], structured_content=answer.model_dump(mode="json")
                )
    raise QuestionError(f"Even the briefest answer is longer than {most} characters; name fewer values in filter_by.")
