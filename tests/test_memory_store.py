"""The days that are held: for how long, for which questions, how many."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.harness import NOW, FrozenClock
from usage_cost_mcp.cache.memory_store import MemoryDayStore, View
from usage_cost_mcp.model.periods import midnight
from usage_cost_mcp.model.rows import DayRows, Row
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT, UpstreamReport, Width

TODAY = NOW.date()
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
YESTERDAY = TODAY - DAY

BY_MODEL = View(USAGE_REPORT, ("model",), "1d")
FINER = View(USAGE_REPORT, ("workspace_id", "model"), "1d")


@pytest.fixture
def store(clock: FrozenClock) -> MemoryDayStore:
    return MemoryDayStore(clock, 1000)


def read(view: View, day: date, *models: str | None, at: datetime = NOW) -> DayRows:
    """A day on which each model was used once, as it was read at a moment."""
    rows: list[Row] = [(tuple(model for _ in view.dimensions), (1,)) for model in models]
    return DayRows(day, view.dimensions, {0: rows}, at, reported=True)


LIFETIMES = [
    (0, SECOND * 60),
    (1, timedelta(minutes=15)),
    (3, timedelta(minutes=15)),
    (4, timedelta(hours=24)),
    (35, timedelta(hours=24)),
    (36, timedelta(days=30)),
]


@pytest.mark.parametrize(("days_ago", "fresh_for"), LIFETIMES)
def test_a_day_is_fresh_for_its_lifetime_and_then_stale_for_a_week(
    store: MemoryDayStore, clock: FrozenClock, days_ago: int, fresh_for: timedelta
) -> None:
    day = TODAY - days_ago * DAY
    kept = store.put(BY_MODEL, read(BY_MODEL, day, "a"))
    found: list[tuple[DayRows | None, DayRows | None]] = []
    for since in (timedelta(0), fresh_for - SECOND, fresh_for, fresh_for + 7 * DAY - SECOND, fresh_for + 7 * DAY):
        clock.moment = NOW + since
        found.append((store.get(BY_MODEL, day), store.get(BY_MODEL, day, include_stale=True)))
    assert found == [(kept, kept), (kept, kept), (None, kept), (None, kept), (None, None)]
    assert store.size() == (0, 0)
    assert store.values(USAGE_REPORT, "model") == set()


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        (BY_MODEL, BY_MODEL),
        (FINER, BY_MODEL),
        (FINER, View(USAGE_REPORT, ("workspace_id",), "1d")),
        (FINER, View(USAGE_REPORT, ("model", "workspace_id"), "1d")),
        (FINER, View(USAGE_REPORT, (), "1d")),
        (View(USAGE_REPORT, ("model",), "1h"), BY_MODEL),
        (View(USAGE_REPORT, ("model",), "1m"), BY_MODEL),
        (View(USAGE_REPORT, ("workspace_id", "model"), "1h"), View(USAGE_REPORT, ("model",), "1h")),
        (View(COST_REPORT, ("workspace_id", "model"), "1d"), View(COST_REPORT, ("model",), "1d")),
    ],
)
def test_a_finer_view_answers_a_coarser_one(store: MemoryDayStore, held: View, asked: View) -> None:
    kept = store.put(held, read(held, YESTERDAY, "a"))
    assert store.get(asked, YESTERDAY) is kept


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        (BY_MODEL, FINER),
        (BY_MODEL, View(USAGE_REPORT, ("workspace_id",), "1d")),
        (View(USAGE_REPORT, (), "1d"), BY_MODEL),
        (BY_MODEL, View(COST_REPORT, ("model",), "1d")),
        (View(COST_REPORT, ("workspace_id", "model"), "1d"), BY_MODEL),
        (BY_MODEL, View(USAGE_REPORT, ("model",), "1h")),
        (View(USAGE_REPORT, ("model",), "1h"), View(USAGE_REPORT, ("model",), "1m")),
        (View(USAGE_REPORT, ("model",), "1m"), View(USAGE_REPORT, ("model",), "1h")),
        (View(USAGE_REPORT, ("workspace_id", "model"), "1d"), View(USAGE_REPORT, ("model",), "1m")),
    ],
)
def test_another_view_answers_nothing(store: MemoryDayStore, held: View, asked: View) -> None:
    store.put(held, read(held, YESTERDAY, "a"))
    assert store.get(asked, YESTERDAY, include_stale=True) is None


VIEWS = st.builds(
    View,
    st.sampled_from([COST_REPORT, USAGE_REPORT]),
    st.lists(st.sampled_from(("workspace_id", "model", "service_tier")), unique=True).map(tuple),
    st.sampled_from(("1d", "1h", "1m")),
)


@given(st.lists(VIEWS, max_size=6), VIEWS)
def test_views_are_never_mixed(held: list[View], asked: View) -> None:
    store = MemoryDayStore(FrozenClock(), 1000)
    views = {id(store.put(view, read(view, YESTERDAY, "a"))): view for view in held}
    found = store.get(asked, YESTERDAY)
    if found is None:
        assert not any(view.covers(asked) for view in held)
    else:
        view = views[id(found)]
        assert view.report is asked.report
        assert set(view.dimensions) >= set(asked.dimensions)
        assert asked.width in {view.width, "1d"}


def test_a_day_is_not_another_day(store: MemoryDayStore) -> None:
    store.put(BY_MODEL, read(BY_MODEL, YESTERDAY, "a"))
    assert store.get(BY_MODEL, TODAY, include_stale=True) is None


@pytest.mark.parametrize("first", [BY_MODEL, FINER])
def test_a_view_of_its_own_is_preferred(store: MemoryDayStore, first: View) -> None:
    views = [BY_MODEL, FINER] if first is BY_MODEL else [FINER, BY_MODEL]
    kept = {view: store.put(view, read(view, YESTERDAY, "a")) for view in views}
    assert store.get(BY_MODEL, YESTERDAY) is kept[BY_MODEL]


def test_a_finer_view_that_is_fresh_stands_in_for_a_stale_one(store: MemoryDayStore, clock: FrozenClock) -> None:
    store.put(BY_MODEL, read(BY_MODEL, YESTERDAY, "a"))
    clock.advance(3600)
    finer = store.put(FINER, read(FINER, YESTERDAY, "b", at=clock.now()))
    assert store.get(BY_MODEL, YESTERDAY) is finer


@given(st.lists(st.integers(0, 12), max_size=20), st.integers(1, 30))
def test_the_store_never_holds_more_rows_than_it_may(sizes: list[int], most: int) -> None:
    store = MemoryDayStore(FrozenClock(), most)
    for age, size in enumerate(sizes):
        store.put(BY_MODEL, read(BY_MODEL, TODAY - age * DAY, *"abcdefghijkl"[:size]))
    days, rows = store.size()
    assert days + rows <= most
    held = [size for age, size in enumerate(sizes) if store.get(BY_MODEL, TODAY - age * DAY) is not None]
    assert (len(held), sum(held)) == (days, rows)


def test_a_day_that_fits_exactly_is_held_and_a_larger_one_is_handed_back(clock: FrozenClock) -> None:
    store = MemoryDayStore(clock, 4)
    larger = read(BY_MODEL, TODAY, *"abcd")
    assert store.put(BY_MODEL, larger) is larger
    assert (store.get(BY_MODEL, TODAY), store.size()) == (None, (0, 0))
    fitting = store.put(BY_MODEL, read(BY_MODEL, TODAY, *"abc"))
    assert (store.get(BY_MODEL, TODAY), store.size()) == (fitting, (1, 3))


def test_a_day_that_has_outgrown_the_store_leaves_no_older_reading_behind(clock: FrozenClock) -> None:
    small = MemoryDayStore(clock, 3)
    small.put(BY_MODEL, read(BY_MODEL, YESTERDAY, "a"))
    small.put(BY_MODEL, read(BY_MODEL, YESTERDAY, "a", "b", "c", "d"))
    assert small.get(BY_MODEL, YESTERDAY, include_stale=True) is None


def test_even_empty_days_fill_the_store(clock: FrozenClock) -> None:
    store = MemoryDayStore(clock, 5)
    for age in range(20):
        store.put(BY_MODEL, read(BY_MODEL, TODAY - age * DAY))
    assert store.size() == (5, 0)


def test_the_day_that_was_not_looked_at_for_longest_goes_first(clock: FrozenClock) -> None:
    store = MemoryDayStore(clock, 6)
    days = [TODAY - age * DAY for age in range(3)]
    for day in days:
        store.put(BY_MODEL, read(BY_MODEL, day, "a"))
    store.get(BY_MODEL, days[0])
    store.put(BY_MODEL, read(BY_MODEL, TODAY - 3 * DAY, "a"))
    assert [store.get(BY_MODEL, day) is not None for day in days] == [True, False, True]


def test_rows_count_over_all_minutes(store: MemoryDayStore) -> None:
    day = read(BY_MODEL, TODAY, "a", "b")
    store.put(BY_MODEL, replace(day, rows={0: day.rows[0], 60: day.rows[0], 120: []}))
    assert store.size() == (1, 4)


@pytest.mark.parametrize(
    ("before", "after", "revised"),
    [
        (["a"], ["b"], True),
        (["a"], ["a", "a"], True),
        (["a"], [], True),
        ([], ["a"], True),
        (["a"], ["a"], False),
        (["a", "b"], ["b", "a"], False),
        (["a", "b", "a"], ["a", "a", "b"], False),
        ([], [], False),
    ],
)
def test_a_day_that_was_over_and_says_something_else_is_revised(
    store: MemoryDayStore, before: list[str], after: list[str], *, revised: bool
) -> None:
    store.put(BY_MODEL, read(BY_MODEL, YESTERDAY, *before))
    kept = store.put(BY_MODEL, read(BY_MODEL, YESTERDAY, *after, at=NOW + DAY))
    assert kept.revised == (NOW if revised else None)
    assert kept.fetched_at == NOW + DAY
    assert store.get(BY_MODEL, YESTERDAY) is kept


@pytest.mark.parametrize("minutes", [{60: "a"}, {0: "a", 60: "a"}, {0: "a", 60: ""}])
def test_a_row_that_moves_within_the_day_is_a_revision(store: MemoryDayStore, minutes: dict[int, str]) -> None:
    before = read(BY_MODEL, YESTERDAY, "a")
    after = replace(before, rows={minute: read(BY_MODEL, TODAY, *models).rows[0] for minute, models in minutes.items()})
    store.put(BY_MODEL, before)
    assert store.put(BY_MODEL, after).revised == (None if minutes == {0: "a", 60: ""} else NOW)


@pytest.mark.parametrize(
    ("view", "day", "at", "revised"),
    [
        (BY_MODEL, YESTERDAY, midnight(TODAY), True),
        (BY_MODEL, YESTERDAY, midnight(TODAY) - SECOND, False),
        (BY_MODEL, TODAY - 2 * DAY, NOW, False),
        (FINER, YESTERDAY, NOW, False),
    ],
    ids=["it was over", "it was under way", "another day", "another view"],
)
def test_only_the_same_day_read_when_it_was_over_is_compared_with(
    store: MemoryDayStore, view: View, day: date, at: datetime, *, revised: bool
) -> None:
    store.put(view, read(view, day, "a", at=at))
    assert store.put(BY_MODEL, read(BY_MODEL, YESTERDAY, "b")).revised == (at if revised else None)


def test_a_day_too_old_even_for_an_outage_is_not_compared_with(store: MemoryDayStore, clock: FrozenClock) -> None:
    store.put(BY_MODEL, read(BY_MODEL, YESTERDAY, "a"))
    clock.moment = NOW + 8 * DAY
    assert store.put(BY_MODEL, read(BY_MODEL, YESTERDAY, "b", at=clock.now())).revised is None


def test_what_is_forgotten_is_not_even_held_for_an_outage(store: MemoryDayStore) -> None:
    store.put(BY_MODEL, read(BY_MODEL, YESTERDAY, "a"))
    store.clear()
    assert store.get(BY_MODEL, YESTERDAY, include_stale=True) is None
    assert store.size() == (0, 0)
    assert store.values(USAGE_REPORT, "model") == set()
    again = store.put(BY_MODEL, read(BY_MODEL, YESTERDAY, "b"))
    assert again.revised is None
    assert store.get(BY_MODEL, YESTERDAY) is again


@pytest.mark.parametrize(
    ("report", "dimension", "values"),
    [
        (USAGE_REPORT, "model", {"a", "b", "c"}),
        (USAGE_REPORT, "workspace_id", {"c"}),
        (USAGE_REPORT, "service_tier", set[str]()),
        (COST_REPORT, "model", {"d"}),
    ],
)
def test_the_values_of_a_dimension_come_from_every_view_that_has_it(
    store: MemoryDayStore, report: UpstreamReport, dimension: str, values: set[str]
) -> None:
    held: Sequence[tuple[View, Width, Sequence[str | None]]] = [
        (BY_MODEL, "1d", ["a", None]),
        (BY_MODEL, "1h", ["a", "b"]),
        (FINER, "1d", ["c", None]),
        (View(COST_REPORT, ("model",), "1d"), "1d", ["d"]),
    ]
    for view, width, models in held:
        store.put(view._replace(width=width), read(view, YESTERDAY, *models))
    assert store.values(report, dimension) == values
