"""How much of our input came from the cache, and what that saved."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from usage_cost_mcp.analysis.cache_savings import ADDED, cache_tokens, can_be_priced, with_savings
from usage_cost_mcp.analysis.cost_usage_join import PRIORITY_TIERS, join
from usage_cost_mcp.analysis.prices import Kind, Prices, changed_prices, prices_of
from usage_cost_mcp.cache import Held, together
from usage_cost_mcp.errors import KeyRefusedError, UpstreamError
from usage_cost_mcp.model.dimensions import MAX_GROUPINGS, USAGE, Filters
from usage_cost_mcp.model.money import exact, plain, readable
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import DayRows, Number, Sums
from usage_cost_mcp.model.series import matching
from usage_cost_mcp.runtime.call_context import Call
from usage_cost_mcp.runtime.concurrency import aside, both

from .answers import Note
from .context import Desk
from .joined_reports import Cubes, read_cubes
from .query import Question
from .series_report import MANY_ROWS, Line, Measure, NotesOn, SeriesReport
from .token_usage import MEASURES, cache_read_tokens, input_tokens

_DIGITS = 9
_SAVED, _PRICED, _BORROWED = range(len(USAGE.measures), len(USAGE.measures) + len(ADDED))
"""Where a row holds what it saved, and how much is known about that."""


def cache_hit_ratio(sums: Sums) -> float | None:
    """Cache reads divided by all input, from 0 to 1, to nine digits; None where there was no input."""
    total = input_tokens(sums)
    return round(cache_read_tokens(sums) / total, _DIGITS) if total else None


def cache_savings(sums: Sums) -> Decimal | None:
    """Dollars that the cache saved, less what writing to it cost; None where no cache token has a price."""
    return Decimal(sums[_SAVED]) if sums[_PRICED] or not cache_tokens(sums) else None


def _told(sums: Sums) -> str | None:
    saved = cache_savings(sums)
    return None if saved is None else plain(saved)


CACHE_HIT_RATIO = Measure("cache_hit_ratio", "ratio from 0 to 1", cache_hit_ratio)
CACHE_SAVINGS = Measure("cache_savings", "USD", _told)


def _headline(totals: Sums, lines: Sequence[Line]) -> str:
    ratio, saved = cache_hit_ratio(totals), cache_savings(totals)
    if ratio is None:
        return "no input tokens, so there is no ratio"
    said = f"{ratio:.1%} of {input_tokens(totals):,} input tokens were read from the cache"
    if saved:
        said += f", which {'saved' if saved > 0 else 'cost'} about {readable(abs(saved))}"
    if not lines or not lines[0].key:
        return said
    return f"{said}; the largest group, {lines[0].label}, has {cache_hit_ratio(lines[0].sums) or 0:.1%}"


async def _read(question: Question, days: Period, desk: Desk, call: Call) -> tuple[Held, NotesOn]:
    """The rows of the usage report with what each of them saved."""
    views = _views(question)
    held, found = await both(
        desk.ledger.days(USAGE, views, question.width, days, call),
        _prices(days, views, desk, call),
    )
    if not isinstance(found, str) and not can_be_priced(held.days[0].dimensions):
        found = _TOO_LARGE
    if isinstance(found, str):
        because = Note(code="cache_savings_unavailable", message=f"There are no cache_savings: {found}")
        return replace(held, days=with_savings(held.days, Prices())), lambda _: [because]
    now = desk.now()
    spend, usage = found.spend.days, found.usage.days

    def priced() -> list[DayRows]:
        changed = changed_prices(spend, usage, days, now)
        return with_savings(held.days, prices_of(join(spend, usage, days, now), changed))

    with_prices = await aside(priced, when=held.rows + found.rows > MANY_ROWS)
    with_age = _as_old_as(with_prices, [held, found.spend, found.usage])
    return with_age, lambda filters: _about_savings(with_age, filters)


def _as_old_as(days: Sequence[DayRows], sources: Sequence[Held]) -> Held:
    """The days, as old and as stale as what they are made of."""
    oldest = min(each.fetched_at for each in sources)
    return Held(
        [replace(day, fetched_at=oldest) for day in days],
        together(each.status for each in sources),
        next((each.because for each in sources if each.because), ""),
    )


_TOO_LARGE = "with all that sets a price the usage report was too large or too slow; it is tried again in an hour."


def _views(question: Question) -> Sequence[tuple[str, ...]]:
    """The views of the question, preferably with all that sets a price."""
    wanted = {*question.views[-1], *Kind._fields}
    if wanted <= set(USAGE.base) or len(wanted) > MAX_GROUPINGS:
        return question.views
    return [*USAGE.views_for(wanted), *question.views]


async def _prices(days: Period, views: Sequence[tuple[str, ...]], desk: Desk, call: Call) -> Cubes | str:
    """What the prices are made of, or why they cannot be had: the ratio does not fail for want of them."""
    if not can_be_priced(views[0]):
        return (
            f"beside {', '.join(views[0])} Anthropic's report has no room for all that sets a price. "
            "Ask with fewer dimensions."
        )
    if desk.ledger.too_much(USAGE, USAGE.base, "1d"):
        return _TOO_LARGE
    try:
        async with asyncio.timeout((call.deadline - desk.clock.monotonic()) / 2):
            return await read_cubes(desk, days, call)
    except KeyRefusedError:
        raise
    except UpstreamError as failure:
        return str(failure)
    except TimeoutError:
        return "prices did not arrive in time. Ask again."


def _about_savings(held: Held, filters: Filters) -> Iterator[Note]:
    """How much of the savings is an estimate, and how much is missing."""
    sums = _sums(held, filters)
    tokens = cache_tokens(sums)
    unpriced = tokens - sums[_PRICED]
    tiers = filters.get("service_tier", PRIORITY_TIERS)
    priority = cache_tokens(_sums(held, {**filters, "service_tier": tiers & PRIORITY_TIERS}))
    if sums[_BORROWED]:
        yield Note(
            code="cache_savings_estimated",
            message=f"The price of {_share(sums[_BORROWED], tokens)} of the cache tokens was borrowed from the nearest "
            "cells or days of the same model and tier that have one.",
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


def _sums(held: Held, filters: Filters) -> Sums:
    """The sums of all rows that pass the filters."""
    with exact():
        none: Sums = (0,) * (len(USAGE.measures) + len(ADDED))
        return tuple(map(sum, zip(none, *matching(held.days, filters), strict=True)))


def _share(part: Number, whole: int) -> str:
    """As a person says it."""
    share = Fraction(part) / whole
    return f"{float(share):.0%}" if share >= _ONE_PERCENT else "less than 1%"


_ONE_PERCENT = Fraction(1, 100)


CACHE_REPORT = SeriesReport(
    name="cache_hit_ratio",
    title="Cache hit ratio",
    report=USAGE,
    shown=[CACHE_HIT_RATIO, CACHE_SAVINGS],
    totals=[
        CACHE_HIT_RATIO,
        CACHE_SAVINGS,
        *(measure for name, measure in MEASURES.items() if name.endswith("input_tokens")),
    ],
    group_totals=[CACHE_HIT_RATIO, CACHE_SAVINGS, MEASURES["input_tokens"], MEASURES["cache_read_input_tokens"]],
    rank=input_tokens,
    headline=_headline,
    read=_read,
    added=ADDED,
)
