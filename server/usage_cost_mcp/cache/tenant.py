"""The tenant check: tiers outside this process are used only after the Admin API has accepted our key."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from usage_cost_mcp.errors import AccessError, UpstreamError
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import Clock

from .ports import DayCache, FetchCoordinator

VERIFIED_SECONDS = 600.0
"""How long an accepted key is trusted before it is verified again."""

UNVERIFIED_SECONDS = 60.0
"""How long nothing is shared after the API could not say whose key it is."""

OrganizationLookup = Callable[[CallContext], Awaitable[tuple[str, str]]]
"""Returns the id and name of the organization; concurrent callers share one request."""


class SharedCache(NamedTuple):
    """The tiers of one organization outside this process, and the coordination with the processes that share them."""

    days: DayCache
    coordinator: FetchCoordinator


class TenantGuard:
    """Opens the shared cache of the organization whose key this is.

    Why: access to Redis alone must not be enough to read an organization's numbers, and a revoked key must stop
    reading them. Only the API can say whether a key is valid and whose it is.

    Args:
        open_shared: Returns the shared cache of an organization, by its id.
        get_organization: Looks up the organization of the key.
    """

    def __init__(
        self, open_shared: Callable[[str], SharedCache], get_organization: OrganizationLookup, clock: Clock
    ) -> None:
        self._open_shared = open_shared
        self._get_organization = get_organization
        self._clock = clock
        self._shared: SharedCache | None = None
        self._verified_until = 0.0

    async def open(self, call: CallContext) -> SharedCache | None:
        """The shared cache, after a request to the API if the last one is too old; None if the API is unavailable.

        Raises:
            AccessError: The API does not accept the key.
        """
        if self._clock.monotonic() >= self._verified_until:
            await self._verify_tenant(call)
        return self._shared

    async def _verify_tenant(self, call: CallContext) -> None:
        self._shared, seconds = None, UNVERIFIED_SECONDS
        try:
            organization, _ = await self._get_organization(call)
            self._shared, seconds = self._open_shared(organization), VERIFIED_SECONDS
        except AccessError:
            raise
        except UpstreamError:
            pass
        self._verified_until = self._clock.monotonic() + seconds

    async def clear(self) -> None:
        """Drop all days of the organization, for every process, and verify the key before the next use."""
        shared, self._shared, self._verified_until = self._shared, None, 0.0
        if shared is not None:
            await shared.days.clear()
