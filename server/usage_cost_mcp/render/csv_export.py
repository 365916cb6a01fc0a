"""Answers as CSV: one flat table each, with a head of field names, exact, and safe to open in a spreadsheet.

Amounts stay the decimal strings that they are, nulls are empty, truth values are `true` and `false`. A text that a
spreadsheet would take for a formula begins with an apostrophe; what stands beside the table is in the JSON form.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Answer = Mapping[str, Any]
Rows = Iterator[Sequence[Any]]

_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""What makes a spreadsheet compute, in both widths. Source: https://owasp.org/www-community/attacks/CSV_Injection"""
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def as_csv(structured: Answer) -> str:
    """The structured half of an answer as CSV, the head first."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_cell, row) for row in rows(structured))
    return text.getvalue()


def rows(structured: Answer) -> Rows:
    """The cells of the table, the head first."""
    if "series" in structured:
        return _series(structured)
    if "values" in structured:
        return _records(structured, "values", _VALUE)
    return _BY_REPORT.get(structured.get("report", ""), _status)(structured)


def _series(answer: Answer) -> Rows:
    """A line for each group in each bucket. An estimate says so in each line."""
    group_by, measures = answer["group_by"], list(answer["measures"])
    estimated = ["estimated"] if "estimated" in answer else []
    yield ["bucket", "partial", *group_by, "label", "other_groups", *measures, *estimated]
    for series in answer["series"]:
        for index, bucket in enumerate(answer["buckets"]):
            yield [
                bucket,
                bucket in answer["partial_buckets"],
                *_group(series, group_by),
                series["label"],
                series.get("other_groups"),
                *(series["values"][measure][index] for measure in measures),
                *(answer[name] for name in estimated),
            ]


def _group(record: Answer, group_by: Sequence[str]) -> list[str | None]:
    """A column for each dimension; empty ones for Other."""
    group: Mapping[str, str | None] = record.get("group") or {}
    return [group.get(dimension) for dimension in group_by]


def _records(answer: Answer, name: str, fields: Sequence[str], group_by: Sequence[str] = ()) -> Rows:
    """A line for each thing in a list, its group first."""
    yield [*group_by, *fields]
    for record in answer[name]:
        yield [*_group(record, group_by), *map(record.get, fields)]


_VALUE = ("value", "label", "used", "cost", "cost_share", "tokens", "token_share")
_CHANGE = ("label", "cost", "previous_cost", "change", "status", "other_groups")
_KIND = ("model", "service_tier", "context_window", "inference_geo")
_ANOMALY = ("start", "end", "label", "cost", "expected", "excess", "status", "driver")


def _comparison(answer: Answer) -> Rows:
    """The groups; the causes are another table."""
    return _records(answer, "groups", _CHANGE, answer["group_by"])


def _anomalies(answer: Answer) -> Rows:
    return _records(answer, "anomalies", _ANOMALY, answer["group_by"])


def _forecast(answer: Answer) -> Rows:
    """The running total at the end of each day."""
    yield ["day", *answer["cumulative"]]
    yield from zip(answer["buckets"], *answer["cumulative"].values(), strict=True)


def _prices(answer: Answer) -> Rows:
    """A line for each token type; where there is no price, the reason stands instead."""
    yield [*_KIND, "token_type", "usd_per_million_tokens", "lowest", "highest", "reason"]
    for record in answer["prices"]:
        for token_type, price in record["usd_per_million_tokens"].items():
            ends = record.get("range", {}).get(token_type, (price, price))
            yield [*_group(record, _KIND), token_type, price, *ends, None]
    for record in answer["unpriced"]:
        for token_type in record["token_types"]:
            yield [*_group(record, _KIND), token_type, None, None, None, record["reason"]]


def _status(answer: Answer) -> Rows:
    """A line for each field, by its path."""
    yield ["key", "value"]
    yield from _leaves("", answer)


def _leaves(path: str, value: Any) -> Rows:
    match value:
        case {**fields}:
            inner = fields.items()
        case [*items]:
            inner = enumerate(items)
        case _:
            yield [path, value]
            return
    for name, part in inner:
        yield from _leaves(f"{path}.{name}" if path else f"{name}", part)


_BY_REPORT: Mapping[str, Callable[[Answer], Rows]] = {
    "spend_comparison": _comparison,
    "spend_forecast": _forecast,
    "spend_anomalies": _anomalies,
    "effective_prices": _prices,
}


def _cell(value: Any) -> Any:
    match value:
        case bool():
            return "true" if value else "false"
        case str() if _FORMULA.match(value) and not _NUMBER.fullmatch(value):
            return f"'{value}"
        case _:
            return value
