"""Periods, and the words that people use for them.

Days are UTC, as in the reports, or those of another zone. A period names its first and last day, both included. Inside
the program moments are in UTC and intervals half-open, from midnight to midnight of the zone.
"""

import calendar
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from typing import Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

from usage_cost_mcp.errors import InvalidQueryError, short_repr, unknown_value_error

Granularity = Literal["minute", "hour", "day", "week", "month", "total"]
GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
"""From the finest to the coarsest."""

Unit = Literal["week", "month", "quarter", "year"]
UNITS: tuple[Unit, ...] = get_args(Unit)

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
        unit: The calendar unit of the words for the period: month for this_month, 2026-10 and last_3_months.
    """

    start: date
    end: date
    requested_end: date
    zone: tzinfo = UTC
    unit: Unit | None = field(default=None, compare=False)

    @property
    def days(self) -> list[date]:
        """Every day, oldest first."""
        return [self.start + timedelta(days=n) for n in range(len(self))]

    def ended(self, now: datetime) -> "Period | None":
        """The days that are over; None if there are none."""
        if now >= self.ends:
            return self
        return replace(self, end=self.end - _DAY) if len(self) > 1 else None

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
    start, end, unit = _days_of(text, today)
    if start > end:
        raise InvalidQueryError(f"period {short_repr(text)} ends ({end}) before it starts ({start}).")
    if start > today:
        raise InvalidQueryError(
            f"period {short_repr(text)} is in the future: today is {today} ({zone}). "
            "Use forecast_spend for future days."
        )
    period = Period(start, min(end, today), end, zone, unit)
    if len(period) > MAX_DAYS["day"]:
        raise InvalidQueryError(f"period {short_repr(text)} has {len(period)} days; the maximum is {MAX_DAYS['day']}.")
    return period


def _days_of(text: str, today: date) -> tuple[date, date, Unit | None]:
    """The first and last day, and the calendar unit if one is meant."""
    words = re.sub(r"[\s_]+|-", "_", text.strip().lower())
    words = re.sub(r"^(previous|past)_", "last_", words)
    words = re.sub(r"(?<=^last_)[a-z]+(?=_)", lambda word: _NUMBERS.get(word[0], word[0]), words)
    if words in _NAMED:
        return *_NAMED[words](today), _unit_in(words)
    spaced = " ".join(text.lower().split())
    first, dots, last = spaced.replace(" to ", "..").replace(" ", "").upper().partition("..")
    try:
        if match := re.fullmatch(r"last_([1-9]\d{0,3})_(day|week|month|quarter|year)s?", words):
            return *_last(int(match[1]), _SPANS[match[2]], today), _unit_in(words)
        start, end = _span(first)[0], _span(last if dots else first)[1]
        return start, end, _unit_of(start, end)
    except OverflowError:
        raise InvalidQueryError(f"period {short_repr(text)} begins before the year 1.") from None
    except ValueError:
        suggestion = _suggested_period(words, today) or next(
            iter(difflib.get_close_matches(words, _NAMED, n=1, cutoff=0.75)), None
        )
        hint = f" Did you mean {suggestion}?" if suggestion else ""
        raise InvalidQueryError(f"period {short_repr(text)} is not known.{hint} Accepted: {PERIOD_WORDS}.") from None


def _unit_in(words: str) -> Unit | None:
    return next((unit for unit in UNITS if unit in words or words == f"{unit[0]}td"), None)


def _unit_of(start: date, end: date) -> Unit | None:
    """The unit that begins and ends on these days, or the month if several do."""
    for unit in UNITS:
        if _SPANS[unit](start) == (start, end):
            return unit
    return "month" if _whole_months(start, end) else None


_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBERS = {word: str(number) for number, word in enumerate(_WORDS, 1)}


def _suggested_period(words: str, today: date) -> str | None:
    """The latest month or quarter of a bare name: october, Q3."""
    if month := _month_number(words):
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
    """The first and last day of 2026, 2026-Q3, 2026-10, OCTOBER2026 or 2026-10-05."""
    if re.fullmatch(r"20\d{2}", text):
        return date(int(text), 1, 1), date(int(text), 12, 31)
    if match := re.fullmatch(r"(20\d{2})-?Q([1-4])", text):
        return _quarter(date(int(match[1]), 3 * int(match[2]), 1))
    if (match := re.fullmatch(r"([A-Z]+)(20\d{2})", text)) and (month := _month_number(match[1].lower())):
        return month_of(date(int(match[2]), month, 1))
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


PERIODS_BEFORE = ("previous", "previous_week", "previous_month", "previous_quarter", "previous_year", "year_ago")
"""Words for a period that is relative to another one."""

_EARLIER = {
    "previous_month": 1,
    "previous_quarter": 3,
    "previous_year": 12,
    "year_ago": 12,
    "yoy": 12,
    "year_over_year": 12,
    "same_period_last_year": 12,
}
"""Words for the same days, so many months earlier."""


def period_before(words: str, period: Period, asked_end: date | None = None) -> Period | None:
    """The period that is meant relative to another one; None for words that are not relative.

    Args:
        words: "previous" for the calendar unit before (of a unit that has not ended, the same days of it), and for the
            same number of days before any other period. Another one of `PERIODS_BEFORE` for the same days of an earlier
            week, month, quarter or year. The name of a month for the last such month before.
        period: The later one.
        asked_end: The last day of `period` before incomplete days at its end were left out. They are then left out of
            the period before as well: otherwise other weekdays would be compared.
    """
    words = re.sub(r"[\s_-]+", "_", words.strip().lower())
    if words in _EARLIER:
        return _months_before(period, _EARLIER[words])
    if words == "previous_week":
        return _days_before(period, 7)
    if words == "previous":
        return _unit_before(period, asked_end or period.end)
    if month := _month_number(words):
        end = month_of(period.start)[0] - _DAY
        while end.month != month:
            end = end.replace(day=1) - _DAY
        return Period(end.replace(day=1), end, end, unit="month")
    return None


def _unit_before(period: Period, asked_end: date) -> Period:
    start, unit = period.start, period.unit
    days = (asked_end - start).days + 1
    if unit is None:
        return _days_before(period, days)
    if unit == "week":
        return _days_before(period, -(-days // 7) * 7)
    if start == _SPANS[unit](start)[0] and period.end <= _SPANS[unit](start)[1]:
        return _months_before(period, _MONTHS[unit])
    if _whole_months(start, asked_end):
        return _months_before(period, 12 * (asked_end.year - start.year) + asked_end.month - start.month + 1)
    return _days_before(period, days)


_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def _days_before(period: Period, days: int) -> Period:
    start, end = period.start - days * _DAY, period.end - days * _DAY
    return Period(start, end, end)


def _months_before(period: Period, months: int) -> Period:
    """The same days of earlier months; the end of a month stays one if the period begins with a month."""
    start, end = (months_earlier(day, months) for day in (period.start, period.end))
    if _whole_months(period.start, period.end):
        end = month_of(end)[1]
    return Period(start, end, end)


def _whole_months(start: date, end: date) -> bool:
    return start.day == 1 and end == month_of(end)[1]


def _month_number(name: str) -> int | None:
    """The number of a month's name, or of its first letters."""
    if len(name) < 3:  # noqa: PLR2004
        return None
    return next((n for n, month in enumerate(calendar.month_name) if n and month.lower().startswith(name)), None)


def months_earlier(day: date, months: int) -> date:
    """The same day of an earlier month, or the last day of that month if it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    first = date(year, month + 1, 1)
    return first.replace(day=min(day.day, month_of(first)[1].day))


HORIZONS = {"month_end": month_of, "quarter_end": _quarter, "year_end": _year}
"""Words for the last day of a forecast."""


def parse_horizon(text: str, today: date) -> Period:
    """The period of a forecast: a whole month, quarter or year, or this month up to a given day.

    Raises:
        InvalidQueryError: The text is unknown, or the last day is before today or more than a year ahead.
    """
    words = re.sub(r"[\s_-]+", "_", text.strip().lower())
    if words in HORIZONS:
        start, end = HORIZONS[words](today)
        return Period(start, end, end)
    try:
        start, end = _span(text.strip().upper())
    except ValueError:
        accepted = ", ".join(HORIZONS)
        raise InvalidQueryError(
            f"until {short_repr(text)} is not known. Accepted: {accepted}, a month, quarter or year that is not over "
            "(2026-12, 2026-Q4, 2026), or a future day: 2026-12-15."
        ) from None
    if not today <= end <= today + 366 * _DAY:
        raise InvalidQueryError(f"until {end} must be a day from today ({today}, UTC) to a year ahead.")
    return Period(today.replace(day=1) if start == end else start, end, end)


def until_yesterday(period: Period, today: date) -> Period:
    """The period without today, which is incomplete; unless today is all of it."""
    if period.end < today or period.start == today:
        return period
    return replace(period, end=today - _DAY)


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
