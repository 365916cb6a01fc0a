"""An amount shared out in parts that add up to it, to the last digit."""

from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import TypeVar

from usage_cost_mcp.model.money import exact

K = TypeVar("K", bound=Hashable)

FINEST = -10
"""Dollars are shared to ten digits after the point, or to as many as the amount has."""


def apportion(amount: Decimal, weights: Mapping[K, int]) -> dict[K, Decimal]:
    """Share an amount in proportion to the weights, of which at least one is positive and none negative."""
    with exact():
        exponent = min(int(amount.as_tuple().exponent), FINEST)
        units = int(amount.scaleb(-exponent))
        return {key: Decimal(part).scaleb(exponent) for key, part in apportion_whole(units, weights).items()}


def apportion_whole(whole: int, weights: Mapping[K, int]) -> dict[K, int]:
    """Share a count in whole parts: what is left over goes, one by one, to those who are cut the most.

    Equals are told apart by their keys, so that the order of the weights does not matter.
    """
    if whole < 0:
        return {key: -part for key, part in apportion_whole(-whole, weights).items()}
    total = sum(weights.values())
    parts = {key: whole * weight // total for key, weight in weights.items()}
    left = whole - sum(parts.values())
    for key in sorted(weights, key=lambda key: (-(whole * weights[key] % total), repr(key)))[:left]:
        parts[key] += 1
    return parts
