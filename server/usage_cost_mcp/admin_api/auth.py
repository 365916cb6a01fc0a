"""The only place that adds the Admin key to a request.

Why: an Admin key can also write. It is therefore added only to a GET, over TLS or loopback, to the configured host, on
a path of the allow-list. Anything else is refused here, whatever bug or redirect led to it. The allow-list repeats the
paths of the reports on purpose: a new source is allowed here, or not at all.
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
            PermissionError: The request must not carry it.
        """
        url = request.url
        same_origin = (url.scheme, url.host, url.port) == (self._origin.scheme, self._origin.host, self._origin.port)
        safe = (url.scheme == "https" or is_loopback(url.host)) and not url.userinfo
        if not (request.method == "GET" and same_origin and safe and url.path in PATHS):
            raise PermissionError(f"The Admin key must not be sent with {request.method} {url.host}{url.path}")
        request.headers["x-api-key"] = self._key.get_secret_value()
        yield request
