"""Answers as CSV: one flat table each, with a head of field names, exact, and safe to open in a spreadsheet.

Amounts stay decimal strings, nulls are empty, truth values are `true` and `false`. A text that a spreadsheet would take
for a formula begins with an apostrophe. What does not fit into one table is in the JSON form only.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""What makes a spreadsheet compute, in both widths. Source: https://owasp.org/www-community/attacks/CSV_Injection"""
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def as_csv(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV text, the head first."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_cell, row) for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    match value:
        case bool():
            return "true" if value else "false"
        case str() if _FORMULA.match(value) and not _NUMBER.fullmatch(value):
            return f"'{value}"
        case _:
            return value
