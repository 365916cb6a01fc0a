"""The one place where the Admin key meets a request.

Why: an Admin key can also write. It is therefore added only to a GET, over a safe connection, to the one host
that it is meant for, on a path that this program reads; anything else is refused here, whatever led to it.
"""

from collections.abc import Generator

import httpx
from pydantic import SecretStr

from usage_cost_mcp.runtime.addresses import is_loopback

PATHS = frozenset(
    f"/v1/organizations/{name}"
    for name in ("me", "usage_report/messages", "cost_report", "workspaces", "api_keys", "users")
)


class AdminKeyAuth(httpx.Auth):
    """Adds the key to requests that may carry it."""

    def __init__(self, key: SecretStr, base_url: str) -> None:
        self._key = key
        self._origin = httpx.URL(base_url)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the key.

        Raises:
            PermissionError: For a request that must not carry it.
        """
        url = request.url
        home = (url.scheme, url.host, url.port) == (self._origin.scheme, self._origin.host, self._origin.port)
        safe = (url.scheme == "https" or is_loopback(url.host)) and not url.userinfo
        if not (request.method == "GET" and home and safe and url.path in PATHS):
            raise PermissionError(f"The Admin key is not sent with {request.method} {url.host}{url.path}")
        request.headers["x-api-key"] = self._key.get_secret_value()
        yield request
