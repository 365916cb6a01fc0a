"""Sends one request to the Admin API, bounded in time and size, with retries."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from importlib.metadata import version

import httpx

from usage_cost_mcp.errors import UpstreamError
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import CorrectedClock
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.runtime.rate_limit import RateLimiter
from usage_cost_mcp.runtime.tls import create_ssl_context
from usage_cost_mcp.settings import Settings

from . import error_mapping
from .auth import AdminKeyAuth
from .bounded_body import read_body
from .error_mapping import FailedAttempt
from .retry import TOO_MANY_REQUESTS, backoff, read_date
from .throttle import Throttle, unlimited

API_VERSION = "2023-06-01"

for _library in ("httpx", "httpcore"):
    # At INFO and DEBUG they log URLs and headers, whose content upstream controls.
    logging.getLogger(_library).setLevel(logging.WARNING)

Params = Sequence[tuple[str, str | int]]


class AdminApi:
    """Read-only access to one organization's Admin API.

    It ignores proxies, netrc files and TLS key logs named in the environment, and follows no redirect: each of them
    could disclose the key.

    Args:
        settings: Base URL and key.
        clock: Corrected by the `Date` header of responses.
        limits: Time, size, concurrency and retry limits.
        rate_limiter: Limits the requests per minute, possibly across processes; None for no limit.
        random: Returns a number from 0 to 1: jitter, so that clients that failed together do not retry together.
    """

    def __init__(
        self,
        settings: Settings,
        clock: CorrectedClock,
        limits: Limits,
        rate_limiter: RateLimiter | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._key_source = settings.key_source
        self._clock = clock
        self._limits = limits
        self._random = random
        take = partial(rate_limiter.acquire, "requests", limits.requests_per_minute) if rate_limiter else unlimited
        self._throttle = Throttle(clock, limits, take)
        self._http = httpx.AsyncClient(
            base_url=settings.base_url,
            auth=AdminKeyAuth(settings.admin_key, settings.base_url),
            headers={
                "accept-encoding": "gzip",
                "anthropic-version": API_VERSION,
                "user-agent": f"usage-cost-mcp/{version('usage-cost-mcp')}",
            },
            timeout=httpx.Timeout(limits.request_seconds, connect=limits.connect_seconds),
            follow_redirects=False,
            trust_env=False,
            verify=create_ssl_context(),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(
        self, path: str, params: Params, call: CallContext, headers: Mapping[str, str] | None = None
    ) -> bytearray:
        """The body of a 200 response, retried as long as that can help and the call has time.

        Raises:
            AccessError: 401 or 403.
            RateLimitedError: 429 beyond the deadline of the call.
            ResponseTooLargeError: The response is too slow or too large.
            UnavailableError: A server error or no connection, on every attempt.
            ContractError: Any other status.
        """
        attempt = 1
        while True:
            outcome = await self._attempt(path, params, call, headers or {})
            if isinstance(outcome, bytearray):
                self._throttle.record_success()
                return outcome
            await self._wait_or_raise(outcome, attempt, call)
            attempt += 1

    async def _wait_or_raise(self, failure: FailedAttempt, attempt: int, call: CallContext) -> None:
        """Wait before the next attempt, or raise the error if another attempt cannot help or does not fit."""
        wait = backoff(failure.status, attempt, self._random()) if failure.wait is None else failure.wait
        if failure.status == TOO_MANY_REQUESTS and failure.retryable:
            self._throttle.back_off(wait)
        give_up = not failure.retryable or attempt == self._limits.attempts or self._exceeds_deadline(wait, call)
        if give_up or not self._throttle.try_spend_retry():
            raise failure.error
        if failure.status != TOO_MANY_REQUESTS:
            await self._clock.sleep(wait)

    def _exceeds_deadline(self, wait: float, call: CallContext) -> bool:
        return self._clock.monotonic() + wait >= call.deadline

    async def _attempt(
        self, path: str, params: Params, call: CallContext, headers: Mapping[str, str]
    ) -> bytearray | FailedAttempt:
        try:
            response, body = await self._send(path, params, call, headers)
        except UpstreamError as error:
            return FailedAttempt(error, retryable=False)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return error_mapping.of_exception(error, self._http.base_url.netloc.decode())
        if (moment := read_date(response.headers.get("date", ""))) is not None:
            self._clock.record_api_time(moment)
        if response.status_code == HTTPStatus.OK:
            return body
        names = [name for name, _ in params]
        return error_mapping.of_response(response, body, self._key_source, names, self._clock.now())

    async def _send(
        self, path: str, params: Params, call: CallContext, headers: Mapping[str, str]
    ) -> tuple[httpx.Response, bytearray]:
        async with self._throttle.slot(call.deadline):
            call.requests += 1
            left = call.deadline - self._clock.monotonic()
            async with (
                asyncio.timeout(min(self._limits.request_seconds, left)),
                self._http.stream("GET", path, params=list(params), headers=dict(headers)) as response,
            ):
                return response, await read_body(response, self._limits.max_body_bytes)
