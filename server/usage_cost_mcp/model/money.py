"""Exact dollars. The only place that converts cents to dollars, and amounts to text.

Why: the cost report gives cents as decimal strings with fractional digits ("123.78912" is $1.2378912). The two classic
mistakes are to read them as dollars or as floats; past this module neither is possible.
"""

import re
from contextlib import AbstractContextManager
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, localcontext
from fractions import Fraction

from usage_cost_mcp.errors import ContractError, InvalidQueryError, short_repr

_AMOUNT = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,30})?")
_EXACT = Context(prec=100, traps=[DivisionByZero, Inexact, InvalidOperation, Overflow])
_CENT = Decimal("0.01")


def dollars_from_cents(amount: str) -> Decimal:
    """Parse an amount of the cost report.

    Args:
        amount: Cents in decimal notation: at most 18 digits before and 30 after the point, possibly negative.

    Returns:
        The exact amount in dollars.

    Raises:
        ContractError: For anything else, such as an exponent, an empty string, NaN, spaces or non-ASCII digits.
    """
    if not _AMOUNT.fullmatch(amount):
        raise ContractError(
            "The cost report contains an amount that is not a plain decimal number. No total is reported, because "
            "it would be wrong."
        )
    return _EXACT.scaleb(Decimal(amount), -2)


def exact() -> AbstractContextManager[Context]:
    """A decimal context in which an operation that would round raises an exception instead."""
    return localcontext(_EXACT)


def round_half_even(amount: Fraction, places: int) -> Decimal:
    """The amount rounded half to even to a number of decimals."""
    return _EXACT.scaleb(Decimal(round(amount * 10**places)), -places)


def format_exact(dollars: Decimal | int) -> str:
    """The exact amount as a decimal string, without exponent, trailing zeros or negative zero."""
    if not dollars:
        return "0"
    return f"{Decimal(dollars).normalize(_EXACT):f}"


def format_dollars(dollars: Decimal | int) -> str:
    """The amount for people: rounded half to even to cents, "<$0.01" if that is zero."""
    rounded = _ROUNDING.quantize(Decimal(dollars), _CENT)
    sign = "-" if dollars < 0 else ""
    if dollars and not rounded:
        return f"{sign}<$0.01"
    return f"{sign}${rounded.copy_abs():,.2f}"


def format_signed(dollars: Decimal | int) -> str:
    """A change as a person reads it: like `format_dollars`, with a plus sign if it is positive."""
    return f"{'+' if dollars > 0 else ''}{format_dollars(dollars)}"


_ROUNDING = Context(prec=100)


def parse_dollars(argument: str, given: str) -> Decimal:
    """Parse an amount above zero as people write it: 5000, 5,000.50, $5000 or 5k.

    Raises:
        InvalidQueryError: For anything else, and for amounts below $0.000001 or from 10^15 up.
    """
    text = given.strip().lower().removeprefix("$").replace(",", "")
    try:
        amount = Decimal(text.removesuffix("k")) * (1000 if text.endswith("k") else 1)
    except InvalidOperation:
        amount = Decimal(0)
    if not (amount.is_finite() and _MIN_DOLLARS <= amount < _MAX_DOLLARS):
        raise InvalidQueryError(
            f"{argument} must be a dollar amount above zero, such as 5000, not {short_repr(given)}."
        )
    return amount


_MIN_DOLLARS = Decimal("0.000001")
_MAX_DOLLARS = Decimal(10) ** 15
