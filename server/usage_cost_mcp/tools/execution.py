"""From a finding to a result that fits: both halves complete, both within bounds."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ImageContent, TextContent

from usage_cost_mcp.errors import QuestionError, UnavailableError, UpstreamError
from usage_cost_mcp.render.markdown import Answer, as_text
from usage_cost_mcp.reports.answers import Note
from usage_cost_mcp.reports.context import Desk
from usage_cost_mcp.reports.scope_note import Whose, whose_numbers
from usage_cost_mcp.reports.series_report import MANY_ROWS
from usage_cost_mcp.reports.series_report import Finding as SeriesFinding
from usage_cost_mcp.reports.status import find_status
from usage_cost_mcp.runtime.call_context import Call, Progress, silent
from usage_cost_mcp.runtime.concurrency import aside
from usage_cost_mcp.tools.service import Service

BRIEF_CHARACTERS = 6_000
"""The bound of either half when the caller left the length to us."""


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
Ask = Callable[[Desk, Call], Awaitable[Finding]]


async def tell(ctx: ToolContext, ask: Ask, *, chart: bool = False) -> CallToolResult:
    """The answer to a tool's question.

    Raises:
        UsageCostError: Whatever kept the question from being answered.
    """
    return await told(ctx.request_context.lifespan_context, ask, ctx.report_progress, chart=chart)


async def told(service: Service, ask: Ask, progress: Progress = silent, *, chart: bool = False) -> CallToolResult:
    """Ask, within the time that a call has, and put the answer into both halves of a result, maybe with a picture.

    Raises:
        UsageCostError: Whatever kept the question from being answered.
    """
    desk = service.desk
    call = Call(desk.clock.monotonic() + service.call_seconds, progress)
    try:
        async with asyncio.timeout(service.call_seconds):
            finding = await _asked(desk, call, ask)
            whose = await whose_numbers(desk, call)
    except TimeoutError:
        raise UnavailableError(
            f"The answer took longer than {service.call_seconds:g} seconds. What has arrived is kept: ask again to "
            "go on from there, or ask for a shorter period."
        ) from None
    most = service.max_answer_characters

    def saying(*notes: Note) -> Callable[[Answer], Answer]:
        return lambda found: _saying(found, notes, whose, call)

    long = _takes_long(finding, call)
    answer, text = await aside(lambda: _fitting(finding, most, saying()), when=long)
    service.gate.found(call.rows, answer.cache.status)
    if not chart:
        return _result(answer, text)
    if image := await _picture(service, call, answer):
        return _result(answer, text, image)
    from usage_cost_mcp.render.png import UNAVAILABLE

    return _result(*await aside(lambda: _fitting(finding, most, saying(UNAVAILABLE)), when=long))


def _takes_long(finding: Finding, call: Call) -> bool:
    """Whether others should be answered while the answer is put into words, at ever shorter lengths."""
    table = finding.table if isinstance(finding, SeriesFinding) else None
    return call.rows > MANY_ROWS or (table is not None and len(table.groups) * len(table.starts) > _MANY_CELLS)


_MANY_CELLS = 20_000


def _saying(found: Answer, notes: Sequence[Note], whose: Whose | None, call: Call) -> Answer:
    """An answer with what is to be said besides: notes on how it is told, and on whose numbers it holds."""
    if whose is None:
        return found.model_copy(update={"notes": [*found.notes, *notes]}) if notes else found
    return found.model_copy(
        update={
            "summary": f"{found.summary}{whose.in_short}",
            "notes": [whose.note, *found.notes, *notes],
            "cache": found.cache.model_copy(update={"upstream_requests": call.requests}),
        }
    )


def _result(answer: Answer, text: str, *images: ImageContent) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text), *images], structured_content=answer.model_dump(mode="json"))


async def _picture(service: Service, call: Call, answer: Answer) -> ImageContent | None:
    """The answer drawn, if that can be done here and in what is left of the call's time."""
    from usage_cost_mcp.render.charts import Drawable
    from usage_cost_mcp.render.png import picture

    if not isinstance(answer, Drawable):
        return None
    seconds = max(1.0, call.deadline - service.desk.clock.monotonic())
    try:
        async with asyncio.timeout(seconds), service.drawing:
            return await picture(answer, seconds)
    except TimeoutError:
        return None


def status_of(service: Service) -> Ask:
    """The question for the state of a service."""
    return lambda desk, call: find_status(service.version, service.key_source, desk, call)


async def _asked(desk: Desk, call: Call, ask: Ask) -> Finding:
    """Ask, and ask again when the day turned out to be another: at midnight, or when upstream corrected our clock."""
    today = desk.today()
    try:
        finding = await ask(desk, call)
    except UpstreamError:
        if desk.today() == today:
            raise
        return await ask(desk, call)
    return finding if desk.today() == today else await ask(desk, call)


def _fitting(finding: Finding, most: int | None, saying: Callable[[Answer], Answer]) -> tuple[Answer, str]:
    """The fullest answer that fits, with its text: where the length was left to us, into the brief bound if it can."""
    bounds = [most] if most is None or not finding.by_default else [min(most, BRIEF_CHARACTERS), most]
    for bound in bounds:
        for answer in map(saying, finding.answers()):
            if bound is not None and len(answer.model_dump_json()) > bound:
                continue
            text = as_text(answer)
            if bound is None or len(text) <= bound:
                return answer, text
    raise QuestionError(f"Even the briefest answer is longer than {most} characters; name fewer values in filter_by.")
