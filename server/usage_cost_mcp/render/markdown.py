"""The text half of an answer: a headline, a compact Markdown table, the notes. It stands alone."""

import re
from collections.abc import Callable

from usage_cost_mcp.reports.answers import SeriesAnswer
from usage_cost_mcp.reports.housekeeping import UsageMix
from usage_cost_mcp.reports.status import StatusAnswer

from .tables import Table, TableAnswer, buckets_with_totals, cross_table, groups_with_totals, tables_of

Answer = SeriesAnswer | StatusAnswer | TableAnswer


def as_text(answer: Answer) -> str:
    """The whole answer as Markdown."""
    match answer:
        case SeriesAnswer():
            body = _series(answer)
        case StatusAnswer():
            body = [_status_lines(answer)]
        case _:
            body = list(map(table, tables_of(answer)))
    return "\n\n".join([escaped(answer.summary), *body, closing(answer)])


def _series(answer: SeriesAnswer) -> list[str]:
    """Every number of the structured half, in one table, or one for each measure when groups meet buckets."""
    if not answer.group_by:
        return [table(buckets_with_totals(answer))]
    if len(answer.buckets) == 1:
        return [table(groups_with_totals(answer))]
    tables = {name: table(cross_table(answer, name)) for name in answer.measures}
    return [f"{name}:\n\n{rows}" if len(tables) > 1 else rows for name, rows in tables.items()]


def _status_lines(answer: StatusAnswer) -> str:
    lines = [
        f"Organization: {escaped(answer.organization.name)} ({answer.organization.id})",
        f"Key: {answer.key.kind}, from {answer.key.source}",
        f"Today (UTC): {answer.today}; provisional since {answer.provisional_since}",
        f"Newest data: spend {answer.newest_data.spend or 'none'}, usage {answer.newest_data.usage or 'none'}",
        f"Mix {_mix(answer.usage_mix)}",
        f"In memory: {answer.cached.days} days, {answer.cached.rows} rows",
        f"Version: {answer.version}",
        *(f"Limit: {limit}" for limit in answer.limits),
    ]
    return "\n".join(f"- {line}" for line in lines)


def _mix(mix: UsageMix) -> str:
    shares = [
        ("of the tokens, batch", mix.batch_share),
        ("long context", mix.long_context_share),
        ("Priority Tier", mix.priority_share),
        (f"of the spend, {mix.largest_model}", mix.largest_model_cost_share),
    ]
    said = [f"{what} {share:.1%}" for what, share in shares if share is not None]
    return f"{mix.start} to {mix.end}: {escaped(', '.join(said)) or 'nothing was used'}"


def table(rows: Table) -> str:
    """A Markdown table; the first row is its head, all columns but the first stand right."""
    head, *body = ([escaped(cell) for cell in row] for row in rows)
    ruler = ["---", *("---:" for _ in head[1:])]
    return "\n".join("|" + "|".join(row) + "|" for row in (head, ruler, *body))


def escaped(text: str) -> str:
    """The text with nothing in it that Markdown would make a link, an image, a heading, a fence or a column of."""
    return _STEERING.sub(r"\\\1", text)


_STEERING = re.compile(r"([\\`*~\[\]<>|!#]|(?<=:)/(?=/)|(?<=www)\.)", re.IGNORECASE)


def closing(answer: Answer, safe: Callable[[str], str] = escaped) -> str:
    """What should be known besides the numbers, a line each; by default safe as Markdown."""
    lines = [f"Note: {safe(note.message)}" for note in answer.notes]
    if isinstance(answer, SeriesAnswer) and answer.partial_buckets:
        partial = "the period" if answer.granularity == "total" else ", ".join(answer.partial_buckets)
        lines.append(f"Not over yet: {partial}.")
    if answer.provisional_since and not isinstance(answer, StatusAnswer):
        lines.append(f"Days from {answer.provisional_since} on may still be revised.")
    if answer.demo:
        lines.append("Demo data: an organization that never existed.")
    return "\n".join(f"- {line}" for line in [*lines, f"Read at {answer.fetched_at:%Y-%m-%d %H:%M} UTC."])
