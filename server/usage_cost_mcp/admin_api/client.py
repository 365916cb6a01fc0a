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
from usage_cost_mcp.runtime.call_context import Call
from usage_cost_mcp.runtime.clock import CorrectedClock
from usage_cost_mcp.runtime.limits import Bounds
from usage_cost_mcp.runtime.rate_limit import Allowance
from usage_cost_mcp.runtime.tls import strict_tls
from usage_cost_mcp.settings import Settings

from . import error_mapping
from .auth import AdminKeyAuth
from .bounded_body import read_body
from .error_mapping import Failure
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
        bounds: How far a request may go.
        allowance: Counts the requests of a minute, maybe those of other processes too; None for any number.
        chance: A random number from 0 to 1, so that callers who failed together do not come back together.
    """

    def __init__(
        self,
        settings: Settings,
        clock: CorrectedClock,
        bounds: Bounds,
        allowance: Allowance | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._key_source = settings.key_source
        self._clock = clock
        self._bounds = bounds
        self._chance = chance
        take = partial(allowance.take, "requests", bounds.requests_a_minute) if allowance else unlimited
        self._throttle = Throttle(clock, bounds, take)
        self._http = httpx.AsyncClient(
            base_url=settings.base_url,
            auth=AdminKeyAuth(settings.admin_key, settings.base_url),
            headers={
                "accept-encoding": "gzip",
                "anthropic-version": API_VERSION,
                "user-agent": f"usage-cost-mcp/{version('usage-cost-mcp')}",
            },
            timeout=httpx.Timeout(bounds.request_seconds, connect=bounds.connect_seconds),
            follow_redirects=False,
            trust_env=False,
            verify=strict_tls(),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str, params: Params, call: Call, headers: Mapping[str, str] | None = None) -> bytearray:
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
                self._throttle.succeeded()
                return outcome
            await self._make_ready_to_retry(outcome, attempt, call)
            attempt += 1

    async def _make_ready_to_retry(self, failure: Failure, attempt: int, call: Call) -> None:
        """Wait as long as it takes, or raise the failure's error when another attempt does not help or fit."""
        wait = backoff(failure.status, attempt, self._chance()) if failure.wait is None else failure.wait
        if failure.status == TOO_MANY_REQUESTS and failure.retryable:
            self._throttle.pause(wait)
        hopeless = not failure.retryable or attempt == self._bounds.attempts or self._too_late(wait, call)
        if hopeless or not self._throttle.take_retry():
            raise failure.error
        if failure.status != TOO_MANY_REQUESTS:
            await self._clock.sleep(wait)

    def _too_late(self, wait: float, call: Call) -> bool:
        return self._clock.monotonic() + wait >= call.deadline

    async def _attempt(self, path: str, params: Params, call: Call, headers: Mapping[str, str]) -> bytearray | Failure:
        try:
            response, body = await self._send(path, params, call, headers)
        except UpstreamError as error:
            return Failure(error, retryable=False)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return error_mapping.of_exception(error, self._http.base_url.netloc.decode())
        if (moment := read_date(response.headers.get("date", ""))) is not None:
            self._clock.heard(moment)
        if response.status_code == HTTPStatus.OK:
            return body
        names = [name for name, _ in params]
        return error_mapping.of_response(response, body, self._key_source, names, self._clock.now())

    async def _send(
        self, path: str, params: Params, call: Call, headers: Mapping[str, str]
    ) -> tuple[httpx.Response, bytearray]:
        async with self._throttle.place(call.deadline):
            call.requests += 1
            left = call.deadline - self._clock.monotonic()
            async with (
                asyncio.timeout(min(self._bounds.request_seconds, left)),
                self._http.stream("GET", path, params=list(params), headers=dict(headers)) as response,
            ):
                return response, await read_body(response, self._bounds.body_bytes)
