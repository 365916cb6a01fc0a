"""The team's server on a real socket, inside the process of the test."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import httpx2
import uvicorn
from conftest import Listener
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from mcp.types import ReadResourceResult, TextResourceContents

from usage_cost_mcp.allowance import OwnAllowance
from usage_cost_mcp.app import build_server
from usage_cost_mcp.clock import Clock
from usage_cost_mcp.http.gate import HttpGate, open_gate
from usage_cost_mcp.http.settings import HttpSettings
from usage_cost_mcp.settings import Settings

LISTING: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}


@dataclass
class Front:
    """Where the server can be asked."""

    url: str
    gate: HttpGate
    http: httpx.AsyncClient

    async def post(self, token: str | None = None, **options: Any) -> httpx.Response:
        """Ask for the list of tools, as a program does that knows no more of MCP than its wire."""
        shown = {} if token is None else {"authorization": f"Bearer {token}"}
        headers = {**HEADERS, **shown, **options.pop("headers", {})}
        return await self.http.post(self.url, json=LISTING, headers=headers, **options)

    async def get(self, path: str) -> httpx.Response:
        return await self.http.get(httpx.URL(self.url).join(path))

    @asynccontextmanager
    async def client(self, token: str | None, mode: str = "auto") -> AsyncGenerator[Client]:
        """A real MCP client that shows a token."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False, timeout=30) as http_client,
            Listener(streamable_http_client(self.url, http_client=http_client), mode=mode) as client,
        ):
            yield client


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are the test runner's."""
        yield


@asynccontextmanager
async def served(
    clock: Clock,
    upstream: str = "http://127.0.0.1:9",
    prepare: Callable[[MCPServer[Any], HttpGate], object] | None = None,
    *,
    demo: bool = False,
    **options: Any,
) -> AsyncGenerator[Front]:
    """A server behind a gate, on a port that was free.

    Args:
        clock: The source of time.
        upstream: Where the Admin API is; nobody is there by default.
        prepare: May add tools of the test.
        demo: Whether the gate takes the organization for the demo.
        options: Settings of the front. `oauth_issuer` goes with the front's own URL.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        settings = HttpSettings(oauth_audience=url, **options)
        gate = open_gate(settings, OwnAllowance(clock), clock, demo=demo)
        await gate.begin()
        server = build_server(Settings.for_demo({}, upstream), clock, gate=gate)
        if prepare:
            prepare(server, gate)
        app = gate.challenging(server.streamable_http_app(json_response=True, stateless_http=True))
        serving = _Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none"))
        task = asyncio.create_task(serving.serve(sockets=[listening]))
        try:
            async with asyncio.timeout(20):
                while not serving.started:  # noqa: ASYNC110 - it has no event to wait for
                    await asyncio.sleep(0.005)
            async with httpx.AsyncClient(trust_env=False, verify=False) as http:  # noqa: S501 - it is plain http
                yield Front(url, gate, http)
        finally:
            serving.should_exit = True
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
