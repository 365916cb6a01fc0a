"""The composition root: what the tools work with is made and wired here, and nowhere else."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mcp.server import CacheHint, MCPServer

from .auth.access import OPEN, Gate
from .http.health import add_health
from .reports.context import Desk
from .runtime.clock import Clock, CorrectedClock, SystemClock
from .runtime.limits import Bounds
from .runtime.rate_limit import Allowance, OwnAllowance
from .settings import Settings
from .tools.catalogue import INSTRUCTIONS, all_tools
from .tools.completions import completer
from .tools.prompts import all_prompts
from .tools.resources import all_resources
from .tools.server import StrictServer
from .tools.service import Service
from .view import chart_app

if TYPE_CHECKING:
    from .cache import Shared
    from .http.access import HttpGate
    from .http.settings import HttpSettings
    from .redis_backend.tenant import WhoseKey

NAME = "usage-cost-mcp"
DEFAULT_BOUNDS = Bounds()
UNCHANGING = CacheHint(ttl_ms=300_000, scope="public")
"""What a server lists stays as it is while it runs, and is the same for everybody; another version may follow it."""


class Commons:
    """What this process shares with others where there is a Redis, and else has for itself.

    Args:
        settings: Whether there is a Redis.
        clock: For how long it is left alone after a failure, and what a minute is.

    Attributes:
        allowance: Counts requests to the Admin API, and calls.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.allowance: Allowance = OwnAllowance(clock)
        self._line = None
        if settings.redis_url is not None:
            from .redis_backend import Line, SharedAllowance

            self._line = Line(settings.redis_url, clock)
            self.allowance = SharedAllowance(self._line, self.allowance, settings.whose)

    def days(self, whose_key: "WhoseKey", clock: Clock) -> "Shared | None":
        """The days that others have read; None where there are no others."""
        if self._line is None:
            return None
        from .redis_backend import Membership

        return Membership(self._line, whose_key, clock)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._line is not None:
            await self._line.aclose()


def open_desk(
    settings: Settings, clock: CorrectedClock, bounds: Bounds, commons: Commons, at_the_end: AsyncExitStack
) -> Desk:
    """What the reports work with, connected to the Admin API until the end.

    What is needed for that is imported here, which keeps the start of a server short.
    """
    from .admin_api import AdminApi, ApiDirectory, ReportReader
    from .cache import Ledger

    api = AdminApi(settings, clock, bounds, None if settings.demo else commons.allowance)
    at_the_end.push_async_callback(api.aclose)
    directory = ApiDirectory(api, clock)
    shared = commons.days(directory.organization, clock)
    return Desk(Ledger(ReportReader(api, clock), clock, shared=shared), directory, clock, demo=settings.demo)


def build_server(
    settings: Settings,
    clock: Clock | None = None,
    bounds: Bounds = DEFAULT_BOUNDS,
    gate: Gate = OPEN,
    commons: Commons | None = None,
) -> MCPServer[Service]:
    """A server that is ready to run over any transport; it sends nothing before the first question.

    Args:
        settings: Where to ask, with which key, how long answers may be.
        clock: The source of time; the machine's own by default.
        bounds: How far a call may go.
        gate: Says who asks; open by default.
        commons: What is shared with other processes; the server closes it. By default what the settings say.
    """
    ours = version(NAME)
    time = clock or SystemClock()
    common = commons or Commons(settings, time)
    serving: list[Service] = []

    def at_hand() -> Service:
        return serving[-1]

    @asynccontextmanager
    async def lifespan(_server: MCPServer[Any]) -> AsyncGenerator[Service]:
        async with AsyncExitStack() as at_the_end:
            at_the_end.push_async_callback(common.aclose)
            service = Service(
                open_desk=lambda: open_desk(settings, CorrectedClock(time), bounds, common, at_the_end),
                version=ours,
                key_source=settings.key_source,
                call_seconds=bounds.call_seconds,
                max_answer_characters=settings.max_answer_characters,
                gate=gate,
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
        auth=gate.auth,
        token_verifier=gate.verifier,
        cache_hints={
            "server/discover": UNCHANGING,
            "tools/list": UNCHANGING,
            "prompts/list": UNCHANGING,
            "resources/list": UNCHANGING,
            "resources/templates/list": UNCHANGING,
        },
        subscriptions=False,  # no list ever changes, and whoever waited for that would hold a place for ever
        log_level=settings.log_level,
    )
    for prompt in all_prompts():
        server.add_prompt(prompt)
    server.completion()(completer(at_hand))
    add_health(server, at_hand)
    return server


def build_team_server(
    settings: Settings, http: "HttpSettings", clock: Clock | None = None, bounds: Bounds = DEFAULT_BOUNDS
) -> "tuple[MCPServer[Service], HttpGate]":
    """A server that is reached over HTTP, and the gate before it.

    Raises:
        ConfigurationError: When who may ask cannot be told.
    """
    from .http.access import open_gate

    time = clock or SystemClock()
    commons = Commons(settings, time)
    gate = open_gate(http, commons.allowance, time, demo=settings.demo)
    return build_server(settings, time, bounds, gate, commons), gate
