"""Runs a report and builds the largest tool result that fits the size limit."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ImageContent, TextContent
from pydantic import Field

from usage_cost_mcp.errors import InvalidQueryError, UnavailableError, UpstreamError
from usage_cost_mcp.render.markdown import as_markdown
from usage_cost_mcp.reports.answers import Answer, Note, OrganizationInfo
from usage_cost_mcp.reports.context import ReportContext
from usage_cost_mcp.reports.notes import NOT_BILLED_YET, SUMMARY_WARNINGS
from usage_cost_mcp.reports.results import ReportResult
from usage_cost_mcp.reports.scope_note import ScopeNote, scope_note
from usage_cost_mcp.reports.series_report import SeriesResult
from usage_cost_mcp.reports.status import run_status
from usage_cost_mcp.runtime.call_context import CallContext, Progress, no_progress
from usage_cost_mcp.runtime.concurrency import OFFLOAD_ROWS, run_in_thread_if

from .service import Service

BRIEF_CHARACTERS = 6_000
"""The limit of either half when the caller chose no size."""

CHART_UNAVAILABLE = Note(
    code="chart_unavailable",
    message="No picture could be drawn. It needs the extra: pip install 'usage-cost-mcp[charts]'.",
)


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


async def run_tool(ctx: ToolContext, runner: ReportRunner, *, chart: bool = False) -> ToolResult:
    """The result of a tool call.

    Raises:
        UsageCostError: When there is no answer.
    """
    return await execute(ctx.request_context.lifespan_context, runner, ctx.report_progress, chart=chart)


async def execute(
    service: Service, runner: ReportRunner, progress: Progress = no_progress, *, chart: bool = False
) -> ToolResult:
    """Run a report within the time limit of a call and build both halves of the result, with a picture if wanted.

    Raises:
        UsageCostError: When there is no answer.
    """
    context = service.caller_context
    call = CallContext(context.clock.monotonic() + service.call_seconds, progress)
    try:
        async with asyncio.timeout(service.call_seconds):
            result = await _run_with_day_rollover_retry(context, call, runner)
            scope = await scope_note(context, call)
    except TimeoutError:
        raise UnavailableError(
            f"The answer took longer than {service.call_seconds:g} seconds. The data received so far is cached: ask "
            "again to continue from there, or ask for a shorter period."
        ) from None

    def largest(*notes: Note) -> tuple[Answer, str]:
        return _first_that_fits(
            result, service.max_answer_characters, lambda answer: _completed(answer, context, call, scope, notes)
        )

    offload = _should_offload(result, call)
    answer, text = await run_in_thread_if(largest, when=offload)
    if not chart:
        return _tool_result(call, answer, text)
    if image := await _picture(service, call, answer):
        return _tool_result(call, answer, text, image)
    return _tool_result(call, *await run_in_thread_if(lambda: largest(CHART_UNAVAILABLE), when=offload))


def _should_offload(result: ReportResult, call: CallContext) -> bool:
    """Whether rendering at several sizes takes so long that other calls should be served meanwhile."""
    table = result.table if isinstance(result, SeriesResult) else None
    return call.rows > OFFLOAD_ROWS or (table is not None and len(table.groups) * len(table.starts) > _OFFLOAD_CELLS)


_OFFLOAD_CELLS = 20_000


def _completed(
    answer: Answer, context: ReportContext, call: CallContext, scope: ScopeNote | None, notes: Sequence[Note]
) -> Answer:
    """The answer with what its report does not know: the organization, the scope of the caller, extra notes."""
    known = context.directory.known_organization
    unbilled = [note.message for note in answer.notes if note.code == NOT_BILLED_YET]
    warnings = [note.message for note in answer.notes if note.code in SUMMARY_WARNINGS]
    update: dict[str, Any] = {
        "summary": " ".join([*unbilled, answer.summary, *warnings]),
        "organization": OrganizationInfo(id=known[0], name=known[1]) if known else None,
        "notes": sorted([*answer.notes, *notes], key=lambda note: note.code != NOT_BILLED_YET),
    }
    if scope is not None:
        update |= {
            "summary": f"{update['summary']}{scope.summary_suffix}",
            "notes": [scope.note, *update["notes"]],
            "cache": answer.cache.model_copy(update={"upstream_requests": call.requests}),
        }
    return answer.model_copy(update=update)


def _tool_result(call: CallContext, answer: Answer, text: str, *images: ImageContent) -> ToolResult:
    return ToolResult(
        content=[TextContent(text=text), *images],
        structured_content=answer.model_dump(mode="json"),
        rows=call.rows,
        cache_status=answer.cache.status,
    )


async def _picture(service: Service, call: CallContext, answer: Answer) -> ImageContent | None:
    """The chart of the answer; None when it cannot be drawn here or in the rest of the call's time."""
    from usage_cost_mcp.render.charts import specification
    from usage_cost_mcp.render.png import render_png

    if not answer.drawable:
        return None
    seconds = max(1.0, call.deadline - service.caller_context.clock.monotonic())
    try:
        async with asyncio.timeout(seconds), service.render_lock:
            png = await render_png(specification(answer), seconds)
    except TimeoutError:
        return None
    return ImageContent(data=base64.b64encode(png).decode(), mime_type="image/png") if png else None


def status_runner(service: Service) -> ReportRunner:
    """Runs the status report of a service."""
    return partial(run_status, service.version, service.key_source)


async def _run_with_day_rollover_retry(context: ReportContext, call: CallContext, runner: ReportRunner) -> ReportResult:
    """Run, and run again if the day changed meanwhile: at midnight, or when upstream corrected our clock."""
    today = context.today()
    try:
        result = await runner(context, call)
    except UpstreamError:
        if context.today() == today:
            raise
        return await runner(context, call)
    return result if context.today() == today else await runner(context, call)


def _first_that_fits(
    result: ReportResult, max_characters: int | None, complete: Callable[[Answer], Answer]
) -> tuple[Answer, str]:
    """The longest answer that fits, with its text: within BRIEF_CHARACTERS where the caller chose no size."""
    brief = max_characters is not None and result.default_size
    limits = [min(max_characters or 0, BRIEF_CHARACTERS), max_characters] if brief else [max_characters]
    for limit in limits:
        for answer in map(complete, result.candidates()):
            if limit is not None and len(answer.model_dump_json()) > limit:
                continue
            text = as_markdown(answer)
            if limit is None or len(text) <= limit:
                return answer, text
    raise InvalidQueryError(
        f"Even the shortest answer exceeds {max_characters} characters; name fewer values in filter_by."
    )
