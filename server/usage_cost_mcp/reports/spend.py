"""What did we spend: the cost report, by any of its dimensions."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from usage_cost_mcp.cache import Held
from usage_cost_mcp.model.dimensions import SPEND, Filters
from usage_cost_mcp.model.money import exact, plain, readable
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import Sums
from usage_cost_mcp.model.series import matching
from usage_cost_mcp.runtime.call_context import Call

from . import notes
from .allocated_spend import attributed_days
from .answers import Note
from .context import Desk
from .query import Question
from .series_report import Line, Measure, NotesOn, SeriesReport, read_rows
from .token_usage import PRIORITY

COST = Measure("cost", "USD", lambda sums: plain(sums[0]))


def _headline(totals: Sums, lines: Sequence[Line]) -> str:
    total = totals[0]
    said = readable(total)
    if not lines or not lines[0].key:
        return said
    largest = lines[0].sums[0]
    share = f" ({round(100 * largest / total)}%)" if 0 < largest <= total else ""
    return f"{said}; largest: {lines[0].label} {readable(largest)}{share}"


def leaves_out(held: Held, filters: Filters) -> Iterator[Note]:
    if filters.get("service_tier", {None}) <= PRIORITY:
        yield Note(code=notes.NOT_IN_ANY_REPORT, message="Priority Tier cost is in no report: this is not its cost.")
    elif None in filters.get("cost_type", {None}) or "tokens" in filters.get("cost_type", {None}):
        yield Note(
            code="priority_tier_excluded",
            message="Priority Tier cost is in no report; its tokens are in get_token_usage.",
        )
    with exact():
        credited = sum((sums[0] for sums in matching(held.days, filters) if sums[0] < 0), Decimal(0))
    if credited:
        yield Note(code="credits_included", message=f"Includes credits of {readable(credited)}.")


async def _read(question: Question, days: Period, desk: Desk, call: Call) -> tuple[Held, NotesOn]:
    """The bill as it is, or shared out."""
    by = question.attribution
    if by is None:
        return await read_rows(question, days, desk, call)
    return await attributed_days(by, days, desk, call), lambda _: notes.about_attribution(by)


SPEND_REPORT = SeriesReport(
    name="spend",
    title="Spend",
    report=SPEND,
    shown=[COST],
    totals=[COST],
    rank=lambda sums: sums[0],
    headline=_headline,
    leaves_out=leaves_out,
    read=_read,
)
