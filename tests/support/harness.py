"""A clock that stands still, an Admin API on loopback behind a counter, and MCP clients that listen for the key."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from mcp import Client
from mcp.types import CallToolResult

from tests.support.canary import keeps_silent
from usage_cost_mcp.auth.access import LocalAccess
from usage_cost_mcp.auth.principals import Principal
from usage_cost_mcp.demo.http import Request, Response

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=5) | st.dictionaries(st.text(), each, max_size=5),
    max_leaves=10,
)
"""Whatever JSON can be."""


NOW = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)
"""When every test takes place, unless it says otherwise."""


REPORTS: list[str] = []
"""Lines about the run that are printed at its end."""

RUN_COUNTS = Counter[str]()
"""Counts that are added up over all workers and printed at the end."""


Property = TypeVar("Property", bound=Callable[..., Any])


MIN_EXAMPLES = 20


def calls_a_server(test: Property) -> Property:
    """Limit a property whose examples call a server to 20 of them, except in the long profiles."""
    return settings(max_examples=MIN_EXAMPLES)(test) if settings.get_current_profile_name() == "default" else test


class LeakCheckingClient(Client):
    """A client in whose hearing the key must not be said."""

    async def call_tool(self, *args: Any, **options: Any) -> Any:
        result = await super().call_tool(*args, **options)
        assert keeps_silent(result.model_dump_json())
        return result


@dataclass
class FixedPrincipal(LocalAccess):
    """A gate where the test says who asks."""

    who: Callable[[], Principal]

    def principal(self) -> Principal:
        return self.who()


@dataclass
class FrozenClock:
    """A clock that moves when a test or a sleep moves it."""

    moment: datetime = NOW

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


Override = Callable[[Request], Response | None]
"""Another response to a request, or None for the healthy one."""


@dataclass
class Upstream:
    """An Admin API on loopback, seen from outside: what was asked, and what to answer instead."""

    respond: Callable[[Request], Response]
    url: str = ""
    requests: list[Request] = field(default_factory=list[Request])
    override: Override = field(default=lambda _: None)

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return self.override(request) or self.respond(request)

    def asked(self, path: str) -> int:
        """How many requests went to a path, by its last words."""
        return sum(request.path.endswith(path) for request in self.requests)


Connect = Callable[..., Any]
"""Opens an MCP client on a new server: `async with connect() as client`."""


def text_of(result: CallToolResult) -> str:
    """The text half of a result."""
    return "\n".join(block.text for block in result.content if block.type == "text")


async def ask(client: Client, tool: str, /, **arguments: Any) -> dict[str, Any]:
    """The structured half of an answer."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


async def refusal(client: Client, tool: str, /, **arguments: Any) -> str:
    """The sentence of a refused call."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    return text_of(result)


def error(status: int, kind: str = "api_error", headers: dict[str, str] | None = None, **details: str) -> Response:
    """An error of the Admin API."""
    body = {"type": "error", "error": {"type": kind, "message": "<b>upstream text</b>", "details": details}}
    return Response(body, status, {"request-id": "req_test1", **(headers or {})})


def on(path: str, response: Response) -> Override:
    """Answer a path with this response."""
    return lambda request: response if request.path.endswith(path) else None


def override_body(path: str, edit: Callable[[dict[str, Any]], object], upstream: Upstream) -> Override:
    """Apply `edit` to the bodies of a path."""

    def instead(request: Request) -> Response | None:
        if not request.path.endswith(path):
            return None
        body = json.loads(json.dumps(upstream.respond(request).body))
        edit(body)
        return Response(body)

    return instead
