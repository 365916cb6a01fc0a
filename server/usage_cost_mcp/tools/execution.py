"""From a finding to a result that fits: both halves complete, both within limits."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ImageContent, TextContent
from pydantic import Field

from usage_cost_mcp.errors import InvalidQueryError, UnavailableError, UpstreamError
from usage_cost_mcp.render.markdown import Answer, as_text
from usage_cost_mcp.reports.answers import Note
from usage_cost_mcp.reports.context import ReportContext
from usage_cost_mcp.reports.scope_note import ScopeNote, scope_note
from usage_cost_mcp.reports.series_report import OFFLOAD_ROWS
from usage_cost_mcp.reports.series_report import SeriesResult as SeriesFinding
from usage_cost_mcp.reports.status import run_status
from usage_cost_mcp.runtime.call_context import CallContext, Progress, no_progress
from usage_cost_mcp.runtime.concurrency import run_in_thread_if
from usage_cost_mcp.tools.service import Service

BRIEF_CHARACTERS = 6_000
"""The bound of either half when the caller left the length to us."""


class ReportResult(Protocol):
    """All that was found out about a question, ready to be told at several lengths."""

    @property
    def default_size(self) -> bool:
        """Whether the length was left to us."""
        ...

    def candidates(self) -> Iterator[Answer]:
        """The answer, then ever briefer ones."""
        ...


class ToolResult(CallToolResult):
    """A tool's result, with facts for the audit log that the caller does not get.

    Attributes:
        rows: Number of report rows read for the answer.
        cache_status: The answer's cache status.
    """

    rows: int = Field(exclude=True)
    cache_status: str = Field(exclude=True)


ToolContext = Context[Service, Any]
ReportRunner = Callable[[ReportContext, CallContext], Awaitable[ReportResult]]


async def run_tool(ctx: ToolContext, ask: ReportRunner, *, chart: bool = False) -> ToolResult:
    """The answer to a tool's question.

    Raises:
        UsageCostError: Whatever kept the question from being answered.
    """
    return await execute(ctx.request_context.lifespan_context, ask, ctx.report_progress, chart=chart)


async def execute(
    service: Service, ask: ReportRunner, progress: Progress = no_progress, *, chart: bool = False
) -> ToolResult:
    """Ask, within the time that a call has, and put the answer into both halves of a result, maybe with a picture.

    Raises:
        UsageCostError: Whatever kept the question from being answered.
    """
    context = service.caller_context
    call = CallContext(context.clock.monotonic() + service.call_seconds, progress)
    try:
        async with asyncio.timeout(service.call_seconds):
            result = await _run_with_day_rollover_retry(context, call, ask)
            whose = await scope_note(context, call)
    except TimeoutError:
        raise UnavailableError(
            f"The answer took longer than {service.call_seconds:g} seconds. What has arrived is kept: ask again to "
            "go on from there, or ask for a shorter period."
        ) from None
    most = service.max_answer_characters

    def saying(*notes: Note) -> Callable[[Answer], Answer]:
        return lambda found: _with_extra_notes(found, notes, whose, call)

    long = _should_offload(result, call)
    answer, text = await run_in_thread_if(lambda: _first_that_fits(result, most, saying()), when=long)
    if not chart:
        return _result(call, answer, text)
    if image := await _picture(service, call, answer):
        return _result(call, answer, text, image)
    from usage_cost_mcp.render.png import UNAVAILABLE

    return _result(
        call, *await run_in_thread_if(lambda: _first_that_fits(result, most, saying(UNAVAILABLE)), when=long)
    )


def _should_offload(result: ReportResult, call: CallContext) -> bool:
    """Whether others should be answered while the answer is put into words, at ever shorter lengths."""
    table = result.table if isinstance(result, SeriesFinding) else None
    return call.rows > OFFLOAD_ROWS or (table is not None and len(table.groups) * len(table.starts) > _OFFLOAD_CELLS)


_OFFLOAD_CELLS = 20_000


def _with_extra_notes(found: Answer, notes: Sequence[Note], whose: ScopeNote | None, call: CallContext) -> Answer:
    """An answer with what is to be said besides: notes on how it is told, and on whose numbers it holds."""
    if whose is None:
        return found.model_copy(update={"notes": [*found.notes, *notes]}) if notes else found
    return found.model_copy(
        update={
            "summary": f"{found.summary}{whose.summary_suffix}",
            "notes": [whose.note, *found.notes, *notes],
            "cache": found.cache.model_copy(update={"upstream_requests": call.requests}),
        }
    )


def _result(call: CallContext, answer: Answer, text: str, *images: ImageContent) -> ToolResult:
    return ToolResult(
        content=[TextContent(text=text), *images],
        structured_content=answer.model_dump(mode="json"),
        rows=call.rows,
        cache_status=answer.cache.status,
    )


async def _picture(service: Service, call: CallContext, answer: Answer) -> ImageContent | None:
    """The answer drawn, if that can be done here and in what is left of the call's time."""
    from usage_cost_mcp.render.charts import Drawable
    from usage_cost_mcp.render.png import render_png

    if not isinstance(answer, Drawable):
        return None
    seconds = max(1.0, call.deadline - service.caller_context.clock.monotonic())
    try:
        async with asyncio.timeout(seconds), service.render_lock:
            return await render_png(answer, seconds)
    except TimeoutError:
        return None


def status_runner(service: Service) -> ReportRunner:
    """The question for the state of a service."""
    return lambda context, call: run_status(service.version, service.key_source, context, call)


async def _run_with_day_rollover_retry(context: ReportContext, call: CallContext, ask: ReportRunner) -> ReportResult:
    """Ask, and ask again when the day turned out to be another: at midnight, or when upstream corrected our clock."""
    today = context.today()
    try:
        result = await ask(context, call)
    except UpstreamError:
        if context.today() == today:
            raise
        return await ask(context, call)
    return result if context.today() == today else await ask(context, call)


def _first_that_fits(result: ReportResult, most: int | None, saying: Callable[[Answer], Answer]) -> tuple[Answer, str]:
    """The fullest answer that fits, with its text: where the length was left to us, into the brief bound if it can."""
    limits = [most] if most is None or not result.default_size else [min(most, BRIEF_CHARACTERS), most]
    for bound in limits:
        for answer in map(saying, result.candidates()):
            if bound is not None and len(answer.model_dump_json()) > bound:
                continue
            text = as_text(answer)
            if bound is None or len(text) <= bound:
                return answer, text
    raise InvalidQueryError(
        f"Even the briefest answer is longer than {most} characters; name fewer values in filter_by."
    )
