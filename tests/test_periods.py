from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.harness import NOW
from usage_cost_mcp.errors import InvalidQueryError
from usage_cost_mcp.model.buckets import bucket_end, bucket_name, bucket_start, bucket_starts, resolution
from usage_cost_mcp.model.periods import (
    GRANULARITIES,
    PERIOD_WORDS,
    Granularity,
    Period,
    granularities_from,
    parse_period,
    parse_zone,
    provisional_since,
    until_yesterday,
)

TODAY = NOW.date()
"""2026-11-22, a Sunday."""

DAY = timedelta(days=1)
DATES = st.dates(date(2000, 1, 1), date(2090, 12, 31))


def resolved(text: str, today: date = TODAY) -> str:
    period = parse_period(text, today)
    return f"{period.start}..{period.end}"


def refusal(text: str) -> str:
    with pytest.raises(InvalidQueryError) as refused:
        parse_period(text, TODAY)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("today", "2026-11-22..2026-11-22"),
        ("yesterday", "2026-11-21..2026-11-21"),
        ("last_1_days", "2026-11-21..2026-11-21"),
        ("last_7_days", "2026-11-15..2026-11-21"),
        ("last_30_days", "2026-10-23..2026-11-21"),
        ("last_2_weeks", "2026-11-02..2026-11-15"),
        ("last_3_months", "2026-08-01..2026-10-31"),
        ("last_2_quarters", "2026-04-01..2026-09-30"),
        ("last_2_years", "2024-01-01..2025-12-31"),
        ("this_week", "2026-11-16..2026-11-22"),
        ("last_week", "2026-11-09..2026-11-15"),
        ("this_month", "2026-11-01..2026-11-22"),
        ("month_to_date", "2026-11-01..2026-11-22"),
        ("last_month", "2026-10-01..2026-10-31"),
        ("this_quarter", "2026-10-01..2026-11-22"),
        ("last_quarter", "2026-07-01..2026-09-30"),
        ("this_year", "2026-01-01..2026-11-22"),
        ("last_year", "2025-01-01..2025-12-31"),
        ("2025", "2025-01-01..2025-12-31"),
        ("2026-Q3", "2026-07-01..2026-09-30"),
        ("2026-10", "2026-10-01..2026-10-31"),
        ("2026-10-05", "2026-10-05..2026-10-05"),
        ("2026-10-01..2026-10-15", "2026-10-01..2026-10-15"),
        ("2026-10-05..2026-10-05", "2026-10-05..2026-10-05"),
        ("2025-11..2026-02", "2025-11-01..2026-02-28"),
        ("2025-Q4..2026-01-09", "2025-10-01..2026-01-09"),
    ],
)
def test_words_become_days(text: str, days: str) -> None:
    assert resolved(text) == days


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("last 30 days", "last_30_days"),
        ("Last-30-Days", "last_30_days"),
        ("past 30 days", "last_30_days"),
        ("previous 30 days", "last_30_days"),
        ("last 1 day", "last_1_days"),
        ("previous month", "last_month"),
        ("Last-Month", "last_month"),
        ("  LAST \t month ", "last_month"),
        ("previous_quarter", "last_quarter"),
        ("This Week", "this_week"),
        ("month to date", "month_to_date"),
        ("TODAY", "today"),
        (" 2026-10 ", "2026-10"),
        ("2026-q3", "2026-Q3"),
        ("2026 Q3", "2026-Q3"),
        ("2026-10-01 .. 2026-10-15", "2026-10-01..2026-10-15"),
        ("2026-10-01  to\t2026-10-15", "2026-10-01..2026-10-15"),
    ],
)
def test_other_spellings_are_forgiven(text: str, meant: str) -> None:
    assert resolved(text) == resolved(meant)


@pytest.mark.parametrize(
    ("today", "text", "days"),
    [
        ("2027-01-01", "yesterday", "2026-12-31..2026-12-31"),
        ("2027-01-01", "this_week", "2026-12-28..2027-01-01"),
        ("2027-01-01", "last_week", "2026-12-21..2026-12-27"),
        ("2027-01-01", "this_month", "2027-01-01..2027-01-01"),
        ("2027-01-01", "last_month", "2026-12-01..2026-12-31"),
        ("2027-01-01", "last_quarter", "2026-10-01..2026-12-31"),
        ("2027-01-01", "last_year", "2026-01-01..2026-12-31"),
        ("2026-12-31", "this_year", "2026-01-01..2026-12-31"),
        ("2026-11-23", "this_week", "2026-11-23..2026-11-23"),
        ("2026-11-23", "last_week", "2026-11-16..2026-11-22"),
        ("2028-03-01", "yesterday", "2028-02-29..2028-02-29"),
        ("2028-03-01", "last_month", "2028-02-01..2028-02-29"),
        ("2028-03-31", "last_month", "2028-02-01..2028-02-29"),
        ("2027-03-01", "last_month", "2027-02-01..2027-02-28"),
        ("2100-03-01", "last_month", "2100-02-01..2100-02-28"),
        ("2028-12-31", "2028-02-29", "2028-02-29..2028-02-29"),
    ],
)
def test_edges_of_the_calendar(today: str, text: str, days: str) -> None:
    assert resolved(text, date.fromisoformat(today)) == days


@given(today=DATES, count=st.integers(1, 1830))
def test_last_n_days_are_n_complete_days_that_end_yesterday(today: date, count: int) -> None:
    period = parse_period(f"last_{count}_days", today)
    assert (len(period), period.end) == (count, today - DAY)


@given(today=DATES, word=st.sampled_from(["week", "month", "quarter", "year"]))
def test_this_ends_today_and_last_ends_right_before_it(today: date, word: str) -> None:
    this, last = parse_period(f"this_{word}", today), parse_period(f"last_{word}", today)
    assert this.end == this.requested_end == today
    assert last.end + DAY == this.start <= today


@pytest.mark.parametrize("text", ["2026-11-23", "2026-12", "2027-Q1", "2027", "2026-11-23..2026-11-30"])
def test_the_future_is_refused(text: str) -> None:
    assert (
        refusal(text)
        == f"period '{text}' is in the future: today is 2026-11-22 (UTC). Use forecast_spend for future days."
    )


@pytest.mark.parametrize(
    ("text", "requested_end"),
    [("2026-11", "2026-11-30"), ("2026-Q4", "2026-12-31"), ("2026", "2026-12-31"), ("2026-10..2027-03", "2027-03-31")],
)
def test_future_days_are_excluded_but_the_requested_end_is_kept(text: str, requested_end: str) -> None:
    period = parse_period(text, TODAY)
    assert (period.end, str(period.requested_end)) == (TODAY, requested_end)


def test_a_past_period_ends_as_requested() -> None:
    period = parse_period("2026-10", TODAY)
    assert period.end == period.requested_end


@pytest.mark.parametrize(
    ("text", "days"),
    [("last_1831_days", 1831), ("last_9999_days", 9999), ("2021-11-01..2026-11-22", 1848), ("2020..2026", 2518)],
)
def test_a_period_that_is_too_long_is_refused(text: str, days: int) -> None:
    assert refusal(text) == f"period '{text}' has {days} days; the maximum is 1830."


def test_only_days_that_have_begun_count_towards_the_longest_period() -> None:
    assert resolved("2022..2035") == "2022-01-01..2026-11-22"


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-10-15..2026-10-01", "2026-10-15", "2026-10-01"),
        ("2026-10..2026-09", "2026-10-01", "2026-09-30"),
        ("2026..2025", "2026-01-01", "2025-12-31"),
        ("2027..2026", "2027-01-01", "2026-12-31"),
    ],
)
def test_a_period_that_ends_before_it_starts_is_refused(text: str, start: str, end: str) -> None:
    assert refusal(text) == f"period '{text}' ends ({end}) before it starts ({start})."


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "_",
            "sometime",
            "last",
            "last_days",
            "last_x_days",
            "last_99999_days",
            "last_0_days",
            "last_-3_days",
            "next_week",
            "tomorrow",
        ),
        *("26-10", "2026-1", "2026-13", "2026-00", "2026-Q0", "2026-Q5", "Q3", "0000", "20261005"),
        *("2026-02-30", "2027-02-29", "2026-10-5", "2026-10-05T00:00", "2026/10/05", "05.10.2026"),
        *("..", "2026-10-01..", "..2026-10-15", "2026-10-01...2026-10-15", "today..2026-10-15", "2026..2026..2026"),
        *("0999", "2100", "1999-10-01"),
    ],
)
def test_nonsense_is_refused_with_the_accepted_spellings(text: str) -> None:
    assert refusal(text).endswith(f"Accepted: {PERIOD_WORDS}.")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("last_moth", " Did you mean last_month?"),
        ("Yester", " Did you mean yesterday?"),
        ("next_month", ""),
        ("last_xyz", ""),
        ("sometime", ""),
        ("january", " Did you mean 2026-01?"),
        ("november", " Did you mean 2026-11?"),
        ("december", " Did you mean 2025-12?"),
        ("q1", " Did you mean 2026-Q1?"),
        ("Q4", " Did you mean 2026-Q4?"),
    ],
)
def test_a_near_miss_gets_a_suggestion(text: str, hint: str) -> None:
    assert refusal(text) == f"period '{text}' is not known.{hint} Accepted: {PERIOD_WORDS}."


@pytest.mark.parametrize(
    ("text", "message"),
    [("2026-10", "2026-10-01 to 2026-10-31 (31 days, UTC)"), ("2026-10-05", "2026-10-05 (1 day, UTC)")],
)
def test_a_period_reads_well(text: str, message: str) -> None:
    assert str(parse_period(text, TODAY)) == message


@given(DATES, st.integers(1, 600), st.integers(1, 600))
def test_the_days_of_adjacent_periods_are_the_days_of_both(start: date, first: int, second: int) -> None:
    middle, end = start + first * DAY, start + (first + second) * DAY

    def days(start: date, end: date) -> list[date]:
        """The end not included."""
        return parse_period(f"{start}..{end - DAY}", end).days

    assert days(start, middle) + days(middle, end) == days(start, end)


@pytest.mark.parametrize(
    ("granularity", "name"),
    [
        ("minute", "2026-11-22T14:30Z"),
        ("hour", "2026-11-22T14:00Z"),
        ("day", "2026-11-22"),
        ("week", "2026-11-16"),
        ("month", "2026-11"),
        ("total", "2026-10-23..2026-11-22"),
    ],
)
def test_a_bucket_is_named_after_its_start(granularity: Granularity, name: str) -> None:
    period = Period(date(2026, 10, 23), TODAY, TODAY)
    moment = NOW + timedelta(seconds=59, microseconds=999_999)
    assert bucket_name(bucket_start(moment, granularity, period), granularity, period) == name


def test_the_total_of_a_day_is_named_after_the_day() -> None:
    day = Period(TODAY, TODAY, TODAY)
    assert bucket_name(day.begins, "total", day) == "2026-11-22"


ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Pacific/Auckland",
    *("America/Santiago", "Africa/Cairo", "America/Havana"),  # change their clocks at midnight
]

LONGEST: dict[Granularity, int] = {"minute": 1, "hour": 10, "day": 100, "week": 400, "month": 1000, "total": 1000}


@st.composite
def cuts(draw: st.DrawFn) -> tuple[Period, Granularity]:
    """A period in any zone and a granularity that gives a moderate number of buckets."""
    granularity = draw(st.sampled_from(GRANULARITIES))
    start = draw(DATES)
    end = start + draw(st.integers(0, LONGEST[granularity] - 1)) * DAY
    return Period(start, end, end, parse_zone(draw(st.sampled_from(ZONES)))), granularity


def moments_in(period: Period) -> st.SearchStrategy[datetime]:
    first, last = (moment.replace(tzinfo=None) for moment in (period.begins, period.ends))
    return st.datetimes(first, last - timedelta(microseconds=1), timezones=st.just(UTC))


@given(cuts())
def test_buckets_cover_the_period_without_gap_or_overlap(cut: tuple[Period, Granularity]) -> None:
    period, granularity = cut
    starts = bucket_starts(period, granularity, period.ends)
    ends = [bucket_end(start, granularity, period) for start in starts]
    assert starts[1:] == ends[:-1]
    assert starts[0] <= period.begins < ends[0]
    assert starts[-1] < period.ends <= ends[-1]
    assert len({bucket_name(start, granularity, period) for start in starts}) == len(starts)


@given(cuts(), st.data())
def test_each_moment_is_in_exactly_one_bucket(cut: tuple[Period, Granularity], data: st.DataObject) -> None:
    period, granularity = cut
    moment = data.draw(moments_in(period))
    starts = bucket_starts(period, granularity, period.ends)
    holding = [start for start in starts if start <= moment < bucket_end(start, granularity, period)]
    assert holding == [bucket_start(moment, granularity, period)]


@pytest.mark.parametrize(
    ("granularity", "made_of_it"),
    [
        ("minute", ("minute", "hour", "day", "week", "month", "total")),
        ("hour", ("hour", "day", "week", "month", "total")),
        ("day", ("day", "week", "month", "total")),
        ("week", ("week", "total")),
        ("month", ("month", "total")),
        ("total", ("total",)),
    ],
)
def test_weeks_do_not_add_up_to_months(granularity: Granularity, made_of_it: tuple[Granularity, ...]) -> None:
    assert granularities_from(granularity) == made_of_it


@given(cuts(), st.data())
def test_a_bucket_lies_within_one_bucket_of_what_it_adds_up_to(
    cut: tuple[Period, Granularity], data: st.DataObject
) -> None:
    period, granularity = cut
    start = bucket_start(data.draw(moments_in(period)), granularity, period)
    last = bucket_end(start, granularity, period) - timedelta(microseconds=1)
    for larger in granularities_from(granularity):
        assert bucket_start(start, larger, period) == bucket_start(last, larger, period)


@given(cuts(), st.data())
def test_only_buckets_that_have_begun_exist(cut: tuple[Period, Granularity], data: st.DataObject) -> None:
    period, granularity = cut
    now = data.draw(moments_in(period))
    every = bucket_starts(period, granularity, period.ends)
    assert bucket_starts(period, granularity, now) == [start for start in every if start <= now]


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("today", "2026-11-22"),
        ("yesterday", "2026-11-21"),
        ("last_30_days", "2026-11-19"),
        ("2026-11-19", "2026-11-19"),
        ("2026-11-18", "None"),
        ("last_month", "None"),
    ],
)
def test_the_last_three_days_are_provisional(text: str, since: str) -> None:
    assert str(provisional_since(parse_period(text, TODAY), TODAY)) == since


def test_a_period_that_starts_before_the_year_1_is_refused() -> None:
    assert refusal("last_9999_years") == "period 'last_9999_years' begins before the year 1."


@pytest.mark.parametrize(
    ("zone", "day", "begins", "hours"),
    [
        ("UTC", "2026-10-25", "2026-10-25T00:00", 24),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00", 25),
        ("America/New_York", "2026-11-01", "2026-11-01T04:00", 25),
        ("America/Santiago", "2026-09-06", "2026-09-06T04:00", 23),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00", 25),
        ("Asia/Kathmandu", "2026-10-25", "2026-10-24T18:15", 24),
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30", 23.5),
    ],
)
def test_a_local_day_lasts_from_midnight_to_midnight_of_its_zone(
    zone: str, day: str, begins: str, hours: float
) -> None:
    period = parse_period(day, TODAY, parse_zone(zone))
    assert f"{period.begins:%Y-%m-%dT%H:%M}" == begins
    assert period.ends - period.begins == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("zone", "granularity", "finest"),
    [
        ("UTC", "month", "month"),
        ("Africa/Abidjan", "day", "day"),
        ("Europe/Berlin", "month", "hour"),
        ("Europe/Berlin", "minute", "minute"),
        ("Asia/Kolkata", "total", "minute"),
        ("Australia/Lord_Howe", "day", "minute"),
    ],
)
def test_reports_are_cut_as_finely_as_the_midnights_of_a_zone_need(
    zone: str, granularity: Granularity, finest: Granularity
) -> None:
    assert resolution(parse_period("last_month", TODAY, parse_zone(zone)), granularity) == finest


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("UTC", "2026-11-21..2026-11-22"),
        ("America/New_York", "2026-11-21..2026-11-22"),
        ("Pacific/Auckland", "2026-11-20..2026-11-22"),
    ],
)
def test_local_days_touch_utc_days_that_have_begun(zone: str, days: str) -> None:
    touched = parse_period("2026-11-21..2026-11-22", TODAY, parse_zone(zone)).in_utc(TODAY)
    assert f"{touched.start}..{touched.end}" == days


@pytest.mark.parametrize(("zone", "since"), [("America/New_York", "2026-11-18"), ("Pacific/Auckland", "2026-11-19")])
def test_a_local_day_is_provisional_when_any_of_it_is(zone: str, since: str) -> None:
    assert str(provisional_since(parse_period("last_7_days", TODAY, parse_zone(zone)), TODAY)) == since


@pytest.mark.parametrize("given", ["Europe/Berlin", "europe/berlin", " EUROPE/BERLIN "])
def test_zones_are_known_by_their_iana_names_in_any_case(given: str) -> None:
    assert str(parse_zone(given)) == "Europe/Berlin"


@pytest.mark.parametrize(("given", "near"), [("Berlin", "Europe/Berlin"), ("new york", "America/New_York")])
def test_an_unknown_zone_is_refused_with_the_closest_one(given: str, near: str) -> None:
    with pytest.raises(InvalidQueryError, match=f"is not known. Did you mean {near}?"):
        parse_zone(given)


@pytest.mark.parametrize(
    ("today", "quarter", "suggested"),
    [
        ("2026-02-15", 1, "2026-Q1"),
        ("2026-03-31", 2, "2025-Q2"),
        ("2026-04-01", 2, "2026-Q2"),
        ("2026-06-30", 3, "2025-Q3"),
        ("2026-07-01", 3, "2026-Q3"),
        ("2026-09-30", 4, "2025-Q4"),
    ],
)
def test_a_bare_quarter_suggests_the_latest_that_has_begun(today: str, quarter: int, suggested: str) -> None:
    with pytest.raises(InvalidQueryError, match=f"Did you mean {suggested}"):
        parse_period(f"q{quarter}", date.fromisoformat(today))


def test_complete_days_keep_the_end_that_was_requested() -> None:
    month = parse_period("2026-11", TODAY)
    assert until_yesterday(month, TODAY) == Period(date(2026, 11, 1), TODAY - timedelta(days=1), date(2026, 11, 30))
