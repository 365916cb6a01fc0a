"""When to try again, and how long to wait before it. Pure: no clock, no randomness of its own."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

TOO_MANY_REQUESTS = 429
_RETRIED = frozenset({408, 409, TOO_MANY_REQUESTS})
_SERVER_ERRORS = 500

_RATE_LIMIT_WAITS = (5.0, 15.0, 30.0)
"""Seconds to wait after a 429 that does not say how long; the limit is counted per minute."""

_MAX_PLAUSIBLE_WAIT = 24 * 3600.0
"""Seconds; whoever asks for more has made a mistake."""

_FIRST_BACKOFF = 0.5
_MAX_BACKOFF = 8.0


def may_retry(status: int, headers: Mapping[str, str]) -> bool:
    """Whether trying again can help. `x-should-retry` from upstream overrides the table."""
    told = headers.get("x-should-retry")
    if told in {"true", "false"}:
        return told == "true"
    return status in _RETRIED or status >= _SERVER_ERRORS


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds that upstream asks to wait, or None when it does not say.

    The report endpoints send no Retry-After with a 429; `anthropic-ratelimit-requests-reset` is there instead.
    """
    asked = [
        _finite(headers.get("retry-after-ms"), 1000),
        _finite(headers.get("retry-after"), 1),
        _until(read_date(headers.get("retry-after", "")), now),
        _until(read_date(headers.get("anthropic-ratelimit-requests-reset", ""), datetime.fromisoformat), now),
    ]
    return next((seconds for seconds in asked if seconds is not None), None)


def _finite(value: str | None, per_second: float) -> float | None:
    try:
        seconds = float(value or "") / per_second
    except ValueError:
        return None
    return _plausible(seconds)


def _until(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else _plausible(max(0.0, (moment - now).total_seconds()))


def _plausible(seconds: float) -> float | None:
    return seconds if 0 <= seconds <= _MAX_PLAUSIBLE_WAIT else None


def read_date(value: str, parse: Callable[[str], datetime] = parsedate_to_datetime) -> datetime | None:
    """A moment in UTC from a header, by default in the form of HTTP; None when it is not one."""
    try:
        moment = parse(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def backoff(status: int | None, attempt: int, chance: float) -> float:
    """The seconds to wait when upstream does not say.

    Args:
        status: Of the response, None when there was none.
        attempt: How many have failed, from 1.
        chance: A random number from 0 to 1, so that callers do not come back all at once.
    """
    if status == TOO_MANY_REQUESTS:
        return _RATE_LIMIT_WAITS[min(attempt, len(_RATE_LIMIT_WAITS)) - 1] + chance
    return chance * min(_MAX_BACKOFF, _FIRST_BACKOFF * 2**attempt)
