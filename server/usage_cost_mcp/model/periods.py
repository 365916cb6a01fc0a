"""Periods, and the words that people use for them.

Days are UTC, as in the reports, or those of another zone. A period names its first and last day, both included. Inside
the program moments are in UTC and intervals half-open, from midnight to midnight of the zone.
"""

import calendar
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from typing import Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

from usage_cost_mcp.errors import InvalidQueryError, short_repr, unknown_value_error

Granularity = Literal["minute", "hour", "day", "week", "month", "total"]
GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
"""From the finest to the coarsest."""

_FROM_WEEKS: tuple[Granularity, ...] = ("week", "total")
"""Weeks do not add up to months."""

PROVISIONAL_DAYS = 3
"""How many days before today may still be revised. Undocumented; a cautious estimate."""

MAX_DAYS: dict[Granularity, int] = {
    "minute": 7,
    "hour": 92,
    "day": 1830,
    "week": 1830,
    "month": 1830,
    "total": 1830,
}
"""The longest period of a query, in days, by granularity."""

PERIOD_WORDS = (
    "today, yesterday, last_N_days, last_N_weeks, last_N_months (complete ones), this_week, last_week, "
    "this_month, last_month, this_quarter, last_quarter, this_year, last_year, 2026, 2026-Q3, 2026-10, 2026-10-05, "
    "2026-10-01..2026-10-15"
)

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days of a zone, from `start` to `end` inclusive.

    Attributes:
        requested_end: Later than `end` if future days were excluded.
        zone: Defines midnight.
    """

    start: date
    end: date
    requested_end: date
    zone: tzinfo = UTC

    @property
    def days(self) -> list[date]:
        """Every day, oldest first."""
        return [self.start + timedelta(days=n) for n in range(len(self))]

    @property
    def begins(self) -> datetime:
        """The first moment, in UTC."""
        return midnight(self.start, self.zone)

    @property
    def ends(self) -> datetime:
        """The first moment after the period, in UTC."""
        return midnight(self.end + _DAY, self.zone)

    def in_utc(self, today: date) -> "Period":
        """The UTC days that overlap with the period and have begun."""
        end = min((self.ends - _INSTANT).date(), today)
        return Period(self.begins.date(), end, end)

    def __len__(self) -> int:
        """The number of days."""
        return (self.end - self.start).days + 1

    def __str__(self) -> str:
        """For people: "2026-10-01 to 2026-10-31 (31 days, UTC)"."""
        if len(self) == 1:
            return f"{self.start} (1 day, {self.zone})"
        return f"{self.start} to {self.end} ({len(self)} days, {self.zone})"


def parse_zone(name: str) -> tzinfo:
    """The time zone of an IANA name, ignoring case and with spaces for underscores.

    Raises:
        InvalidQueryError: There is no such zone.
    """
    zones = _zones()
    normalized = name.strip().replace(" ", "_")
    zone = zones.get(normalized.casefold())
    if zone is None:
        raise unknown_value_error("timezone", normalized, sorted(zones.values()))
    return UTC if zone == "UTC" else ZoneInfo(zone)


@cache
def _zones() -> Mapping[str, str]:
    """All time zones by lower-case name. Cached: reading them takes longer than answering a query."""
    return {zone.casefold(): zone for zone in ("UTC", *available_timezones())}


def parse_period(text: str, today: date, zone: tzinfo = UTC) -> Period:
    """Parse a period.

    Args:
        text: One of `PERIOD_WORDS`; case, and spaces or dashes for underscores, do not matter.
        today: The current day of the zone. Later days are excluded.
        zone: The zone of the days.

    Raises:
        InvalidQueryError: The text is unknown, the period is too long, or it is in the future.
    """
    start, end = _days_of(text, today)
    if start > end:
        raise InvalidQueryError(f"period {short_repr(text)} ends ({end}) before it starts ({start}).")
    if start > today:
        raise InvalidQueryError(
            f"period {short_repr(text)} is in the future: today is {today} ({zone}). "
            "Use forecast_spend for future days."
        )
    period = Period(start, min(end, today), end, zone)
    if len(period) > MAX_DAYS["day"]:
        raise InvalidQueryError(f"period {short_repr(text)} has {len(period)} days; the maximum is {MAX_DAYS['day']}.")
    return period


def _days_of(text: str, today: date) -> tuple[date, date]:
    words = re.sub(r"[\s_]+|-", "_", text.strip().lower())
    words = re.sub(r"^(previous|past)_", "last_", words)
    words = re.sub(r"(?<=^last_)[a-z]+(?=_)", lambda word: _NUMBERS.get(word[0], word[0]), words)
    if words in _NAMED:
        return _NAMED[words](today)
    spaced = " ".join(text.lower().split())
    first, dots, last = spaced.replace(" to ", "..").replace(" ", "").upper().partition("..")
    try:
        if match := re.fullmatch(r"last_([1-9]\d{0,3})_(day|week|month|quarter|year)s?", words):
            return _last(int(match[1]), _SPANS[match[2]], today)
        return _span(first)[0], _span(last if dots else first)[1]
    except OverflowError:
        raise InvalidQueryError(f"period {short_repr(text)} begins before the year 1.") from None
    except ValueError:
        suggestion = _suggested_period(words, today) or next(
            iter(difflib.get_close_matches(words, _NAMED, n=1, cutoff=0.75)), None
        )
        hint = f" Did you mean {suggestion}?" if suggestion else ""
        raise InvalidQueryError(f"period {short_repr(text)} is not known.{hint} Accepted: {PERIOD_WORDS}.") from None


_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBERS = {word: str(number) for number, word in enumerate(_WORDS, 1)}


def _suggested_period(words: str, today: date) -> str | None:
    """The latest month or quarter of a bare name: october, Q3."""
    months = [name.lower() for name in calendar.month_name[1:]]
    if words in months:
        month = months.index(words) + 1
        return f"{today.year - (month > today.month)}-{month:02}"
    if match := re.fullmatch(r"q([1-4])", words):
        quarter = int(match[1])
        return f"{today.year - (3 * quarter - 2 > today.month)}-Q{quarter}"
    return None


def _last(count: int, span: Callable[[date], tuple[date, date]], today: date) -> tuple[date, date]:
    """The last `count` complete spans before today's."""
    end = span(today)[0] - _DAY
    start = end
    for _ in range(count):
        start = span(start)[0] - _DAY
    return start + _DAY, end


def _span(text: str) -> tuple[date, date]:
    """The first and last day of 2026, 2026-Q3, 2026-10 or 2026-10-05."""
    if re.fullmatch(r"20\d{2}", text):
        return date(int(text), 1, 1), date(int(text), 12, 31)
    if match := re.fullmatch(r"(20\d{2})-?Q([1-4])", text):
        return _quarter(date(int(match[1]), 3 * int(match[2]), 1))
    if match := re.fullmatch(r"(20\d{2})-(\d{2})", text):
        return month_of(date(int(match[1]), int(match[2]), 1))
    if not re.fullmatch(r"20\d{2}-\d{2}-\d{2}", text):
        raise ValueError(text)
    return date.fromisoformat(text), date.fromisoformat(text)


def week_of(day: date) -> tuple[date, date]:
    monday = day - day.weekday() * _DAY
    return monday, monday + 6 * _DAY


def month_of(day: date) -> tuple[date, date]:
    return day.replace(day=1), day.replace(day=calendar.monthrange(day.year, day.month)[1])


def _quarter(day: date) -> tuple[date, date]:
    first = (day.month - 1) // 3 * 3 + 1
    return date(day.year, first, 1), month_of(date(day.year, first + 2, 1))[1]


def _year(day: date) -> tuple[date, date]:
    return date(day.year, 1, 1), date(day.year, 12, 31)


def _to_date(span: Callable[[date], tuple[date, date]]) -> Callable[[date], tuple[date, date]]:
    return lambda today: (span(today)[0], today)


def _before(span: Callable[[date], tuple[date, date]]) -> Callable[[date], tuple[date, date]]:
    return lambda today: span(span(today)[0] - _DAY)


_SPANS: dict[str, Callable[[date], tuple[date, date]]] = {
    "day": lambda day: (day, day),
    "week": week_of,
    "month": month_of,
    "quarter": _quarter,
    "year": _year,
}

_NAMED: dict[str, Callable[[date], tuple[date, date]]] = {
    "today": _to_date(_SPANS["day"]),
    "yesterday": _before(_SPANS["day"]),
    **{
        name: make(_SPANS[word])
        for word in ("week", "month", "quarter", "year")
        for name, make in {
            f"this_{word}": _to_date,
            f"current_{word}": _to_date,
            f"{word}_to_date": _to_date,
            f"{word[0]}td": _to_date,
            f"last_{word}": _before,
        }.items()
    },
}


PERIODS_BEFORE = ("previous", "previous_month", "previous_year")
"""Words for a period that is relative to another one."""

_MONTHS_BACK = {"previous_month": 1, "previous_year": 12}


def period_before(words: str, period: Period) -> Period | None:
    """The preceding period of the same length, or the same days a month or a year earlier; None for other words."""
    words = re.sub(r"[\s_-]+", "_", words.strip().lower())
    if words not in PERIODS_BEFORE:
        return None
    if words in _MONTHS_BACK:
        start, end = (months_earlier(day, _MONTHS_BACK[words]) for day in (period.start, period.end))
        if period.end == month_of(period.end)[1] and period.start.day == 1:
            end = month_of(end)[1]
    else:
        start, end = period.start - len(period) * _DAY, period.start - _DAY
    return Period(start, end, end)


def months_earlier(day: date, months: int) -> date:
    """The same day of an earlier month, or the last day of that month if it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    first = date(year, month + 1, 1)
    return first.replace(day=min(day.day, month_of(first)[1].day))


HORIZONS = {"month_end": month_of, "quarter_end": _quarter, "year_end": _year}
"""Words for the last day of a forecast."""


def parse_horizon(text: str, today: date) -> Period:
    """The period of a forecast: the current month, quarter or year, or this month up to a given day.

    Raises:
        InvalidQueryError: The text is unknown, or the last day is before today or more than a year ahead.
    """
    words = re.sub(r"[\s_-]+", "_", text.strip().lower())
    if words in HORIZONS:
        start, end = HORIZONS[words](today)
        return Period(start, end, end)
    try:
        start, end = today.replace(day=1), _span(text.strip().upper())[1]
    except ValueError:
        accepted = ", ".join(HORIZONS)
        raise InvalidQueryError(
            f"until {short_repr(text)} is not known. Accepted: {accepted}, or a future day or month: "
            "2026-12-15, 2026-12."
        ) from None
    if not today <= end <= today + 366 * _DAY:
        raise InvalidQueryError(f"until {end} must be a day from today ({today}, UTC) to a year ahead.")
    return Period(start, end, end)


def until_yesterday(period: Period, today: date) -> Period:
    """The period without today, which is incomplete; unless today is all of it."""
    if period.end < today or period.start == today:
        return period
    return Period(period.start, today - _DAY, period.requested_end)


def granularities_from(granularity: Granularity) -> tuple[Granularity, ...]:
    """A granularity and the coarser ones that its buckets add up to."""
    return _FROM_WEEKS if granularity == "week" else GRANULARITIES[GRANULARITIES.index(granularity) :]


def midnight(day: date, zone: tzinfo = UTC) -> datetime:
    """The first moment of a day of the zone, in UTC; if the clocks skip midnight, the moment of the change."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def provisional_since(period: Period, today: date) -> date | None:
    """The first day of the period that Anthropic may still revise, None if there is none. `today` is the UTC day."""
    first = midnight(today - PROVISIONAL_DAYS * _DAY).astimezone(period.zone).date()
    return max(first, period.start) if period.end >= first else None
