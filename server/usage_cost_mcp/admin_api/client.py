"""One request to the Admin API: sent, bounded in time and size, sent again where that can help."""

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
    # Their finer levels print addresses and headers, and upstream decides what stands in those.
    logging.getLogger(_library).setLevel(logging.WARNING)

Params = Sequence[tuple[str, str | int]]


class AdminApi:
    """Read-only access to one organization's Admin API.

    Proxies, netrc files and key logs named in the environment are not used, and no redirect is followed: the key
    would travel along.

    Args:
        settings: Where to ask, and with which key.
        clock: Told what time upstream has.
        limits: How far a request may go.
        rate_limiter: Counts the requests of a minute, maybe those of other processes too; None for any number.
        chance: A random number from 0 to 1, so that callers who failed together do not come back together.
    """

    def __init__(
        self,
        settings: Settings,
        clock: CorrectedClock,
        limits: Limits,
        rate_limiter: RateLimiter | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._key_source = settings.key_source
        self._clock = clock
        self._limits = limits
        self._chance = chance
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
        """The body of the answer, after as many attempts as help and as the call has time for.

        Raises:
            AccessError: 401, 403.
            RateLimitedError: 429, when it lasts longer than the call may.
            TooMuchError: An answer that is too slow or too large.
            UnavailableError: A server error or no connection, again and again.
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
        """Wait as long as it takes, or raise the failure's error when another attempt does not help or fit."""
        wait = backoff(failure.status, attempt, self._chance()) if failure.wait is None else failure.wait
        if failure.status == TOO_MANY_REQUESTS and failure.retryable:
            self._throttle.back_off(wait)
        hopeless = not failure.retryable or attempt == self._limits.attempts or self._deadline_error(wait, call)
        if hopeless or not self._throttle.try_spend_retry():
            raise failure.error
        if failure.status != TOO_MANY_REQUESTS:
            await self._clock.sleep(wait)

    def _deadline_error(self, wait: float, call: CallContext) -> bool:
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
