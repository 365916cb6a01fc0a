"""The memory tier: which views it answers, how many rows it keeps, what it marks as revised."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.harness import NOW, FrozenClock
from usage_cost_mcp.cache import View
from usage_cost_mcp.cache.memory_store import MemoryDayStore
from usage_cost_mcp.model.periods import midnight
from usage_cost_mcp.model.rows import DayRows, Row
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT, UpstreamReport, Width

pytestmark = pytest.mark.anyio

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
    """A day on which each model was used once, read at the given time."""
    rows: list[Row] = [(tuple(model for _ in view.dimensions), (1,)) for model in models]
    return DayRows(day, view.dimensions, {0: rows}, at, reported=True)


async def put(store: MemoryDayStore, view: View, rows: DayRows) -> DayRows:
    (kept,) = await store.put_many(view, [rows])
    return kept


async def get(store: MemoryDayStore, view: View, day: date, *, include_stale: bool = False) -> DayRows | None:
    return (await store.get_many(view, [day], include_stale=include_stale)).get(day)


async def test_an_expired_day_leaves_nothing_behind(store: MemoryDayStore, clock: FrozenClock) -> None:
    await put(store, BY_MODEL, read(BY_MODEL, YESTERDAY, "a"))
    assert store.size() == (1, 1)
    clock.moment = NOW + timedelta(minutes=15) + 7 * DAY
    assert await get(store, BY_MODEL, YESTERDAY, include_stale=True) is None
    assert store.size() == (0, 0)
    assert store.values(USAGE_REPORT, "model") == set()


@pytest.mark.parametrize(
    ("cached", "requested"),
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
async def test_a_finer_view_is_found_for_a_coarser_one(store: MemoryDayStore, cached: View, requested: View) -> None:
    kept = await put(store, cached, read(cached, YESTERDAY, "a"))
    assert await get(store, requested, YESTERDAY) is kept


@pytest.mark.parametrize(
    ("cached", "requested"),
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
async def test_a_view_that_does_not_cover_the_requested_one_is_not_found(
    store: MemoryDayStore, cached: View, requested: View
) -> None:
    await put(store, cached, read(cached, YESTERDAY, "a"))
    assert await get(store, requested, YESTERDAY, include_stale=True) is None


VIEWS = st.builds(
    View,
    st.sampled_from([COST_REPORT, USAGE_REPORT]),
    st.lists(st.sampled_from(("workspace_id", "model", "service_tier")), unique=True).map(tuple),
    st.sampled_from(("1d", "1h", "1m")),
)


@given(st.lists(VIEWS, max_size=6), VIEWS)
async def test_a_day_is_found_exactly_when_a_cached_view_covers_the_requested_one(
    cached: list[View], requested: View
) -> None:
    store = MemoryDayStore(FrozenClock(), 1000)
    views = {id(await put(store, view, read(view, YESTERDAY, "a"))): view for view in cached}
    found = await get(store, requested, YESTERDAY)
    if found is None:
        assert not any(view.covers(requested) for view in cached)
    else:
        view = views[id(found)]
        assert view.report is requested.report
        assert set(view.dimensions) >= set(requested.dimensions)
        assert requested.width in {view.width, "1d"}


async def test_another_day_is_not_found(store: MemoryDayStore) -> None:
    await put(store, BY_MODEL, read(BY_MODEL, YESTERDAY, "a"))
    assert await get(store, BY_MODEL, TODAY, include_stale=True) is None


@pytest.mark.parametrize("first", [BY_MODEL, FINER])
async def test_the_requested_view_is_preferred_to_a_finer_one(store: MemoryDayStore, first: View) -> None:
    views = [BY_MODEL, FINER] if first is BY_MODEL else [FINER, BY_MODEL]
    kept = {view: await put(store, view, read(view, YESTERDAY, "a")) for view in views}
    assert await get(store, BY_MODEL, YESTERDAY) is kept[BY_MODEL]


async def test_a_fresh_finer_view_is_preferred_to_a_stale_exact_one(store: MemoryDayStore, clock: FrozenClock) -> None:
    await put(store, BY_MODEL, read(BY_MODEL, YESTERDAY, "a"))
    clock.advance(3600)
    finer = await put(store, FINER, read(FINER, YESTERDAY, "b", at=clock.now()))
    assert await get(store, BY_MODEL, YESTERDAY) is finer


@given(st.lists(st.integers(0, 12), max_size=20), st.integers(1, 30))
async def test_the_store_never_exceeds_its_maximum_of_rows(sizes: list[int], max_rows: int) -> None:
    store = MemoryDayStore(FrozenClock(), max_rows)
    for age, size in enumerate(sizes):
        await put(store, BY_MODEL, read(BY_MODEL, TODAY - age * DAY, *"abcdefghijkl"[:size]))
    days, rows = store.size()
    assert days + rows <= max_rows
    kept = [size for age, size in enumerate(sizes) if await get(store, BY_MODEL, TODAY - age * DAY) is not None]
    assert (len(kept), sum(kept)) == (days, rows)


async def test_a_day_that_fits_exactly_is_kept_and_a_larger_one_is_only_returned(clock: FrozenClock) -> None:
    store = MemoryDayStore(clock, 4)
    larger = read(BY_MODEL, TODAY, *"abcd")
    assert await put(store, BY_MODEL, larger) is larger
    assert (await get(store, BY_MODEL, TODAY), store.size()) == (None, (0, 0))
    fitting = await put(store, BY_MODEL, read(BY_MODEL, TODAY, *"abc"))
    assert (await get(store, BY_MODEL, TODAY), store.size()) == (fitting, (1, 3))


async def test_a_day_that_outgrows_the_store_removes_its_earlier_reading(clock: FrozenClock) -> None:
    small = MemoryDayStore(clock, 3)
    await put(small, BY_MODEL, read(BY_MODEL, YESTERDAY, "a"))
    await put(small, BY_MODEL, read(BY_MODEL, YESTERDAY, "a", "b", "c", "d"))
    assert await get(small, BY_MODEL, YESTERDAY, include_stale=True) is None


async def test_empty_days_count_towards_the_maximum(clock: FrozenClock) -> None:
    store = MemoryDayStore(clock, 5)
    for age in range(20):
        await put(store, BY_MODEL, read(BY_MODEL, TODAY - age * DAY))
    assert store.size() == (5, 0)


async def test_the_least_recently_used_day_is_evicted_first(clock: FrozenClock) -> None:
    store = MemoryDayStore(clock, 6)
    days = [TODAY - age * DAY for age in range(3)]
    for day in days:
        await put(store, BY_MODEL, read(BY_MODEL, day, "a"))
    await get(store, BY_MODEL, days[0])
    await put(store, BY_MODEL, read(BY_MODEL, TODAY - 3 * DAY, "a"))
    assert [await get(store, BY_MODEL, day) is not None for day in days] == [True, False, True]


async def test_the_rows_of_all_buckets_are_counted(store: MemoryDayStore) -> None:
    day = read(BY_MODEL, TODAY, "a", "b")
    await put(store, BY_MODEL, replace(day, rows={0: day.rows[0], 60: day.rows[0], 120: []}))
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
async def test_a_complete_day_whose_rows_change_is_marked_as_revised(
    store: MemoryDayStore, before: list[str], after: list[str], *, revised: bool
) -> None:
    await put(store, BY_MODEL, read(BY_MODEL, YESTERDAY, *before))
    kept = await put(store, BY_MODEL, read(BY_MODEL, YESTERDAY, *after, at=NOW + DAY))
    assert kept.revised == (NOW if revised else None)
    assert kept.fetched_at == NOW + DAY
    assert await get(store, BY_MODEL, YESTERDAY) is kept


@pytest.mark.parametrize("minutes", [{60: "a"}, {0: "a", 60: "a"}, {0: "a", 60: ""}])
async def test_a_row_that_moves_to_another_bucket_is_a_revision(store: MemoryDayStore, minutes: dict[int, str]) -> None:
    before = read(BY_MODEL, YESTERDAY, "a")
    after = replace(before, rows={minute: read(BY_MODEL, TODAY, *models).rows[0] for minute, models in minutes.items()})
    await put(store, BY_MODEL, before)
    assert (await put(store, BY_MODEL, after)).revised == (None if minutes == {0: "a", 60: ""} else NOW)


@pytest.mark.parametrize(
    ("view", "day", "at", "revised"),
    [
        (BY_MODEL, YESTERDAY, midnight(TODAY), True),
        (BY_MODEL, YESTERDAY, midnight(TODAY) - SECOND, False),
        (BY_MODEL, TODAY - 2 * DAY, NOW, False),
        (FINER, YESTERDAY, NOW, False),
    ],
    ids=["complete", "in progress", "another day", "another view"],
)
async def test_only_an_earlier_reading_of_the_complete_day_in_the_same_view_is_compared(
    store: MemoryDayStore, view: View, day: date, at: datetime, *, revised: bool
) -> None:
    await put(store, view, read(view, day, "a", at=at))
    assert (await put(store, BY_MODEL, read(BY_MODEL, YESTERDAY, "b"))).revised == (at if revised else None)


async def test_an_expired_reading_is_not_compared(store: MemoryDayStore, clock: FrozenClock) -> None:
    await put(store, BY_MODEL, read(BY_MODEL, YESTERDAY, "a"))
    clock.moment = NOW + 8 * DAY
    assert (await put(store, BY_MODEL, read(BY_MODEL, YESTERDAY, "b", at=clock.now()))).revised is None


async def test_a_cleared_store_has_no_stale_days(store: MemoryDayStore) -> None:
    await put(store, BY_MODEL, read(BY_MODEL, YESTERDAY, "a"))
    await store.clear()
    assert await get(store, BY_MODEL, YESTERDAY, include_stale=True) is None
    assert store.size() == (0, 0)
    assert store.values(USAGE_REPORT, "model") == set()
    again = await put(store, BY_MODEL, read(BY_MODEL, YESTERDAY, "b"))
    assert again.revised is None
    assert await get(store, BY_MODEL, YESTERDAY) is again


@pytest.mark.parametrize(
    ("report", "dimension", "values"),
    [
        (USAGE_REPORT, "model", {"a", "b", "c"}),
        (USAGE_REPORT, "workspace_id", {"c"}),
        (USAGE_REPORT, "service_tier", set[str]()),
        (COST_REPORT, "model", {"d"}),
    ],
)
async def test_the_values_of_a_dimension_come_from_every_view_that_includes_it(
    store: MemoryDayStore, report: UpstreamReport, dimension: str, values: set[str]
) -> None:
    cached: Sequence[tuple[View, Width, Sequence[str | None]]] = [
        (BY_MODEL, "1d", ["a", None]),
        (BY_MODEL, "1h", ["a", "b"]),
        (FINER, "1d", ["c", None]),
        (View(COST_REPORT, ("model",), "1d"), "1d", ["d"]),
    ]
    for view, width, models in cached:
        await put(store, view._replace(width=width), read(view, YESTERDAY, *models))
    assert store.values(report, dimension) == values


async def test_a_revision_names_the_workspaces_whose_rows_changed(store: MemoryDayStore) -> None:
    def day(production: int, research: int) -> DayRows:
        rows: list[Row] = [(("production", "a"), (production,)), (("research", "a"), (research,))]
        return DayRows(YESTERDAY, FINER.dimensions, {0: rows}, NOW, reported=True)

    await put(store, FINER, day(1, 1))
    assert (await put(store, FINER, day(1, 2))).revised_in == {"research"}
    assert (await put(store, FINER, day(1, 2))).revised_in == frozenset()
    assert (await put(store, FINER, day(3, 4))).revised_in == {"production", "research"}


async def test_only_the_days_and_values_of_some_workspaces_are_counted(store: MemoryDayStore) -> None:
    rows: list[Row] = [(("production", "a"), (1,)), (("research", "b"), (1,)), (("research", "c"), (1,))]
    await put(store, FINER, DayRows(YESTERDAY, FINER.dimensions, {0: rows}, NOW, reported=True))
    await put(store, BY_MODEL, read(BY_MODEL, YESTERDAY, "d"))
    assert store.size() == (2, 4)
    assert store.size(frozenset({"research"})) == (1, 2)
    assert store.values(USAGE_REPORT, "model", frozenset({"research"})) == {"b", "c"}


async def test_a_day_is_stale_from_the_end_of_its_lifetime_on(store: MemoryDayStore, clock: FrozenClock) -> None:
    await put(store, BY_MODEL, read(BY_MODEL, YESTERDAY, "a"))
    clock.moment = NOW + USAGE_REPORT.lifetime(YESTERDAY, NOW) - SECOND
    assert await get(store, BY_MODEL, YESTERDAY) is not None
    clock.moment += SECOND
    assert await get(store, BY_MODEL, YESTERDAY) is None
