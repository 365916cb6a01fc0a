"""Cache hit ratio of the input tokens, and the dollars that the prompt cache saved."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

from usage_cost_mcp.analysis.allocation import PRICE_DIMENSIONS
from usage_cost_mcp.analysis.cache_savings import (
    SAVINGS_MEASURES,
    cache_tokens,
    can_be_priced,
    with_savings,
    without_savings,
)
from usage_cost_mcp.analysis.cost_usage_join import join
from usage_cost_mcp.analysis.prices import Prices, changed_prices, prices_of
from usage_cost_mcp.cache import CacheResult, combine_statuses
from usage_cost_mcp.errors import KeyRefusedError, UpstreamError
from usage_cost_mcp.model.dimensions import PRIORITY_TIERS, Filters
from usage_cost_mcp.model.money import exact, format_dollars, format_exact
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.query_schema import USAGE_QUERY
from usage_cost_mcp.model.rows import DayRows, Sums
from usage_cost_mcp.model.series import matching
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT, Width
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import OFFLOAD_ROWS, gather_pair, run_in_thread_if

from . import notes
from .answers import Note
from .billing import find_bill, lookback
from .context import ReportContext
from .joined_reports import SpendAndUsage, fetch_spend_and_usage, usage_by_speed
from .query import Query
from .series_report import Fetched, Measure, SeriesDefinition, SeriesResult
from .token_usage import MEASURES, cache_read_tokens, input_tokens
from .wording import whole_percent

_DIGITS = 9
_SAVED, _PRICED, _ESTIMATED = range(len(USAGE_REPORT.measures), len(USAGE_REPORT.measures) + len(SAVINGS_MEASURES))
"""Positions of the savings measures in a row."""


def _input_tokens(sums: Sums) -> int:
    return input_tokens(without_savings(sums))


def cache_hit_ratio(sums: Sums) -> float | None:
    """Cache reads divided by all input tokens, from 0 to 1, to nine digits; None without input."""
    total = _input_tokens(sums)
    return round(cache_read_tokens(sums) / total, _DIGITS) if total else None


def cache_savings(sums: Sums) -> Decimal | None:
    """Dollars saved by cache reads minus the premium of cache writes; None if no cache token has a price."""
    return Decimal(sums[_SAVED]) if sums[_PRICED] or not cache_tokens(sums) else None


def _format_savings(sums: Sums) -> str | None:
    saved = cache_savings(sums)
    return None if saved is None else format_exact(saved)


CACHE_HIT_RATIO = Measure("cache_hit_ratio", "ratio from 0 to 1", cache_hit_ratio)
_INPUT_TOKENS = Measure("input_tokens", "tokens", _input_tokens)
CACHE_SAVINGS = Measure("cache_savings", "USD", _format_savings)


def _headline(result: SeriesResult) -> str:
    totals = result.totals
    ratio, saved = cache_hit_ratio(totals), cache_savings(totals)
    if ratio is None:
        return "no input tokens"
    summary = f"{ratio:.1%} of {_input_tokens(totals):,} input tokens were read from the cache"
    if saved:
        summary += f", {'saving' if saved > 0 else 'at a net cost of'} about {format_dollars(abs(saved))}"
    if not result.query.group_by:
        return summary
    largest, sums = next(iter(result.group_sums.items()))
    return f"{summary}; largest group by input: {result.label(largest)}, {cache_hit_ratio(sums) or 0:.1%}"


async def _fetch(query: Query, days: Period, context: ReportContext, call: CallContext) -> Fetched:
    """The rows of the usage report with the savings of each, or without them and a note on the reason."""
    views = _views(query)
    before = lookback(days, context.today())
    # The same days of the same view as for the prices take no request of their own.
    also = before if (views[0], query.width) == (USAGE_REPORT.base_view, "1d") else ()
    held, price_data = await gather_pair(
        context.cache.days(USAGE_REPORT, views, query.width, days, call, also=also),
        _fetch_price_data(days, before, views, context, call),
    )
    held = held.of(days)
    if not isinstance(price_data, str) and not can_be_priced(held.days[0].dimensions):
        price_data = _TOO_LARGE
    if isinstance(price_data, str):
        note = Note(code="cache_savings_unavailable", message=f"cache_savings is unavailable: {price_data}")
        return Fetched(replace(held, days=with_savings(held.days, Prices())), lambda _: [note])
    held = await _split_by_speed(held, views, query.width, price_data.spend.of(days), context, call)
    now = context.now()
    bill = await find_bill(context, price_data.spend, call, price_data.usage)
    priced = price_data.with_prices(bill.through)

    def compute_savings() -> list[DayRows]:
        if priced is None:
            return with_savings(held.days, Prices())
        spend, usage = priced.spend.days, priced.usage.days
        changed = changed_prices(spend, usage, priced.period, now)
        return with_savings(held.days, prices_of(join(spend, usage, priced.period, now), changed))

    with_prices = await run_in_thread_if(compute_savings, when=held.row_count + price_data.rows > OFFLOAD_ROWS)
    result = _combined(with_prices, [held, price_data.spend, price_data.usage])
    mixed = await notes.mixed_price_notes(price_data.spend.days, {})
    return Fetched(
        result,
        lambda filters: [
            *bill.notes(days, "Cache savings from then on are estimated at earlier prices."),
            *_savings_notes(result, filters),
            *mixed,
        ],
    )


async def _split_by_speed(
    held: CacheResult,
    views: Sequence[tuple[str, ...]],
    width: Width,
    spend: CacheResult,
    context: ReportContext,
    call: CallContext,
) -> CacheResult:
    """The rows of the usage report by speed, where there is use of fast mode."""
    known = set(held.days[0].dimensions)
    view = next(each for each in views if set(each) <= known and can_be_priced(each))
    return held if "speed" in view else await usage_by_speed(spend, held, context, call, view, width)


def _combined(days: Sequence[DayRows], sources: Sequence[CacheResult]) -> CacheResult:
    """The days, as old and as stale as the oldest source."""
    oldest = min(each.fetched_at for each in sources)
    return CacheResult(
        [replace(day, fetched_at=oldest) for day in days],
        combine_statuses(each.status for each in sources),
        next((each.stale_reason for each in sources if each.stale_reason), ""),
    )


_TOO_LARGE = "the usage report by every price dimension was too large or too slow. It is retried after an hour."


def _views(query: Query) -> Sequence[tuple[str, ...]]:
    """The views of the query, preceded by views with every dimension that determines a price."""
    needed = {*query.views[-1], *PRICE_DIMENSIONS}
    if needed <= set(USAGE_REPORT.base_view) or len(needed) > USAGE_REPORT.max_groupings:
        return query.views
    return [*USAGE_REPORT.views_for(needed), *query.views]


async def _fetch_price_data(
    days: Period, before: Sequence[date], views: Sequence[tuple[str, ...]], context: ReportContext, call: CallContext
) -> SpendAndUsage | str:
    """The data that prices are computed from, or the reason why it is unavailable: the ratio needs no prices."""
    if not can_be_priced(views[0]):
        return (
            f"Anthropic's report cannot be grouped by {', '.join(_unpriced_dimensions(views[0]))} and by every price "
            "dimension at once. "
            "Use fewer dimensions."
        )
    if context.cache.is_known_oversized(USAGE_REPORT, USAGE_REPORT.base_view, "1d"):
        return _TOO_LARGE
    try:
        async with asyncio.timeout((call.deadline - context.clock.monotonic()) / 2):
            return await fetch_spend_and_usage(context, days, call, also=before)
    except KeyRefusedError:
        raise
    except UpstreamError as failure:
        return str(failure)
    except TimeoutError:
        return "the prices did not arrive in time. Try again."


def _unpriced_dimensions(view: Sequence[str]) -> list[str]:
    return [dimension for dimension in view if dimension not in PRICE_DIMENSIONS]


def _savings_notes(held: CacheResult, filters: Filters) -> Iterator[Note]:
    """Notes on the cache tokens whose savings are estimated or missing."""
    sums = _sums(held, filters)
    tokens = cache_tokens(sums)
    unpriced = tokens - sums[_PRICED]
    tiers = filters.get("service_tier", PRIORITY_TIERS)
    priority = cache_tokens(_sums(held, {**filters, "service_tier": tiers & PRIORITY_TIERS}))
    if sums[_ESTIMATED]:
        yield Note(
            code="cache_savings_estimated",
            message=f"The price of {whole_percent(Fraction(sums[_ESTIMATED]) / tokens)} of the cache tokens is "
            "estimated from the nearest use or day of the same model, service tier and speed that has one.",
        )
    if priority:
        yield Note(
            code="priority_tier_excluded",
            message=f"cache_savings excludes {whole_percent(Fraction(priority) / tokens)} of the cache tokens: "
            "Priority Tier, whose cost Anthropic does not report.",
        )
    if unpriced > priority:
        yield Note(
            code="cache_savings_incomplete",
            message=f"cache_savings excludes {whole_percent(Fraction(unpriced - priority) / tokens)} of the cache "
            "tokens: the cost report of the period has no price for them.",
        )


def _sums(held: CacheResult, filters: Filters) -> Sums:
    """The sums of all rows that pass the filters; counts of input that are not documented as one."""
    known = len(USAGE_REPORT.measures) + len(SAVINGS_MEASURES)
    with exact():
        rows = ((*sums[:known], sum(sums[known:])) for sums in matching(held.days, filters))
        return tuple(map(sum, zip((0,) * (known + 1), *rows, strict=True)))


CACHE_REPORT = SeriesDefinition(
    name="cache_hit_ratio",
    title="Cache hit ratio",
    schema=USAGE_QUERY,
    shown=[CACHE_HIT_RATIO, CACHE_SAVINGS],
    totals=[
        CACHE_HIT_RATIO,
        CACHE_SAVINGS,
        _INPUT_TOKENS,
        *(measure for name, measure in MEASURES.items() if name.endswith("_input_tokens")),
    ],
    group_totals=[CACHE_HIT_RATIO, CACHE_SAVINGS, _INPUT_TOKENS, MEASURES["cache_read_input_tokens"]],
    sort_key=_input_tokens,
    headline=_headline,
    fetch=_fetch,
    extra_measures=SAVINGS_MEASURES,
)
