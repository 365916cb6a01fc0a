"""Several servers that share one Redis or none, and a clock that runs."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from mcp import Client
from pydantic import SecretStr

from tests.support.canary import KEY
from tests.support.harness import NOW, LeakCheckingClient, Upstream, ask
from tests.support.redis_servers import Store
from usage_cost_mcp.app import build_server
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.settings import Settings

REPLICAS = 4


@dataclass
class RunningClock:
    """A clock that starts at the time of the tests and runs in real time."""

    started: float = field(default_factory=time.monotonic)
    ahead: float = 0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.monotonic() - self.started)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@asynccontextmanager
async def replica(upstream: Upstream, redis: Store | None, **changes: Any) -> AsyncGenerator[Client]:
    """A server, and a client of it."""
    limits, clock = changes.pop("limits", Limits()), changes.pop("clock", None) or RunningClock()
    options = {"admin_key": SecretStr(KEY), "redis_url": redis and redis.url, **changes}
    settings = replace(Settings.for_demo({}, upstream.url), **options)
    async with LeakCheckingClient(build_server(settings, clock, limits)) as client:
        yield client


@asynccontextmanager
async def replicas(upstream: Upstream, redis: Store | None, count: int = REPLICAS) -> AsyncGenerator[list[Client]]:
    async with AsyncExitStack() as exit_stack:
        yield [await exit_stack.enter_async_context(replica(upstream, redis)) for _ in range(count)]


async def truth(upstream: Upstream, **query: Any) -> str:
    """The cost that a single server without Redis returns."""
    async with replica(Upstream(upstream.respond, upstream.url), None) as alone:
        answer = await ask(alone, "get_spend", **query)
    upstream.requests.clear()
    return answer["totals"]["cost"]
