"""What the tests share: a clock that stands still, the demo API behind a counter, real MCP clients in both eras."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from canary import KEY, judged, keeps_silent
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from mcp import Client
from mcp.types import CallToolResult
from pydantic import SecretStr

from usage_cost_mcp.app import build_server
from usage_cost_mcp.auth.access import OpenGate
from usage_cost_mcp.auth.principals import Principal
from usage_cost_mcp.demo import DemoApi, serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.settings import Settings

# Some properties share a server between examples, and start each example anew.
_PROPERTIES: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
settings.register_profile("repeatable", max_examples=300, derandomize=True, database=None, **_PROPERTIES)
settings.register_profile("nightly", max_examples=10_000, **_PROPERTIES)
settings.register_profile("ci", max_examples=20, derandomize=True, database=None, **_PROPERTIES)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=5) | st.dictionaries(st.text(), each, max_size=5),
    max_leaves=10,
)
"""Whatever JSON can be."""

NOW = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)
"""When every test takes place, unless it says otherwise."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """No test may print the key, nor log it at any level."""
    return judged((yield))


REPORTS: list[str] = []
"""Lines about the run that are printed at its end."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where several processes share the tests, each hands its lines to the one that prints."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["reports"] = REPORTS


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    REPORTS.extend(getattr(node, "workeroutput", {}).get("reports", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in REPORTS:
        terminalreporter.write_line(line)


class Listener(Client):
    """A client in whose hearing the key must not be said."""

    async def call_tool(self, *args: Any, **options: Any) -> Any:
        result = await super().call_tool(*args, **options)
        assert keeps_silent(result.model_dump_json())
        return result


@dataclass
class GateOf(OpenGate):
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


@dataclass
class Upstream:
    """An Admin API on loopback, seen from outside: what was asked, and what to answer instead."""

    respond: Callable[[Request], Response]
    url: str = ""
    requests: list[Request] = field(default_factory=list[Request])
    instead: Callable[[Request], Response | None] = field(default=lambda _: None)

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return self.instead(request) or self.respond(request)

    def asked(self, path: str) -> int:
        """How many requests went to a path, by its last words."""
        return sum(request.path.endswith(path) for request in self.requests)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def upstream(clock: FrozenClock) -> Generator[Upstream]:
    """The demo organization's Admin API, over real HTTP."""
    upstream = Upstream(DemoApi(clock.now).respond)
    with serve_on_loopback(upstream) as upstream.url:
        yield upstream


Connect = Callable[..., Any]
"""Opens an MCP client on a new server: `async with connect() as client`."""


@pytest.fixture
def connect(upstream: Upstream, clock: FrozenClock) -> Connect:
    @asynccontextmanager
    async def connected(mode: str = "auto", **changes: Any) -> AsyncGenerator[Client]:
        settings = replace(Settings.for_demo({}, upstream.url), **{"admin_key": SecretStr(KEY), **changes})
        async with Listener(build_server(settings, clock), mode=mode) as client:
            yield client

    return connected


@pytest.fixture(params=["auto", "legacy"])
async def client(request: pytest.FixtureRequest, connect: Connect) -> AsyncGenerator[Client]:
    """A real MCP client on a fresh server, once in each protocol era."""
    async with connect(request.param) as client:
        yield client


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
