"""The arguments that the tools share: what a model reads of them, and which habits are forgiven."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, WithJsonSchema

from usage_cost_mcp.model.query_schema import BILLED_QUERY, SPEND_QUERY, USAGE_QUERY, QuerySchema
from usage_cost_mcp.model.upstream_reports import ALL_DIMENSIONS
from usage_cost_mcp.reports.dimension_values import MAX_VALUES
from usage_cost_mcp.reports.effective_prices import DEFAULT_PRICES, PRICE_DIMENSIONS
from usage_cost_mcp.reports.query import DEFAULT_GRANULARITY, DEFAULT_TOP, MAX_TOP
from usage_cost_mcp.reports.token_usage import ALL, DEFAULT_MEASURES, MEASURES


def _listed(given: object) -> object:
    """A bare string or a comma list where a list is expected."""
    if isinstance(given, str):
        return [part.strip() for part in given.split(",") if part.strip()]
    return given


def _mapped(given: object) -> object:
    if isinstance(given, Mapping):
        items = cast("Mapping[str, object]", given).items()
        return {dimension: _values(values) for dimension, values in items}
    return given


def _values(given: object) -> object:
    """One value where a list is expected. Names may hold commas, so nothing is split."""
    return [given] if given is None or isinstance(given, str) else given


def _schema(kind: str, description: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, "description": description, **more})


def _group_by(schema: QuerySchema) -> Any:
    items = {"type": "string", "enum": list(schema.dimensions)}
    limit = ""
    if schema == USAGE_QUERY:
        limit = "; at most five"
    elif schema.allocatable:
        limit = f"; at most one of {', '.join(schema.allocatable)}"
    description = f"Dimensions{limit}, counting those in filter_by." if limit else "Dimensions."
    return _schema("array", description, items=items)


def _granularity(schema: QuerySchema) -> Any:
    return _schema("string", f"Default {DEFAULT_GRANULARITY}.", enum=list(schema.granularities))


def _no_truth_value(given: object) -> object:
    if isinstance(given, bool):
        raise ValueError("a truth value is no number")  # noqa: TRY004 - what pydantic wants of a validator
    return given


Text = Annotated[str, BeforeValidator(lambda given: str(given) if isinstance(given, int) else given)]

Period = Annotated[
    Text,
    _schema(
        "string",
        "UTC days: today, last_7_days, this_week, last_month, 2026-Q3, 2026-10, 2026-10-05, 2026-10-01..2026-10-15.",
    ),
]

Timezone = Annotated[Text, _schema("string", "IANA time zone of the days instead of UTC, such as Europe/Berlin.")]

BilledDimensions = Annotated[Sequence[str], BeforeValidator(_listed), _group_by(BILLED_QUERY)]
SpendDimensions = Annotated[Sequence[str], BeforeValidator(_listed), _group_by(SPEND_QUERY)]
UsageDimensions = Annotated[Sequence[str], BeforeValidator(_listed), _group_by(USAGE_QUERY)]


Filters = Annotated[
    Mapping[str, Sequence[str | None]] | None,
    BeforeValidator(_mapped),
    _schema(
        "object",
        "Values by dimension. Workspaces, keys, accounts by id or name; "
        '"default" for the default workspace, "none" for use without a key.',
        additionalProperties={"type": "array", "items": {"type": "string"}},
    ),
]

PriceFilters = Annotated[
    Mapping[str, Sequence[str | None]] | None,
    BeforeValidator(_mapped),
    _schema(
        "object",
        f"Values by dimension: {', '.join(PRICE_DIMENSIONS)}.",
        additionalProperties={"type": "array", "items": {"type": "string"}},
    ),
]

SpendGranularity = Annotated[str | None, _granularity(SPEND_QUERY)]
UsageGranularity = Annotated[str | None, _granularity(USAGE_QUERY)]

Top = Annotated[
    int | None,
    BeforeValidator(_no_truth_value),
    _schema(
        "integer",
        f"Number of groups; the rest becomes Other. Default {DEFAULT_TOP}.",
        minimum=1,
        maximum=MAX_TOP,
    ),
]

Measures = Annotated[
    Sequence[str],
    BeforeValidator(_listed),
    _schema(
        "array",
        f"Measures per bucket; the first ranks groups. Default {', '.join(DEFAULT_MEASURES)}; totals always include "
        "all.",
        items={"type": "string", "enum": [*MEASURES, ALL]},
    ),
]

Dimension = Annotated[Text, _schema("string", "The dimension.", enum=list(ALL_DIMENSIONS))]

PricesTop = Annotated[
    int | None,
    BeforeValidator(_no_truth_value),
    _schema("integer", f"Number of rows. Default {DEFAULT_PRICES}.", minimum=1, maximum=MAX_TOP),
]

ValuesTop = Annotated[
    int | None,
    BeforeValidator(_no_truth_value),
    _schema("integer", "Number of values; by default as many as fit a short answer.", minimum=1, maximum=MAX_VALUES),
]

Against = Annotated[
    Text,
    _schema(
        "string",
        "Period to compare with: previous (the week or month before, or as many days), previous_month, previous_year "
        "(the same days), October, or any period.",
    ),
]

Until = Annotated[
    Text, _schema("string", "month_end, quarter_end, year_end, 2026-12, 2026-Q4, 2026 or a future day: 2026-12-15.")
]


def _amount_text(given: object) -> object:
    """A number as a text with one reading: 8.125 might be taken for a European 8,125."""
    if not isinstance(given, (int, float)):
        return given
    text = str(given)
    return f"{text}0" if re.fullmatch(r"[0-9]+\.[0-9]{3}", text) else text


Dollars = Annotated[
    str | None,
    BeforeValidator(_amount_text),
    BeforeValidator(_no_truth_value),
]
Budget = Annotated[Dollars, _schema("number", "Dollars for the whole period.")]
Minimum = Annotated[
    Dollars,
    _schema("number", "Smallest daily difference to report, in dollars; by default 1% of an average day, at least 10."),
]

Chart = Annotated[bool, _schema("boolean", "Add a PNG.")]
