"""A query for a report, validated before any request is made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, tzinfo

from usage_cost_mcp.analysis.allocation import KEY_CELL, PRICE_DIMENSIONS, AllocationRule
from usage_cost_mcp.errors import InvalidQueryError, unknown_value_error
from usage_cost_mcp.model.buckets import resolution
from usage_cost_mcp.model.dimensions import API_KEY, CONSOLE, IDENTITIES, NULL_WORDS, WORKSPACE
from usage_cost_mcp.model.periods import GRANULARITIES, MAX_DAYS, Granularity, Period, parse_period
from usage_cost_mcp.model.query_schema import QuerySchema
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT, Width

DEFAULT_PERIOD = "last_30_days"
DEFAULT_GRANULARITY: Granularity = "day"
DEFAULT_TOP = 10
MAX_TOP = 100

RawFilters = Mapping[str, Sequence[str | None]]
"""Filter values as given: IDs, names or words; None for the null of a dimension."""


@dataclass(frozen=True, slots=True)
class Query:
    """A validated query.

    Attributes:
        filter_by: The values as given; names are not resolved yet.
        views: Sets of dimensions by which rows can be fetched, the preferred one first.
        allocation_rule: How spend is allocated; None if the cost report has every dimension.
        top: The number of groups shown; None for all.
        is_default_top: Whether the caller did not choose it.
        default_size: Whether neither granularity nor top was chosen, so that the answer may be shortened.
    """

    schema: QuerySchema
    period: Period
    group_by: tuple[str, ...]
    filter_by: RawFilters
    views: Sequence[tuple[str, ...]]
    allocation_rule: AllocationRule | None
    granularity: Granularity
    top: int | None
    is_default_top: bool
    default_size: bool

    @property
    def width(self) -> Width:
        """The bucket width that rows must have."""
        return _WIDTHS.get(resolution(self.period, self.granularity), "1d")


def with_workspace_dimension(query: Query) -> Query:
    """The same query, answered from rows that have a workspace.

    Raises:
        InvalidQueryError: If that is more dimensions than can be fetched together.
    """
    named = [*query.group_by, *query.filter_by, WORKSPACE]
    try:
        return replace(
            query,
            views=query.schema.report.views_for(named),
            allocation_rule=_allocation_rule(query.schema, named),
        )
    except InvalidQueryError as refusal:
        raise refusal.with_note(
            "workspace_id is always one of them, because your access is limited to some workspaces."
        ) from None


_WIDTHS: dict[Granularity, Width] = {"hour": "1h", "minute": "1m"}


def parse_query(
    schema: QuerySchema,
    today: date,
    *,
    period: str = DEFAULT_PERIOD,
    zone: tzinfo = UTC,
    group_by: Sequence[str] = (),
    filter_by: RawFilters | None = None,
    granularity: str | None = None,
    top: int | None = None,
    default_top: int | None = DEFAULT_TOP,
) -> Query:
    """Validate a query; `today` is the current day of the time zone.

    Raises:
        InvalidQueryError: For anything that the report does not accept; lists what is accepted.
    """
    days = parse_period(period, today, zone)
    groups = schema.parse_group_by(group_by)
    filters = filter_by or {}
    schema.check_filter_by(filters)
    filters = _with_console_filters(schema, filters)
    return Query(
        schema=schema,
        period=days,
        group_by=groups,
        filter_by=filters,
        views=schema.report.views_for([*groups, *filters]),
        allocation_rule=_allocation_rule(schema, [*groups, *filters]),
        granularity=_granularity(schema, days, granularity or DEFAULT_GRANULARITY),
        top=default_top if top is None else _checked_top(top),
        is_default_top=top is None,
        default_size=granularity is None and top is None,
    )


def _with_console_filters(schema: QuerySchema, filters: RawFilters) -> RawFilters:
    """The filters, where the word for Console use also excludes accounts, which have no key either.

    Raises:
        InvalidQueryError: If the word is combined with other keys or accounts, or if the report cannot single it out.
    """
    given = [part.strip().casefold() for value in filters.get(API_KEY, ()) for part in (value or "").split(",")]
    if CONSOLE not in given:
        return filters
    accounts = [dimension for dimension in IDENTITIES if dimension != API_KEY]
    if schema.allocatable:
        raise InvalidQueryError(
            f"filter_by {API_KEY} {CONSOLE}: spend cannot be estimated for Console use alone, because sign-ins and "
            f"service accounts have no key either. Use {NULL_WORDS[API_KEY]} for all use without a key; "
            "get_token_usage counts Console use alone."
        )
    if len(given) > 1 or any(list(filters.get(dimension, [None])) != [None] for dimension in accounts):
        raise InvalidQueryError(
            f"filter_by {API_KEY} {CONSOLE} cannot be combined with other keys or accounts. Make a call for each, or "
            f"use {NULL_WORDS[API_KEY]} for all use without a key."
        )
    return {**filters, **{dimension: [None] for dimension in accounts}}


def _granularity(schema: QuerySchema, period: Period, given: str) -> Granularity:
    accepted = schema.granularities
    given = given.strip().lower()
    if given in GRANULARITIES and given not in accepted:
        raise InvalidQueryError(
            f"granularity {given}: spend is reported per UTC day only. Accepted: {', '.join(accepted)}."
        )
    if given not in accepted:
        raise unknown_value_error("granularity", given, accepted)
    granularity = given
    if len(period) > MAX_DAYS[granularity]:
        raise InvalidQueryError(
            f"granularity {granularity} is limited to {MAX_DAYS[granularity]} days; the period has {len(period)}. "
            "Use a shorter period or a coarser granularity."
        )
    cut = resolution(period, granularity)
    if len(period) > MAX_DAYS[cut]:
        reason = ", because its UTC offset is not a whole number of hours" if cut == "minute" else ""
        raise InvalidQueryError(
            f"timezone {period.zone} needs data per {cut}{reason}. This is limited to {MAX_DAYS[cut]} days; the period "
            f"has {len(period)}. Use a shorter period or UTC days."
        )
    return granularity


def _allocation_rule(schema: QuerySchema, named: Iterable[str]) -> AllocationRule | None:
    """How to allocate spend if the named dimensions include one that the cost report lacks.

    Raises:
        InvalidQueryError: If that takes more dimensions of usage than can be fetched together.
    """
    names = set(named)
    allocated = [dimension for dimension in schema.allocatable if dimension in names]
    if not allocated:
        return None
    if len(allocated) > 1:
        raise InvalidQueryError(
            f"Spend can be estimated by only one of {', '.join(schema.allocatable)} at a time, not by "
            f"{' and '.join(allocated)}: with the dimensions that determine a price ({', '.join(PRICE_DIMENSIONS)}) "
            f"they exceed the {USAGE_REPORT.max_groupings} dimensions that Anthropic's usage report can be grouped by "
            "at once. Ask for each one separately."
        )
    dimension = allocated[0]
    if dimension == API_KEY:
        return AllocationRule(dimension, KEY_CELL)
    if WORKSPACE not in names:
        return AllocationRule(dimension, (*PRICE_DIMENSIONS, "speed"))
    if "inference_geo" in names:
        raise InvalidQueryError(
            f"Spend by {dimension}, workspace_id and inference_geo cannot be estimated: with model, service_tier and "
            f"context_window they exceed the {USAGE_REPORT.max_groupings} dimensions that Anthropic's usage report can "
            "be grouped by at once. Drop workspace_id or inference_geo."
        )
    return AllocationRule(dimension, (WORKSPACE, *PRICE_DIMENSIONS[:-1], "speed"))


def _checked_top(top: int) -> int:
    if not 1 <= top <= MAX_TOP:
        raise InvalidQueryError(f"top must be from 1 to {MAX_TOP}, not {top}.")
    return top
