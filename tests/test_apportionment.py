"""Shares add up to what is shared, to the last digit, for any amount and any weights."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_cost_mcp.analysis.apportionment import FINEST, apportion

AMOUNTS = st.tuples(st.integers(-(10**40), 10**40), st.integers(0, 32)).map(
    lambda pair: Decimal(f"{pair[0]}E-{pair[1]}")
)
KEYS = st.none() | st.sampled_from(["a", "b", "c", "d", "e", "f", "g"])
WEIGHTS = st.dictionaries(KEYS, st.integers(0, 5) | st.integers(0, 2**64), min_size=1).filter(
    lambda weights: any(weights.values())
)


@given(AMOUNTS, WEIGHTS)
def test_the_parts_add_up_exactly_and_each_is_within_one_unit_of_its_share(
    amount: Decimal, weights: dict[str | None, int]
) -> None:
    parts = apportion(amount, weights)
    assert parts.keys() == weights.keys()
    assert sum(map(Fraction, parts.values())) == Fraction(amount)
    for key, part in parts.items():
        share = Fraction(amount) * weights[key] / sum(weights.values())
        assert abs(Fraction(part) - share) < Fraction(1, 10**-FINEST)
        assert part == 0 or (part < 0) == (amount < 0)
        assert part == 0 or weights[key]


@given(AMOUNTS, WEIGHTS)
def test_a_credit_is_shared_like_the_cost_that_it_takes_back(amount: Decimal, weights: dict[str | None, int]) -> None:
    assert apportion(amount.copy_negate(), weights) == {
        key: part.copy_negate() for key, part in apportion(amount, weights).items()
    }


@given(AMOUNTS, WEIGHTS)
def test_the_order_of_the_weights_does_not_matter(amount: Decimal, weights: dict[str | None, int]) -> None:
    assert apportion(amount, dict(reversed(weights.items()))) == apportion(amount, weights)


@pytest.mark.parametrize(
    ("amount", "weights", "parts"),
    [
        ("1", {"a": 1, "b": 3}, ["0.25", "0.75"]),
        ("1", {"a": 1, "b": 1, "c": 1}, ["0.3333333334", "0.3333333333", "0.3333333333"]),
        ("1", {"a": 2, "b": 2, "c": 3}, ["0.2857142857", "0.2857142857", "0.4285714286"]),
        ("-0.0000000001", {"a": 1, "b": 2}, ["0", "-0.0000000001"]),
        ("0.000000000003", {"a": 1, "b": 2}, ["0.000000000001", "0.000000000002"]),
        ("0", {"a": 1, "b": 1}, ["0", "0"]),
        ("7", {"a": 0, "b": 9}, ["0", "7"]),
    ],
)
def test_what_is_left_over_goes_to_the_largest_remainder(
    amount: str, weights: dict[str, int], parts: list[str]
) -> None:
    assert list(apportion(Decimal(amount), weights).values()) == list(map(Decimal, parts))
