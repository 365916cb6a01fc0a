"""What must hold for every organization: asked through a real client, of an Admin API over real HTTP."""

import copy
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.generated_orgs import (
    SPEND,
    USAGE,
    Body,
    GeneratedOrg,
    Group,
    Harness,
    Row,
    groupings,
    measured,
    midnight,
    open_harness,
    periods,
    worlds,
)
from tests.support.harness import MIN_EXAMPLES, NOW, calls_a_server

GRANULARITIES = ["day", "week", "month", "total"]
Sums = dict[str, Fraction]


@pytest.fixture
def house() -> Generator[Harness]:
    """A server for all examples of one property. At the end, most rows that were made must have been asked for."""
    with open_harness() as house:
        yield house
    assert house.made > 3 * MIN_EXAMPLES
    assert house.reached >= 0.9 * house.made


def ask(house: Harness, world: GeneratedOrg, **query: Any) -> dict[str, Any]:
    everything = {"measures": "all"} if world.tool == USAGE else {}
    return house.ask(world.tool, **{"period": world.asked, "top": 100, **everything, **query})


def added(many: Iterable[Mapping[str, Fraction]]) -> Sums:
    sums: Sums = defaultdict(Fraction)
    for each in many:
        for measure, value in each.items():
            sums[measure] += value
    return {measure: value for measure, value in sums.items() if value}


def totals(part: Mapping[str, Any]) -> Sums:
    return {measure: Fraction(value) for measure, value in part["totals"].items() if Fraction(value)}


def by_bucket(answer: Mapping[str, Any], values: Mapping[str, list[Any]]) -> dict[str, Sums]:
    """What is not zero, by bucket."""
    found: dict[str, Sums] = defaultdict(dict)
    for measure, row in values.items():
        for bucket, value in zip(answer["buckets"], row, strict=True):
            if Fraction(value):
                found[bucket][measure] = Fraction(value)
    return found


def by_group(answer: Mapping[str, Any]) -> dict[Group, dict[str, Sums]]:
    return {tuple(each["group"].values()): by_bucket(answer, each["values"]) for each in answer["series"]}


def read_by_hand(
    world: GeneratedOrg, key: Callable[[Row], Group], bucket: Callable[[date, GeneratedOrg], str]
) -> dict[Group, dict[str, Sums]]:
    """The same from the rows themselves, with fractions and nothing else."""
    sums: dict[Group, dict[str, list[Sums]]] = defaultdict(lambda: defaultdict(list))
    for row in world.inside:
        sums[key(row)][bucket(row.moment.date(), world)].append(measured(world.tool, row))
    return {
        group: {name: total for name, each in buckets.items() if (total := added(each))}
        for group, buckets in sums.items()
    }


BUCKETS: dict[str, Callable[[date, GeneratedOrg], str]] = {
    "day": lambda day, _: f"{day}",
    "week": lambda day, _: f"{day - timedelta(days=day.weekday())}",
    "month": lambda day, _: f"{day:%Y-%m}",
    "total": lambda _, world: "..".join(f"{day}" for day in dict.fromkeys(world.period)),
}


@calls_a_server
@given(st.data())
def test_every_sum_is_what_fractions_make_of_the_wire(house: Harness, data: st.DataObject) -> None:
    world = data.draw(worlds())
    group_by = data.draw(groupings(world.tool))
    granularity = data.draw(st.sampled_from(GRANULARITIES))
    house.enter(world)
    answer = ask(house, world, group_by=group_by, granularity=granularity)
    by_hand = read_by_hand(world, lambda row: row.key(group_by), BUCKETS[granularity])
    assert by_group(answer) == by_hand
    assert totals(answer) == added(measured(world.tool, row) for row in world.inside)


@calls_a_server
@given(st.data())
def test_groups_add_up_to_the_ungrouped_total(house: Harness, data: st.DataObject) -> None:
    world = data.draw(worlds())
    group_by = data.draw(groupings(world.tool))
    house.enter(world)
    whole, grouped = (ask(house, world, group_by=dimensions) for dimensions in ([], group_by))
    assert added(map(totals, grouped["series"])) == totals(grouped) == totals(whole)
    assert grouped["bucket_totals"] == whole["bucket_totals"] == whole["series"][0]["values"]
    for series in grouped["series"]:
        assert added(by_bucket(grouped, series["values"]).values()) == totals(series)


@calls_a_server
@given(st.data())
def test_a_filter_on_a_value_gives_the_group_of_that_value(house: Harness, data: st.DataObject) -> None:
    world = data.draw(worlds())
    dimension = data.draw(st.sampled_from(world.dimensions))
    house.enter(world)
    groups = by_group(ask(house, world, group_by=[dimension]))
    value = data.draw(st.sampled_from(sorted(groups, key=str)))[0]
    filtered = ask(house, world, filter_by={dimension: [value]})
    assert by_group(filtered) == {(): groups[value,]}


@calls_a_server
@given(st.data())
def test_two_stretches_of_days_add_up_to_the_whole(house: Harness, data: st.DataObject) -> None:
    world = data.draw(worlds().filter(lambda world: world.period[0] < world.period[1]))
    first, last = world.period
    cut = first + timedelta(days=data.draw(st.integers(0, (last - first).days - 1)))
    group_by = data.draw(groupings(world.tool))
    house.enter(world)
    parts = [
        ask(house, world, period=f"{start}..{end}", group_by=group_by)
        for start, end in [(first, cut), (cut + timedelta(days=1), last)]
    ]
    whole = ask(house, world, group_by=group_by)
    of_parts: dict[Group, dict[str, Sums]] = defaultdict(dict)
    for part in parts:
        for group, buckets in by_group(part).items():
            of_parts[group] |= buckets
    assert by_group(whole) == of_parts
    assert totals(whole) == added(map(totals, parts))


def _bucket_of(bucket: Callable[[date, GeneratedOrg], str], world: GeneratedOrg, day: str) -> str:
    return bucket(date.fromisoformat(day), world)


def rolled(fine: Mapping[str, Sums], name_of: Callable[[str], str]) -> dict[str, Sums]:
    """The sums of buckets in larger ones."""
    parts: dict[str, list[Sums]] = defaultdict(list)
    for name, sums in fine.items():
        parts[name_of(name)].append(sums)
    return {name: total for name, each in parts.items() if (total := added(each))}


@calls_a_server
@given(st.data())
def test_days_roll_up_to_weeks_months_and_the_total(house: Harness, data: st.DataObject) -> None:
    world = data.draw(worlds())
    group_by = data.draw(groupings(world.tool))
    house.enter(world)
    days = by_group(ask(house, world, group_by=group_by))
    for granularity in GRANULARITIES[1:]:
        name_of = partial(_bucket_of, BUCKETS[granularity], world)
        coarse = by_group(ask(house, world, group_by=group_by, granularity=granularity))
        assert coarse == {group: rolled(buckets, name_of) for group, buckets in days.items()}


@calls_a_server
@given(worlds([USAGE]))
def test_minutes_roll_up_to_hours_and_hours_to_days(house: Harness, world: GeneratedOrg) -> None:
    day = world.period[0]
    rows = [replace(row, moment=midnight(day) + (row.moment - midnight(row.moment.date()))) for row in world.inside]
    world = replace(world, period=(day, day), rows=[row for row in rows if row.moment <= NOW])
    house.enter(world)
    minutes, hours, days = (
        by_group(ask(house, world, granularity=granularity, measures=["output_tokens"]))[()]
        for granularity in ("minute", "hour", "day")
    )
    assert hours == rolled(minutes, lambda minute: f"{minute[:13]}:00Z")
    assert days == rolled(hours, lambda hour: hour[:10])
    assert added(days.values()).get("output_tokens", 0) == sum(int(row.values[4]) for row in world.inside)


@calls_a_server
@given(st.data())
def test_the_size_and_order_of_pages_and_rows_do_not_matter(house: Harness, data: st.DataObject) -> None:
    world = data.draw(worlds())
    group_by = data.draw(groupings(world.tool))
    house.enter(world)
    plain = ask(house, world, group_by=group_by)
    size, seed = data.draw(st.integers(1, 31)), data.draw(st.integers(0, 2**32))
    rows = data.draw(st.permutations(world.rows))
    house.enter(replace(world, rows=rows, page_size=size, shuffled=seed))
    assert told(ask(house, world, group_by=group_by)) == told(plain)
    assert house.api.pages >= len(plain["buckets"]) / size


def told(answer: Mapping[str, Any]) -> dict[str, Any]:
    """All of an answer but where the data came from."""
    return {name: part for name, part in answer.items() if name != "cache"}


@calls_a_server
@given(st.data())
def test_an_answer_from_memory_is_the_answer_that_upstream_gives(house: Harness, data: st.DataObject) -> None:
    world = data.draw(worlds())
    questions = st.fixed_dictionaries(
        {"period": st.tuples(periods, st.just("..")).map(lambda pair: f"{pair[0][0]}..{pair[0][1]}")}
        | {"group_by": groupings(world.tool), "granularity": st.sampled_from(GRANULARITIES)}
    )
    last = data.draw(questions) | {"period": world.asked}
    house.enter(world)
    cold = ask(house, world, **last)
    assert cold["cache"]["status"] == "miss"
    house.enter(world)
    for query in data.draw(st.lists(questions, max_size=4)):
        ask(house, world, **query)
    asked_before = ask(house, world, **last)
    again = ask(house, world, **last)
    assert told(asked_before) == told(again) == told(cold)
    assert again["cache"] == {"status": "hit", "upstream_requests": 0}


@calls_a_server
@given(st.data())
def test_the_largest_groups_and_other_add_up_to_the_total(house: Harness, data: st.DataObject) -> None:
    world = data.draw(worlds())
    group_by = data.draw(groupings(world.tool).filter(bool))
    house.enter(world)
    every = ask(house, world, group_by=group_by)
    groups = len(every["series"])
    top = data.draw(st.integers(1, groups) | st.integers(1, 100))
    answer = ask(house, world, group_by=group_by, top=top)
    shown, rest = every["series"][:top], every["series"][top:]
    assert answer["series"][:top] == shown
    assert [series["other_groups"] for series in answer["series"][top:]] == [len(rest)][: len(rest)]
    assert added(map(totals, answer["series"])) == totals(answer) == totals(every)
    assert answer["bucket_totals"] == every["bucket_totals"]
    if rest:
        other = by_bucket(answer, answer["series"][-1]["values"])
        per_bucket = (by_bucket(every, series["values"]) for series in rest)
        assert added(other.values()) == added(sums for buckets in per_bucket for sums in buckets.values())


NEWS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("ab\u00e9"),
    lambda inside: st.lists(inside, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inside, max_size=2),
    max_leaves=4,
)


@calls_a_server
@given(st.data())
def test_fields_that_nobody_knows_change_nothing(house: Harness, data: st.DataObject) -> None:
    world, news = data.draw(worlds()), data.draw(NEWS)
    group_by = data.draw(groupings(world.tool))

    def with_news(part: Any) -> None:
        if isinstance(part, dict):
            # Not in the members of cache_creation, which are the parts of one sum: each of them counts.
            for name, each in list(part.items()):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
                if name != "cache_creation":
                    with_news(each)
            part["brand_new"] = copy.deepcopy(news)
        elif isinstance(part, list):
            for each in part:  # pyright: ignore[reportUnknownVariableType]
                with_news(each)

    house.enter(world)
    plain = ask(house, world, group_by=group_by)
    house.enter(replace(world, edit=with_news))
    assert told(ask(house, world, group_by=group_by)) == told(plain)


@calls_a_server
@given(st.data())
def test_values_that_nobody_knows_are_groups_like_any_other(house: Harness, data: st.DataObject) -> None:
    world = data.draw(worlds())
    dimension = data.draw(st.sampled_from(world.dimensions))

    def renamed(row: Row) -> Row:
        value = row.group[dimension]
        return replace(row, group={**row.group, dimension: value and f"zz_{value}_zz"})

    house.enter(world)
    known = by_group(ask(house, world, group_by=[dimension]))
    house.enter(replace(world, rows=list(map(renamed, world.rows))))
    unknown = by_group(ask(house, world, group_by=[dimension]))
    assert unknown == {(value and f"zz_{value}_zz",): sums for (value,), sums in known.items()}


OF_EVERY_PAGE = [("data",), ("has_more",), ("data", 0, "starting_at"), ("data", 0, "ending_at"), ("data", 0, "results")]
OF_A_ROW: dict[str, list[tuple[str, ...]]] = {
    SPEND: [("amount",), ("currency",), ("workspace_id",), ("description",)],
    USAGE: [
        ("uncached_input_tokens",),
        ("cache_read_input_tokens",),
        ("cache_creation",),
        ("cache_creation", "ephemeral_5m_input_tokens"),
        ("cache_creation", "ephemeral_1h_input_tokens"),
        ("output_tokens",),
        ("server_tool_use",),
        ("server_tool_use", "web_search_requests"),
        ("workspace_id",),
        ("model",),
    ],
}


@calls_a_server
@given(st.data())
def test_a_required_field_that_is_missing_anywhere_is_an_error(house: Harness, data: st.DataObject) -> None:
    world = data.draw(worlds())
    row_number = data.draw(st.integers(0, 100))
    path = data.draw(st.sampled_from([*OF_EVERY_PAGE, *OF_A_ROW[world.tool]]))
    taken: list[object] = []

    def without(page: Body) -> None:
        rows = [row for bucket in page["data"] for row in bucket["results"]]
        if path in OF_EVERY_PAGE:
            part: Any = page
        elif rows and not taken:
            part = rows[row_number % len(rows)]
        else:
            return
        *way, last = path
        for step in way:
            part = part[step]
        taken.append(part.pop(last))

    house.enter(replace(world, edit=without))
    said = house.refusal(world.tool, period=world.asked)
    assert taken
    assert "o total is reported" in said
