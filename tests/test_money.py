import re
from decimal import Decimal, Inexact
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_cost_mcp.errors import ContractError, InvalidQueryError
from usage_cost_mcp.model.money import (
    dollars_from_cents,
    exact,
    format_dollars,
    format_exact,
    format_rate,
    format_signed,
    parse_dollars,
)

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


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        ("0", "$0.00"),
        ("0.01", "$0.01"),
        ("-12.345", "-$12.34"),
        ("0.0066", "$0.0066"),
        ("0.00666", "$0.0067"),
        ("-0.005", "-$0.005"),
        ("0.00996", "$0.01"),
        ("0.000001", "$0.000001"),
        ("0.0000012345", "$0.0000012"),
    ],
)
def test_a_rate_below_a_cent_has_two_digits(dollars: str, text: str) -> None:
    assert format_rate(Decimal(dollars)) == text


@pytest.mark.parametrize(
    ("written", "dollars"),
    [
        ("8000", "8000"),
        ("007", "7"),
        ("8000.50", "8000.50"),
        (".5", "0.5"),
        ("0.125", "0.125"),
        ("1234.567", "1234.567"),
        ("8,000", "8000"),
        ("12,345", "12345"),
        ("1,234,567", "1234567"),
        ("1,234,567.8", "1234567.8"),
        ("1,234.567", "1234.567"),
        ("8000,50", "8000.50"),
        ("8,5", "8.5"),
        ("0,125", "0.125"),
        (",5", "0.5"),
        ("8.000,00", "8000"),
        ("1.234.567", "1234567"),
        ("1.234.567,89", "1234567.89"),
        ("1.234,567", "1234.567"),
        ("8 000", "8000"),
        ("8\u00a0000", "8000"),
        ("1 234\u202f567,5", "1234567.5"),
        ("8 000.500", "8000.5"),
        ("1'000", "1000"),
        ("1\u2019000.50", "1000.50"),
        ("1_000", "1000"),
        ("5k", "5000"),
        ("8.5K", "8500"),
        ("8,5k", "8500"),
        ("5 thousand", "5000"),
        ("2m", "2000000"),
        ("1.25 mn", "1250000"),
        ("2 million dollars", "2000000"),
        ("$2M", "2000000"),
        ("3b", "3000000000"),
        ("3bn", "3000000000"),
        ("3 billion", "3000000000"),
        ("1e3", "1000"),
        ("1.5e+03", "1500"),
        ("$5000", "5000"),
        ("US$ 5,000", "5000"),
        ("usd 5000", "5000"),
        ("5000 USD", "5000"),
        ("5000 us dollars", "5000"),
        ("5000$", "5000"),
        ("1 dollar", "1"),
        ("  5000\n", "5000"),
        ("0.000001", "0.000001"),
        ("999999999999999.99", "999999999999999.99"),
    ],
)
def test_an_amount_with_one_reading_is_read(written: str, dollars: str) -> None:
    assert parse_dollars("budget", written) == Decimal(dollars)


@pytest.mark.parametrize(
    ("written", "readings"),
    [
        ("8.000", "may mean $8.00 or $8,000.00: write 8 or 8000."),
        ("12.345", "may mean $12.34 or $12,345.00: write 12.3450 or 12345."),
        ("8.500 USD", "may mean $8.50 or $8,500.00: write 8.50 or 8500."),
        ("8,500k", "may mean $8,500.00 or $8,500,000.00: write 8500 or 8500000."),
        ("1.250m", "may mean $1,250,000.00 or $1,250,000,000.00: write 1250000 or 1250000000."),
    ],
)
def test_an_amount_with_two_readings_is_refused_with_both(written: str, readings: str) -> None:
    with pytest.raises(InvalidQueryError) as refusal:
        parse_dollars("budget", written)
    assert str(refusal.value) == f"budget {written!r} {readings}"


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "$", "k", ".", ",", "a lot", "80%", "-5", "+5", "(5)", "0", "0.00", "$0", "5.", "8..5", "8,,5"),
        *("1,23,456", "8,000,00", "8.00.000", "12 34", "1 0000", "1'000,000 5", "1,000 000", "0,500,000", "1.000'000"),
        *("NaN", "inf", "-Infinity", "1e-3", "1e99", "1e999999999", "1e1 k", "2kk", "8k 5", "5 kg", "0x10", "1/2"),
        *("\uff15", "\u0665", "\u00b2", "0.0000001", "1" + "0" * 15, "1000000b", "9" * 60, "9" * 100_000),
    ],
)
def test_anything_but_an_amount_above_zero_is_refused_in_a_short_sentence(written: str) -> None:
    with pytest.raises(InvalidQueryError) as refusal:
        parse_dollars("minimum", written)
    message = str(refusal.value)
    assert message.startswith(
        "minimum must be a dollar amount above zero and below 10^15, such as 8000, 8,000.50, $8k or 2M, not "
    )
    assert len(message) < 200


@pytest.mark.parametrize(
    "written", ["\u20ac100", "100 EUR", "100 euros", "\u00a3100", "100 GBP", "50\u00a2", "CHF 100"]
)
def test_an_amount_in_another_currency_is_refused(written: str) -> None:
    with pytest.raises(InvalidQueryError) as refusal:
        parse_dollars("budget", written)
    assert str(refusal.value) == f"budget must be in US dollars, not {written!r}."
