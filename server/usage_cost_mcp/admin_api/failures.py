"""What went wrong with a request, in our words, and whether sending it again can help.

Upstream text is untrusted and never quoted; only the status, the request id and a few known words are used.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

import httpx
from pydantic_core import from_json

from usage_cost_mcp.errors import (
    AccessError,
    ContractError,
    RateLimitedError,
    UnavailableError,
    UpstreamError,
)
from usage_cost_mcp.settings import MAKE_A_KEY

from .retry import may_retry, told_to_wait

_SPEND_CAP = "enforced_spend_limit_reached"


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt.

    Attributes:
        error: What the caller gets when it is not tried again.
        retryable: Whether trying again can help.
        status: Of the response, None when there was none.
        wait: The seconds that upstream asks to wait, None when it does not say.
    """

    error: UpstreamError
    retryable: bool
    status: int | None = None
    wait: float | None = None


def of_exception(error: httpx.HTTPError | httpx.InvalidURL | TimeoutError, host: str) -> Failure:
    """A request that brought no response."""
    match error:
        case httpx.ConnectTimeout() | httpx.ConnectError():
            said = f"No connection to {host}: check the network, the proxy rules and the name."
        case httpx.TimeoutException() | TimeoutError():
            said = f"{host} did not answer in time. Ask again in a moment, or for a shorter period."
        case _:
            said = f"The connection to {host} broke. Ask again in a moment."
    return Failure(UnavailableError(said), retryable=True)


def of_response(response: httpx.Response, key_source: str, params: Iterable[str], now: datetime) -> Failure:
    """A response that is not the 200 that was hoped for."""
    status = response.status_code
    wait = told_to_wait(response.headers, now)
    return Failure(
        _error(response, key_source, params, now, wait),
        retryable=may_retry(status, response.headers) and _details_code(response) != _SPEND_CAP,
        status=status,
        wait=wait,
    )


def _error(
    response: httpx.Response, key_source: str, params: Iterable[str], now: datetime, wait: float | None
) -> UpstreamError:
    where = f"{response.url.path} answered {response.status_code}{_request_id(response)}"
    match response.status_code:
        case HTTPStatus.UNAUTHORIZED:
            return AccessError(
                f"Anthropic does not accept the Admin key from {key_source} (401{_request_id(response)}): "
                f"it is wrong or was revoked. {MAKE_A_KEY}; then restart this server."
            )
        case HTTPStatus.FORBIDDEN:
            return AccessError(
                f"The key from {key_source} may not read {response.url.path} (403{_request_id(response)}). "
                "It must be an Admin key of an organization, not of an individual account."
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            return _rate_limited(response, now, wait)
        case HTTPStatus.BAD_REQUEST:
            named = sorted({name for name in params if name.removesuffix("[]") in response.text})
            hint = f" It names {', '.join(named)}." if named else ""
            return ContractError(f"{where}: it does not take the request as we send it.{hint} Please report this.")
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
            return UnavailableError(f"{where}: Anthropic has trouble at the moment. Ask again in a few minutes.")
        case _:
            return ContractError(f"{where}, which is not an answer we can use. No number is given.")


def _rate_limited(response: httpx.Response, now: datetime, wait: float | None) -> RateLimitedError:
    if _details_code(response) == _SPEND_CAP:
        day = re.search(r"\d{4}-\d{2}-\d{2}", response.text)
        until = f" until {day[0]}" if day else ""
        return RateLimitedError(
            f"The organization has reached its monthly spend limit, and Anthropic refuses requests{until}. "
            "An admin can raise the limit in the Claude Console."
        )
    seconds = 60.0 if wait is None else wait
    retry_at = now + timedelta(seconds=seconds)
    return RateLimitedError(
        f"Anthropic's limit on report requests is reached. Ask again in {max(1, round(seconds))} seconds "
        f"(at {retry_at:%H:%M:%S} UTC).",
        retry_at,
    )


def _request_id(response: httpx.Response) -> str:
    given = response.headers.get("request-id", "")
    return f", request-id {given}" if re.fullmatch(r"req_\w{1,64}", given, re.ASCII) else ""


def _details_code(response: httpx.Response) -> object:
    try:
        body = from_json(response.content)
        return body["error"]["details"]["error_code"]
    except (ValueError, LookupError, TypeError):
        return None
