"""The `doctor` command: checks everything that an answer depends on, and says how to fix each failure."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr

from usage_cost_mcp.app import DEFAULT_LIMITS, SharedResources, build_report_context
from usage_cost_mcp.errors import UsageCostError
from usage_cost_mcp.model.dimensions import NAMED_DIMENSIONS
from usage_cost_mcp.model.periods import PROVISIONAL_DAYS, Period
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT, UpstreamReport
from usage_cost_mcp.reports.context import ReportContext
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import TOLERANCE, Clock, CorrectedClock, SystemClock
from usage_cost_mcp.settings import REDIS_URL, Settings


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    message: str
    passed: bool = True

    def __str__(self) -> str:
        return f"{'ok  ' if self.passed else 'FAIL'} {self.name}: {self.message}"


async def checks(settings: Settings) -> AsyncIterator[Check]:
    """Run the checks one after the other. Each sends one or two requests."""
    clock = CorrectedClock(SystemClock())
    async with AsyncExitStack() as exit_stack:
        resources = SharedResources(settings, clock)
        exit_stack.push_async_callback(resources.aclose)
        context = build_report_context(settings, clock, DEFAULT_LIMITS, resources, exit_stack)
        call = CallContext(clock.monotonic() + DEFAULT_LIMITS.call_seconds)
        yield Check("Admin key", f"well-formed, from {settings.key_source}")
        try:
            _, name = await context.directory.organization(call)
        except UsageCostError as error:
            yield Check("Organization", f"{error} The other checks depend on this one and were skipped.", passed=False)
            return
        yield Check("Organization", f"connected to {name} at {settings.base_url}")
        yield _clock_check(clock.skew)
        for report in (COST_REPORT, USAGE_REPORT):
            yield await _report_check(report, context, call)
        if settings.redis_url is not None:
            yield await _shared_cache_check(settings.redis_url, clock, exit_stack)
        yield _names_check([each for each in NAMED_DIMENSIONS if await context.directory.names(each, call) is None])


async def _report_check(report: UpstreamReport, context: ReportContext, call: CallContext) -> Check:
    name = f"{report.name.title()} report"
    today = context.today()
    recent = Period(today - timedelta(days=PROVISIONAL_DAYS), today, today)
    try:
        result = await context.cache.days(report, [report.base_view], "1d", recent, call)
    except UsageCostError as error:
        return Check(name, str(error), passed=False)
    newest = max((day.day for day in result.days if len(day)), default=None)
    return Check(name, f"newest data {newest} (UTC)" if newest else f"no data since {recent.start} (UTC)")


async def _shared_cache_check(url: SecretStr, clock: Clock, exit_stack: AsyncExitStack) -> Check:
    from usage_cost_mcp.redis_backend import RedisConnection, RedisUnavailable, check_writable

    connection = RedisConnection(url, clock)
    exit_stack.push_async_callback(connection.aclose)
    try:
        await connection.execute(check_writable)
    except RedisUnavailable as error:
        return Check(
            "Shared cache",
            f"Redis is not writable ({error}). Answers do not depend on it, but each process then sends its own "
            f"requests to Anthropic. Check {REDIS_URL}, the password, and that Redis is running and has free memory.",
            passed=False,
        )
    return Check("Shared cache", "Redis is writable")


def _clock_check(skew: timedelta | None) -> Check:
    if skew is None:
        return Check("Clock", "not checked: the API's response had no date")
    seconds = round(skew.total_seconds())
    if abs(skew) <= TOLERANCE:
        return Check("Clock", f"within {abs(seconds)} s of the API's clock")
    return Check(
        "Clock",
        f"{abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} the API's clock: correct this machine's clock",
        passed=False,
    )


def _names_check(unavailable: list[str]) -> Check:
    if unavailable:
        return Check("Names", f"not available for {', '.join(unavailable)}: answers show ids instead", passed=False)
    return Check("Names", "available for workspaces, API keys and members")
