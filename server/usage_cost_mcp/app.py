"""The composition root: what the tools work with is made and wired here, and nowhere else."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any

from mcp.server import CacheHint, MCPServer

from .bounds import Bounds
from .clock import Clock, CorrectedClock, SystemClock
from .reports.desk import Desk
from .settings import Settings
from .tools.catalogue import INSTRUCTIONS, all_tools
from .tools.completions import completer
from .tools.prompts import StrictServer, all_prompts
from .tools.resources import all_resources
from .tools.results import Service
from .view import chart_app

NAME = "usage-cost-mcp"
DEFAULT_BOUNDS = Bounds()
UNCHANGING = CacheHint(ttl_ms=300_000, scope="public")
"""What a server lists stays as it is while it runs, and is the same for everybody; another version may follow it."""


def open_desk(settings: Settings, clock: CorrectedClock, bounds: Bounds, at_the_end: AsyncExitStack) -> Desk:
    """What the reports work with, connected to the Admin API until the end.

    What is needed for that is imported here, which keeps the start of a server short.
    """
    from .admin_api import AdminApi, ApiDirectory, ReportReader
    from .ledger import Ledger

    api = AdminApi(settings, clock, bounds)
    at_the_end.push_async_callback(api.aclose)
    return Desk(Ledger(ReportReader(api, clock), clock), ApiDirectory(api, clock), clock, demo=settings.demo)


def build_server(settings: Settings, clock: Clock | None = None, bounds: Bounds = DEFAULT_BOUNDS) -> MCPServer[Service]:
    """A server that is ready to run over any transport; it sends nothing before the first question.

    Args:
        settings: Where to ask, with which key, how long answers may be.
        clock: The source of time; the machine's own by default.
        bounds: How far a call may go.
    """
    ours = version(NAME)
    serving: list[Service] = []

    def at_hand() -> Service:
        return serving[-1]

    @asynccontextmanager
    async def lifespan(_server: MCPServer[Any]) -> AsyncGenerator[Service]:
        async with AsyncExitStack() as at_the_end:
            service = Service(
                open_desk=lambda: open_desk(settings, CorrectedClock(clock or SystemClock()), bounds, at_the_end),
                version=ours,
                key_source=settings.key_source,
                call_seconds=bounds.call_seconds,
                max_answer_characters=settings.max_answer_characters,
            )
            serving.append(service)
            at_the_end.callback(serving.remove, service)
            yield service

    server = StrictServer(
        NAME,
        title="Claude usage and cost",
        version=ours,
        instructions=INSTRUCTIONS,
        tools=list(all_tools()),
        resources=list(all_resources(at_hand)),
        extensions=[chart_app()],
        lifespan=lifespan,
        cache_hints={
            "server/discover": UNCHANGING,
            "tools/list": UNCHANGING,
            "prompts/list": UNCHANGING,
            "resources/list": UNCHANGING,
            "resources/templates/list": UNCHANGING,
        },
        subscriptions=False,  # there is no change to listen for
        log_level=settings.log_level,
    )
    for prompt in all_prompts():
        server.add_prompt(prompt)
    server.completion()(completer(at_hand))
    return server
