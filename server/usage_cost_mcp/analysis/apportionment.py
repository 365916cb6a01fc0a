"""Largest-remainder apportionment: splits an amount into parts that add up to it exactly."""

from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import TypeVar

from usage_cost_mcp.model.money import exact

K = TypeVar("K", bound=Hashable)

FINEST = -10
"""Exponent of the unit of apportioned dollars: ten decimal places, or as many as the amount has."""


def apportion(amount: Decimal, weights: Mapping[K, int]) -> dict[K, Decimal]:
    """Split an amount in proportion to weights, of which at least one is positive and none is negative."""
    with exact():
        exponent = min(int(amount.as_tuple().exponent), FINEST)
        units = int(amount.scaleb(-exponent))
        return {key: Decimal(part).scaleb(exponent) for key, part in apportion_whole(units, weights).items()}


def apportion_whole(whole: int, weights: Mapping[K, int]) -> dict[K, int]:
    """Split a count into whole parts; the remainder goes, one unit each, to the parts with the largest fractions.

    Ties are broken by key, so the order of the weights does not matter.
    """
    if whole < 0:
        return {key: -part for key, part in apportion_whole(-whole, weights).items()}
    total = sum(weights.values())
    parts = {key: whole * weight // total for key, weight in weights.items()}
    left = whole - sum(parts.values())
    for key in sorted(weights, key=lambda key: (-(whole * weights[key] % total), repr(key)))[:left]:
        parts[key] += 1
    return parts
