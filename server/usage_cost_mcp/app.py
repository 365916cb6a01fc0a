"""The composition root: the only place where the parts of the server are created and connected."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mcp.server import CacheHint, MCPServer

from .auth.access import LOCAL, AccessControl
from .reports.context import ReportContext
from .runtime.clock import Clock, CorrectedClock, SystemClock
from .runtime.limits import Limits
from .runtime.rate_limit import LocalRateLimiter, RateLimiter
from .settings import Settings
from .tools.catalogue import INSTRUCTIONS, all_tools
from .tools.completions import completer
from .tools.prompts import all_prompts
from .tools.resources import all_resources
from .tools.server import StrictServer
from .tools.service import Service, ServiceGetter
from .view import chart_app

if TYPE_CHECKING:
    from .cache.tenant import OrganizationLookup, TenantGuard
    from .http.access import HttpAccess
    from .http.settings import HttpSettings
    from .redis_backend import RedisConnection

NAME = "usage-cost-mcp"
DEFAULT_LIMITS = Limits()
CONSTANT_LISTS = CacheHint(ttl_ms=300_000, scope="public")
"""Tool, prompt and resource lists are constant per process and equal for all users, so clients may cache them."""


class SharedResources:
    """Resources shared between replicas through Redis, or local ones without it.

    Attributes:
        rate_limiter: Limits requests to the Admin API, and tool calls.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.rate_limiter: RateLimiter = LocalRateLimiter(clock)
        self._connection: RedisConnection | None = None
        if settings.redis_url is not None:
            from . import redis_backend

            self._connection = redis_backend.RedisConnection(settings.redis_url, clock)
            self.rate_limiter = redis_backend.RedisRateLimiter(
                self._connection, self.rate_limiter, settings.key_fingerprint
            )

    def tenant_guard(self, get_organization: "OrganizationLookup", clock: Clock) -> "TenantGuard | None":
        """The guard of the cache tiers outside this process; None if there are none."""
        connection = self._connection
        if connection is None:
            return None
        from .cache.tenant import SharedCache, TenantGuard
        from .redis_backend import RedisDayStore, RedisFetchCoordinator

        def open_shared(organization: str) -> SharedCache:
            return SharedCache(
                RedisDayStore(connection, organization, clock), RedisFetchCoordinator(connection, organization, clock)
            )

        return TenantGuard(open_shared, get_organization, clock)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._connection is not None:
            await self._connection.aclose()


def build_report_context(
    settings: Settings, clock: CorrectedClock, limits: Limits, resources: SharedResources, exit_stack: AsyncExitStack
) -> ReportContext:
    """The cache and the directory, connected to the Admin API until the exit stack closes.

    The client is imported here, so that the server starts without it.
    """
    from .admin_api import AdminApi, ApiDirectory, ReportReader
    from .cache import ReportCache

    api = AdminApi(settings, clock, limits, None if settings.demo else resources.rate_limiter)
    exit_stack.push_async_callback(api.aclose)
    directory = ApiDirectory(api, clock)
    guard = resources.tenant_guard(directory.organization, clock)
    cache = ReportCache(ReportReader(api, clock), clock, guard=guard)
    return ReportContext(cache, directory, clock, demo=settings.demo)


def build_server(
    settings: Settings,
    clock: Clock | None = None,
    limits: Limits = DEFAULT_LIMITS,
    access: AccessControl = LOCAL,
    resources: SharedResources | None = None,
) -> MCPServer[Service]:
    """A server that is ready to run over any transport; it sends nothing before the first question.

    Args:
        settings: Where to ask, with which key, how long answers may be.
        clock: The source of time; the machine's own by default.
        limits: How far a call may go.
        access: Who may call; local access by default.
        resources: What is shared with other processes; the server closes it. By default what the settings say.
    """
    return _build(settings, clock, limits, access, resources)[0]


def _build(
    settings: Settings, clock: Clock | None, limits: Limits, access: AccessControl, resources: SharedResources | None
) -> tuple[StrictServer, ServiceGetter]:
    server_version = version(NAME)
    time = clock or SystemClock()
    shared = resources or SharedResources(settings, time)
    running_services: list[Service] = []

    def get_service() -> Service:
        return running_services[-1]

    @asynccontextmanager
    async def lifespan(_server: MCPServer[Any]) -> AsyncGenerator[Service]:
        async with AsyncExitStack() as exit_stack:
            exit_stack.push_async_callback(shared.aclose)
            service = Service(
                context_factory=lambda: build_report_context(
                    settings, CorrectedClock(time), limits, shared, exit_stack
                ),
                version=server_version,
                key_source=settings.key_source,
                call_seconds=limits.call_seconds,
                max_answer_characters=settings.max_answer_characters,
                access=access,
            )
            running_services.append(service)
            exit_stack.callback(running_services.remove, service)
            yield service

    server = StrictServer(
        NAME,
        title="Claude usage and cost",
        version=server_version,
        instructions=INSTRUCTIONS,
        tools=list(all_tools()),
        resources=list(all_resources(get_service)),
        extensions=[chart_app()],
        lifespan=lifespan,
        auth=access.auth,
        token_verifier=access.verifier,
        cache_hints={
            "server/discover": CONSTANT_LISTS,
            "tools/list": CONSTANT_LISTS,
            "prompts/list": CONSTANT_LISTS,
            "resources/list": CONSTANT_LISTS,
            "resources/templates/list": CONSTANT_LISTS,
        },
        subscriptions=False,  # the lists never change, and a waiting subscriber would hold a connection open
        log_level=settings.log_level,
    )
    for prompt in all_prompts():
        server.add_prompt(prompt)
    server.completion()(completer(get_service))
    return server, get_service


def build_http_server(
    settings: Settings, http: "HttpSettings", clock: Clock | None = None, limits: Limits = DEFAULT_LIMITS
) -> "tuple[MCPServer[Service], HttpAccess]":
    """The HTTP server with its health probes, and its access control.

    Raises:
        ConfigurationError: When the tokens file cannot be used.
    """
    from .http.access import HttpAccess
    from .http.authentication import build_authentication
    from .http.health import add_health

    time = clock or SystemClock()
    resources = SharedResources(settings, time)
    authentication = build_authentication(http, time, demo=settings.demo)
    access = HttpAccess(authentication, resources.rate_limiter, http.calls_per_minute, time)
    server, get_service = _build(settings, time, limits, access, resources)
    add_health(server, get_service, http.probe_seconds)
    return server, access
