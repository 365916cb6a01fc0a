"""Maps failed requests to errors, and decides whether a retry can help.

Upstream text is untrusted and never quoted; only the status, the request id and a few known words are used.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

import httpx
from pydantic_core import from_json

from usage_cost_mcp.errors import (
    AccessError,
    BetaHeaderError,
    ContractError,
    InconsistentPagesError,
    KeyRefusedError,
    RateLimitedError,
    ResponseTooLargeError,
    UnavailableError,
    UpstreamError,
)
from usage_cost_mcp.settings import CREATE_KEY_HINT

from .retry import backoff, may_retry, retry_after_seconds

_SPEND_CAP = "enforced_spend_limit_reached"
_PAGE = "page"
_BETA = "anthropic-beta"


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A failed attempt to send a request.

    Attributes:
        error: Raised if there is no further attempt.
        retryable: Whether another attempt can help.
        status: The HTTP status; None without a response.
        wait: The seconds that upstream asks to wait; None if it does not say.
    """

    error: UpstreamError
    retryable: bool
    status: int | None = None
    wait: float | None = None


def of_exception(error: httpx.HTTPError | httpx.InvalidURL | TimeoutError, host: str) -> FailedAttempt:
    match error:
        case httpx.ConnectTimeout() | httpx.ConnectError():
            message = f"No connection to {host}: check the network, the hostname and the TLS certificate."
            return FailedAttempt(UnavailableError(message), retryable=True)
        case httpx.TimeoutException() | TimeoutError():
            message = f"{host} did not answer in time. Ask again in a moment, or for a shorter period."
            return FailedAttempt(ResponseTooLargeError(message), retryable=False)
        case _:
            return FailedAttempt(
                UnavailableError(f"The connection to {host} broke. Ask again in a moment."), retryable=True
            )


def of_response(
    response: httpx.Response, body: bytearray, key_source: str, params: Sequence[str], now: datetime
) -> FailedAttempt:
    """The failure of a response other than 200."""
    status = response.status_code
    capped = _details_code(body) == _SPEND_CAP
    wait = retry_after_seconds(response.headers, now)
    error = spend_capped(body) if capped else _error(response, body, key_source, params, now, wait)
    retryable = may_retry(status, response.headers) and not capped and not isinstance(error, ResponseTooLargeError)
    return FailedAttempt(error, retryable, status, wait)


def _error(
    response: httpx.Response,
    body: bytearray,
    key_source: str,
    params: Sequence[str],
    now: datetime,
    wait: float | None,
) -> UpstreamError:
    request_id = _request_id(response)
    path, status = response.url.path, response.status_code
    where = f"{path} answered {status}{request_id}"
    error: UpstreamError
    match status:
        case HTTPStatus.UNAUTHORIZED:
            error = KeyRefusedError(
                f"Anthropic does not accept the Admin key from {key_source} (401{request_id}): it is wrong or has "
                f"been revoked. {CREATE_KEY_HINT}; then restart this server."
            )
        case HTTPStatus.FORBIDDEN:
            error = AccessError(
                f"The key from {key_source} may not read {path} (403{request_id}). It must be an Admin key of an "
                "organization, not of an individual account."
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            error = rate_limited(backoff(status, 1, 0) if wait is None else wait, now)
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE | HTTPStatus.GATEWAY_TIMEOUT:
            error = ResponseTooLargeError(f"{where}: too much data for one request. Ask for a shorter period.")
        case HTTPStatus.BAD_REQUEST | HTTPStatus.GONE if _PAGE in params:
            error = InconsistentPagesError(f"{where} in the middle of its pages. No total is reported; ask again.")
        case HTTPStatus.BAD_REQUEST if _BETA in response.request.headers:
            error = BetaHeaderError(
                f"{where}: it rejected a request for the speed (fast mode), which not every organization may send. "
                "Ask without the dimension speed."
            )
        case HTTPStatus.BAD_REQUEST:
            named = sorted({name for name in params if name.removesuffix("[]").encode() in body})
            hint = f" It names {', '.join(named)}." if named else ""
            error = ContractError(f"{where}: it rejected the server's request.{hint} Please report this.")
        case _ if may_retry(status, {}):
            error = UnavailableError(f"{where}: the API is unavailable at the moment. Ask again in a few minutes.")
        case _:
            error = ContractError(f"{where}, an unexpected status; no total is reported.")
    return error


def rate_limited(seconds: float, now: datetime) -> RateLimitedError:
    """The error of a rate limit that lasts for some more seconds."""
    retry_at = now + timedelta(seconds=seconds)
    return RateLimitedError(
        f"The rate limit for report requests is reached. Ask again in {max(1, round(seconds))} seconds "
        f"(at {retry_at:%H:%M:%S} UTC)."
    )


def spend_capped(body: bytearray) -> RateLimitedError:
    """The error of a monthly spend limit, which blocks all requests until it is raised or the month ends."""
    day = re.search(rb"20\d{2}-\d{2}-\d{2}", body)
    until = f" until {day[0].decode()}" if day else ""
    return RateLimitedError(
        f"The organization has reached its monthly spend limit, and Anthropic refuses requests{until}. "
        "An admin can raise the limit in the Claude Console."
    )


def _request_id(response: httpx.Response) -> str:
    given = response.headers.get("request-id", "")
    return f", request-id {given}" if re.fullmatch(r"req_\w{1,64}", given, re.ASCII) else ""


def _details_code(body: bytearray) -> object:
    try:
        return from_json(body)["error"]["details"]["error_code"]
    except (ValueError, LookupError, TypeError):
        return None
