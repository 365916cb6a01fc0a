"""Days of a time zone, cut from the hours and minutes of the usage report, held against the report itself."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client

from tests.support import oracle
from tests.support.harness import NOW, Connect, FrozenClock, Upstream, ask, refusal, text_of
from usage_cost_mcp.model.periods import GRANULARITIES, Granularity, Period, parse_zone
from usage_cost_mcp.model.rows import DayRows, Row, Sums
from usage_cost_mcp.model.series import aggregate
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT

pytestmark = pytest.mark.anyio

BERLIN, NEW_YORK, AUCKLAND = "Europe/Berlin", "America/New_York", "Pacific/Auckland"
DAY = timedelta(days=1)


def local_days(url: str, zone: str, period: str, group_by: Sequence[str], width: str = "1h") -> oracle.Days:
    """Every count by group and local day, the days around the period too."""
    first, last = map(date.fromisoformat, period.split(".."))
    around = str(first - DAY), str(min(last + DAY, NOW.date()))

    def local_day(start: str) -> str:
        return str(datetime.fromisoformat(start).astimezone(ZoneInfo(zone)).date())

    return oracle.tokens(url, *around, group_by, width, local_day)


@pytest.mark.parametrize(
    ("zone", "period", "width"),
    [
        pytest.param(BERLIN, "2026-10-01..2026-10-31", "1h", marks=pytest.mark.slow),
        (BERLIN, "2026-03-25..2026-04-02", "1h"),
        pytest.param(NEW_YORK, "2026-10-20..2026-11-15", "1h", marks=pytest.mark.slow),
        (AUCKLAND, "2026-11-10..2026-11-22", "1h"),
        pytest.param("Asia/Kolkata", "2026-11-16..2026-11-22", "1m", marks=pytest.mark.slow),
        pytest.param("Australia/Adelaide", "2026-10-01..2026-10-07", "1m", marks=pytest.mark.slow),
        ("Australia/Lord_Howe", "2026-10-03..2026-10-05", "1m"),
        pytest.param("Asia/Kathmandu", "2026-11-18..2026-11-18", "1m", marks=pytest.mark.slow),
    ],
)
async def test_every_token_is_on_the_local_day_on_which_it_was_used(
    connect: Connect, upstream: Upstream, zone: str, period: str, width: str
) -> None:
    async with connect(max_answer_characters=None) as client:
        answer = await ask(client, "get_token_usage", timezone=zone, period=period, group_by=["model"], measures="all")
    first, last = period.split("..")
    assert (answer["buckets"][0], answer["buckets"][-1]) == (first, last)
    expected = local_days(upstream.url, zone, period, ["model"], width)
    for series in answer["series"]:
        days = expected[tuple(series["group"].values())]
        for measure in oracle.TOKENS:
            assert series["values"][measure] == [days[day][measure] for day in answer["buckets"]]
            assert series["totals"][measure] == sum(series["values"][measure])


async def test_weeks_begin_on_local_monday_and_months_on_the_local_first(connect: Connect, upstream: Upstream) -> None:
    period = "2026-09-01..2026-10-31"
    asked = {"timezone": AUCKLAND, "period": period, "measures": ["output_tokens"]}
    expected = local_days(upstream.url, AUCKLAND, period, [])[()]
    inside = {day: counts["output_tokens"] for day, counts in expected.items() if "2026-09-01" <= day <= "2026-10-31"}
    async with connect() as client:
        weeks = await ask(client, "get_token_usage", **asked, granularity="week")
        months = await ask(client, "get_token_usage", **asked, granularity="month")
        total = await ask(client, "get_token_usage", **asked, granularity="total")
    by_week: defaultdict[str, int] = defaultdict(int)
    for day, count in inside.items():
        by_week[str(date.fromisoformat(day) - date.fromisoformat(day).weekday() * DAY)] += count
    assert dict(zip(weeks["buckets"], weeks["bucket_totals"]["output_tokens"], strict=True)) == by_week
    assert months["buckets"] == ["2026-09", "2026-10"]
    september = sum(count for day, count in inside.items() if day.startswith("2026-09"))
    assert months["bucket_totals"]["output_tokens"][0] == september
    assert total["buckets"] == ["2026-09-01..2026-10-31"]
    assert weeks["totals"] == months["totals"] == total["totals"]
    assert total["totals"]["output_tokens"] == sum(inside.values())


@pytest.mark.parametrize(
    ("zone", "day", "hours", "first", "last"),
    [
        (BERLIN, "2026-03-29", 23, "2026-03-29T00:00+01:00", "2026-03-29T23:00+02:00"),
        (BERLIN, "2026-10-25", 25, "2026-10-25T00:00+02:00", "2026-10-25T23:00+01:00"),
        (NEW_YORK, "2026-11-01", 25, "2026-11-01T00:00-04:00", "2026-11-01T23:00-05:00"),
        (NEW_YORK, "2026-11-02", 24, "2026-11-02T00:00-05:00", "2026-11-02T23:00-05:00"),
    ],
)
async def test_a_day_on_which_clocks_change_has_as_many_hours_as_it_had(
    client: Client, upstream: Upstream, zone: str, day: str, hours: int, first: str, last: str
) -> None:
    asked = {"timezone": zone, "period": day, "measures": ["output_tokens"]}
    answer = await ask(client, "get_token_usage", **asked, granularity="hour")
    assert (len(answer["buckets"]), answer["buckets"][0], answer["buckets"][-1]) == (hours, first, last)
    counted = local_days(upstream.url, zone, f"{day}..{day}", [])[()][day]["output_tokens"]
    assert sum(answer["bucket_totals"]["output_tokens"]) == answer["totals"]["output_tokens"] == counted
    whole = await ask(client, "get_token_usage", **asked)
    assert whole["totals"] == answer["totals"]
    assert whole["cache"]["status"] == "hit"


@pytest.mark.parametrize(
    ("now", "zone", "today", "yesterday", "since"),
    [
        ("2026-11-22T23:30Z", BERLIN, "2026-11-23", "2026-11-22", "2026-11-19"),
        ("2026-11-22T22:30Z", BERLIN, "2026-11-22", "2026-11-21", "2026-11-19"),
        ("2026-11-22T02:00Z", NEW_YORK, "2026-11-21", "2026-11-20", "2026-11-18"),
        ("2026-11-22T12:00Z", AUCKLAND, "2026-11-23", "2026-11-22", "2026-11-19"),
        ("2026-11-22T02:00Z", "UTC", "2026-11-22", "2026-11-21", "2026-11-19"),
    ],
)
async def test_today_and_yesterday_are_those_of_the_zone(
    connect: Connect, clock: FrozenClock, now: str, zone: str, today: str, yesterday: str, since: str
) -> None:
    clock.moment = datetime.fromisoformat(now)
    async with connect() as client:
        under_way = await ask(client, "get_token_usage", timezone=zone, period="today")
        over = await ask(client, "get_token_usage", timezone=zone, period="yesterday")
        week = await ask(client, "get_token_usage", timezone=zone, period="last_7_days")
        future = await refusal(client, "get_token_usage", timezone=zone, period="2026-12")
    assert under_way["buckets"] == under_way["partial_buckets"] == [today]
    assert under_way["totals"]["input_tokens"] > 0
    assert (over["buckets"], over["partial_buckets"]) == ([yesterday], [])
    assert week["provisional_since"] == since
    assert f"today is {today} ({zone})" in future


async def test_an_answer_says_whose_days_it_is_about_in_both_halves(client: Client) -> None:
    result = await client.call_tool("cache_hit_ratio", {"period": "2026-10", "timezone": "europe/berlin"})
    assert result.structured_content is not None
    assert result.structured_content["period"]["timezone"] == BERLIN
    said = "Cache hit ratio 2026-10-01 to 2026-10-31 (31 days, Europe/Berlin): "
    assert result.structured_content["summary"].startswith(said)
    assert text_of(result).startswith(said)


async def test_a_ratio_of_local_days_is_made_of_local_counts(client: Client, upstream: Upstream) -> None:
    answer = await ask(client, "cache_hit_ratio", period="2026-10-25", timezone=BERLIN)
    counts = local_days(upstream.url, BERLIN, "2026-10-25..2026-10-25", [])[()]["2026-10-25"]
    ratio = counts["cache_read_input_tokens"] / sum(counts[each] for each in oracle.INPUTS)
    assert answer["bucket_totals"]["cache_hit_ratio"] == [pytest.approx(ratio, abs=1e-9)]


async def test_utc_is_what_an_answer_is_without_a_timezone(client: Client) -> None:
    plain = await ask(client, "get_token_usage", period="2026-10", group_by=["model"])
    utc = await ask(client, "get_token_usage", period="2026-10", group_by=["model"], timezone="utc")
    assert {**plain, "cache": utc["cache"]} == utc
    assert utc["cache"]["status"] == "hit"


@pytest.mark.parametrize(
    ("zone", "width"), [("Africa/Abidjan", "1d"), ("Europe/London", "1d"), (BERLIN, "1h"), ("Asia/Kolkata", "1m")]
)
async def test_the_report_is_read_no_more_finely_than_the_zone_needs(
    client: Client, upstream: Upstream, zone: str, width: str
) -> None:
    await ask(client, "get_token_usage", period="2026-11-10..2026-11-12", timezone=zone)
    assert {dict(request.query)["bucket_width"] for request in upstream.requests} == {width}


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        (
            "get_token_usage",
            {"timezone": "Asia/Kolkata"},
            [
                "timezone Asia/Kolkata needs data per minute",
                "its UTC offset is not a whole number of hours",
                "limited to 7 days; the period has 30",
                "or UTC days",
            ],
        ),
        (
            "cache_hit_ratio",
            {"timezone": BERLIN, "period": "2026", "granularity": "month"},
            ["timezone Europe/Berlin needs data per hour. This is limited to 92 days", "has 326"],
        ),
        (
            "get_token_usage",
            {"timezone": BERLIN, "period": "2026", "granularity": "minute"},
            ["granularity minute is limited to 7 days"],
        ),
        ("get_token_usage", {"timezone": "Berlin"}, ["timezone 'Berlin' is not known. Did you mean Europe/Berlin?"]),
        ("get_token_usage", {"timezone": "x" * 50_000}, ["is not known", " more."]),
        (
            "get_spend",
            {"timezone": BERLIN},
            ["spend is reported per UTC day", "and cache_hit_ratio only"],
        ),
    ],
    ids=lambda given: str(given)[:60],
)
async def test_days_that_cannot_be_cut_are_refused_with_the_reason(
    client: Client, upstream: Upstream, tool: str, arguments: dict[str, str], words: list[str]
) -> None:
    said = await refusal(client, tool, **arguments)
    assert [word for word in words if word not in said] == []
    assert len(said) < 1_000
    assert not upstream.requests


async def test_notes_speak_of_local_days_and_of_what_lies_within_them(client: Client) -> None:
    answer = await ask(client, "get_token_usage", timezone=NEW_YORK, period="2024-10-20..2024-11-05")
    messages = {note["code"]: note["message"] for note in answer["notes"]}
    assert "on 2024-10-31; earlier" in messages["data_starts_later"]  # 2024-11-01T00:00Z
    before = await ask(client, "get_token_usage", timezone=NEW_YORK, period="2024-10-30")
    assert [note["code"] for note in before["notes"]] == ["no_data"]
    assert before["totals"]["input_tokens"] == 0


ZONES = [BERLIN, NEW_YORK, AUCKLAND, "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Santiago", "UTC"]
FIRST = date(2026, 1, 1)


@st.composite
def local_periods(draw: st.DrawFn) -> Period:
    start = FIRST + draw(st.integers(0, 300)) * DAY
    end = start + draw(st.integers(0, 6)) * DAY
    return Period(start, end, end, parse_zone(draw(st.sampled_from(ZONES))))


@given(local_periods(), st.lists(st.integers(-36 * 60, 8 * 24 * 60), max_size=30))
def test_local_buckets_hold_every_row_of_the_period_once_and_no_other(period: Period, minutes: list[int]) -> None:
    moments = [period.begins + timedelta(minutes=minute) for minute in minutes]
    by_day: defaultdict[date, defaultdict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for moment in moments:
        counts = (moment.hour + 1, 0, 0, 0, 1, 0)
        by_day[moment.date()][moment.hour * 60 + moment.minute].append((("a",), counts))
    days = [
        DayRows(day, ("model",), rows, NOW, reported=True).clipped(period.begins, period.ends)
        for day, rows in by_day.items()
    ]
    inside = [moment for moment in moments if period.start <= moment.astimezone(period.zone).date() <= period.end]

    def buckets(granularity: Granularity) -> list[Sums]:
        return aggregate(days, USAGE_REPORT, period, granularity, period.ends).bucket_totals()

    by_hand = [[m for m in inside if m.astimezone(period.zone).date() == day] for day in period.days]
    assert [sums[4] for sums in buckets("day")] == list(map(len, by_hand))
    for granularity in GRANULARITIES:
        assert sum(sums[4] for sums in buckets(granularity)) == len(inside)
    hours = aggregate(days, USAGE_REPORT, period, "hour", period.ends)
    assert hours.at_granularity("day").bucket_totals() == buckets("day")
