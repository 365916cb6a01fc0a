import re
from decimal import Decimal, Inexact
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_cost_mcp.errors import ContractError
from usage_cost_mcp.model.money import dollars_from_cents, exact, format_dollars, format_exact, format_signed

AMOUNTS = st.from_regex(r"-?[0-9]{1,18}(\.[0-9]{1,30})?", fullmatch=True)


@pytest.mark.parametrize(
    ("cents", "dollars"),
    [
        ("0", "0"),
        ("1", "0.01"),
        ("100", "1"),
        ("123.78912", "1.2378912"),
        ("10.10", "0.101"),
        ("000250", "2.5"),
        ("-45000", "-450"),
        ("-0.5", "-0.005"),
        ("-0.00", "0"),
        ("9" * 18, "9" * 16 + ".99"),
        ("0." + "1" * 30, "0.00" + "1" * 30),
        ("9" * 18 + "." + "9" * 30, "9" * 16 + "." + "9" * 32),
    ],
)
def test_cents_become_dollars_to_the_last_digit(cents: str, dollars: str) -> None:
    assert format_exact(dollars_from_cents(cents)) == dollars


@pytest.mark.parametrize(
    "amount",
    [
        *("", " ", "-", ".", ".5", "5.", "-.5", "--1", "+1", "1.2.3", "1,5", "12abc", "0x1", "$1"),
        *("1e3", "1E-2", "NaN", "nan", "sNaN", "inf", "-Infinity", "1_000", "1 000", " 1 ", "1\n"),
        *("\uff11\uff12", "\u0661\u0662", "1.\u0665", "\u00b2", "\u22121"),
        *("1" * 19, "-" + "1" * 19, "0." + "1" * 31),
    ],
)
def test_anything_but_a_plain_decimal_number_is_refused(amount: str) -> None:
    with pytest.raises(ContractError, match="No total is reported"):
        dollars_from_cents(amount)


@pytest.mark.parametrize("amount", ["1e3", "\x1b[31m", "9" * 100_000])
def test_a_refusal_is_short_and_says_what_it_means_for_the_total(amount: str) -> None:
    with pytest.raises(ContractError) as refusal:
        dollars_from_cents(amount)
    message = str(refusal.value)
    assert message.startswith("The cost report contains an amount that is not a plain decimal number")
    assert message.endswith(". No total is reported, because it would be wrong.")
    assert len(message) < 200


@given(AMOUNTS)
def test_a_dollar_is_a_hundred_cents(amount: str) -> None:
    assert Fraction(dollars_from_cents(amount)) * 100 == Fraction(amount)


@given(st.lists(AMOUNTS, max_size=50).flatmap(lambda amounts: st.tuples(st.just(amounts), st.permutations(amounts))))
def test_a_sum_is_exact_in_any_order(orders: tuple[list[str], list[str]]) -> None:
    with exact():
        sums = [sum(map(dollars_from_cents, amounts), Decimal(0)) for amounts in orders]
    cents = sum(map(Fraction, orders[0]), Fraction(0))
    assert [Fraction(dollars) * 100 for dollars in sums] == [cents, cents]


def test_an_operation_that_would_round_raises() -> None:
    with exact(), pytest.raises(Inexact):
        format_exact(Decimal(1) / 3)


def test_a_hundred_digits_are_exact_and_one_more_raises() -> None:
    with exact():
        assert Decimal("1" * 99) * 10 + 1 == Decimal("1" * 100)
        with pytest.raises(Inexact):
            format_exact(Decimal("1" * 100) * 10 + 1)


@given(AMOUNTS.map(dollars_from_cents))
def test_plain_text_says_exactly_the_amount(dollars: Decimal) -> None:
    text = format_exact(dollars)
    assert Decimal(text) == dollars
    assert re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", text)
    assert text != "-0"


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (0, "0"),
        (1200, "1200"),
        (Decimal("-0.00"), "0"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-9"), "0.000000001"),
        (Decimal("2.500"), "2.5"),
        (Decimal("-7.0"), "-7"),
    ],
)
def test_plain_text_has_no_exponent_no_trailing_zero_and_no_minus_zero(dollars: Decimal | int, text: str) -> None:
    assert format_exact(dollars) == text


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        ("0", "$0.00"),
        ("-0", "$0.00"),
        ("5", "$5.00"),
        ("11070.6642", "$11,070.66"),
        ("1234567.899", "$1,234,567.90"),
        ("-450", "-$450.00"),
        ("-1234.5", "-$1,234.50"),
        ("0.006", "$0.01"),
        ("0.004", "<$0.01"),
        ("-0.004", "-<$0.01"),
        ("0.00000000000000000000000000000001", "<$0.01"),
        ("0.015", "$0.02"),
        ("0.025", "$0.02"),
        ("9" * 16 + ".994", "$9,999,999,999,999,999.99"),
    ],
)
def test_a_person_reads_cents(dollars: str, text: str) -> None:
    assert format_dollars(Decimal(dollars)) == text


@pytest.mark.parametrize(
    ("dollars", "text"),
    [("0", "$0.00"), ("0.5", "+$0.50"), ("1", "+$1.00"), ("-0.5", "-$0.50"), ("0.004", "+<$0.01")],
)
def test_a_change_has_a_plus_sign_if_it_is_positive(dollars: str, text: str) -> None:
    assert format_signed(Decimal(dollars)) == text
