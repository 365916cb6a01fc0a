"""What the tests share: a clock that stands still, the demo API behind a counter, real MCP clients."""

import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from mcp import Client
from pydantic import SecretStr

from tests.support.canary import KEY, judged
from tests.support.harness import REPORTS, RUN_COUNTS, Connect, FrozenClock, LeakCheckingClient, Upstream
from usage_cost_mcp.app import build_server
from usage_cost_mcp.demo import DemoApi, serve_on_loopback
from usage_cost_mcp.settings import Settings

# Some properties share a server between examples, and start each example anew.
_PROPERTIES: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
_REPEATABLE: dict[str, Any] = {"derandomize": True, "database": None, **_PROPERTIES}
settings.register_profile("default", max_examples=300, **_REPEATABLE)  # 20 where an example calls a server
settings.register_profile("long", max_examples=300, **_REPEATABLE)
settings.register_profile("nightly", max_examples=10_000, **_PROPERTIES)
settings.register_profile("ci", max_examples=20, **_REPEATABLE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means: two workers for each core, because many tests wait for a time to pass."""
    return 2 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2 * (os.cpu_count() or 1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """No test may print the key, nor log it at any level."""
    return judged((yield))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where several processes share the tests, each hands its lines and counts to the one that prints."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output.update(reports=REPORTS, counts=dict(RUN_COUNTS))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    output = getattr(node, "workeroutput", {})
    REPORTS.extend(output.get("reports", []))
    RUN_COUNTS.update(output.get("counts", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in [*REPORTS, *(f"{name}: {count}" for name, count in RUN_COUNTS.items())]:
        terminalreporter.write_line(line)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def upstream(clock: FrozenClock) -> Generator[Upstream]:
    """The demo organization's Admin API, over real HTTP."""
    upstream = Upstream(DemoApi(clock.now).respond)
    with serve_on_loopback(upstream) as upstream.url:
        yield upstream


@pytest.fixture
def connect(upstream: Upstream, clock: FrozenClock) -> Connect:
    @asynccontextmanager
    async def connected(mode: str = "auto", **changes: Any) -> AsyncGenerator[Client]:
        settings = replace(Settings.for_demo({}, upstream.url), **{"admin_key": SecretStr(KEY), **changes})
        async with LeakCheckingClient(build_server(settings, clock), mode=mode) as client:
            yield client

    return connected


@pytest.fixture(params=["auto", pytest.param("legacy", marks=pytest.mark.slow)])
async def client(request: pytest.FixtureRequest, connect: Connect) -> AsyncGenerator[Client]:
    """A real MCP client on a fresh server; test_eras holds the protocol's older era to the same, the slow run all."""
    async with connect(request.param) as client:
        yield client
