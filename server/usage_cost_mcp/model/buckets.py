"""The buckets of a period: minutes, hours, days, weeks, months, or one total."""

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo

from .periods import Granularity, Period, midnight, month_of, week_of

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


def resolution(period: Period, granularity: Granularity) -> Granularity:
    """The coarsest upstream resolution that can be summed into the buckets of the period.

    Days of a zone that is not a whole number of hours from UTC need minutes, those of other zones hours.
    """
    edges = [midnight(day, period.zone) for day in (*period.days, period.end + _DAY)]
    if any(edge.minute for edge in edges):
        return "minute"
    if any(edge.hour for edge in edges):
        return "minute" if granularity == "minute" else "hour"
    return granularity


def bucket_start(moment: datetime, granularity: Granularity, period: Period) -> datetime:
    """The start of the bucket that contains a moment. A week starts on Monday, the total with the period."""
    day = moment.astimezone(period.zone).date()
    match granularity:
        case "minute":
            return moment.replace(second=0, microsecond=0)
        case "hour":
            return moment - _into_hour(moment, period.zone)
        case "day":
            return midnight(day, period.zone)
        case "week":
            return midnight(week_of(day)[0], period.zone)
        case "month":
            return midnight(day.replace(day=1), period.zone)
        case "total":
            return period.begins


def bucket_end(start: datetime, granularity: Granularity, period: Period) -> datetime:
    """The first moment after the bucket that starts at `start`."""
    day = start.astimezone(period.zone).date()
    match granularity:
        case "minute":
            return start + timedelta(minutes=1)
        case "hour":
            return start - _into_hour(start, period.zone) + _HOUR
        case "day":
            return midnight(day + _DAY, period.zone)
        case "week":
            return midnight(week_of(day)[1] + _DAY, period.zone)
        case "month":
            return midnight(month_of(day)[1] + _DAY, period.zone)
        case "total":
            return period.ends


def _into_hour(moment: datetime, zone: tzinfo) -> timedelta:
    """The time since the start of the zone's hour: the minutes of a UTC hour may differ."""
    local = moment.astimezone(zone)
    return local - local.replace(minute=0, second=0, microsecond=0)


def bucket_starts(period: Period, granularity: Granularity, now: datetime) -> list[datetime]:
    """The start of every bucket of the period that has begun, oldest first."""
    return list(_walk(period, granularity, now))


def _walk(period: Period, granularity: Granularity, now: datetime) -> Iterator[datetime]:
    start = bucket_start(period.begins, granularity, period)
    while start <= now and start < period.ends:
        yield start
        start = bucket_end(start, granularity, period)


def bucket_name(start: datetime, granularity: Granularity, period: Period) -> str:
    """2026-10-01 for a day and a week (its Monday), 2026-10 for a month, 2026-10-01..2026-10-15 for the total.

    An hour is 2026-10-01T05:00Z, or 2026-10-01T05:00+02:00 in another zone.
    """
    local = start.astimezone(period.zone)
    match granularity:
        case "minute" | "hour":
            return local.isoformat(timespec="minutes").replace("+00:00", "Z")
        case "month":
            return f"{local:%Y-%m}"
        case "total" if period.end > period.start:
            return f"{period.start}..{period.end}"
        case _:
            return f"{local:%Y-%m-%d}"
