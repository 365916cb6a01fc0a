"""An upstream report is a value: an equal copy is the same report, and another report needs no change of the cache."""

from collections.abc import AsyncGenerator, Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from tests.support.harness import NOW, FrozenClock, Upstream
from usage_cost_mcp.admin_api import AdminApi, ReportReader
from usage_cost_mcp.cache import ReportCache, View, Window
from usage_cost_mcp.cache.codec import DayId, decode, encode
from usage_cost_mcp.model.periods import Period, midnight
from usage_cost_mcp.model.rows import DayRows, Row
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT, RowMeasure, UpstreamReport, Width
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import CorrectedClock
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.settings import Settings

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
TODAY = NOW.date()
LAST_WEEK = Period(TODAY - 7 * DAY, TODAY - DAY, TODAY - DAY)

PURCHASES = UpstreamReport(
    name="purchases",
    path="/v1/organizations/purchases",
    dimensions=("buyer",),
    groupings=("buyer",),
    max_groupings=1,
    base_view=("buyer",),
    measures=(RowMeasure("amount", "money"), RowMeasure("orders", "count"), RowMeasure("discount", "money")),
    page_limits={"1d": 5},
    ttl_by_age=((0, timedelta(hours=2)),),
    ttl=timedelta(hours=6),
)
"""A report that the Admin API does not have."""


def call(clock: FrozenClock) -> CallContext:
    return CallContext(deadline=clock.monotonic() + 50)


@pytest.fixture
async def cache(upstream: Upstream, clock: FrozenClock) -> AsyncGenerator[ReportCache]:
    """A cache in front of the demo organization."""
    corrected = CorrectedClock(clock)
    api = AdminApi(Settings.for_demo({}, upstream.url), corrected, Limits())
    yield ReportCache(ReportReader(api, corrected), clock)
    await api.aclose()


@pytest.mark.parametrize("copied", [deepcopy, replace], ids=["deepcopy", "replace"])
@pytest.mark.parametrize("report", [COST_REPORT, USAGE_REPORT], ids=lambda report: report.name)
async def test_an_equal_copy_of_a_report_is_read_and_cached_as_the_same_report(
    cache: ReportCache,
    upstream: Upstream,
    clock: FrozenClock,
    report: UpstreamReport,
    copied: Callable[[UpstreamReport], UpstreamReport],
) -> None:
    copy = copied(report)
    assert copy is not report
    read = await cache.days(copy, [copy.base_view], "1d", LAST_WEEK, call(clock))
    requests = len(upstream.requests)
    again = await cache.days(report, [report.base_view], "1d", LAST_WEEK, call(clock))
    narrower = await cache.days(report, [report.base_view[:1]], "1d", LAST_WEEK, call(clock))
    assert read.row_count > 0
    assert (read.status, again.status, narrower.status) == ("miss", "hit", "hit")
    assert again.days == read.days
    assert len(upstream.requests) == requests == 1
    assert cache.values(report, "model") == cache.values(copy, "model") != set()


@pytest.mark.parametrize("report", [COST_REPORT, USAGE_REPORT], ids=lambda report: report.name)
async def test_an_equal_copy_sends_the_same_request(
    upstream: Upstream, clock: FrozenClock, report: UpstreamReport
) -> None:
    corrected, window = CorrectedClock(clock), Window(midnight(TODAY - DAY), midnight(TODAY))
    api = AdminApi(Settings.for_demo({}, upstream.url), corrected, Limits())
    for each in (report, deepcopy(report)):
        await ReportReader(api, corrected).fetch(each, each.base_view, "1d", window, call(clock))
    await api.aclose()
    first, second = ((request.path, request.query) for request in upstream.requests)
    assert first == second


def purchases_of(day: date) -> DayRows:
    rows: list[Row] = [(("ana",), (Decimal("12.5"), 3, Decimal("-0.25"))), ((None,), (Decimal(0), 1, Decimal(0)))]
    return DayRows(day, ("buyer",), {0: rows}, NOW, reported=True)


class Purchases:
    """A source of purchases that records the windows that it is asked for."""

    def __init__(self) -> None:
        self.windows: list[int] = []

    async def fetch(
        self, report: UpstreamReport, dimensions: Sequence[str], width: Width, window: Window, call: CallContext
    ) -> list[DayRows]:
        assert (report, tuple(dimensions), width) == (PURCHASES, ("buyer",), "1d")
        call.requests += 1
        self.windows.append(len(window.days))
        return [purchases_of(day) for day in window.days]


async def test_another_report_brings_its_own_page_limit_and_lifetimes(clock: FrozenClock) -> None:
    source = Purchases()
    cache = ReportCache(source, clock)

    async def status() -> str:
        return (await cache.days(PURCHASES, [("buyer",)], "1d", LAST_WEEK, call(clock))).status

    assert await status() == "miss"
    assert sorted(source.windows) == [2, 5]
    clock.advance(6 * 3600 - 1)
    assert await status() == "hit"
    clock.advance(1)
    assert await status() == "miss"


def test_another_report_may_hold_money_and_counts_side_by_side() -> None:
    rows, place = purchases_of(TODAY - DAY), DayId("org", View(PURCHASES, ("buyer",), "1d"), TODAY - DAY)
    kept = encode(place, rows)
    assert decode(place, kept, NOW, {}) == rows
    swapped = replace(PURCHASES, measures=PURCHASES.measures[1:] + PURCHASES.measures[:1])
    assert decode(replace(place, view=place.view._replace(report=swapped)), kept, NOW, {}) is None
