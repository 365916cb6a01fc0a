"""Checks everything that an answer depends on, and says what to do about each failure."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from .admin_api import AdminApi
from .app import build_desk
from .bounds import Bounds
from .calls import Call
from .clock import TOLERANCE, CorrectedClock, SystemClock
from .dimensions import NAMED, SPEND, USAGE
from .errors import UsageCostError
from .periods import PROVISIONAL_DAYS, Period
from .settings import Settings


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    what: str
    said: str
    passed: bool = True

    def __str__(self) -> str:
        """One line."""
        return f"{'ok  ' if self.passed else 'FAIL'} {self.what}: {self.said}"


async def checks(settings: Settings) -> AsyncIterator[Check]:
    """Every check, one after the other, each a request or two."""
    clock = CorrectedClock(SystemClock())
    bounds = Bounds()
    api = AdminApi(settings, clock, bounds)
    try:
        desk = build_desk(settings, api, clock)
        call = Call(clock.monotonic() + bounds.call_seconds)
        yield Check("Key", f"an Admin key, from {settings.key_source}")
        try:
            _, name = await desk.directory.organization(call)
        except UsageCostError as error:
            yield Check("Organization", str(error), passed=False)
            return
        yield Check("Organization", f"{name}, at {settings.base_url}")
        yield _clock_check(clock.skew)
        today = desk.today()
        recent = Period(today - timedelta(days=PROVISIONAL_DAYS), today, today)
        for report in (SPEND, USAGE):
            try:
                held = await desk.ledger.days(report, report.base, "1d", recent, call)
            except UsageCostError as error:
                yield Check(f"{report.name.title()} report", str(error), passed=False)
            else:
                newest = max((str(day.day) for day in held.days if len(day)), default=f"before {recent.start}")
                yield Check(f"{report.name.title()} report", f"newest data {newest} (UTC)")
        refused = [dimension for dimension in NAMED if await desk.directory.names(dimension, call) is None]
        yield _names_check(refused)
        yield Check("Cache", "in this process's memory")
    finally:
        await api.aclose()


def _clock_check(skew: timedelta | None) -> Check:
    if skew is None:
        return Check("Clock", "not compared; the answer carried no date")
    seconds = round(skew.total_seconds())
    if abs(skew) <= TOLERANCE:
        return Check("Clock", f"within {abs(seconds)} s of Anthropic's")
    return Check(
        "Clock",
        f"{abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} Anthropic's: set it",
        passed=False,
    )


def _names_check(refused: list[str]) -> Check:
    if refused:
        return Check("Names", f"cannot be looked up for {', '.join(refused)}; answers show ids instead", passed=False)
    return Check("Names", "of workspaces, API keys and members can be looked up")
