"""Fetch planning: the windows for the missing days, and how long days stay fresh."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.harness import NOW
from usage_cost_mcp.cache.windows import STEP, Window, plan_windows
from usage_cost_mcp.model.periods import midnight
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT, Width

TODAY = NOW.date()
DAY = timedelta(days=1)

DAYS_PER_PAGE: dict[Width, int] = {"1d": 31, "1h": 168 // 24, "1m": 1440 // 1440}

WIDTHS = st.sampled_from(list(DAYS_PER_PAGE))
MISSING = st.sets(st.integers(0, 150).map(lambda age: TODAY - age * DAY))
TIMES_OF_TODAY = st.times().map(lambda moment: datetime.combine(TODAY, moment, UTC))


def fewest_windows(days: list[date], max_days: int) -> int:
    """The fewest windows of at most `max_days` that cover all days, found by trying every split."""
    best = [0]
    for last, day in enumerate(days):
        best.append(1 + min(best[first] for first in range(last + 1) if (day - days[first]).days < max_days))
    return best[-1]


def plan_pages(missing: Iterable[date], width: Width, now: datetime) -> list[Window]:
    """Windows of whole pages of the usage report, which has all widths."""
    return plan_windows(missing, width, now, USAGE_REPORT.days_per_page(width))


@given(MISSING, WIDTHS, TIMES_OF_TODAY)
def test_the_fewest_possible_windows_cover_every_missing_day(missing: set[date], width: Width, now: datetime) -> None:
    windows = plan_pages(missing, width, now)
    assert missing <= {day for window in windows for day in window.days}
    assert len(windows) == fewest_windows(sorted(missing), DAYS_PER_PAGE[width])


@given(MISSING, WIDTHS, TIMES_OF_TODAY)
def test_a_window_fits_one_page_and_starts_and_ends_with_a_missing_day(
    missing: set[date], width: Width, now: datetime
) -> None:
    for window in plan_pages(missing, width, now):
        assert window.end - window.start <= DAYS_PER_PAGE[width] * DAY
        assert {window.days[0], window.days[-1]} <= missing


@pytest.mark.parametrize(("width", "days"), DAYS_PER_PAGE.items())
def test_one_day_more_than_a_page_takes_two_windows(width: Width, days: int) -> None:
    missing = [TODAY - age * DAY for age in range(days + 1)]
    assert [len(plan_pages(missing[:count], width, NOW)) for count in (days, days + 1)] == [1, 2]


@given(MISSING, WIDTHS, st.integers(1, 40))
def test_windows_respect_a_maximum_length_and_are_still_the_fewest_possible(
    missing: set[date], width: Width, max_days: int
) -> None:
    windows = plan_windows(missing, width, NOW, max_days)
    assert missing <= {day for window in windows for day in window.days}
    assert all(len(window.days) <= max_days for window in windows)
    assert len(windows) == fewest_windows(sorted(missing), max_days)


@given(MISSING, WIDTHS, TIMES_OF_TODAY)
def test_no_day_is_in_two_windows(missing: set[date], width: Width, now: datetime) -> None:
    days = [day for window in plan_pages(missing, width, now) for day in window.days]
    assert days == sorted(set(days))


@given(MISSING.flatmap(lambda days: st.permutations(sorted(days))), WIDTHS)
def test_the_order_of_the_missing_days_does_not_matter(missing: list[date], width: Width) -> None:
    assert plan_pages(missing, width, NOW) == plan_pages(sorted(missing), width, NOW)


@given(MISSING, WIDTHS, TIMES_OF_TODAY)
def test_the_last_window_ends_with_the_current_bucket(missing: set[date], width: Width, now: datetime) -> None:
    end = plan_pages({*missing, TODAY}, width, now)[-1].end
    assert now < end <= now + STEP[width]
    assert (end - midnight(TODAY)) % STEP[width] == timedelta(0)


@pytest.mark.parametrize(
    ("width", "now", "end"),
    [
        ("1d", "14:30:00", "2026-11-23T00:00"),
        ("1h", "14:30:00", "2026-11-22T15:00"),
        ("1m", "14:30:00", "2026-11-22T14:31"),
        ("1m", "14:30:59.999999", "2026-11-22T14:31"),
        ("1h", "15:00:00", "2026-11-22T16:00"),
        ("1d", "00:00:00", "2026-11-23T00:00"),
        ("1m", "00:00:00", "2026-11-22T00:01"),
        ("1h", "23:59:59", "2026-11-23T00:00"),
    ],
)
def test_a_window_that_includes_today_ends_with_the_current_bucket(width: Width, now: str, end: str) -> None:
    moment = datetime.combine(TODAY, time.fromisoformat(now), UTC)
    window = Window(midnight(TODAY), datetime.fromisoformat(end).replace(tzinfo=UTC))
    assert plan_pages([TODAY], width, moment) == [window]
    assert window.days == [TODAY]


@pytest.mark.parametrize("width", STEP)
def test_a_complete_day_is_fetched_until_midnight(width: Width) -> None:
    assert plan_pages([TODAY - DAY], width, NOW) == [Window(midnight(TODAY - DAY), midnight(TODAY))]


@pytest.mark.parametrize(
    ("days_ago", "fresh_for"),
    [
        (0, timedelta(seconds=60)),
        (1, timedelta(minutes=15)),
        (3, timedelta(minutes=15)),
        (4, timedelta(hours=24)),
        (35, timedelta(hours=24)),
        (36, timedelta(days=30)),
        (1000, timedelta(days=30)),
    ],
)
def test_the_older_a_day_the_longer_it_is_fresh(days_ago: int, fresh_for: timedelta) -> None:
    assert USAGE_REPORT.lifetime(TODAY - days_ago * DAY, NOW) == fresh_for


@given(st.dates(TODAY - 60 * DAY, TODAY), st.integers(1, 5 * 1440))
def test_a_window_includes_every_day_of_which_it_has_a_minute(first: date, minutes: int) -> None:
    window = Window(midnight(first), midnight(first) + timedelta(minutes=minutes))
    expected = {(window.start + timedelta(minutes=n)).date() for n in range(minutes)}
    assert window.days == sorted(expected)


def test_a_day_read_before_midnight_is_as_fresh_as_today() -> None:
    tomorrow = midnight(TODAY + DAY)
    assert USAGE_REPORT.lifetime(TODAY, tomorrow - timedelta(seconds=1)) == timedelta(seconds=60)
    assert USAGE_REPORT.lifetime(TODAY, tomorrow) == timedelta(minutes=15)
