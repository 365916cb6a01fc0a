"""The team's server on a real socket, inside the process of the test."""

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
    """Where the server can be asked."""

    url: str
    access: HttpAccess
    http: httpx.AsyncClient

    async def post(self, token: str | None = None, **options: Any) -> httpx.Response:
        """Ask for the list of tools, as a program does that knows no more of MCP than its wire."""
        shown = {} if token is None else {"authorization": f"Bearer {token}"}
        headers = {**HEADERS, **shown, **options.pop("headers", {})}
        return await self.http.post(self.url, json=LISTING, headers=headers, **options)

    @property
    def ephemeral_token(self) -> str | None:
        """The token that the server printed at the start."""
        return self.access.authentication and self.access.authentication.ephemeral_token

    async def get(self, path: str) -> httpx.Response:
        return await self.http.get(httpx.URL(self.url).join(path))

    def client(self, token: str | None, mode: str = "auto") -> AbstractAsyncContextManager[Client]:
        """A real MCP client that shows a token."""
        return client_of(self.url, token, mode)


class _Server(Server):
    """Ends when the test says so, not on a signal."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, startup_message="")
        self.listens, self.over = asyncio.Event(), asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        self.listens.set()
        await self.over.wait()


@asynccontextmanager
async def served(
    clock: Clock,
    upstream: str = "http://127.0.0.1:9",
    prepare: Callable[[MCPServer[Any], HttpAccess], object] | None = None,
    *,
    demo: bool = False,
    **options: Any,
) -> AsyncGenerator[Front]:
    """A server as `serve --http` runs it, on a port that was free.

    Args:
        clock: The source of time.
        upstream: Where the Admin API is; nobody is there by default.
        prepare: May add tools of the test.
        demo: Whether the organization is the demo.
        options: Settings of the front. `oauth_issuer` goes with the front's own URL.
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
            await asyncio.wait_for(serving.listens.wait(), 20)
            async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as http:
                yield Front(url, access, http)
        finally:
            serving.over.set()
            await asyncio.wait_for(task, 20)


def text_in(result: ReadResourceResult) -> str:
    (content,) = result.contents
    assert isinstance(content, TextResourceContents)
    return content.text


def pieces(secret: str, length: int = 12) -> set[str]:
    """All that would be a leak of it."""
    return {secret[at : at + length] for at in range(max(1, len(secret) - length + 1))}


def holds_none_of(secret: str, *said: str) -> bool:
    """Whether no part of a secret is in what was said."""
    return not any(piece in each for each in said for piece in pieces(secret))
