"""The names of workspaces, API keys, members and the organization."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cachetools import TLRUCache, TTLCache
from pydantic import TypeAdapter

from usage_cost_mcp.errors import KeyRefusedError, UpstreamError
from usage_cost_mcp.model.names import ACTIVE, UNKNOWN_WORKSPACE, Name, NamesById, UnknownWorkspace
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.concurrency import SingleFlight

from .client import AdminApi
from .paging import next_page_token, walk
from .sanitise import sanitised
from .schemas import API_KEYS, ORGANIZATION, USERS, WORKSPACES, ApiKey, ListPage, User, Workspace, read

_ME = "/v1/organizations/me"

LIST_LIMIT = 1000
NAMES_TTL_SECONDS = 600.0
"""A renamed workspace shows its new name after ten minutes."""

ORGANIZATION_TTL_SECONDS = 20.0
"""Short, so that a revoked key is noticed soon."""

UNAVAILABLE_TTL_SECONDS = 60.0
"""How long a list that could not be read is not requested again."""


def _expires_at(_dimension: str, names: NamesById | None, now: float) -> float:
    return now + (UNAVAILABLE_TTL_SECONDS if names is None else NAMES_TTL_SECONDS)


@dataclass(frozen=True, slots=True)
class _List:
    path: str
    page: TypeAdapter[ListPage[Any]]
    name: Callable[[Any], Name]
    params: tuple[tuple[str, str | int], ...] = ()


def _workspace(workspace: Workspace) -> Name:
    status = ACTIVE if workspace.archived_at is None else "archived"
    return Name(sanitised(workspace.name) or sanitised(workspace.id), status)


def _api_key(key: ApiKey) -> Name:
    return Name(
        sanitised(key.name) or sanitised(key.id),
        status=sanitised(key.status),
        workspace_id=_workspace_of(key),
    )


def _workspace_of(key: ApiKey) -> str | UnknownWorkspace | None:
    return None if key.workspace_id is None else sanitised(key.workspace_id) or UNKNOWN_WORKSPACE


def _user(user: User) -> Name:
    return Name(sanitised(user.name or user.email or "") or sanitised(user.id))


_LISTS = {
    "workspace_id": _List("/v1/organizations/workspaces", WORKSPACES, _workspace, (("include_archived", "true"),)),
    "api_key_id": _List("/v1/organizations/api_keys", API_KEYS, _api_key),
    "account_id": _List("/v1/organizations/users", USERS, _user),
}


class ApiDirectory:
    """Caches the lists of names; concurrent misses share one request."""

    def __init__(self, api: AdminApi, clock: Clock) -> None:
        self._api = api
        self._kept: TLRUCache[str, NamesById | None] = TLRUCache(len(_LISTS), _expires_at, timer=clock.monotonic)
        self._lookups: SingleFlight[str, NamesById] = SingleFlight()
        self._organization: TTLCache[str, tuple[str, str]] = TTLCache(
            1, ORGANIZATION_TTL_SECONDS, timer=clock.monotonic
        )
        self._organization_lookup: SingleFlight[str, tuple[str, str]] = SingleFlight()
        self._known_organization: tuple[str, str] | None = None

    async def names(self, dimension: str, call: CallContext) -> NamesById | None:
        """The names of all values of a dimension; None when the list cannot be read.

        A failed lookup must not fail an answer: the ids are still correct. Only a rejected key does.

        Raises:
            KeyRefusedError: 401.
        """
        if dimension in self._kept:
            return self._kept[dimension]
        try:
            return await self._lookups.run(dimension, lambda: self._read(dimension, call))
        except KeyRefusedError:
            raise
        except UpstreamError:
            self._kept[dimension] = None
            return None

    @property
    def known_organization(self) -> tuple[str, str] | None:
        """The id and the name of the organization if they have been looked up; never makes a request."""
        return self._known_organization

    async def organization(self, call: CallContext) -> tuple[str, str]:
        """The id and the name of the organization that the key belongs to."""
        if _ME in self._organization:
            return self._organization[_ME]
        return await self._organization_lookup.run(_ME, lambda: self._fetch_organization(call))

    async def _fetch_organization(self, call: CallContext) -> tuple[str, str]:
        found = read(ORGANIZATION, await self._api.get(_ME, [], call), _ME)
        self._organization[_ME] = self._known_organization = sanitised(found.id), sanitised(found.name)
        return self._known_organization

    async def _read(self, dimension: str, call: CallContext) -> NamesById:
        source = _LISTS[dimension]

        async def page(after: str | None) -> ListPage[Any]:
            params = [("limit", LIST_LIMIT), *source.params, *([("after_id", after)] if after else [])]
            return read(source.page, await self._api.get(source.path, params, call), source.path)

        def next_token(page: ListPage[Any]) -> str | None:
            return next_page_token(page.last_id, source.path, has_more=page.has_more)

        names: dict[str, Name] = {}
        async for each in walk(page, next_token, source.path):
            names |= {sanitised(item.id): source.name(item) for item in each.data}
        self._kept[dimension] = names
        return names
