"""The HTTP server on a real socket, inside the test process."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
from mcp import Client
from mcp.server import MCPServer
from mcp.types import ReadResourceResult, TextResourceContents

from tests.support.subprocess_http_server import NO_TLS, client_of
from usage_cost_mcp.app import build_http_server
from usage_cost_mcp.http.access import HttpAccess
from usage_cost_mcp.http.server import Server, bind
from usage_cost_mcp.http.settings import HttpSettings
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.settings import Settings

LISTING: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}


@dataclass
class Front:
    """A running HTTP server, with clients for it."""

    url: str
    access: HttpAccess
    http: httpx.AsyncClient

    async def post(self, token: str | None = None, **options: Any) -> httpx.Response:
        """Send a plain `tools/list` request."""
        authorization = {} if token is None else {"authorization": f"Bearer {token}"}
        headers = {**HEADERS, **authorization, **options.pop("headers", {})}
        return await self.http.post(self.url, json=LISTING, headers=headers, **options)

    @property
    def ephemeral_token(self) -> str | None:
        """The token that the server printed at the start."""
        return self.access.authentication and self.access.authentication.ephemeral_token

    async def get(self, path: str) -> httpx.Response:
        return await self.http.get(httpx.URL(self.url).join(path))

    def client(self, token: str | None, mode: str = "auto") -> AbstractAsyncContextManager[Client]:
        """A real MCP client with a token."""
        return client_of(self.url, token, mode)


class _Server(Server):
    """Stops when the test ends instead of on a signal."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, startup_message="")
        self.listening, self.stopped = asyncio.Event(), asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        self.listening.set()
        await self.stopped.wait()


@asynccontextmanager
async def served(
    clock: Clock,
    upstream: str = "http://127.0.0.1:9",
    prepare: Callable[[MCPServer[Any], HttpAccess], object] | None = None,
    *,
    demo: bool = False,
    **options: Any,
) -> AsyncGenerator[Front]:
    """A server as `serve --http` runs it, on a free port.

    Args:
        clock: The source of time.
        upstream: The URL of the Admin API; by default nothing listens there.
        prepare: Called before the start, for example to add tools.
        demo: Whether the organization is the demo.
        options: Fields of HttpSettings. The audience of `oauth_issuer` is the server's own URL.
    """
    with bind(HttpSettings(port=0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        front = HttpSettings(oauth_audience=url, **options)
        server, access = build_http_server(replace(Settings.for_demo({}, upstream), demo=demo), front, clock)
        if access.authentication and access.authentication.issuer_keys:
            await access.authentication.issuer_keys.load()
        if prepare:
            prepare(server, access)
        serving = _Server(server, access, front)
        task = asyncio.create_task(serving.serve([listener]))
        try:
            await asyncio.wait_for(serving.listening.wait(), 20)
            async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as http:
                yield Front(url, access, http)
        finally:
            serving.stopped.set()
            await asyncio.wait_for(task, 20)


def text_in(result: ReadResourceResult) -> str:
    (content,) = result.contents
    assert isinstance(content, TextResourceContents)
    return content.text


def pieces(secret: str, length: int = 12) -> set[str]:
    """Every part of a secret that would be a leak."""
    return {secret[at : at + length] for at in range(max(1, len(secret) - length + 1))}


def holds_none_of(secret: str, *texts: str) -> bool:
    """Whether no part of a secret is in any of the texts."""
    return not any(piece in text for text in texts for piece in pieces(secret))
