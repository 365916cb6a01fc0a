"""Each bucket of a report counts once, at its time, or there is an error. Read over real HTTP."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.support.harness import NOW, FrozenClock, Upstream
from usage_cost_mcp.admin_api import AdminApi, ReportReader
from usage_cost_mcp.cache import STEP, Window
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.errors import ContractError, InconsistentPagesError, UpstreamError
from usage_cost_mcp.model.rows import DayRows, Row
from usage_cost_mcp.model.upstream_reports import COST_REPORT, FAST_USAGE_REPORT, USAGE_REPORT, UpstreamReport, Width
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import CorrectedClock
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.settings import Settings

pytestmark = pytest.mark.anyio

PATH = "/v1/organizations/usage_report/messages"
WINDOW = Window(datetime(2026, 11, 10, tzinfo=UTC), datetime(2026, 11, 13, tzinfo=UTC))
DAYS = [date(2026, 11, 10), date(2026, 11, 11), date(2026, 11, 12)]

Json = dict[str, Any]
Fetch = Callable[..., Awaitable[list[DayRows]]]


@pytest.fixture
async def fetch(upstream: Upstream, clock: FrozenClock) -> AsyncGenerator[Fetch]:
    """Read a report; by default the usage by model."""
    corrected = CorrectedClock(clock)
    api = AdminApi(Settings.for_demo({}, upstream.url), corrected, Limits())
    reader = ReportReader(api, corrected)

    async def read(
        width: Width = "1d",
        window: Window = WINDOW,
        report: UpstreamReport = USAGE_REPORT,
        dimensions: Sequence[str] = ("model",),
        deadline: float = 50,
    ) -> list[DayRows]:
        return await reader.fetch(report, dimensions, width, window, CallContext(deadline=clock.monotonic() + deadline))

    yield read
    await api.aclose()


def bucket(start: str, width: Width = "1d", **tokens: int) -> Json:
    """A bucket that starts at a moment of November 2026, "11T05:00", with the tokens of each model."""
    moment = datetime.fromisoformat(f"2026-11-{start}").replace(tzinfo=UTC)
    return {
        "starting_at": moment.isoformat(),
        "ending_at": (moment + STEP[width]).isoformat(),
        "results": [
            {
                "uncached_input_tokens": count,
                "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 0,
                "server_tool_use": {"web_search_requests": 0},
                "model": model,
                "speed": None,
            }
            for model, count in tokens.items()
        ],
    }


def rows(**tokens: int) -> list[Row]:
    return [((model,), (count, 0, 0, 0, 0, 0)) for model, count in tokens.items()]


def answering(*pages: Sequence[Json]) -> Callable[[Request], Response]:
    """The pages one after the other; the token of each is its number."""

    def respond(request: Request) -> Response:
        number = int(dict(request.query).get("page", 0))
        more = number + 1 < len(pages)
        return Response({"data": pages[number], "has_more": more, "next_page": str(number + 1) if more else None})

    return respond


@pytest.mark.parametrize(
    ("width", "start", "minute"),
    [
        ("1d", "11", 0),
        ("1h", "11T00:00", 0),
        ("1h", "11T05:00", 300),
        ("1h", "11T23:00", 1380),
        ("1m", "11T00:00", 0),
        ("1m", "11T14:31", 871),
        ("1m", "11T23:59", 1439),
    ],
)
async def test_a_bucket_lands_on_its_day_and_minute(
    fetch: Fetch, upstream: Upstream, width: Width, start: str, minute: int
) -> None:
    upstream.override = answering([bucket(start, width, a=1, b=2)])
    days = await fetch(width)
    assert [(day.day, day.rows) for day in days] == [(DAYS[0], {}), (DAYS[1], {minute: rows(a=1, b=2)}), (DAYS[2], {})]


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """A machine whose local zone is 13 hours ahead of UTC."""
    with monkeypatch.context() as environment:
        environment.setenv("TZ", "FAR-13")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
async def test_a_time_in_another_zone_is_the_same_moment(fetch: Fetch, upstream: Upstream) -> None:
    elsewhere = {"starting_at": "2026-11-11T02:00:00+02:00", "ending_at": "2026-11-11T19:00:00-05:00"}
    upstream.override = answering([bucket("11", a=1) | elsewhere])
    assert [day.rows for day in await fetch()] == [{}, {0: rows(a=1)}, {}]


async def test_buckets_of_all_pages_are_combined_in_any_order(fetch: Fetch, upstream: Upstream) -> None:
    upstream.override = answering(
        [bucket("12T01:00", "1h", a=4), bucket("10T00:00", "1h", a=1)],
        [],
        [bucket("10T23:00", "1h", b=2), bucket("12T00:00", "1h", a=3)],
    )
    days = await fetch("1h")
    assert [day.rows for day in days] == [{0: rows(a=1), 1380: rows(b=2)}, {}, {60: rows(a=4), 0: rows(a=3)}]
    assert [dict(request.query).get("page") for request in upstream.requests] == [None, "1", "2"]


def with_writes(body: Json, *members: dict[str, object]) -> Json:
    """The bucket with further members in the cache_creation of its rows."""
    for row, more in zip(body["results"], members, strict=True):
        row["cache_creation"] |= more
    return body


async def test_every_count_of_cache_creation_is_a_measure(fetch: Fetch, upstream: Upstream) -> None:
    upstream.override = answering(
        [
            with_writes(bucket("10T00:00", a=1, b=2), {"ephemeral_24h_input_tokens": 7}, {}),
            with_writes(bucket("11T00:00", a=3), {"ephemeral_24h_input_tokens": 0, "ttl": "1d", "other": None}),
            with_writes(bucket("12T00:00", a=4), {"z": 1, "ephemeral_24h_input_tokens": 2}),
        ]
    )
    days = {day.day.day: (day.more_inputs, day.rows.get(0)) for day in await fetch()}
    long, z = "cache_creation.ephemeral_24h_input_tokens", "cache_creation.z"
    assert days[10] == ((long,), [(("a",), (1, 0, 0, 0, 0, 0, 7)), (("b",), (2, 0, 0, 0, 0, 0, 0))])
    assert days[11] == ((), rows(a=3))
    assert days[12] == ((long, z), [(("a",), (4, 0, 0, 0, 0, 0, 2, 1))])


async def test_the_hours_of_a_day_have_the_same_measures(fetch: Fetch, upstream: Upstream) -> None:
    upstream.override = answering(
        [with_writes(bucket("11T05:00", "1h", a=1), {"x": 5}), with_writes(bucket("11T06:00", "1h", a=2), {"w": 6})],
    )
    days = {day.day.day: day for day in await fetch("1h")}
    assert days[11].more_inputs == ("cache_creation.w", "cache_creation.x")
    assert days[11].rows == {300: [(("a",), (1, 0, 0, 0, 0, 0, 0, 5))], 360: [(("a",), (2, 0, 0, 0, 0, 0, 6, 0))]}


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ({"x": -1}, "cache_creation.x of a row"),
        ({"x": 1.5}, "cache_creation.x of a row"),
        ({"x": True}, "cache_creation.x of a row"),
        ({"not a name": 1}, "cache_creation of a row"),
    ],
    ids=str,
)
async def test_a_count_that_is_none_is_refused(
    fetch: Fetch, upstream: Upstream, member: dict[str, object], said: str
) -> None:
    upstream.override = answering([with_writes(bucket("11T00:00", a=1, b=2), {}, member)])
    with pytest.raises(ContractError, match=said):
        await fetch()


async def test_the_null_speed_of_a_token_cost_is_standard_if_the_day_has_any_speed(
    fetch: Fetch, upstream: Upstream
) -> None:
    def line(token_type: str | None, **speed: str | None) -> Json:
        null = dict.fromkeys(COST_REPORT.dimensions)
        return {**null, "amount": "1", "currency": "USD", "token_type": token_type, **speed}

    def day(start: str, *lines: Json) -> Json:
        return {**bucket(start), "results": list(lines)}

    output = "output_tokens"
    with_speed = [line(output, speed="fast"), line(output, speed=None), line(output), line(None, speed=None)]
    without = [line(output, speed=None), line(None)]
    upstream.override = answering([day("11T00:00", *with_speed), day("12T00:00", *without)])
    days = {each.day.day: each for each in await fetch("1d", WINDOW, COST_REPORT, COST_REPORT.base_view)}
    place = COST_REPORT.dimensions.index("speed")
    assert [key[place] for key, _ in days[11].rows[0]] == ["fast", "standard", "standard", None]
    assert [key[place] for key, _ in days[12].rows[0]] == [None, None]


async def test_a_day_is_reported_when_upstream_sent_it_even_if_empty(fetch: Fetch, upstream: Upstream) -> None:
    upstream.override = answering([bucket("10", a=1), bucket("12")])
    days = await fetch()
    assert [(day.day, day.reported, len(day)) for day in days] == [
        (DAYS[0], True, 1),
        (DAYS[1], False, 0),
        (DAYS[2], True, 0),
    ]


async def test_the_age_of_a_day_counts_from_the_start_of_its_read(
    fetch: Fetch, upstream: Upstream, clock: FrozenClock
) -> None:
    respond = answering([bucket("10", a=1)], [bucket("11", a=1)])

    def slowly(request: Request) -> Response:
        clock.advance(5)
        return respond(request)

    upstream.override = slowly
    days = await fetch(dimensions=["model", "speed"])
    assert {(day.fetched_at, day.dimensions, day.revised) for day in days} == {(NOW, ("model", "speed"), None)}
    assert clock.now() == NOW + timedelta(seconds=10)


@pytest.mark.parametrize(("hours", "fits"), [(4.5, True), (5, False)])
async def test_a_read_during_which_the_day_changes_is_refused(
    fetch: Fetch, upstream: Upstream, clock: FrozenClock, hours: float, *, fits: bool
) -> None:
    respond = answering([bucket("10", a=1)], [bucket("11", a=1)])

    def slowly(request: Request) -> Response:
        clock.moment = NOW + timedelta(hours=hours) * len(upstream.requests)
        return respond(request)

    upstream.override = slowly
    if fits:
        assert {day.fetched_at for day in await fetch(deadline=86400)} == {NOW}
    else:
        with pytest.raises(UpstreamError, match="The UTC day changed while the report was read"):
            await fetch(deadline=86400)


@pytest.mark.parametrize("pages", [1, 2])
async def test_a_repeated_bucket_with_equal_rows_counts_once(fetch: Fetch, upstream: Upstream, pages: int) -> None:
    twice = [bucket("11", a=1, b=2), bucket("11", a=1, b=2)]
    upstream.override = answering(*([twice] if pages == 1 else [twice[:1], twice[1:]]))
    assert [day.rows for day in await fetch()] == [{}, {0: rows(a=1, b=2)}, {}]
    assert len(upstream.requests) == pages


@pytest.mark.parametrize("second", [{"a": 2}, {"b": 1}, {"a": 1, "b": 1}, {}], ids=str)
async def test_a_repeated_bucket_with_different_rows_is_refused_after_a_second_read(
    fetch: Fetch, upstream: Upstream, second: dict[str, int]
) -> None:
    upstream.override = answering([bucket("11", a=1)], [bucket("11", "1d", **second)])
    with pytest.raises(InconsistentPagesError) as refused:
        await fetch()
    assert str(refused.value) == f"{PATH} sent a bucket twice with different rows; no total is reported."
    assert len(upstream.requests) == 4


async def test_a_consistent_second_read_is_the_whole_answer(
    fetch: Fetch, upstream: Upstream, clock: FrozenClock
) -> None:
    walks = [
        answering([bucket("10", a=7)], [bucket("11", a=1)], [bucket("11", a=2)]),
        answering([bucket("11", a=2)], [bucket("12", a=3)]),
    ]

    def respond(request: Request) -> Response:
        clock.advance(1)
        return walks[len(upstream.requests) > 3](request)

    upstream.override = respond
    days = await fetch("1d", WINDOW, USAGE_REPORT, ["model", "speed"])
    assert [[sums[0] for _, sums in day.rows.get(0, [])] for day in days] == [[], [2], [3]]
    assert [day.reported for day in days] == [False, True, True]
    assert {(day.fetched_at, day.dimensions) for day in days} == {(NOW + timedelta(seconds=3), ("model", "speed"))}


@pytest.mark.parametrize(
    ("width", "start", "end"),
    [
        ("1d", "11T00:30", "12T00:30"),
        ("1d", "11T00:00", "13T00:00"),
        ("1d", "11T00:00", "11T01:00"),
        ("1d", "11T00:00", "11T00:00"),
        ("1d", "11T00:00", "10T00:00"),
        ("1h", "11T00:30", "11T01:30"),
        ("1h", "11T00:00", "11T00:01"),
        ("1h", "11T05:00:00.000001", "11T06:00:00.000001"),
        ("1m", "11T05:00:30", "11T05:01:30"),
        ("1m", "11T05:00", "11T06:00"),
        ("1d", "01T12:00", "02T12:00"),
    ],
)
async def test_a_bucket_of_another_width_is_refused(
    fetch: Fetch, upstream: Upstream, width: Width, start: str, end: str
) -> None:
    upstream.override = answering([bucket(start, a=1) | {"ending_at": f"2026-11-{end}Z"}])
    with pytest.raises(ContractError) as refused:
        await fetch(width)
    assert str(refused.value) == f"{PATH} sent a bucket of the wrong width; no total is reported."
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("width", "start"),
    [("1d", "09"), ("1d", "13"), ("1d", "30"), ("1h", "09T23:00"), ("1h", "13T00:00"), ("1m", "09T23:59")],
)
async def test_a_bucket_outside_the_window_is_refused_even_when_empty(
    fetch: Fetch, upstream: Upstream, width: Width, start: str
) -> None:
    upstream.override = answering([bucket("11", width, a=1), bucket(start, width)])
    with pytest.raises(ContractError) as refused:
        await fetch(width)
    assert str(refused.value) == f"{PATH} sent a bucket outside the requested days; no total is reported."


async def test_a_window_that_ends_within_a_day_includes_the_current_bucket_and_none_after(
    fetch: Fetch, upstream: Upstream
) -> None:
    window = Window(datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 22, 15, tzinfo=UTC))
    upstream.override = answering([bucket("22T14:00", "1h", a=1)])
    assert [(day.day, day.rows) for day in await fetch("1h", window)] == [(NOW.date(), {840: rows(a=1)})]
    upstream.override = answering([bucket("22T15:00", "1h", a=1)])
    with pytest.raises(ContractError, match="outside the requested days"):
        await fetch("1h", window)


@pytest.mark.parametrize(
    ("report", "width", "dimensions", "path", "asked", "beta"),
    [
        (USAGE_REPORT, "1d", ["model"], PATH, ["1d", "31", "model"], None),
        (USAGE_REPORT, "1h", [], PATH, ["1h", "168"], None),
        (USAGE_REPORT, "1m", ["speed", "model"], PATH, ["1m", "1440", "speed", "model"], "fast-mode-2026-02-01"),
        (
            COST_REPORT,
            "1d",
            ["model"],
            "/v1/organizations/cost_report",
            ["1d", "31", "workspace_id", "description"],
            "fast-mode-2026-02-01",
        ),
        (
            FAST_USAGE_REPORT,
            "1d",
            ["model"],
            PATH,
            ["1d", "31", "model", "fast"],
            "fast-mode-2026-02-01",
        ),
    ],
)
async def test_all_pages_of_a_window_are_requested_with_the_same_parameters(
    fetch: Fetch,
    upstream: Upstream,
    report: UpstreamReport,
    width: Width,
    dimensions: list[str],
    path: str,
    asked: list[str],
    beta: str | None,
) -> None:
    upstream.override = answering([], [])
    await fetch(width, Window(WINDOW.start, NOW), report, dimensions)
    span = [("starting_at", "2026-11-10T00:00:00Z"), ("ending_at", "2026-11-22T14:30:00Z")]
    names = ["bucket_width", "limit", *("speeds[]" if value == "fast" else "group_by[]" for value in asked[2:])]
    query = [*span, *zip(names, asked, strict=True)]
    assert [list(request.query) for request in upstream.requests] == [query, [*query, ("page", "1")]]
    assert {(request.path, request.headers.get("anthropic-beta")) for request in upstream.requests} == {(path, beta)}


async def test_has_more_without_a_page_token_is_refused(fetch: Fetch, upstream: Upstream) -> None:
    upstream.override = lambda _: Response({"data": [bucket("11", a=1)], "has_more": True, "next_page": None})
    with pytest.raises(ContractError, match=f"^{PATH} sent has_more=true"):
        await fetch()


async def test_a_repeated_page_token_is_refused(fetch: Fetch, upstream: Upstream) -> None:
    upstream.override = lambda _: Response({"data": [], "has_more": True, "next_page": "1"})
    with pytest.raises(ContractError, match=f"^{PATH} sent the same page token twice"):
        await fetch()


async def test_an_unreadable_page_is_refused(fetch: Fetch, upstream: Upstream) -> None:
    upstream.override = lambda _: Response({"data": [{}], "has_more": False})
    with pytest.raises(ContractError, match=f"^{PATH} answered in an unexpected format: data.0.starting_at"):
        await fetch()
