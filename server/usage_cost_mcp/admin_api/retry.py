"""When to retry a request, and how long to wait first. Pure: the caller supplies the time and the jitter."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

TOO_MANY_REQUESTS = 429
_RETRIED = frozenset({408, 409, TOO_MANY_REQUESTS})
_SERVER_ERRORS = 500

_RATE_LIMIT_WAITS = (5.0, 15.0, 30.0)
"""Seconds to wait after each 429 without a wait time; the limit is per minute."""

_MAX_PLAUSIBLE_WAIT = 24 * 3600.0
"""Seconds. A longer wait is taken for an error of the sender and ignored."""

_FIRST_BACKOFF = 0.5
_MAX_BACKOFF = 8.0


def may_retry(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a retry can help. Upstream's `x-should-retry` takes precedence over the status."""
    override = headers.get("x-should-retry")
    if override in {"true", "false"}:
        return override == "true"
    return status in _RETRIED or status >= _SERVER_ERRORS


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds that upstream asks to wait; None if it does not say.

    The report endpoints send no Retry-After with a 429, but `anthropic-ratelimit-requests-reset`.
    """
    candidates = [
        _finite(headers.get("retry-after-ms"), 1000),
        _finite(headers.get("retry-after"), 1),
        _until(read_date(headers.get("retry-after", "")), now),
        _until(read_date(headers.get("anthropic-ratelimit-requests-reset", ""), datetime.fromisoformat), now),
    ]
    return next((seconds for seconds in candidates if seconds is not None), None)


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
    """A header's time in UTC, by default an HTTP date; None if it cannot be parsed."""
    try:
        moment = parse(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def backoff(status: int | None, attempt: int, random: float) -> float:
    """The seconds to wait if upstream does not say: exponential with jitter, longer for a rate limit.

    Args:
        status: The HTTP status; None without a response.
        attempt: The number of failed attempts, from 1.
        random: A number from 0 to 1, so that clients do not all retry at once.
    """
    if status == TOO_MANY_REQUESTS:
        return _RATE_LIMIT_WAITS[min(attempt, len(_RATE_LIMIT_WAITS)) - 1] + random
    return random * min(_MAX_BACKOFF, _FIRST_BACKOFF * 2**attempt)
