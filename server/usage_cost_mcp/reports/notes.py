"""What should be known before the numbers are used: the notes that any answer may need, each only where it applies."""

import difflib
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, tzinfo

from usage_cost_mcp.analysis.allocation import AllocationRule
from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.errors import unknown_value_error
from usage_cost_mcp.model.buckets import bucket_end, bucket_start
from usage_cost_mcp.model.dimensions import API_KEY, NAMED_DIMENSIONS, Filters
from usage_cost_mcp.model.periods import Granularity, Period, midnight
from usage_cost_mcp.model.series import values_of

from .answers import Note
from .labels import Labels

_NAMED_AS = {"workspace_id": "workspaces", "api_key_id": "API keys", "account_id": "accounts"}


def period_notes(period: Period, granularity: Granularity, now: datetime) -> Iterator[Note]:
    """A future that was cut off, and buckets that reach beyond the period."""
    if period.requested_end > period.end:
        yield Note(
            code="future_days_excluded",
            message=f"The period asked for ends {period.requested_end}; days after {period.end} have not begun.",
        )
    if granularity in {"week", "month"} and bucket_start(period.begins, granularity, period) < period.begins:
        yield Note(
            code="first_bucket_partial",
            message=f"The first {granularity} holds only its days from {period.start} on.",
        )
    last_end = bucket_end(midnight(period.end, period.zone), granularity, period)
    if period.ends < last_end <= now:
        yield Note(
            code="last_bucket_partial",
            message=f"The last {granularity} holds only its days up to {period.end}.",
        )


def today_notes(asked: Period, taken: Period) -> Iterator[Note]:
    """Today, where only days that are over were taken."""
    if taken.end < asked.end:
        yield Note(code="today_excluded", message=f"{asked.end} is not over, so it is left out.")


def row_notes(held: CacheResult, period: Period) -> Iterator[Note]:
    """Days for which the report has nothing at all."""
    first = min(_days_used(held, period.zone), default=None)
    if first is None:
        yield Note(
            code="no_data",
            message="There is no row for any of these days, under any group: nothing was used, or the days are before "
            "the first use.",
        )
    elif first > period.start:
        yield Note(
            code="data_starts_later",
            message=f"The first row of the period is on {first}; earlier days have none.",
        )
    if held.missing_days:
        yield Note(
            code="days_not_reported",
            message=f"Anthropic's answer left out {_listed(held.missing_days)}, wholly or in part; counted as zero.",
        )


def _days_used(held: CacheResult, zone: tzinfo) -> Iterator[date]:
    """The days of the zone that have rows."""
    for day in held.days:
        for minute in (minute for minute, rows in day.rows.items() if rows):
            yield (midnight(day.day) + timedelta(minutes=minute)).astimezone(zone).date()


def freshness_notes(held: CacheResult, now: datetime) -> Iterator[Note]:
    """Days that are older than they should be, and days that Anthropic has changed since they were read before."""
    if held.stale_reason:
        minutes = (now - held.fetched_at).total_seconds() / 60
        age = f"{minutes / 60:.0f} hours" if minutes > _TWO_HOURS else f"{minutes:.0f} minutes"
        yield Note(
            code=STALE,
            message="Anthropic cannot be asked at the moment; these numbers are as of "
            f"{held.fetched_at:%Y-%m-%d %H:%M} UTC, {age} ago. {held.stale_reason}",
        )
    revised = [day.day for day in held.days if day.revised]
    if revised:
        yield Note(code="revised", message=f"Anthropic has revised {_listed(revised)} since they were read before.")


STALE = "stale"
_TWO_HOURS = 120


SHARED_BY = {"api_key_id": "API key", "account_id": "account", "service_account_id": "service account"}


def allocation_notes(attribution: AllocationRule | None) -> Iterator[Note]:
    """How the numbers were shared out."""
    if attribution:
        name = SHARED_BY[attribution.dimension]
        keyless = (
            " Keys that the list no longer has share with use without a key what is left of a workspace."
            if attribution.dimension == API_KEY
            else ""
        )
        yield Note(
            code="allocated",
            message=f"Estimated: the cost report has no {name}, so each cost is shared by tokens of the same "
            f"token_type, {', '.join(attribution.cell)}, searches by requests. The parts add up to the bill exactly."
            f"{keyless}",
        )


def label_notes(labels: Labels) -> Iterator[Note]:
    """Names that could not be had."""
    for dimension in labels.refused:
        yield Note(
            code="names_unavailable",
            message=f"The names of {_NAMED_AS[dimension]} cannot be looked up at the moment; ids are shown. "
            "The numbers are not affected.",
        )


def filter_notes(filters: Filters, held: CacheResult, labels: Labels) -> Iterator[Note]:
    """Values that nothing matches: a true zero, but maybe a slip of the pen.

    Raises:
        InvalidQueryError: For a model that does not occur and is not even spelled like one.
    """
    for dimension, values in filters.items():
        occurring = {value for value in values_of(held.days, dimension) if value is not None}
        absent = sorted(value for value in values - occurring if value is not None)
        for value in absent:
            if dimension in {"model", "description"} and not value.startswith("claude-"):
                raise unknown_value_error(f"filter_by {dimension}", value, sorted(occurring))
        if absent:
            near = [] if dimension in NAMED_DIMENSIONS else difflib.get_close_matches(absent[0], occurring, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            named = any_of([labels.of(dimension, value) for value in absent], dimension)
            yield Note(code=NO_MATCH, message=f"Nothing is recorded under {named} in this period{hint}.")


NO_MATCH = "filter_matches_nothing"
NOT_IN_ANY_REPORT = "not_in_any_report"
SUMMARY_WARNINGS = frozenset({NO_MATCH, NOT_IN_ANY_REPORT, STALE})
"""What must not be missed even by who reads the summary alone."""


def filter_clause(filters: Filters, labels: Labels) -> str:
    """What the numbers are restricted to, as it follows a period in a sentence; empty when they are not."""
    return "".join(
        f", {any_of(sorted(labels.of(dimension, value) for value in values), dimension)}"
        for dimension, values in filters.items()
    )


def any_of(labels: Sequence[str], dimension: str, most: int = 3) -> str:
    """Such as "model a or b", or how many they are when that would be long."""
    named = " or ".join(labels) if len(labels) <= most else f"one of {len(labels)} values"
    return f"{dimension} {named}"


def _listed(days: Sequence[date], most: int = 3) -> str:
    named = ", ".join(map(str, days[:most]))
    return named if len(days) <= most else f"{named} and {len(days) - most} more days"
