"""A second, independent and minimal reader of the Admin API, to compare the server's sums with."""

import json
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

Row = dict[str, Any]
Group = tuple[str | None, ...]
Days = dict[Group, dict[str, dict[str, int]]]

TOKENS: dict[str, Callable[[Row], int]] = {
    "uncached_input_tokens": lambda row: row["uncached_input_tokens"],
    "cache_read_input_tokens": lambda row: row["cache_read_input_tokens"],
    "cache_creation_5m_input_tokens": lambda row: row["cache_creation"]["ephemeral_5m_input_tokens"],
    "cache_creation_1h_input_tokens": lambda row: row["cache_creation"]["ephemeral_1h_input_tokens"],
    "output_tokens": lambda row: row["output_tokens"],
    "web_search_requests": lambda row: row["server_tool_use"]["web_search_requests"],
}
INPUTS = tuple(TOKENS)[:4]


def rows(
    url: str, report: str, first: str, last: str, group_by: Sequence[str], width: str = "1d"
) -> Iterator[tuple[str, Row]]:
    """Every row of a report with the start of its bucket, from the first to the last day, in default pages."""
    query = [
        ("starting_at", f"{first}T00:00:00Z"),
        ("ending_at", f"{date.fromisoformat(last) + timedelta(days=1)}T00:00:00Z"),
        ("bucket_width", width),
        *(("group_by[]", dimension) for dimension in group_by),
    ]
    token: str | None = ""
    while token is not None:
        paged = urllib.parse.urlencode([*query, *([("page", token)] if token else [])])
        request = urllib.request.Request(f"{url}/v1/organizations/{report}?{paged}")  # noqa: S310 - loopback
        request.add_header("x-api-key", "sk-ant-admin01-oracle")
        request.add_header("anthropic-version", "2023-06-01")
        request.add_header("anthropic-beta", "fast-mode-2026-02-01")
        with urllib.request.urlopen(request) as response:  # noqa: S310 - loopback
            page = json.load(response)
        for bucket in page["data"]:
            yield from ((bucket["starting_at"], row) for row in bucket["results"])
        token = page["next_page"]


def charges(url: str, first: str, last: str, dimension: str) -> dict[str | None, Fraction]:
    """Cost by value, without the negative rows."""
    found: dict[str | None, Fraction] = defaultdict(Fraction)
    for _, row in rows(url, "cost_report", first, last, ["workspace_id", "description"]):
        found[row[dimension]] += max(Fraction(row["amount"]), Fraction(0)) / 100
    return found


def dollars(url: str, first: str, last: str, group_by: Sequence[str]) -> dict[Group, dict[str, Fraction]]:
    """Cost by group and day: the report's cents divided by 100."""
    found: dict[Group, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for start, row in rows(url, "cost_report", first, last, ["workspace_id", "description"]):
        found[tuple(row[dimension] for dimension in group_by)][start[:10]] += Fraction(row["amount"]) / 100
    return found


def _day(start: str) -> str:
    return start[:10]


def tokens(
    url: str,
    first: str,
    last: str,
    group_by: Sequence[str],
    width: str = "1d",
    bucket: Callable[[str], str] = _day,
) -> Days:
    """Every count by group and day, or by a function of the start of a row."""
    found: dict[Group, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(lambda: dict.fromkeys(TOKENS, 0)))
    for start, row in rows(url, "usage_report/messages", first, last, group_by, width):
        for measure, read in TOKENS.items():
            found[tuple(row[dimension] for dimension in group_by)][bucket(start)][measure] += read(row)
    return found
