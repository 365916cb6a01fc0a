"""The demo organization at a fixed moment, with a request counter, so that counts are machine-independent."""

import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mcp import Client

from usage_cost_mcp.app import build_server
from usage_cost_mcp.demo import DemoApi, serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.runtime.clock import SystemClock
from usage_cost_mcp.settings import Settings

NOW = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)


class StandingClock(SystemClock):
    """A clock whose date and time are fixed; its monotonic time runs."""

    def now(self) -> datetime:
        return NOW


@dataclass
class CountedApi:
    """The demo organization's Admin API; records the requested paths."""

    api: DemoApi
    latency: float
    url: str = ""
    requests: list[str] = field(default_factory=list[str])

    def __call__(self, request: Request) -> Response:
        self.requests.append(request.path)
        time.sleep(self.latency)
        return self.api.respond(request)


@contextmanager
def upstream(latency: float = 0.0, now: Callable[[], datetime] = lambda: NOW) -> Generator[CountedApi]:
    """The Admin API over real HTTP, with a delay in seconds before each response."""
    api = CountedApi(DemoApi(now), latency)
    with serve_on_loopback(api) as api.url:
        yield api


@asynccontextmanager
async def client_of(api: CountedApi) -> AsyncGenerator[Client]:
    """A client of a new server with an empty cache."""
    async with Client(build_server(Settings.for_demo({}, api.url), StandingClock())) as client:
        yield client
