"""Notes that several reports need: caveats that a reader should know before using the numbers."""

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction

from usage_cost_mcp.analysis.allocation import AllocationRule
from usage_cost_mcp.analysis.billing_lag import BillGap
from usage_cost_mcp.analysis.speeds import cost_without_speed, models_with_unlike_lines
from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.errors import unknown_value_error
from usage_cost_mcp.model.buckets import bucket_end, bucket_start
from usage_cost_mcp.model.dimensions import CHARGE_CATEGORY, CREDIT, IDENTITIES, NAMED_DIMENSIONS, Filters
from usage_cost_mcp.model.money import exact_sum, format_dollars
from usage_cost_mcp.model.periods import Granularity, Period, midnight
from usage_cost_mcp.model.rows import DayRows
from usage_cost_mcp.model.series import matching, values_of
from usage_cost_mcp.runtime.concurrency import OFFLOAD_ROWS, run_in_thread_if

from . import wording
from .answers import Note
from .labels import Labels
from .wording import whole_percent

_NAMED_AS = {"workspace_id": "workspaces", "api_key_id": "API keys", "account_id": "accounts"}


def period_notes(period: Period, granularity: Granularity, now: datetime) -> Iterator[Note]:
    """Notes on days in the future, and on buckets that the period covers only in part."""
    if period.requested_end > period.end:
        yield Note(
            code="future_days_excluded",
            message=f"The requested period ends on {period.requested_end}; days after {period.end} are in the future.",
        )
    if granularity in {"week", "month"} and bucket_start(period.begins, granularity, period) < period.begins:
        yield Note(
            code="first_bucket_partial",
            message=f"The first {granularity} is partial: it covers only the days from {period.start} on.",
        )
    last_end = bucket_end(midnight(period.end, period.zone), granularity, period)
    if period.ends < last_end <= now:
        yield Note(
            code="last_bucket_partial",
            message=f"The last {granularity} is partial: it covers only the days up to {period.end}.",
        )


def today_notes(requested: Period, today: date) -> Iterator[Note]:
    """A note on today, where only complete days are used."""
    if requested.end >= today:
        yield Note(code="today_excluded", message=f"{today} is not complete yet and is excluded.")


def billing_notes(period: Period, gap: BillGap | None, effect: str) -> Iterator[Note]:
    """A note on the days of a period whose bill may not be complete; `effect` says what that means for the answer."""
    if gap and period.end >= gap.day:
        yield Note(code=NOT_BILLED_YET, message=f"{wording.bill_gap(gap)} {effect}")


TODAY_SO_FAR = ", today as far as it is reported"
"""What a summary says of a period that includes today."""


def today_cost_notes(held: CacheResult, today: date) -> Iterator[Note]:
    """A note on today if it has no cost yet."""
    if held.days[-1].day == today and not len(held.days[-1]):
        yield Note(code=NOT_BILLED_YET, message=f"No cost is reported yet for {today} (today, UTC).")


def row_notes(held: CacheResult, complete: Period | None) -> Iterator[Note]:
    """Notes on days without any data; only those whose data is complete can be called unused."""
    if complete:
        yield from _empty_day_notes(held, complete)
    if held.missing_days:
        yield Note(
            code=DAYS_NOT_REPORTED,
            message=f"Anthropic's response omits {_list_days(held.missing_days)}, wholly or partly; counted as zero.",
        )


def _empty_day_notes(held: CacheResult, period: Period) -> Iterator[Note]:
    first = min(_days_with_rows(held, period.zone), default=None)
    if first is None:
        days = f"{period.start}" if len(period) == 1 else f"{period.start} to {period.end}"
        done = "charged" if "description" in held.days[0].dimensions else "used"
        yield Note(
            code=NO_DATA,
            message=f"There is no data at all for {days}: nothing was {done}, or this was before the first use.",
        )
    elif first > period.start:
        yield Note(
            code="data_starts_later",
            message=f"Data for the period starts on {first}; earlier days have none.",
        )


def _days_with_rows(held: CacheResult, zone: tzinfo) -> Iterator[date]:
    """The days, in a time zone, that have rows."""
    for day in held.days:
        for minute in (minute for minute, rows in day.rows.items() if rows):
            yield (midnight(day.day) + timedelta(minutes=minute)).astimezone(zone).date()


def freshness_notes(held: CacheResult, now: datetime) -> Iterator[Note]:
    """Notes on stale days, and on days that Anthropic has revised since an earlier fetch."""
    if held.stale_reason:
        minutes = (now - held.fetched_at).total_seconds() / 60
        age = f"{minutes / 60:.0f} hours" if minutes > _TWO_HOURS else f"{minutes:.0f} minutes"
        yield Note(
            code=STALE,
            message="Current data cannot be fetched at the moment; these numbers are as of "
            f"{held.fetched_at:%Y-%m-%d %H:%M} UTC, {age} ago. {held.stale_reason}",
        )
    revised = [day.day for day in held.days if day.revised]
    if revised:
        yield Note(code="revised", message=f"Anthropic has revised {_list_days(revised)} since an earlier fetch.")


STALE = "stale"
_TWO_HOURS = 120


ALLOCATED_TO = {"api_key_id": "API key", "account_id": "account", "service_account_id": "service account"}


def allocation_notes(
    rule: AllocationRule, spend: Sequence[DayRows], assumed_spend: Sequence[DayRows], filters: Filters
) -> Iterator[Note]:
    """How spend was allocated, and how much of it rests on an assumption."""
    assumed, cost = (
        exact_sum(abs(Decimal(sums[0])) for sums in matching(days, filters)) for days in (assumed_spend, spend)
    )
    part = ""
    if assumed:
        share = whole_percent(Fraction(assumed) / Fraction(cost))
        part = (
            f" For {format_dollars(assumed)} of it ({share}) the reports do not have all of these dimensions together, "
            "so the tokens of the next broader group are taken: an assumption."
        )
    yield Note(
        code="allocated",
        message=f"Estimated: the cost report has no {ALLOCATED_TO[rule.dimension]}, so each cost is allocated in "
        f"proportion to tokens of the same token_type, {', '.join(rule.cell)}; web search cost in proportion to "
        f"searches. The parts add up to the reported cost exactly.{part}",
    )


def speed_notes(named: Iterable[str], filters: Filters, spend: Sequence[DayRows]) -> Iterator[Note]:
    """A note on costs whose speed is not reported, if the speed is one of the named dimensions."""
    if "speed" not in named or any(CHARGE_CATEGORY not in day.dimensions for day in spend):
        return
    if cost := cost_without_speed(spend, filters):
        effect = "not included" if None not in filters.get("speed", {None}) else "shown without one"
        yield Note(
            code=SPEED_UNKNOWN,
            message=f"The cost report does not have the speed of {format_dollars(cost)} of token costs, which are "
            f"{effect}: Anthropic leaves it out, or does not accept the beta header for fast mode.",
        )


SPEED_UNKNOWN = "speed_unknown"


async def mixed_price_notes(spend: Sequence[DayRows], filters: Filters) -> list[Note]:
    """The note on models with mixed prices, if there are any."""
    return list(mixed_model_notes(await find_mixed_models(spend, filters)))


async def find_mixed_models(spend: Sequence[DayRows], filters: Filters) -> Collection[str]:
    """The models whose token costs differ in something that the cost report does not have."""
    return await run_in_thread_if(
        lambda: models_with_unlike_lines(spend, filters), when=sum(map(len, spend)) > OFFLOAD_ROWS
    )


def mixed_model_notes(mixed: Collection[str]) -> Iterator[Note]:
    """A note on models with mixed prices."""
    if mixed:
        yield Note(
            code="prices_mixed",
            message=f"The bill has unlike lines for the same kind of tokens of {', '.join(sorted(mixed))}, such as "
            "standard and fast mode, and the cost report does not say how they differ. Prices, spend by key or "
            "account, cache savings and causes use their average, so a change of price may be a change of the mix.",
        )


def label_notes(labels: Labels) -> Iterator[Note]:
    """Notes on names that could not be looked up."""
    for dimension in labels.unavailable:
        yield Note(
            code="names_unavailable",
            message=f"The names of {_NAMED_AS[dimension]} cannot be looked up at the moment; IDs are shown instead. "
            "The numbers are not affected.",
        )


def filter_notes(filters: Filters, held: CacheResult, labels: Labels) -> Iterator[Note]:
    """Notes on filter values without data: a true zero, or a typing error.

    Raises:
        InvalidQueryError: For a model without data whose name does not look like a model.
    """
    unknown_speed = list(speed_notes(filters, filters, held.days))
    yield from unknown_speed
    for dimension, values in filters.items():
        if dimension == "speed" and unknown_speed:
            continue
        occurring = {value for value in values_of(held.days, dimension) if value is not None}
        absent = sorted(value for value in values - occurring if value is not None)
        for value in absent:
            if dimension in {"model", "description"} and not value.startswith("claude-"):
                raise unknown_value_error(f"filter_by {dimension}", value, sorted(occurring))
        if absent:
            similar = [] if dimension in NAMED_DIMENSIONS else difflib.get_close_matches(absent[0], occurring, n=1)
            hint = f" (did you mean {similar[0]}?)" if similar else ""
            named = any_of([labels.of(dimension, value) for value in absent], dimension)
            what = "are no credits" if absent == [CREDIT] else f"is no data for {named}"
            yield Note(code=NO_MATCH, message=f"There {what} in this period{hint}.")


LEVEL_CHANGED = "level_changed"
NO_DATA = "no_data"
NO_HISTORY = "no_history"
DAYS_NOT_REPORTED = "days_not_reported"
NO_MATCH = "filter_matches_nothing"
NOT_BILLED_YET = "not_billed_yet"
NOT_IN_ANY_REPORT = "not_in_any_report"
SUMMARY_WARNINGS = frozenset({LEVEL_CHANGED, NO_HISTORY, NO_MATCH, NOT_IN_ANY_REPORT, SPEED_UNKNOWN, STALE})
"""Codes of notes that end the summary, because some hosts show nothing else; `NOT_BILLED_YET` begins it."""

WARNINGS = SUMMARY_WARNINGS | {NOT_BILLED_YET, NO_DATA, DAYS_NOT_REPORTED}
"""Codes of notes without which a number, often a zero, is misread."""


def filter_clause(filters: Filters, labels: Labels) -> str:
    """The filters, as they follow a period in a sentence; empty without filters."""
    is_console = filters.keys() >= set(IDENTITIES) and not any(map(any, (filters[each] for each in IDENTITIES)))
    return (", Console use" if is_console else "") + "".join(
        f", {any_of(sorted(labels.of(dimension, value) for value in values), dimension)}"
        for dimension, values in filters.items()
        if not (is_console and dimension in IDENTITIES)
    )


def any_of(labels: Sequence[str], dimension: str, limit: int = 3) -> str:
    """Such as "model a or b", or "any of 5 model values" above the limit."""
    return f"{dimension} {' or '.join(labels)}" if len(labels) <= limit else f"any of {len(labels)} {dimension} values"


def _list_days(days: Sequence[date], limit: int = 3) -> str:
    listed = ", ".join(map(str, days[:limit]))
    return listed if len(days) <= limit else f"{listed} and {len(days) - limit} more days"
