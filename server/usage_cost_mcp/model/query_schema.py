"""What the tools accept of each report: dimensions, filters and granularities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from usage_cost_mcp.errors import InvalidQueryError, unknown_value_error

from .dimensions import API_KEY
from .periods import GRANULARITIES, Granularity, granularities_from
from .upstream_reports import ALL_DIMENSIONS, COST_REPORT, USAGE_REPORT, UpstreamReport

MAX_FILTER_VALUES = 1000
"""How many values a filter may name by one dimension."""


@dataclass(frozen=True, slots=True)
class QuerySchema:
    """What a tool accepts of a report.

    Attributes:
        granularities: From the finest to the coarsest.
        allocatable: Dimensions that the report lacks, and by which its numbers are allocated: an estimate.
    """

    report: UpstreamReport
    granularities: tuple[Granularity, ...]
    allocatable: tuple[str, ...] = ()

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Every dimension that a query may name."""
        return self.report.dimensions + self.allocatable

    def parse_group_by(self, dimensions: Sequence[str]) -> tuple[str, ...]:
        """Check the dimensions of a grouping.

        Raises:
            InvalidQueryError: For a dimension that is not accepted.
        """
        named = [dimension.lower() for dimension in dimensions]
        for dimension in named:
            self._require(dimension, "group_by")
        return tuple(dict.fromkeys(named))

    def check_filter_by(self, filters: Mapping[str, Sequence[str | None]]) -> None:
        """Check the dimensions of a filter.

        Raises:
            InvalidQueryError: For a dimension that is not accepted, or one without a value, or with too many.
        """
        for dimension, values in filters.items():
            self._require(dimension, "filter_by")
            if not values:
                raise InvalidQueryError(
                    f"filter_by {dimension} has no value: name at least one, or leave {dimension} out."
                )
            # A text may be a comma list.
            if sum(1 + (value or "").count(",") for value in values) > MAX_FILTER_VALUES:
                raise InvalidQueryError(f"filter_by {dimension} names more than {MAX_FILTER_VALUES} values at once.")

    def _require(self, dimension: str, argument: str) -> None:
        if dimension in self.dimensions:
            return
        if dimension in ALL_DIMENSIONS:
            raise InvalidQueryError(
                f"{argument} {dimension} does not exist in Anthropic's {self.report.name} report "
                f"({_where_else(dimension)}). Accepted: {', '.join(self.dimensions)}."
            )
        raise unknown_value_error(argument, dimension, self.dimensions)


BILLED_QUERY = QuerySchema(COST_REPORT, granularities=granularities_from("day"))
"""Spend as it is billed, without estimates."""

SPEND_QUERY = QuerySchema(
    COST_REPORT,
    granularities=granularities_from("day"),
    allocatable=(API_KEY, "account_id", "service_account_id"),
)

USAGE_QUERY = QuerySchema(USAGE_REPORT, granularities=GRANULARITIES)


def _where_else(dimension: str) -> str:
    """The tools that accept a dimension which a report lacks."""
    if dimension in COST_REPORT.dimensions:
        return "get_spend has it"
    if dimension in SPEND_QUERY.allocatable:
        return "get_token_usage has it, get_spend estimates it"
    return "get_token_usage has it"
