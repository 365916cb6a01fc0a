"""Four replicas under load: upstream fails now and then, the cache is killed and restarted, a replica is killed."""

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support import oracle
from tests.support.canary import KEY
from tests.support.harness import REPORTS
from tests.support.redis_servers import Store, running
from tests.support.subprocess_http_server import HttpServer, client_of, started, tokens_line, until
from usage_cost_mcp.auth.tokens_file import new_token
from usage_cost_mcp.demo import DemoApi, serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.demo.organization import WORKSPACES

REPLICAS = 4
CLIENTS = 64
WINDOWS = 50
CALLS = 4
FAULT_RATE = 0.05
SEED = 5

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Window = tuple[str, str, str]
"""A tool, the first and the last day."""

PATHS = {"get_spend": "/v1/organizations/cost_report", "get_token_usage": "/v1/organizations/usage_report/messages"}
MEASURES = {"get_spend": "cost", "get_token_usage": "output_tokens"}


@dataclass
class FlakyApi:
    """The demo's Admin API, which fails one request in twenty and counts the reads.

    Attributes:
        walks: How often each window of a report was read completely.
        held: The window whose first request is delayed until `released`.
    """

    api: DemoApi = field(default_factory=lambda: DemoApi(lambda: datetime.now(UTC)))
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))  # noqa: S311 - repeatable faults
    walks: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    faults: int = 0
    held: tuple[str, str] | None = None
    caught: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def __call__(self, request: Request) -> Response:
        window = request.path, dict(request.query).get("starting_at", "")[:10]
        if not window[1] or request.headers["x-api-key"] != KEY:
            return self.api.respond(request)
        if window == self.held and not self.caught.is_set():
            self.caught.set()
            self.released.wait(30)
        elif self.chance.random() < FAULT_RATE:
            self.faults += 1
            return Response({"type": "error", "error": {"type": "overloaded_error", "message": ""}}, status=529)
        else:
            self.walks[window] += 1
        return self.api.respond(request)

    def hold(self, window: "Window") -> None:
        """Delay the next request for a window until `released`."""
        self.held = PATHS[window[0]], window[1]


@dataclass(frozen=True)
class Person:
    name: str
    workspaces: Sequence[str]
    token: str = field(default_factory=new_token)

    @property
    def record(self) -> str:
        return tokens_line(self.name, self.token, **({"workspaces": self.workspaces} if self.workspaces else {}))

    def sees(self, workspace: str | None) -> bool:
        return not self.workspaces or (workspace or "default") in self.workspaces

    @property
    def hidden(self) -> list[str]:
        """Words that must never be in an answer to them."""
        return [
            word for workspace, name in WORKSPACES.items() if not self.sees(workspace) for word in (workspace, name)
        ]


@dataclass(frozen=True)
class Truth:
    """The correct amount of each window by workspace, read from the API directly."""

    amounts: dict[Window, dict[str | None, Fraction]]

    @classmethod
    def of(cls, url: str, windows: Sequence[Window]) -> "Truth":
        return cls({window: dict(_amounts(url, window)) for window in windows})

    def check(self, person: Person, window: Window, answer: dict[str, Any]) -> None:
        """Assert that the answer is exactly what the person may see."""
        measure = MEASURES[window[0]]
        expected = {each: amount for each, amount in self.amounts[window].items() if person.sees(each)}
        amounts = {each["group"]["workspace_id"]: Fraction(each["totals"][measure]) for each in answer["series"]}
        assert amounts == expected
        assert Fraction(answer["totals"][measure]) == sum(expected.values())
        text = json.dumps(answer)
        assert not any(word in text for word in person.hidden)


def _amounts(url: str, window: Window) -> Iterator[tuple[str | None, Fraction]]:
    tool, first, last = window
    if tool == "get_spend":
        for (workspace,), days in oracle.dollars(url, first, last, ["workspace_id"]).items():
            yield workspace, sum(days.values(), Fraction())
    else:
        for (workspace,), counts in oracle.tokens(url, first, last, ["workspace_id"]).items():
            yield workspace, Fraction(sum(each["output_tokens"] for each in counts.values()))


def weeks(number: int) -> list[Window]:
    """Past windows without common days, half of them for each report."""
    newest = datetime.now(UTC).date() - timedelta(days=21)
    starts = [newest - timedelta(days=7 * back) for back in range(number // 2)]
    return [(tool, f"{start}", f"{start + timedelta(days=6)}") for start in starts for tool in MEASURES]


@dataclass
class Crowd:
    """Clients that try one replica after the other."""

    replicas: Sequence[HttpServer]
    truth: Truth
    answered: int = 0
    retried: int = 0
    probed_days: int = 0

    async def ask(self, person: Person, window: Window, first: int) -> None:
        """Ask a replica, and the next one if the connection fails."""
        tool, start, end = window
        for replica in islice(cycle(self.replicas), first, first + 2 * len(self.replicas)):
            try:
                result = await call(replica.url, person.token, tool, period=f"{start}..{end}")
            except (httpx2.TransportError, ExceptionGroup, ConnectionError):
                self.retried += 1
                continue
            assert not result.is_error, result.content
            self.truth.check(person, window, result.structured_content or {})
            self.answered += 1
            return
        raise AssertionError("no replica answered")

    async def share_again(self, store: Store) -> None:
        """Wait until every remaining replica uses the cache again."""
        async with asyncio.timeout(60):
            for replica in self.replicas[:-1]:
                while not await self._shares(replica, store):  # noqa: ASYNC110 - another process has no event
                    await asyncio.sleep(0.5)

    async def _shares(self, replica: HttpServer, store: Store) -> bool:
        """Whether the replica puts a new day into the cache."""
        self.probed_days += 1
        day = datetime.now(UTC).date() - timedelta(days=400 + self.probed_days)
        await call(replica.url, PEOPLE[0].token, "get_spend", period=f"{day}")
        with store.admin as admin:
            return any(admin.scan_iter(f"*:{day}"))

    async def rush(self, windows: Sequence[Window]) -> None:
        """All clients at once read some of the windows, one after the other."""

        async def one(number: int) -> None:
            for nth in range(CALLS):
                await self.ask(PEOPLE[number % len(PEOPLE)], windows[(number + 7 * nth) % len(windows)], number)

        await asyncio.gather(*(one(number) for number in range(CLIENTS)))


@dataclass(frozen=True)
class Deployment:
    upstream: FlakyApi
    api: str
    store: Store
    replicas: Sequence[HttpServer]


async def call(url: str, token: str, tool: str, **arguments: Any) -> Any:
    async with client_of(url, token, "2026-07-28") as client:
        return await client.call_tool(tool, {"group_by": ["workspace_id"], "granularity": "total", **arguments})


PEOPLE = [
    Person("everybody", []),
    Person("production", ["wrkspc_demoProduction"]),
    Person("research", ["wrkspc_demoResearch"]),
    Person("default", ["default"]),
    Person("two", ["wrkspc_demoSupport", "wrkspc_demoDataPlatform"]),
    Person("others", ["wrkspc_demoSandbox", "wrkspc_demoHackathon", "default"]),
]


@pytest.fixture
def deployment(tmp_path: Path) -> Generator[Deployment]:
    """Four replicas with one cache and one Admin API; the clients balance the load."""
    upstream = FlakyApi()
    (tmp_path / "tokens").write_text("".join(person.record for person in PEOPLE))
    with ExitStack() as stack:
        store, api = stack.enter_context(running()), stack.enter_context(serve_on_loopback(upstream))
        environ = {
            "ANTHROPIC_ADMIN_API_KEY": KEY,
            "USAGE_COST_MCP_BASE_URL": api,
            "USAGE_COST_MCP_TOKENS_FILE": str(tmp_path / "tokens"),
            "USAGE_COST_MCP_REDIS_URL": store.url.get_secret_value(),
            "USAGE_COST_MCP_CALLS_PER_MINUTE": "100000",
        }
        replicas = [stack.enter_context(started(environ=environ)) for _ in range(REPLICAS)]
        yield Deployment(upstream, api, store, replicas)


async def test_every_answer_is_right_while_upstream_cache_and_replicas_fail(deployment: Deployment) -> None:
    began, upstream = time.monotonic(), deployment.upstream
    windows = weeks(WINDOWS)
    first, leased, outage, again = windows[:20], windows[20], windows[21:40], windows[40:]
    crowd = Crowd(deployment.replicas, Truth.of(deployment.api, windows))

    await crowd.rush(first)
    assert walks(upstream, first) == [1] * len(first)

    upstream.hold(leased)
    abandoned = asyncio.create_task(crowd.ask(PEOPLE[0], leased, REPLICAS - 1))
    assert await asyncio.to_thread(upstream.caught.wait, 30)
    deployment.replicas[-1].process.kill()
    waited = time.monotonic()
    await asyncio.gather(abandoned, *(crowd.ask(person, leased, 0) for person in PEOPLE))
    waited = time.monotonic() - waited
    upstream.released.set()
    assert walks(upstream, [leased]) == [1]

    rush = asyncio.create_task(crowd.rush(outage))
    before = crowd.answered
    await asyncio.to_thread(until, lambda: crowd.answered > before + 8)
    deployment.store.kill()
    await asyncio.to_thread(until, lambda: crowd.answered > before + CLIENTS, 60)
    deployment.store.start()
    await rush
    repeated = walks(upstream, outage)
    assert max(repeated) <= REPLICAS - 1

    await crowd.share_again(deployment.store)
    await crowd.rush(again)
    assert walks(upstream, again) == [1] * len(again)

    REPORTS.append(
        f"load: {REPLICAS} replicas, {CLIENTS} clients, {len(windows)} windows, {crowd.answered} calls answered, "
        f"{crowd.retried} by another replica than the first, {upstream.faults} faults of upstream; {waited:.1f} s "
        f"for the window whose reader was killed; {sum(repeated)} reads of {len(outage)} windows while the cache was "
        f"killed and restarted, one of each other; {time.monotonic() - began:.0f} s"
    )


def walks(upstream: FlakyApi, windows: Sequence[Window]) -> list[int]:
    """How often each window was read completely."""
    return [upstream.walks[PATHS[tool], first] for tool, first, _ in windows]
