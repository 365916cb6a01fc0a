"""The true costs of the demo organization's streams, and the costs of an answer by group."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from tests.support.harness import NOW
from usage_cost_mcp.demo import organization as org

Group = tuple[str | None, ...]


def by_group(answer: Mapping[str, Any]) -> dict[Group, Fraction]:
    """The nonzero costs of an answer."""
    found = {tuple(each["group"].values()): Fraction(each["totals"]["cost"]) for each in answer["series"]}
    return {group: cost for group, cost in found.items() if cost}


def true_costs(month: str, group: Callable[[org.Stream], Group]) -> dict[Group, Fraction]:
    """The cost of each group in a month: tokens at their price, web searches at one cent."""
    demo, costs = org.Organization(NOW.date()), defaultdict[Group, Fraction](Fraction)
    day = date.fromisoformat(f"{month}-01")
    while f"{day:%Y-%m}" == month:
        for stream, (*tokens, searches) in demo.usage(day, 0, org.MINUTES_PER_DAY):
            costs[group(stream)] += Fraction(searches, 100)
            if stream.tier != "priority":
                for token_type, count in zip(org.TOKEN_TYPES, tokens, strict=True):
                    costs[group(stream)] += count * Fraction(demo.price(stream, token_type, day)) / 10**6
        day += timedelta(days=1)
    return dict(costs)


def allocated(answer: Mapping[str, Any]) -> dict[Group, Fraction]:
    """The nonzero costs that are allocated to a key or an account."""
    return {group: cost for group, cost in by_group(answer).items() if "unallocated" not in group}
