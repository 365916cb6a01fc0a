"""The text half of an answer: a headline, a compact Markdown table, the notes. It stands alone."""

import re
from collections.abc import Sequence
from decimal import Decimal

from usage_cost_mcp.money import readable
from usage_cost_mcp.reports.answer import SeriesAnswer, Value
from usage_cost_mcp.reports.dimension_values import ValuesAnswer
from usage_cost_mcp.reports.status import StatusAnswer

MOST_COLUMNS = 12
"""How many buckets are shown side by side; more become rows."""

Table = Sequence[Sequence[str]]


Answer = SeriesAnswer | ValuesAnswer | StatusAnswer


def as_text(answer: Answer) -> str:
    """The whole answer as Markdown."""
    match answer:
        case SeriesAnswer():
            body = [table(rows) for rows in series_tables(answer)]
        case ValuesAnswer():
            body = [table(values_table(answer))]
        case StatusAnswer():
            body = [_status_lines(answer)]
    return "\n\n".join([escaped(answer.summary), *body, closing(answer)])


def series_tables(answer: SeriesAnswer) -> list[Table]:
    """Groups by buckets where that is narrow; else groups with their totals, and the buckets with theirs."""
    grouped = bool(answer.group_by)
    shown = list(answer.measures)
    if grouped and len(shown) == 1 and 1 < len(answer.buckets) <= MOST_COLUMNS:
        return [_groups_by_buckets(answer, shown[0])]
    tables: list[Table] = []
    if grouped:
        tables.append(_groups_with_totals(answer, shown))
    if len(answer.buckets) > 1 or not grouped:
        tables.append(_buckets_with_totals(answer, shown))
    return tables


def _groups_by_buckets(answer: SeriesAnswer, measure: str) -> Table:
    unit = answer.measures[measure]
    return [
        [_heading(answer), *map(_day_in_year, answer.buckets), "Total"],
        *(
            [
                series.label,
                *(readable_value(v, unit) for v in series.values[measure]),
                _total(series.totals, measure, unit),
            ]
            for series in answer.series
        ),
        [
            "Total",
            *(readable_value(value, unit) for value in answer.bucket_totals[measure]),
            _total(answer.totals, measure, unit),
        ],
    ]


def _groups_with_totals(answer: SeriesAnswer, shown: Sequence[str]) -> Table:
    return [
        [_heading(answer), *shown],
        *([series.label, *_totals(answer, series.totals, shown)] for series in answer.series),
        ["Total", *_totals(answer, answer.totals, shown)],
    ]


def _buckets_with_totals(answer: SeriesAnswer, shown: Sequence[str]) -> Table:
    rows = zip(answer.buckets, *(answer.bucket_totals[measure] for measure in shown), strict=True)
    return [
        [answer.granularity, *shown],
        *(
            [
                str(bucket),
                *(readable_value(v, answer.measures[m]) for v, m in zip(values, shown, strict=True)),
            ]
            for bucket, *values in rows
        ),
        ["Total", *_totals(answer, answer.totals, shown)],
    ]


def _totals(answer: SeriesAnswer, totals: dict[str, Value], shown: Sequence[str]) -> list[str]:
    return [_total(totals, measure, answer.measures[measure]) for measure in shown]


def _total(totals: dict[str, Value], measure: str, unit: str) -> str:
    return readable_value(totals[measure], unit)


def _heading(answer: SeriesAnswer) -> str:
    return " / ".join(answer.group_by)


def _day_in_year(bucket: str) -> str:
    """The year is in the headline; a table of days is narrower without it."""
    return bucket[5:] if re.fullmatch(r"\d{4}-\d{2}-\d{2}", bucket) else bucket


def readable_value(value: Value, unit: str) -> str:
    """A value as a person reads it: $1,234.56, 1,234, 56.7%, or - where there is none."""
    if value is None:
        return "-"
    if unit == "USD":
        return readable(Decimal(value))
    if isinstance(value, float):
        return f"{value:.1%}"
    return f"{value:,}"


def values_table(answer: ValuesAnswer) -> Table:
    columns = [name for name in ("cost", "tokens") if any(getattr(each, name) is not None for each in answer.values)]
    shares = {"cost": "cost_share", "tokens": "token_share"}
    units = {"cost": "USD", "tokens": "tokens"}
    return [
        [answer.dimension, "id", *(heading for name in columns for heading in (name, "share"))],
        *(
            [
                each.label if each.used else f"{each.label} (not used)",
                "" if each.value in {None, each.label} else str(each.value),
                *(
                    cell
                    for name in columns
                    for cell in (
                        readable_value(getattr(each, name), units[name]),
                        readable_value(getattr(each, shares[name]), "ratio"),
                    )
                ),
            ]
            for each in answer.values
        ),
    ]


def _status_lines(answer: StatusAnswer) -> str:
    lines = [
        f"Organization: {escaped(answer.organization.name)} ({answer.organization.id})",
        f"Key: {answer.key.kind}, from {answer.key.source}",
        f"Today (UTC): {answer.today}; provisional since {answer.provisional_since}",
        f"Newest data: spend {answer.newest_data.spend or 'none'}, usage {answer.newest_data.usage or 'none'}",
        f"In memory: {answer.held.days} days, {answer.held.rows} rows",
        f"Version: {answer.version}",
        *(f"Limit: {limit}" for limit in answer.limits),
    ]
    return "\n".join(f"- {line}" for line in lines)


def table(rows: Table) -> str:
    """A Markdown table; the first row is its head, all columns but the first stand right."""
    head, *body = ([escaped(cell) for cell in row] for row in rows)
    ruler = ["---", *("---:" for _ in head[1:])]
    return "\n".join("|" + "|".join(row) + "|" for row in (head, ruler, *body))


def escaped(text: str) -> str:
    """The text with nothing in it that Markdown would act on."""
    return re.sub(r"([\\`*\[\]<>|!#])", r"\\\1", text)


def closing(answer: Answer) -> str:
    """What should be known besides the numbers, a line each."""
    lines = [f"Note: {escaped(note.message)}" for note in answer.notes]
    if isinstance(answer, SeriesAnswer) and answer.partial_buckets:
        lines.append(f"Not over yet: {', '.join(answer.partial_buckets)}.")
    if answer.provisional_since and not isinstance(answer, StatusAnswer):
        lines.append(f"Days from {answer.provisional_since} on may still be revised.")
    if answer.demo:
        lines.append("Demo data: an organization that never existed.")
    return "\n".join(f"- {line}" for line in [*lines, f"Read at {answer.fetched_at:%Y-%m-%d %H:%M} UTC."])
