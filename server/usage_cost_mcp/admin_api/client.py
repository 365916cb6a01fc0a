"""One request to the Admin API: sent, bounded in time, sent again where that can help."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from importlib.metadata import version

import httpx

from usage_cost_mcp.calls import Call
from usage_cost_mcp.clock import Clock
from usage_cost_mcp.settings import Settings

from . import failures
from .auth import AdminKeyAuth
from .failures import Failure
from .retry import ATTEMPTS, backoff, read_date

REQUEST_SECONDS = 30.0
"""The longest that one request may take; grouped months of large organizations are slow."""

CONNECT_SECONDS = 5.0
REQUESTS_AT_ONCE = 4
API_VERSION = "2023-06-01"

Params = Sequence[tuple[str, str | int]]


class AdminApi:
    """Read-only access to one organization's Admin API.

    Proxies, netrc files and key logs named in the environment are not used, and no redirect is followed: the key
    would travel along.

    Attributes:
        clock_skew: How far our clock is ahead of upstream's, by the last response; None before the first.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._key_source = settings.key_source
        self._clock = clock
        self.clock_skew: timedelta | None = None
        self._places = asyncio.Semaphore(REQUESTS_AT_ONCE)
        self._http = httpx.AsyncClient(
            base_url=settings.base_url,
            auth=AdminKeyAuth(settings.admin_key, settings.base_url),
            headers={
                "anthropic-version": API_VERSION,
                "user-agent": f"usage-cost-mcp/{version('usage-cost-mcp')}",
            },
            timeout=httpx.Timeout(REQUEST_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str, params: Params, call: Call, headers: Mapping[str, str] | None = None) -> bytes:
        """The body of the answer, after as many attempts as help and as the call has time for.

        Raises:
            AccessError: 401, 403.
            RateLimitedError: 429, when it lasts longer than the call may.
            UnavailableError: A server error, a time-out or no connection, again and again.
            ContractError: Any other status.
        """
        attempt = 1
        while isinstance(outcome := await self._attempt(path, params, call, headers or {}), Failure):
            wait = outcome.wait
            if wait is None:
                wait = backoff(outcome.status, attempt, random.random())  # noqa: S311 - spreads load, hides nothing
            too_late = self._clock.monotonic() + wait >= call.deadline
            if too_late or attempt == ATTEMPTS or not outcome.retryable:
                raise outcome.error
            await self._clock.sleep(wait)
            attempt += 1
        return outcome

    async def _attempt(self, path: str, params: Params, call: Call, headers: Mapping[str, str]) -> bytes | Failure:
        try:
            response = await self._send(path, params, call, headers)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return failures.of_exception(error, self._http.base_url.netloc.decode())
        self._compare_clocks(response.headers.get("date", ""))
        if response.status_code == HTTPStatus.OK:
            return response.content
        return failures.of_response(response, self._key_source, [name for name, _ in params], self._clock.now())

    def _compare_clocks(self, date: str) -> None:
        moment = read_date(date)
        if moment is not None:
            self.clock_skew = self._clock.now() - moment

    async def _send(self, path: str, params: Params, call: Call, headers: Mapping[str, str]) -> httpx.Response:
        async with self._places:
            call.requests += 1
            left = call.deadline - self._clock.monotonic()
            async with asyncio.timeout(min(REQUEST_SECONDS, left)):
                return await self._http.get(path, params=list(params), headers=dict(headers))
