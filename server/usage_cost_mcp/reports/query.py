"""A question about a series, checked before any request is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, tzinfo

from usage_cost_mcp.analysis.allocation import AllocationRule, allocation_rule_for
from usage_cost_mcp.errors import InvalidQueryError, unknown_value_error
from usage_cost_mcp.model.buckets import resolution
from usage_cost_mcp.model.dimensions import WORKSPACE
from usage_cost_mcp.model.periods import GRANULARITIES, MAX_DAYS, Granularity, Period, parse_period
from usage_cost_mcp.model.query_schema import QuerySchema
from usage_cost_mcp.model.upstream_reports import Width

DEFAULT_PERIOD = "last_30_days"
DEFAULT_GRANULARITY: Granularity = "day"
DEFAULT_TOP = 10
MAX_TOP = 100

RawFilters = Mapping[str, Sequence[str | None]]
"""Values as a person gives them: ids, names, words; null for the null of a dimension."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a report.

    Attributes:
        filter_by: The values as given, names not yet resolved.
        views: The dimensions that the rows may have, the best choice first.
        attribution: How the rows are shared out, where that is asked for.
        top: How many groups are shown; None for every one.
        by_default: Neither granularity nor top was chosen, so the answer may be brief.
    """

    schema: QuerySchema
    period: Period
    group_by: tuple[str, ...]
    filter_by: RawFilters
    views: Sequence[tuple[str, ...]]
    allocation_rule: AllocationRule | None
    granularity: Granularity
    top: int | None
    default_size: bool

    @property
    def width(self) -> Width:
        """How wide the buckets of the rows must be."""
        return _WIDTHS.get(resolution(self.period, self.granularity), "1d")


def with_workspace_dimension(query: Query) -> Query:
    """The same question, to be answered from rows that tell their workspace.

    Raises:
        InvalidQueryError: When that is more dimensions than can be had together.
    """
    named = [*query.group_by, *query.filter_by, WORKSPACE]
    try:
        return replace(
            query,
            views=query.schema.report.views_for(named),
            allocation_rule=allocation_rule_for(query.schema, named),
        )
    except InvalidQueryError as refusal:
        raise refusal.with_note("workspace_id is always among them, because you see only some workspaces.") from None


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
    """Check a question; `today` is the current day of the zone.

    Raises:
        InvalidQueryError: For anything that the report cannot answer; names what is accepted.
    """
    days = parse_period(period, today, zone)
    groups = schema.parse_group_by(group_by)
    filters = filter_by or {}
    schema.check_filter_by(filters)
    return Query(
        schema=schema,
        period=days,
        group_by=groups,
        filter_by=filters,
        views=schema.report.views_for([*groups, *filters]),
        allocation_rule=allocation_rule_for(schema, [*groups, *filters]),
        granularity=_granularity(schema, days, granularity or DEFAULT_GRANULARITY),
        top=default_top if top is None else _checked_top(top),
        default_size=granularity is None and top is None,
    )


def _granularity(schema: QuerySchema, period: Period, given: str) -> Granularity:
    accepted = schema.granularities
    given = given.strip().lower()
    if given in GRANULARITIES and given not in accepted:
        raise InvalidQueryError(f"granularity {given}: spend exists per UTC day only. Accepted: {', '.join(accepted)}.")
    if given not in accepted:
        raise unknown_value_error("granularity", given, accepted)
    granularity = given
    if len(period) > MAX_DAYS[granularity]:
        raise InvalidQueryError(
            f"granularity {granularity} is answered for at most {MAX_DAYS[granularity]} days; "
            f"the period has {len(period)}. Ask for a shorter period or a coarser granularity."
        )
    cut = resolution(period, granularity)
    if len(period) > MAX_DAYS[cut]:
        because = " and is not a whole number of hours from UTC" if cut == "minute" else ""
        raise InvalidQueryError(
            f"timezone {period.zone} is cut from the report per {cut}{because}: answered for at most {MAX_DAYS[cut]} "
            f"days; the period has {len(period)}. Ask for a shorter period, or for UTC days."
        )
    return granularity


def _checked_top(top: int) -> int:
    if not 1 <= top <= MAX_TOP:
        raise InvalidQueryError(f"top must be from 1 to {MAX_TOP}, not {top}.")
    return top
