"""Savings of the prompt cache: the cost of its tokens compared with their cost as uncached input.

A cache read costs less than an uncached token, a write costs more. The price difference times the tokens is the saving
or the premium. Each row is rounded once, so sums of rows are exact.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from usage_cost_mcp.model.dimensions import CACHE_READ, CACHE_WRITE_1H, CACHE_WRITE_5M, TOKEN_TYPES, UNCACHED
from usage_cost_mcp.model.money import round_half_even
from usage_cost_mcp.model.rows import DayRows, Key, Row, Sums
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT

from .cost_usage_join import STANDARD, WorkspacePriceKey, normalized
from .prices import PriceKey, Prices

SAVINGS_MEASURES = ("cache_savings", "priced_cache_tokens", "borrowed_cache_tokens")
"""Measures added to each row: dollars saved, cache tokens with a price, and those whose price is estimated."""

_CACHE_TYPES = (CACHE_READ, CACHE_WRITE_5M, CACHE_WRITE_1H)
_CACHE = slice(TOKEN_TYPES.index(CACHE_READ), TOKEN_TYPES.index(CACHE_WRITE_1H) + 1)
_REPORTED = len(USAGE_REPORT.measures)
_MORE_INPUTS = slice(_REPORTED + len(SAVINGS_MEASURES), None)
"""Cache writes that are not documented: after the savings, which come after the measures of the report."""
_PLACES = 6
"""Decimal places of the savings of a row, in dollars."""
_RATE_PLACES = 24
"""Decimal places of a rate, which is kept as an integer for speed; no token count makes the next digit visible."""


def cache_tokens(sums: Sums) -> int:
    """Tokens read from the cache or written to it, in a row with savings."""
    return int(sum(sums[_CACHE]) + sum(sums[_MORE_INPUTS]))


def without_savings(sums: Sums) -> Sums:
    """The sums of a row with savings as those of the usage report."""
    return sums[:_REPORTED] + sums[_MORE_INPUTS]


def can_be_priced(dimensions: Iterable[str]) -> bool:
    """Whether these dimensions determine a price."""
    return set(PriceKey._fields) <= {*dimensions, *STANDARD}


def with_savings(days: Sequence[DayRows], prices: Prices) -> list[DayRows]:
    """The rows of the usage report with the savings of each; zero if a price is missing."""
    rates = {
        (dimensions, more_inputs): _Rates(dimensions, more_inputs, prices)
        for dimensions, more_inputs in {(day.dimensions, day.more_inputs) for day in days}
    }
    return [
        replace(
            day,
            rows={
                minute: list(_with_savings(rows, rates[day.dimensions, day.more_inputs], day.day))
                for minute, rows in day.rows.items()
            },
        )
        for day in days
    ]


class _Rate(NamedTuple):
    """Savings per token of one type, in units of 10^-24 dollars; negative for cache writes."""

    units: int
    estimated: bool


_CacheRates = Sequence[_Rate | None]
"""The rates of cache reads, 5-minute writes, 1-hour writes and any others; None without a price."""


class _Rates:
    """Rates by row key, computed once per key, or per key and day if prices changed within the period."""

    def __init__(self, dimensions: Sequence[str], more_inputs: Sequence[str], prices: Prices) -> None:
        self._token_types = (*_CACHE_TYPES, *more_inputs)
        self._places = {dimension: place for place, dimension in enumerate(dimensions)}
        self._prices = prices
        self._constant: dict[Key, _CacheRates | None] = {}

    def of(self, key: Key, day: date) -> _CacheRates:
        if key not in self._constant:
            cell = self._cell(key)
            self._constant[key] = None if cell and self._prices.vary(cell) else self._on(cell, day)
        return self._constant[key] or self._on(self._cell(key), day)

    def _cell(self, key: Key) -> WorkspacePriceKey | PriceKey | None:
        if not can_be_priced(self._places):
            return None
        of = STANDARD | {dimension: key[place] for dimension, place in self._places.items()}
        stream = normalized(
            WorkspacePriceKey(of.get("workspace_id"), *(of[dimension] for dimension in PriceKey._fields))
        )
        return stream if "workspace_id" in of else PriceKey.of(stream)

    def _on(self, cell: WorkspacePriceKey | PriceKey | None, day: date) -> _CacheRates:
        return [self._rate(cell, token_type, day) if cell else None for token_type in self._token_types]

    def _rate(self, cell: WorkspacePriceKey | PriceKey, token_type: str, day: date) -> _Rate | None:
        uncached, cached = (self._prices.find(cell, each, day) for each in (UNCACHED, token_type))
        if uncached is None or cached is None:
            return None
        units = round((uncached.dollars - cached.dollars) * 10**_RATE_PLACES)
        return _Rate(units, uncached.estimated or cached.estimated)


def _with_savings(rows: Iterable[Row], rates: _Rates, day: date) -> Iterator[Row]:
    for key, sums in rows:
        yield key, (*sums[:_REPORTED], *_savings(sums, rates.of(key, day)), *sums[_REPORTED:])


def _savings(sums: Sums, rates: _CacheRates) -> Sums:
    counts = (*sums[_CACHE], *sums[_REPORTED:])
    used = [(int(count), rate) for count, rate in zip(counts, rates, strict=True) if count]
    priced = [(count, rate) for count, rate in used if rate]
    if len(priced) < len(used):
        return (0,) * len(SAVINGS_MEASURES)
    units = sum(count * rate.units for count, rate in priced)
    return (
        round_half_even(Fraction(units, 10**_RATE_PLACES), _PLACES),
        sum(count for count, _ in priced),
        sum(count for count, rate in priced if rate.estimated),
    )
