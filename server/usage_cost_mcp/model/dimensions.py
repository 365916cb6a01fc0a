"""What each report can be grouped and filtered by, and what it measures, in Anthropic's own words.

Source: https://platform.claude.com/docs/en/manage-claude/usage-cost-api
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from usage_cost_mcp.errors import InvalidQueryError, unknown_value_error

Width = Literal["1d", "1h", "1m"]
Filters = Mapping[str, frozenset[str | None]]
"""The accepted values by dimension; None is the null of the reports: the default workspace, no key, ..."""

MAX_GROUPINGS = 5
"""The Admin API refuses a sixth `group_by[]`; the page that lists nine does not say so."""


@dataclass(frozen=True, slots=True)
class Report:
    """One of the two upstream reports, as a cube.

    Attributes:
        name: How we speak of it.
        dimensions: All that upstream can group it by.
        base: The dimensions that are always fetched together, so that any question within them is a local roll-up.
        measures: What a row counts, in the order in which it holds them.
        attributed: What it is shared out by besides, as the other report has it.
    """

    name: Literal["spend", "usage"]
    dimensions: tuple[str, ...]
    base_view: tuple[str, ...]
    measures: tuple[str, ...]
    attributable: tuple[str, ...] = ()

    @property
    def accepted_dimensions(self) -> tuple[str, ...]:
        """All that a question may name."""
        return self.dimensions + self.attributable

    def views_for(self, needed: Iterable[str]) -> list[tuple[str, ...]]:
        """The dimensions to fetch for a question: the base where it suffices, else or failing that the needed ones.

        Raises:
            QuestionError: When more dimensions are needed than can be fetched together.
        """
        wanted = set(needed)
        if self.base_view == self.dimensions:
            return [self.base_view]
        view = tuple(dimension for dimension in self.dimensions if dimension in wanted)
        if len(view) > MAX_GROUPINGS:
            raise InvalidQueryError(
                f"group_by and filter_by name {len(view)} dimensions together ({', '.join(view)}); "
                f"Anthropic's usage report takes at most {MAX_GROUPINGS}. Drop one, or ask two questions."
            )
        return [self.base_view, view] if wanted < set(self.base_view) else [view]


_COST_DIMENSIONS = (
    "workspace_id",
    "model",
    "cost_type",
    "token_type",
    "service_tier",
    "context_window",
    "inference_geo",
    "description",
)

BILLED = Report(name="spend", dimensions=_COST_DIMENSIONS, base_view=_COST_DIMENSIONS, measures=("cost",))
"""Spend as the cost report has it."""

SPEND = replace(BILLED, attributable=("api_key_id", "account_id", "service_account_id"))

USAGE = Report(
    name="usage",
    dimensions=(
        "workspace_id",
        "api_key_id",
        "account_id",
        "service_account_id",
        "model",
        "service_tier",
        "context_window",
        "inference_geo",
        "speed",
    ),
    base_view=("workspace_id", "model", "service_tier", "context_window", "inference_geo"),
    measures=(
        "uncached_input_tokens",
        "cache_read_input_tokens",
        "cache_creation_5m_input_tokens",
        "cache_creation_1h_input_tokens",
        "output_tokens",
        "web_search_requests",
    ),
)

ALL_DIMENSIONS = tuple(dict.fromkeys(USAGE.dimensions + SPEND.dimensions))

MAX_FILTER_VALUES = 1000
"""How many values a filter may name by one dimension."""

NULL_WORDS = {"workspace_id": "default", "api_key_id": "console"}
"""What a person writes for the null of a dimension: the default workspace, use without a key."""

NAMED_DIMENSIONS = ("workspace_id", "api_key_id", "account_id")
"""The dimensions whose values have names that can be looked up."""

KNOWN_VALUES: Mapping[str, tuple[str, ...]] = {
    "cost_type": ("tokens", "web_search", "code_execution", "session_usage"),
    "token_type": (
        "uncached_input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation.ephemeral_5m_input_tokens",
        "cache_creation.ephemeral_1h_input_tokens",
    ),
    "service_tier": ("standard", "batch", "priority", "priority_on_demand", "flex", "flex_discount"),
    "context_window": ("0-200k", "200k-1M"),
    "inference_geo": ("global", "us", "not_available"),
    "speed": ("standard", "fast"),
}
"""The documented values of the closed dimensions; upstream may add some at any time."""


def parse_group_by(report: Report, dimensions: Sequence[str]) -> tuple[str, ...]:
    """Check the dimensions of a grouping.

    Raises:
        QuestionError: For a dimension that the report does not have.
    """
    named = [dimension.lower() for dimension in dimensions]
    for dimension in named:
        require_dimension(report, dimension, "group_by")
    return tuple(dict.fromkeys(named))


def check_filter_by(report: Report, wanted: Mapping[str, Sequence[str | None]]) -> None:
    """Check the dimensions of a filter.

    Raises:
        QuestionError: For an unknown dimension, or one with no value at all, or too many.
    """
    for dimension, values in wanted.items():
        require_dimension(report, dimension, "filter_by")
        if not values:
            raise InvalidQueryError(f"filter_by {dimension} has no value: name at least one, or leave {dimension} out.")
        # A text may be a comma list.
        if sum(1 + (value or "").count(",") for value in values) > MAX_FILTER_VALUES:
            raise InvalidQueryError(f"filter_by {dimension} names more than {MAX_FILTER_VALUES} values at once.")


def require_dimension(report: Report, dimension: str, argument: str) -> None:
    """Refuse a dimension that the report does not have, naming the other report where that has it."""
    if dimension in report.accepted_dimensions:
        return
    if dimension in ALL_DIMENSIONS:
        raise InvalidQueryError(
            f"{argument} {dimension} does not exist in Anthropic's {_SOURCES[report.name]} ({_where_else(dimension)}). "
            f"Accepted: {', '.join(report.accepted_dimensions)}."
        )
    raise unknown_value_error(argument, dimension, report.accepted_dimensions)


_SOURCES = {"spend": "cost report", "usage": "usage report"}


def _where_else(dimension: str) -> str:
    if dimension in BILLED.dimensions:
        return "get_spend has it"
    return (
        "get_token_usage has it"
        if dimension not in SPEND.attributable
        else "get_token_usage has it, get_spend estimates it"
    )
