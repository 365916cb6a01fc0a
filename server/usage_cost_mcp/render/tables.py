"""Answers as rows of text: what the Markdown half and the terminal have in common. The first row is the head."""

import re
from collections.abc import Sequence
from decimal import Decimal

from usage_cost_mcp.model.money import format_dollars
from usage_cost_mcp.reports.answers import SeriesAnswer, Value
from usage_cost_mcp.reports.dimension_values import ValuesAnswer
from usage_cost_mcp.reports.effective_prices import PriceRow, PricesAnswer, price_key_label, token_type_order
from usage_cost_mcp.reports.spend_anomalies import AnomaliesAnswer
from usage_cost_mcp.reports.spend_comparison import ComparisonAnswer, GroupChange
from usage_cost_mcp.reports.spend_forecast import ForecastAnswer

MAX_COLUMNS = 12
"""How many buckets stand side by side; more become rows."""

Table = Sequence[Sequence[str]]
Tables = Sequence[Table]


TableAnswer = ValuesAnswer | ComparisonAnswer | ForecastAnswer | AnomaliesAnswer | PricesAnswer
"""The answers whose tables are the same everywhere."""


def tables_of(answer: TableAnswer) -> Tables:
    """Every table of an answer."""
    match answer:
        case ValuesAnswer():
            return [values_table(answer)]
        case ComparisonAnswer():
            return comparison_tables(answer)
        case ForecastAnswer():
            return forecast_tables(answer)
        case AnomaliesAnswer():
            return anomalies_tables(answer)
        case PricesAnswer():
            return price_tables(answer)


def cross_table(answer: SeriesAnswer, measure: str) -> Table:
    """Every group in every bucket: groups down and buckets across where these are few, else the other way round."""
    unit = answer.measures[measure]
    groups = [(series.label, series.values[measure], series.totals[measure]) for series in answer.series]
    lines = [*groups, ("Total", answer.bucket_totals[measure], answer.totals[measure])]
    wide = [
        [" / ".join(answer.group_by), *map(_short, answer.buckets), "Total"],
        *([label, *(readable_value(v, unit) for v in (*values, total))] for label, values, total in lines),
    ]
    if len(answer.buckets) <= MAX_COLUMNS:
        return wide
    head, *tall = [list(column) for column in zip(*wide, strict=True)]
    return [[answer.granularity, *head[1:]], *tall]


def groups_with_totals(answer: SeriesAnswer) -> Table:
    """Each group with its total of every measure shown."""
    return [
        [" / ".join(answer.group_by), *answer.measures],
        *([series.label, *_totals(answer, series.totals)] for series in answer.series),
        ["Total", *_totals(answer, answer.totals)],
    ]


def buckets_with_totals(answer: SeriesAnswer) -> Table:
    """Each bucket with its total of every measure shown; of a single bucket the total says all."""
    columns = [[readable_value(v, unit) for v in answer.bucket_totals[name]] for name, unit in answer.measures.items()]
    return [
        [answer.granularity, *answer.measures],
        *([bucket, *cells] for bucket, *cells in zip(answer.buckets, *columns, strict=True) if len(answer.buckets) > 1),
        ["Total", *_totals(answer, answer.totals)],
    ]


def _totals(answer: SeriesAnswer, totals: dict[str, Value]) -> list[str]:
    return [readable_value(totals[name], unit) for name, unit in answer.measures.items()]


def _short(bucket: str) -> str:
    """The year is in the headline; a table of days is narrower without it."""
    return bucket[5:] if re.fullmatch(r"\d{4}-\d{2}-\d{2}", bucket) else bucket


def values_table(answer: ValuesAnswer) -> Table:
    """Each value with its id, and its share of whatever the reports have of it."""
    columns = [
        (name, share, unit)
        for name, share, unit in (("cost", "cost_share", "USD"), ("tokens", "token_share", "tokens"))
        if any(getattr(each, name) is not None for each in answer.values)
    ]
    with_ids = any(each.value not in {None, each.label} for each in answer.values)
    return [
        [answer.dimension, *(["id"] if with_ids else []), *(h for name, _, _ in columns for h in (name, "share"))],
        *(
            [
                each.label if each.used else f"{each.label} (not used)",
                *([each.value or ""] if with_ids else []),
                *(
                    readable_value(getattr(each, field), unit_of)
                    for name, share, unit in columns
                    for field, unit_of in ((name, unit), (share, "ratio"))
                ),
            ]
            for each in answer.values
        ),
    ]


def comparison_tables(answer: ComparisonAnswer) -> Tables:
    """The change by cause, then by group."""
    per_day = " a day" if answer.per == "day" else ""
    causes = [
        ["cause", f"change{per_day}"],
        *([each.label, _signed(each.change)] for each in answer.drivers),
        ["Total", _signed(answer.change)],
    ]
    before, now = (f"{each.start}..{each.end}" for each in (answer.against, answer.period))
    groups = [
        [" / ".join(answer.group_by) or "total", before, now, f"change{per_day}"],
        *(
            [_with_status(each), *_before_after_change(each.previous_cost, each.cost, each.change)]
            for each in answer.groups
        ),
        ["Total", *_before_after_change(answer.previous_cost, answer.cost, answer.change)],
    ]
    return [*([causes] if answer.drivers else []), groups]


def _with_status(group: GroupChange) -> str:
    return f"{group.label} ({group.status})" if group.status else group.label


def _before_after_change(before: str, now: str, change: str) -> list[str]:
    return [format_dollars(Decimal(before)), format_dollars(Decimal(now)), _signed(change)]


def _signed(dollars: str) -> str:
    return f"{'+' if Decimal(dollars) > 0 else ''}{format_dollars(Decimal(dollars))}"


def forecast_tables(answer: ForecastAnswer) -> Tables:
    """The total so far, expected and at both ends of the interval; then the budget."""
    lines = [
        (f"spent until {answer.complete_until}" if answer.complete_until else "spent", answer.spent),
        (f"expected until {answer.period.end}", answer.expected),
        ("80% interval from", answer.low),
        ("80% interval to", answer.high),
    ]
    if answer.budget:
        lines += [("budget", answer.budget.amount), ("expected over budget", answer.budget.projected_overrun)]
    return [[["", "USD"], *([name, format_dollars(Decimal(amount))] for name, amount in lines if amount is not None)]]


def anomalies_tables(answer: AnomaliesAnswer) -> Tables:
    """A line for each finding."""
    if not answer.anomalies:
        return []
    return [
        [
            ["days", "group", "cost", "expected", "excess", "status", "likely driver"],
            *(
                [
                    str(each.start) if each.start == each.end else f"{each.start}..{each.end}",
                    each.label,
                    *_before_after_change(each.cost, each.expected, each.excess),
                    each.status.replace("_", " "),
                    each.driver or "-",
                ]
                for each in answer.anomalies
            ),
        ]
    ]


def price_tables(answer: PricesAnswer) -> list[Table]:
    """Each kind of use with its prices by token type; then what has no price, and why."""
    types = sorted({name for row in answer.prices for name in row.usd_per_million_tokens}, key=token_type_order)
    prices = [
        ["dollars per million tokens", *(_TYPES.get(name, name) for name in types), "cost"],
        *(
            [price_key_label(row), *(_price(row, name) for name in types), readable_value(row.cost, "USD")]
            for row in answer.prices
        ),
    ]
    unpriced = [
        ["without a price", "cost", "tokens", "why"],
        *(
            [price_key_label(row), _known(row.cost, "USD"), _known(row.tokens, "tokens"), row.reason]
            for row in answer.unpriced
        ),
    ]
    return [rows for rows in (prices, unpriced) if len(rows) > 1]


def _price(row: PriceRow, name: str) -> str:
    price = row.usd_per_million_tokens.get(name, "-")
    return f"{price} ({' to '.join(row.range[name])})" if name in row.range else price


def _known(value: Value, unit: str) -> str:
    """A zero is what the report does not have."""
    return readable_value(value if value not in {0, "0"} else None, unit)


_TYPES = {
    "uncached_input_tokens": "uncached input",
    "cache_read_input_tokens": "cache read",
    "cache_creation.ephemeral_5m_input_tokens": "cache write 5m",
    "cache_creation.ephemeral_1h_input_tokens": "cache write 1h",
    "output_tokens": "output",
}


def readable_value(value: Value, unit: str) -> str:
    """A value as a person reads it: $1,234.56, 1,234, 56.7%, or - where there is none."""
    if value is None:
        return "-"
    if unit == "USD":
        return format_dollars(Decimal(value))
    return f"{value:.1%}" if unit.startswith("ratio") else f"{value:,}"
