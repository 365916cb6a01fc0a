"""The text half of an answer, complete without the other half: a headline, compact Markdown tables, the notes."""

import re
from collections.abc import Callable, Iterable, Sequence

from usage_cost_mcp.reports.answers import Answer
from usage_cost_mcp.reports.tables import Row, Table


def as_markdown(answer: Answer) -> str:
    """The whole answer."""
    details = [_list(map(escaped, answer.details()))] if answer.details() else []
    return "\n\n".join([escaped(answer.summary), *details, *map(_captioned, answer.tables()), closing(answer)])


def _captioned(table: Table) -> str:
    rows = markdown_table(table.rows)
    return f"{table.caption}\n\n{rows}" if table.caption else rows


def markdown_table(rows: Sequence[Row]) -> str:
    """A Markdown table: the first row is the head, all columns but the first are right-aligned."""
    head, *body = ([escaped(cell) for cell in row] for row in rows)
    ruler = ["---", *("---:" for _ in head[1:])]
    return "\n".join("|" + "|".join(row) + "|" for row in (head, ruler, *body))


def escaped(text: str) -> str:
    """The text without anything that Markdown would make a link, an image, a heading, a fence or a column of."""
    return _MARKUP.sub(r"\\\1", text)


_MARKUP = re.compile(r"([\\`*~\[\]<>|!#]|(?<=:)/(?=/)|(?<=www)\.)", re.IGNORECASE)


def closing(answer: Answer, escape: Callable[[str], str] = escaped) -> str:
    """The notes and how final and how old the figures are, a line each."""
    lines = [f"Note: {escape(note.message)}" for note in answer.notes]
    if partial := answer.partial():
        lines.append(f"Partial: {', '.join(partial)}.")
    if answer.provisional_since:
        lines.append(f"Figures from {answer.provisional_since} on are provisional.")
    if answer.demo:
        lines.append("Demo data (fictional organization).")
    return _list([*lines, f"Data as of {answer.fetched_at:%Y-%m-%d %H:%M} UTC."])


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
