"""Credits: the negative rows of the cost report. A share of spend is a share of the spend before credits."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.model.dimensions import CHARGE_CATEGORY, CREDIT, Filters
from usage_cost_mcp.model.money import exact, exact_sum, format_dollars
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import Key, Number
from usage_cost_mcp.model.series import add_up, aggregate
from usage_cost_mcp.model.upstream_reports import COST_REPORT

from . import notes
from .answers import Note

Group = TypeVar("Group", bound="Key | str | None")

ONLY_CREDITS: Filters = {CHARGE_CATEGORY: frozenset({CREDIT})}
_MAX_LISTED = 3


def credits_by_group(
    held: CacheResult, period: Period, now: datetime, group_by: Sequence[str] = (), filters: Filters | None = None
) -> dict[Key, Decimal]:
    """The credits of each group that has some, in dollars below zero."""
    table = aggregate(held.days, COST_REPORT, period, "total", now, group_by, _credits_of(filters or {}))
    amounts = {group: Decimal(add_up(columns)[0]) for group, columns in table.groups.items()}
    return {group: amount for group, amount in amounts.items() if amount}


def _credits_of(filters: Filters) -> Filters:
    """The filters, narrowed to credits."""
    credit = ONLY_CREDITS[CHARGE_CATEGORY]
    return {**filters, CHARGE_CATEGORY: filters.get(CHARGE_CATEGORY, credit) & credit}


def before_credits(costs: Mapping[Group, Number], credited: Mapping[Group, Number]) -> dict[Group, Decimal]:
    """What each group was charged: its cost without its credits, never below zero."""
    with exact():
        return {group: Decimal(cost) - Decimal(credited.get(group, 0)) for group, cost in costs.items()}


def share_of(part: Number, whole: Number) -> Fraction | None:
    """A share from 0 to 1; None without a whole."""
    return Fraction(part) / Fraction(whole) if whole else None


def credit_notes(held: CacheResult, filters: Filters) -> Iterator[Note]:
    """The credits in the cost, or that there are none where only they were asked for."""
    listed = _listed(held, filters)
    only_credits = ONLY_CREDITS.items() <= filters.items()
    if listed and not only_credits:
        total = exact_sum(amount for _, _, amount in listed)
        yield Note(
            code="credits_included",
            message=f"Includes credits of {format_dollars(total)}: {_named(listed)}. "
            f"filter_by {CHARGE_CATEGORY} {CREDIT} shows them alone.",
        )
    if only_credits and not listed and _listed(held, ONLY_CREDITS):
        yield Note(code=notes.NO_MATCH, message="There are no credits with these filters in this period.")


def _listed(held: CacheResult, filters: Filters) -> list[tuple[date, str | None, Decimal]]:
    """The day, description and amount of each credit."""
    listed: list[tuple[date, str | None, Decimal]] = []
    for day in held.days:
        tests = [(day.dimensions.index(dimension), values) for dimension, values in _credits_of(filters).items()]
        category, description = (day.dimensions.index(name) for name in (CHARGE_CATEGORY, "description"))
        listed += [
            (day.day, key[description], Decimal(sums[0]))
            for rows in day.rows.values()
            for key, sums in rows
            if key[category] == CREDIT and all(key[place] in values for place, values in tests)
        ]
    return listed


def _named(listed: Sequence[tuple[date, str | None, Decimal]]) -> str:
    """Such as "Service Credit -$450.00 on 2026-10-25", the largest first."""
    largest = sorted(listed, key=lambda each: each[2])[:_MAX_LISTED]
    named = ", ".join(f"{name or 'a credit'} {format_dollars(amount)} on {day}" for day, name, amount in largest)
    return named if len(listed) <= _MAX_LISTED else f"{named} and {len(listed) - _MAX_LISTED} more"
