"""Exact dollars. The only place that converts cents to dollars, and amounts to text.

Why: the cost report gives cents as decimal strings with fractional digits ("123.78912" is $1.2378912). The two classic
mistakes are to read them as dollars or as floats; past this module neither is possible.
"""

import re
from collections.abc import Iterable
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


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """The sum to the last digit."""
    with exact():
        return sum(amounts, Decimal(0))


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


def format_rate(dollars: Decimal | int) -> str:
    """Dollars a day for people: like `format_dollars`, but below a cent with two significant digits."""
    size = Decimal(dollars).copy_abs()
    if not 0 < size < _CENT:
        return format_dollars(dollars)
    rounded = _ROUNDING.quantize(size, _ROUNDING.scaleb(Decimal(1), size.adjusted() - 1))
    return f"{'-' if dollars < 0 else ''}${rounded.normalize(_ROUNDING):f}"


def format_signed(dollars: Decimal | int) -> str:
    """A change as a person reads it: like `format_dollars`, with a plus sign if it is positive."""
    return f"{'+' if dollars > 0 else ''}{format_dollars(dollars)}"


_ROUNDING = Context(prec=100)


def parse_dollars(argument: str, given: str) -> Decimal:
    """Parse an amount above zero as people write it: 5000, 5,000.50, 5.000,50, 5 000, $5k, 2M, 5000 USD.

    What has one reading is read. What has two is refused: 8.000 is 8 with a decimal point and 8,000 with a European
    thousands separator. 8,000 is read as US text.

    Raises:
        InvalidQueryError: For anything else, and for amounts below $0.000001 or from 10^15 up.
    """
    text = " ".join(given.casefold().replace("\u2019", "'").split())
    if _OTHER_CURRENCY.search(text):
        raise InvalidQueryError(f"{argument} must be in US dollars, not {short_repr(given)}.")
    written = _WRITTEN_AMOUNT.fullmatch(text)
    factor = _factor_of(written) if written else 0
    amounts = (
        sorted(_EXACT.scaleb(number, factor) for number in _readings(written["number"], factor)) if written else []
    )
    if len(amounts) > 1:
        few, many = amounts
        raise InvalidQueryError(
            f"{argument} {short_repr(given)} may mean {format_dollars(few)} or {format_dollars(many)}: write "
            f"{_unambiguous(few)} or {_unambiguous(many)}."
        )
    if not amounts or not _MIN_DOLLARS <= amounts[0] < _MAX_DOLLARS:
        raise InvalidQueryError(
            f"{argument} must be a dollar amount above zero and below 10^15, such as 8000, 8,000.50, $8k or 2M, not "
            f"{short_repr(given)}."
        )
    return amounts[0]


def _factor_of(written: re.Match[str]) -> int:
    """The power of ten of a unit or an exponent."""
    return _UNITS[written["unit"]] if written["unit"] else int(written["exponent"] or 0)


def _unambiguous(amount: Decimal) -> str:
    """The amount with a number of decimals that cannot be taken for a group of thousands."""
    return next(text for text in (f"{amount:.{places}f}" for places in (0, 2, 4)) if Decimal(text) == amount)


def _readings(number: str, factor: int) -> set[Decimal]:
    """The values of a number with a decimal point, and with a decimal comma."""
    if not factor and _US_THOUSANDS.fullmatch(number):
        return {Decimal(number.replace(",", ""))}
    return {
        Decimal(re.sub(r"[^0-9.]", "", number.replace(thousands, "").replace(decimal, ".")))
        for thousands, decimal, pattern in ((",", ".", _DECIMAL_POINT), (".", ",", _DECIMAL_COMMA))
        if pattern.fullmatch(number)
    }


_MIN_DOLLARS = Decimal("0.000001")
_MAX_DOLLARS = Decimal(10) ** 15

_UNITS = {"k": 3, "thousand": 3, "m": 6, "mn": 6, "million": 6, "b": 9, "bn": 9, "billion": 9}
_DOLLARS = r"(?:(?:us ?)?(?:\$|dollars?)|usd)"
_WRITTEN_AMOUNT = re.compile(
    rf"(?:{_DOLLARS} ?)?(?P<number>[0-9.,' _]{{0,40}}[0-9])"
    rf"(?:e\+?(?P<exponent>[0-9]{{1,2}})| ?(?P<unit>{'|'.join(_UNITS)}))?(?: ?{_DOLLARS})?"
)
_OTHER_CURRENCY = re.compile(r"[\u00a2-\u00a5\u20a0-\u20cf]|\b(?:euros?|eur|gbp|chf|jpy|cny|inr|cad|aud)\b")
_DECIMAL_POINT, _DECIMAL_COMMA = (
    re.compile(
        rf"(?:[0-9]+|[1-9][0-9]{{0,2}}(?P<by>[{thousands}' _])[0-9]{{3}}(?:(?P=by)[0-9]{{3}})*)?(?:{decimal}[0-9]+)?"
    )
    for thousands, decimal in ((",", r"\."), (r"\.", ","))
)
_US_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+")
