"""How much of our input came from the cache, and what that saved."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from usage_cost_mcp.analysis.cache_savings import SAVINGS_MEASURES, cache_tokens, can_be_priced, with_savings
from usage_cost_mcp.analysis.cost_usage_join import join
from usage_cost_mcp.analysis.prices import PriceKey, Prices, changed_prices, prices_of
from usage_cost_mcp.cache import CacheResult, combine_statuses
from usage_cost_mcp.errors import KeyRefusedError, UpstreamError
from usage_cost_mcp.model.dimensions import PRIORITY_TIERS, Filters
from usage_cost_mcp.model.money import exact, format_dollars, format_exact
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.query_schema import USAGE_QUERY
from usage_cost_mcp.model.rows import DayRows, Number, Sums
from usage_cost_mcp.model.series import matching
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.concurrency import gather_pair, run_in_thread_if

from .answers import Note
from .context import ReportContext
from .joined_reports import SpendAndUsage, fetch_spend_and_usage
from .query import Query
from .series_report import OFFLOAD_ROWS, FilteredNotes, GroupLine, Measure, SeriesDefinition
from .token_usage import MEASURES, cache_read_tokens, input_tokens

_DIGITS = 9
_SAVED, _PRICED, _ESTIMATED = range(len(USAGE_REPORT.measures), len(USAGE_REPORT.measures) + len(SAVINGS_MEASURES))
"""Where a row holds what it saved, and how much is known about that."""


def cache_hit_ratio(sums: Sums) -> float | None:
    """Cache reads divided by all input, from 0 to 1, to nine digits; None where there was no input."""
    total = input_tokens(sums)
    return round(cache_read_tokens(sums) / total, _DIGITS) if total else None


def cache_savings(sums: Sums) -> Decimal | None:
    """Dollars that the cache saved, less what writing to it cost; None where no cache token has a price."""
    return Decimal(sums[_SAVED]) if sums[_PRICED] or not cache_tokens(sums) else None


def _format_savings(sums: Sums) -> str | None:
    saved = cache_savings(sums)
    return None if saved is None else format_exact(saved)


CACHE_HIT_RATIO = Measure("cache_hit_ratio", "ratio from 0 to 1", cache_hit_ratio)
CACHE_SAVINGS = Measure("cache_savings", "USD", _format_savings)


def _headline(totals: Sums, lines: Sequence[GroupLine]) -> str:
    ratio, saved = cache_hit_ratio(totals), cache_savings(totals)
    if ratio is None:
        return "no input tokens, so there is no ratio"
    said = f"{ratio:.1%} of {input_tokens(totals):,} input tokens were read from the cache"
    if saved:
        said += f", which {'saved' if saved > 0 else 'cost'} about {format_dollars(abs(saved))}"
    if not lines or not lines[0].key:
        return said
    return f"{said}; the largest group, {lines[0].label}, has {cache_hit_ratio(lines[0].sums) or 0:.1%}"


async def _fetch(
    query: Query, days: Period, context: ReportContext, call: CallContext
) -> tuple[CacheResult, FilteredNotes]:
    """The rows of the usage report with what each of them saved."""
    views = _views(query)
    held, found = await gather_pair(
        context.cache.days(USAGE_REPORT, views, query.width, days, call),
        _prices(days, views, context, call),
    )
    if not isinstance(found, str) and not can_be_priced(held.days[0].dimensions):
        found = _TOO_LARGE
    if isinstance(found, str):
        because = Note(code="cache_savings_unavailable", message=f"There are no cache_savings: {found}")
        return replace(held, days=with_savings(held.days, Prices())), lambda _: [because]
    now = context.now()
    spend, usage = found.spend.days, found.usage.days

    def priced() -> list[DayRows]:
        changed = changed_prices(spend, usage, days, now)
        return with_savings(held.days, prices_of(join(spend, usage, days, now), changed))

    with_prices = await run_in_thread_if(priced, when=held.row_count + found.rows > OFFLOAD_ROWS)
    with_age = _as_old_as(with_prices, [held, found.spend, found.usage])
    return with_age, lambda filters: _about_savings(with_age, filters)


def _as_old_as(days: Sequence[DayRows], sources: Sequence[CacheResult]) -> CacheResult:
    """The days, as old and as stale as what they are made of."""
    oldest = min(each.fetched_at for each in sources)
    return CacheResult(
        [replace(day, fetched_at=oldest) for day in days],
        combine_statuses(each.status for each in sources),
        next((each.stale_reason for each in sources if each.stale_reason), ""),
    )


_TOO_LARGE = "with all that sets a price the usage report was too large or too slow; it is tried again in an hour."


def _views(query: Query) -> Sequence[tuple[str, ...]]:
    """The views of the question, preferably with all that sets a price."""
    wanted = {*query.views[-1], *PriceKey._fields}
    if wanted <= set(USAGE_REPORT.base_view) or len(wanted) > USAGE_REPORT.max_groupings:
        return query.views
    return [*USAGE_REPORT.views_for(wanted), *query.views]


async def _prices(
    days: Period, views: Sequence[tuple[str, ...]], context: ReportContext, call: CallContext
) -> SpendAndUsage | str:
    """What the prices are made of, or why they cannot be had: the ratio does not fail for want of them."""
    if not can_be_priced(views[0]):
        return (
            f"beside {', '.join(views[0])} Anthropic's report has no room for all that sets a price. "
            "Ask with fewer dimensions."
        )
    if context.cache.is_known_oversized(USAGE_REPORT, USAGE_REPORT.base_view, "1d"):
        return _TOO_LARGE
    try:
        async with asyncio.timeout((call.deadline - context.clock.monotonic()) / 2):
            return await fetch_spend_and_usage(context, days, call)
    except KeyRefusedError:
        raise
    except UpstreamError as failure:
        return str(failure)
    except TimeoutError:
        return "prices did not arrive in time. Ask again."


def _about_savings(held: CacheResult, filters: Filters) -> Iterator[Note]:
    """How much of the savings is an estimate, and how much is missing."""
    sums = _sums(held, filters)
    tokens = cache_tokens(sums)
    unpriced = tokens - sums[_PRICED]
    tiers = filters.get("service_tier", PRIORITY_TIERS)
    priority = cache_tokens(_sums(held, {**filters, "service_tier": tiers & PRIORITY_TIERS}))
    if sums[_ESTIMATED]:
        yield Note(
            code="cache_savings_estimated",
            message=f"The price of {_share(sums[_ESTIMATED], tokens)} of the cache tokens was borrowed from the "
            "nearest cells or days of the same model and tier that have one.",
        )
    if priority:
        yield Note(
            code="priority_tier_excluded",
            message=f"cache_savings leaves out {_share(priority, tokens)} of the cache tokens: they are of the "
            "Priority Tier, whose cost is in no report.",
        )
    if unpriced > priority:
        yield Note(
            code="cache_savings_incomplete",
            message=f"cache_savings leaves out {_share(unpriced - priority, tokens)} of the cache tokens: the bill "
            "of the period has no price for them.",
        )


def _sums(held: CacheResult, filters: Filters) -> Sums:
    """The sums of all rows that pass the filters."""
    with exact():
        none: Sums = (0,) * (len(USAGE_REPORT.measures) + len(SAVINGS_MEASURES))
        return tuple(map(sum, zip(none, *matching(held.days, filters), strict=True)))


def _share(part: Number, whole: int) -> str:
    """As a person says it."""
    share = Fraction(part) / whole
    return f"{float(share):.0%}" if share >= _ONE_PERCENT else "less than 1%"


_ONE_PERCENT = Fraction(1, 100)


CACHE_REPORT = SeriesDefinition(
    name="cache_hit_ratio",
    title="Cache hit ratio",
    schema=USAGE_QUERY,
    shown=[CACHE_HIT_RATIO, CACHE_SAVINGS],
    totals=[
        CACHE_HIT_RATIO,
        CACHE_SAVINGS,
        *(measure for name, measure in MEASURES.items() if name.endswith("input_tokens")),
    ],
    group_totals=[CACHE_HIT_RATIO, CACHE_SAVINGS, MEASURES["input_tokens"], MEASURES["cache_read_input_tokens"]],
    sort_key=input_tokens,
    headline=_headline,
    fetch=_fetch,
    extra_measures=SAVINGS_MEASURES,
)
