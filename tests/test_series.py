from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.harness import NOW
from usage_cost_mcp.model.buckets import bucket_name
from usage_cost_mcp.model.dimensions import Filters
from usage_cost_mcp.model.periods import Granularity, Period, parse_period
from usage_cost_mcp.model.rows import DayRows, Key, Row, Sums
from usage_cost_mcp.model.series import Columns, Table, add_columns, add_up, aggregate, matching, values_of
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT, UpstreamReport

TODAY = NOW.date()
DIMENSIONS = ("workspace_id", "model", "service_tier")
VALUES = (None, "a", "b", "c")

COARSER: list[Granularity] = ["day", "week", "month", "total"]


@dataclass(frozen=True)
class World:
    """The rows of a period by day and minute."""

    report: UpstreamReport
    period: Period
    rows: Sequence[tuple[date, int, Row]]

    @property
    def days(self) -> list[DayRows]:
        by_day: defaultdict[date, defaultdict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for day, minute, row in self.rows:
            by_day[day][minute].append(row)
        return [DayRows(day, DIMENSIONS, by_minute, NOW, reported=True) for day, by_minute in by_day.items()]

    def between(self, start: date, end: date) -> "World":
        return World(self.report, Period(start, end, end), [row for row in self.rows if start <= row[0] <= end])

    def table(
        self, granularity: Granularity = "day", group_by: Sequence[str] = (), filters: Filters | None = None
    ) -> Table:
        return aggregate(self.days, self.report, self.period, granularity, NOW, group_by, filters)


SUMS: dict[UpstreamReport, st.SearchStrategy[Sums]] = {
    COST_REPORT: st.integers(-(10**48), 10**48).map(lambda digits: (Decimal(f"{digits}E-32"),)),
    USAGE_REPORT: st.integers(0, 10**15).map(
        lambda count: tuple(count // 7**n for n in range(len(USAGE_REPORT.measures)))
    ),
}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    report = draw(st.sampled_from([COST_REPORT, USAGE_REPORT]))
    end = TODAY - timedelta(days=draw(st.integers(0, 400)))
    period = Period(end - timedelta(days=draw(st.integers(0, 32))), end, end)
    minutes = st.just(0) if report is COST_REPORT else st.integers(0, 14 * 60)
    keys = st.tuples(*[st.sampled_from(VALUES)] * len(DIMENSIONS))
    rows = st.tuples(st.dates(period.start, period.end), minutes, st.tuples(keys, SUMS[report]))
    return World(report, period, draw(st.lists(rows, max_size=8)))


GROUPINGS = st.lists(st.sampled_from(DIMENSIONS), unique=True)
GRANULARITIES = st.sampled_from(COARSER)


def in_fractions(many: Sequence[Sums], size: int) -> list[Fraction]:
    """A sum that cannot round."""
    return [sum((Fraction(sums[n]) for sums in many), Fraction(0)) for n in range(size)]


@given(worlds(), GRANULARITIES)
def test_the_total_is_the_exact_sum_of_all_rows(world: World, granularity: Granularity) -> None:
    totals = world.table(granularity).totals()
    assert list(map(Fraction, totals)) == in_fractions([sums for *_, (_, sums) in world.rows], len(totals))


@given(worlds(), GROUPINGS, GRANULARITIES)
def test_groups_add_up_to_the_ungrouped_series(world: World, group_by: Sequence[str], granularity: Granularity) -> None:
    grouped, ungrouped = world.table(granularity, group_by), world.table(granularity)
    assert grouped.bucket_totals() == ungrouped.groups[()]
    assert grouped.totals() == ungrouped.totals()


@given(worlds(), GROUPINGS)
def test_a_group_holds_exactly_the_rows_with_its_key(world: World, group_by: Sequence[str]) -> None:
    for group, columns in world.table(group_by=group_by).groups.items():
        filters = {dimension: frozenset([value]) for dimension, value in zip(group_by, group, strict=True)}
        bearing = list(matching(world.days, filters))
        assert list(map(Fraction, add_up(columns))) == in_fractions(bearing, len(world.report.measures))


@pytest.mark.parametrize("fine", ["hour", "day"])
@given(world=worlds(), group_by=GROUPINGS)
def test_rolling_up_equals_asking_for_larger_buckets(world: World, group_by: Sequence[str], fine: Granularity) -> None:
    table = world.table(fine, group_by)
    for coarse in COARSER:
        assert table.at_granularity(coarse) == world.table(coarse, group_by)


@pytest.mark.parametrize("days", ["2026-10-07..2026-11-11", "2026-11-17..2026-11-18", "2026-10-07..2026-10-15"])
@pytest.mark.parametrize("granularity", ["week", "month"])
def test_a_bucket_that_begins_before_the_period_rolls_up_too(granularity: Granularity, days: str) -> None:
    period = parse_period(days, TODAY)
    world = World(COST_REPORT, period, [(day, 0, ((None, "a", None), (Decimal(1),))) for day in period.days])
    assert world.table(granularity, ["model"]).at_granularity("total") == world.table("total", ["model"])


@given(worlds(), GROUPINGS, st.data())
def test_adjacent_periods_add_up_to_both(world: World, group_by: Sequence[str], data: st.DataObject) -> None:
    assume(len(world.period) > 1)
    first, *others = world.period.days
    middle = data.draw(st.sampled_from(others))
    left = world.between(first, middle - timedelta(days=1)).table("day", group_by)
    right = world.between(middle, world.period.end).table("day", group_by)
    assert world.table("day", group_by).groups == {
        key: left.groups.get(key, left.zeros) + right.groups.get(key, right.zeros) for key in left.groups | right.groups
    }


@given(worlds(), GROUPINGS, st.sampled_from(DIMENSIONS), st.sets(st.sampled_from(VALUES)))
def test_what_a_filter_keeps_and_what_it_drops_add_up_to_all(
    world: World, group_by: Sequence[str], dimension: str, values: set[str | None]
) -> None:
    kept, dropped = (
        world.table("week", group_by, {dimension: frozenset(part)}) for part in (values, {*VALUES} - values)
    )
    both = add_columns([kept.bucket_totals(), dropped.bucket_totals()], kept.zeros)
    assert both == world.table("week", group_by).bucket_totals()


@given(worlds(), st.sampled_from(DIMENSIONS), st.sets(st.sampled_from(VALUES)))
def test_a_filter_leaves_the_groups_that_it_names_as_they_were(
    world: World, dimension: str, values: set[str | None]
) -> None:
    every = world.table(group_by=[dimension])
    kept = world.table(group_by=[dimension], filters={dimension: frozenset(values)})
    assert kept.groups == {(value,): every.groups[value,] for value in values if (value,) in every.groups}


@given(worlds(), GROUPINGS, st.randoms(use_true_random=False))
def test_the_order_of_rows_makes_no_difference(world: World, group_by: Sequence[str], random: Random) -> None:
    shuffled = replace(world, rows=random.sample(world.rows, len(world.rows)))
    left, right = (each.table("day", group_by) for each in (world, shuffled))
    assert left == right
    assert left.ranked(lambda sums: sums[0]) == right.ranked(lambda sums: sums[0])


@given(worlds(), st.data())
def test_days_may_come_from_different_views(world: World, data: st.DataObject) -> None:
    def narrowed(day: DayRows) -> DayRows:
        rows = {minute: [(key[:2], sums) for key, sums in rows] for minute, rows in day.rows.items()}
        return replace(day, dimensions=DIMENSIONS[:2], rows=rows)

    middle = data.draw(st.sampled_from(world.period.days))
    days = [narrowed(day) if day.day < middle else day for day in world.days]
    mixed = aggregate(days, world.report, world.period, "day", NOW, ["model"])
    assert mixed == world.table("day", ["model"])


@given(worlds(), GROUPINGS)
def test_the_largest_group_comes_first_whether_cost_or_credit(world: World, group_by: Sequence[str]) -> None:
    table = world.table(group_by=group_by)
    ranked = table.ranked(lambda sums: int(sums[0]))
    sizes = [abs(int(add_up(table.groups[key])[0])) for key in ranked]
    assert set(ranked) == set(table.groups)
    assert sizes == sorted(sizes, reverse=True)


def spent(*rows: tuple[str | None, int]) -> World:
    """A day with a cost in dollars for each model."""
    today = parse_period("today", TODAY)
    return World(COST_REPORT, today, [(TODAY, 0, ((None, model, None), (Decimal(cost),))) for model, cost in rows])


@pytest.mark.parametrize(
    ("rows", "ranked"),
    [
        ([("a", 1), ("b", 3), ("c", 2)], ["b", "c", "a"]),
        ([("a", 1), ("b", -3), ("c", 2)], ["b", "c", "a"]),
        ([("c", 1), (None, 1), ("b", -1), ("a", 1)], [None, "a", "b", "c"]),
        ([("a", 2), ("b", 1), ("a", -2)], ["b", "a"]),
    ],
)
def test_groups_rank_by_size_then_by_name(rows: list[tuple[str | None, int]], ranked: list[str | None]) -> None:
    assert spent(*rows).table(group_by=["model"]).ranked(lambda sums: sums[0]) == [(model,) for model in ranked]


def test_without_a_row_there_is_one_series_of_zeros_or_no_group_at_all() -> None:
    nothing = World(USAGE_REPORT, parse_period("last_7_days", TODAY), [])
    zeros = [(0,) * len(USAGE_REPORT.measures)] * 7
    assert nothing.table().groups == {(): zeros}
    assert nothing.table(group_by=["model"]).groups == {}
    assert nothing.table(group_by=["model"]).bucket_totals() == zeros


@pytest.mark.parametrize("columns", [[(1, 2), (1,)], [(1,), (1, 2)]])
def test_sums_of_different_measures_are_not_added(columns: Columns) -> None:
    with pytest.raises(ValueError, match="zip"):
        add_up(columns)


@pytest.mark.parametrize("buckets", [1, 3])
def test_series_of_different_lengths_are_not_added(buckets: int) -> None:
    columns: Columns = [(1,)] * buckets
    with pytest.raises(ValueError, match="zip"):
        add_columns([columns], [(0,)] * 2)
    table = spent(("a", 1)).table("hour")
    with pytest.raises(ValueError, match="zip"):
        replace(table, groups={("a",): columns}).at_granularity("day")


def test_the_values_of_a_dimension_include_null() -> None:
    assert values_of(spent(("a", 1), (None, 2), ("a", 3)).days, "model") == {"a", None}


@pytest.mark.parametrize(
    ("text", "granularity", "partial"),
    [
        ("last_30_days", "day", []),
        ("last_30_days", "total", []),
        ("today", "minute", ["2026-11-22T14:30Z"]),
        ("this_month", "hour", ["2026-11-22T14:00Z"]),
        ("this_month", "day", ["2026-11-22"]),
        ("this_month", "week", ["2026-10-26", "2026-11-16"]),
        ("this_month", "month", ["2026-11"]),
        ("this_month", "total", ["2026-11-01..2026-11-22"]),
        ("2026", "total", ["2026-01-01..2026-11-22"]),
        ("last_month", "month", []),
        ("last_month", "week", ["2026-09-28", "2026-10-26"]),
        ("2026-11-02..2026-11-15", "week", []),
        ("2026-11-03..2026-11-15", "week", ["2026-11-02"]),
        ("2026-11-02..2026-11-14", "week", ["2026-11-09"]),
        ("2026-09-15..2026-10-15", "month", ["2026-09", "2026-10"]),
        ("2026-10-01..2026-10-15", "total", []),
    ],
)
def test_buckets_that_have_not_ended_or_are_partly_in_the_period_are_partial(
    text: str, granularity: Granularity, partial: list[str]
) -> None:
    table = World(USAGE_REPORT, parse_period(text, TODAY), []).table(granularity)
    assert [bucket_name(start, granularity, table.period) for start in table.partial(NOW)] == partial


MORE = {
    date(2026, 11, 2): (("a.x",), (1, 0, 0, 0, 0, 0, 10)),
    date(2026, 11, 3): ((), (2, 0, 0, 0, 0, 0)),
    date(2026, 11, 4): (("a.b", "a.x"), (3, 0, 0, 0, 0, 0, 100, 1000)),
}


def test_further_counts_are_added_up_by_name() -> None:
    period = Period(date(2026, 11, 2), date(2026, 11, 4), date(2026, 11, 4))
    days = [
        DayRows(day, ("model",), {0: [(("m",), sums)]}, NOW, reported=True, more_inputs=names)
        for day, (names, sums) in MORE.items()
    ]
    table = aggregate(iter(days), USAGE_REPORT, period, "day", NOW)
    assert table.more_inputs == ("a.b", "a.x")
    assert [sums[6:] for sums in table.groups[()]] == [(0, 10), (0, 0), (100, 1000)]
    assert table.at_granularity("total").more_inputs == ("a.b", "a.x")
    assert table.at_granularity("total").totals() == table.totals() == (6, 0, 0, 0, 0, 0, 100, 1010)
    assert table.zero == (0,) * 8


def test_a_day_without_a_dimension_has_the_default() -> None:
    day = date(2026, 11, 2)
    period = Period(day, day, day)
    with_speed = DayRows(
        day, ("model", "speed"), {0: [(("m", "fast"), (1,) * 6), (("m", None), (2,) * 6)]}, NOW, reported=True
    )
    without = DayRows(day, ("model",), {0: [(("m",), (4,) * 6)]}, NOW, reported=True)
    defaults = {"speed": "standard"}

    def sums(group_by: Sequence[str], filters: Filters | None = None) -> dict[Key, int]:
        days = [with_speed, without]
        table = aggregate(days, USAGE_REPORT, period, "total", NOW, group_by, filters, defaults=defaults)
        return {key: int(columns[0][0]) for key, columns in table.groups.items()}

    assert sums(["speed"]) == {("fast",): 1, (None,): 2, ("standard",): 4}
    assert sums([], {"speed": frozenset({"standard"})}) == {(): 4}
    assert sums(["model"], {"speed": frozenset({"fast", None})}) == {("m",): 3}
