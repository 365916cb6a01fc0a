"""The composition root: what the tools work with is made and wired here, and nowhere else."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any

from mcp.server import MCPServer

from .bounds import Bounds
from .clock import Clock, CorrectedClock, SystemClock
from .principals import Principal, operator
from .reports.desk import Desk
from .settings import Settings
from .tools.catalogue import INSTRUCTIONS, all_tools
from .tools.completions import completer
from .tools.gate import OPEN, Gate
from .tools.prompts import all_prompts
from .tools.resources import all_resources
from .tools.results import Service
from .view import chart_app

NAME = "usage-cost-mcp"
DEFAULT_BOUNDS = Bounds()


def open_desk(settings: Settings, clock: CorrectedClock, bounds: Bounds, at_the_end: AsyncExitStack) -> Desk:
    """What the reports work with, connected to the Admin API until the end.

    What is needed for that is imported here, which keeps the start of a server short.
    """
    from .admin_api import AdminApi, ApiDirectory, ReportReader
    from .allowance import Allowance, OwnAllowance
    from .ledger import Alone, Ledger, Shared

    allowance: Allowance = OwnAllowance(clock)
    shared: Shared = Alone()
    if settings.redis_url is not None:
        from .shared import Line, Membership, SharedAllowance

        line = Line(settings.redis_url, clock)
        at_the_end.push_async_callback(line.aclose)
        allowance = SharedAllowance(line, allowance)
        shared = Membership(line, lambda call: directory.organization(call), clock)  # noqa: PLW0108 - it is made below
    api = AdminApi(settings, clock, bounds, None if settings.demo else allowance)
    at_the_end.push_async_callback(api.aclose)
    directory = ApiDirectory(api, clock)
    return Desk(Ledger(ReportReader(api, clock), clock, shared=shared), directory, clock, demo=settings.demo)


def build_server(
    settings: Settings, clock: Clock | None = None, bounds: Bounds = DEFAULT_BOUNDS, gate: Gate = OPEN
) -> MCPServer[Service]:
    """A server that is ready to run over any transport; it sends nothing before the first question.

    Args:
        settings: Where to ask, with which key, how long answers may be.
        clock: The source of time; the machine's own by default.
        bounds: How far a call may go.
        gate: Says who asks; open by default.
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
                gate=gate,
            )
            serving.append(service)
            at_the_end.callback(serving.remove, service)
            yield service

    server = MCPServer[Service](
        NAME,
        title="Claude usage and cost",
        version=ours,
        instructions=INSTRUCTIONS,
        tools=list(all_tools()),
        resources=list(all_resources(at_hand)),
        extensions=[chart_app()],
        lifespan=lifespan,
        auth=gate.auth,
        token_verifier=gate.verifier,
        log_level=settings.log_level,
    )
    for prompt in all_prompts():
        server.add_prompt(prompt)
    server.completion()(completer(at_hand))
    return server
