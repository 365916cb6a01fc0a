"""What every store of days promises: the one in a process, and the one that processes share on Redis or Valkey."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.harness import NOW, FrozenClock
from tests.support.redis_servers import PROGRAMS, Store, require, running
from usage_cost_mcp.cache import View
from usage_cost_mcp.cache.codec import DayId, decode, encode
from usage_cost_mcp.cache.memory_store import MemoryDayStore
from usage_cost_mcp.model.rows import DayRows, Row
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT
from usage_cost_mcp.redis_backend import RedisConnection
from usage_cost_mcp.redis_backend.day_store import RedisDayStore

pytestmark = pytest.mark.anyio

TODAY = NOW.date()
DAY = timedelta(days=1)
YESTERDAY = TODAY - DAY
LONG_AGO = TODAY - 100 * DAY

COSTS = View(COST_REPORT, ("model", "workspace_id"), "1d")
TOKENS = View(USAGE_REPORT, ("model",), "1d")


class Days(Protocol):
    """A store of days."""

    async def get_many(
        self, view: View, days: Sequence[date], *, include_stale: bool = False
    ) -> dict[date, DayRows]: ...

    async def put_many(self, view: View, days: Sequence[DayRows]) -> None: ...

    async def clear(self) -> None: ...


@dataclass
class InProcess:
    """The store of one process, which answers at once and day by day."""

    store: MemoryDayStore

    async def get_many(self, view: View, days: Sequence[date], *, include_stale: bool = False) -> dict[date, DayRows]:
        found = {day: self.store.get(view, day, include_stale=include_stale) for day in days}
        return {day: rows for day, rows in found.items() if rows is not None}

    async def put_many(self, view: View, days: Sequence[DayRows]) -> None:
        for rows in days:
            self.store.put(view, rows)

    async def clear(self) -> None:
        self.store.clear()


@pytest.fixture(scope="module", params=["in-process", *PROGRAMS])
def server(request: pytest.FixtureRequest) -> Generator[Store | None]:
    if request.param == "in-process":
        yield None
        return
    with running(request.param) as store:
        yield store


Open = Callable[[str], Days]
"""The days of an organization."""


@pytest.fixture
async def open_days(server: Store | None, clock: FrozenClock) -> AsyncGenerator[Open]:
    stores: dict[str, Days] = {}
    line = RedisConnection(server.url, clock) if server else None

    def days(organization: str) -> Days:
        new: Days = RedisDayStore(line, organization, clock) if line else InProcess(MemoryDayStore(clock, 10_000))
        return stores.setdefault(organization, new)

    yield days
    for store in stores.values():
        await store.clear()
    if line:
        await line.aclose()


@pytest.fixture
def store(open_days: Open) -> Days:
    return open_days("org-one")


def read_at(view: View, day: date, at: datetime = NOW, *rows: Row, **more: object) -> DayRows:
    """A day with these rows, as it was read at a moment."""
    day_rows = DayRows(day, view.dimensions, {0: list(rows)}, at, reported=True)
    return replace(day_rows, **more)  # pyright: ignore[reportArgumentType] - as the test names them


def cost(amount: str, *key: str | None) -> Row:
    return (key or ("claude-opus-4-6", None), (Decimal(amount),))


def tokens(count: int, *key: str | None) -> Row:
    return (key or ("claude-opus-4-6",), (count, 0, 0, 0, 2 * count, 0))


EXACT = [
    pytest.param(COSTS, read_at(COSTS, YESTERDAY, NOW, cost("12.34567890123456789012345678")), id="28 digits"),
    pytest.param(COSTS, read_at(COSTS, YESTERDAY, NOW, cost("0.000000000000000000000000000001")), id="30 places"),
    pytest.param(COSTS, read_at(COSTS, YESTERDAY, NOW, cost("-450.00"), cost("1.50")), id="a credit"),
    pytest.param(COSTS, read_at(COSTS, YESTERDAY, NOW, cost("1", None, None)), id="no dimension"),
    pytest.param(COSTS, read_at(COSTS, YESTERDAY, NOW, cost("1", "\u00fc, \"'\\\n\U0001f600", "")), id="odd names"),
    pytest.param(TOKENS, read_at(TOKENS, YESTERDAY, NOW, tokens(2**53 + 1), tokens(2**64, None)), id="beyond floats"),
    pytest.param(TOKENS, read_at(TOKENS, YESTERDAY), id="no rows"),
    pytest.param(TOKENS, read_at(TOKENS, YESTERDAY, rows={}), id="no buckets"),
    pytest.param(TOKENS, read_at(TOKENS, YESTERDAY, reported=False), id="not reported"),
    pytest.param(TOKENS, read_at(TOKENS, YESTERDAY, revised=NOW - DAY), id="revised"),
    pytest.param(
        View(USAGE_REPORT, (), "1d"),
        read_at(View(USAGE_REPORT, (), "1d"), YESTERDAY, NOW, ((), (1,) * 6)),
        id="ungrouped",
    ),
    pytest.param(
        View(USAGE_REPORT, ("model",), "1h"),
        read_at(TOKENS, YESTERDAY, rows={60 * hour: [tokens(hour)] * (hour % 3) for hour in range(24)}),
        id="hours",
    ),
    pytest.param(
        View(USAGE_REPORT, ("model",), "1m"),
        read_at(TOKENS, YESTERDAY, rows={1439: [tokens(1)], 7: [tokens(2)]}),
        id="minutes",
    ),
]


@pytest.mark.parametrize(("view", "kept"), EXACT)
async def test_what_is_kept_is_found_whole_and_exact(store: Days, view: View, kept: DayRows) -> None:
    await store.put_many(view, [kept])
    found = (await store.get_many(view, [kept.day]))[kept.day]
    assert found == kept
    assert list(found.rows) == list(kept.rows)
    assert repr(found) == repr(kept)


async def test_many_days_are_kept_and_found_at_once(store: Days) -> None:
    days = [read_at(TOKENS, LONG_AGO + n * DAY, NOW, *([tokens(n)] * n)) for n in range(90)]
    await store.put_many(TOKENS, days[::2])
    found = await store.get_many(TOKENS, [rows.day for rows in days])
    assert found == {rows.day: rows for rows in days[::2]}
    assert await store.get_many(TOKENS, []) == {}


@pytest.mark.parametrize(
    ("day", "fresh_for"),
    [
        (TODAY, timedelta(seconds=60)),
        (YESTERDAY, timedelta(minutes=15)),
        (TODAY - 10 * DAY, timedelta(hours=24)),
        (LONG_AGO, timedelta(days=30)),
    ],
)
async def test_a_day_is_fresh_by_its_age_then_stale_for_a_week_then_forgotten(
    store: Days, clock: FrozenClock, day: date, fresh_for: timedelta
) -> None:
    await store.put_many(TOKENS, [read_at(TOKENS, day, NOW, tokens(1))])
    told: list[tuple[bool, bool]] = []
    second = timedelta(seconds=1)
    for since in (fresh_for - second, fresh_for, fresh_for + 7 * DAY - second, fresh_for + 7 * DAY):
        clock.moment = NOW + since
        fresh, stale = [await store.get_many(TOKENS, [day], include_stale=too) for too in (False, True)]
        told.append((day in fresh, day in stale))
    assert told == [(True, True), (False, True), (False, True), (False, False)]


@pytest.mark.parametrize(
    "other",
    [
        View(USAGE_REPORT, ("workspace_id",), "1d"),
        View(USAGE_REPORT, ("model", "workspace_id"), "1d"),
        View(COST_REPORT, ("model",), "1d"),
        View(USAGE_REPORT, ("model",), "1h"),
        View(USAGE_REPORT, ("model",), "1m"),
    ],
)
async def test_another_view_report_or_width_is_not_found(store: Days, other: View) -> None:
    await store.put_many(TOKENS, [read_at(TOKENS, YESTERDAY, NOW, tokens(1))])
    assert await store.get_many(other, [YESTERDAY], include_stale=True) == {}
    assert await store.get_many(TOKENS, [TODAY], include_stale=True) == {}


async def test_another_organization_is_not_found(open_days: Open) -> None:
    await open_days("org-one").put_many(TOKENS, [read_at(TOKENS, YESTERDAY, NOW, tokens(1))])
    for other in ("org-two", "org-*", "org-one:usage", "", "org-on?"):
        assert await open_days(other).get_many(TOKENS, [YESTERDAY], include_stale=True) == {}
        await open_days(other).clear()
    assert await open_days("org-one").get_many(TOKENS, [YESTERDAY]) != {}


async def test_of_two_readings_the_later_one_is_kept_whatever_the_order(store: Days, clock: FrozenClock) -> None:
    earlier, later = (read_at(TOKENS, LONG_AGO, NOW + at * timedelta(seconds=1), tokens(at)) for at in (1, 2))
    clock.advance(3)
    for order in ([earlier, later], [later, earlier]):
        await store.clear()
        for reading in order:
            await store.put_many(TOKENS, [reading])
        assert (await store.get_many(TOKENS, [LONG_AGO]))[LONG_AGO].rows == later.rows


async def test_nothing_is_found_once_all_is_forgotten(store: Days) -> None:
    days = [read_at(TOKENS, LONG_AGO + n * DAY, NOW, tokens(n)) for n in range(90)]
    await store.put_many(TOKENS, days)
    await store.clear()
    assert await store.get_many(TOKENS, [rows.day for rows in days], include_stale=True) == {}
    await store.put_many(TOKENS, days[:1])
    assert await store.get_many(TOKENS, [LONG_AGO]) == {LONG_AGO: days[0]}


async def test_many_at_once_get_what_they_kept(store: Days) -> None:
    async def use(n: int) -> None:
        kept = read_at(TOKENS, LONG_AGO + n * DAY, NOW, tokens(n))
        await store.put_many(TOKENS, [kept])
        assert await store.get_many(TOKENS, [kept.day]) == {kept.day: kept}

    await asyncio.gather(*(use(n) for n in range(90)))


# What follows concerns the shared store alone.


@pytest.fixture(params=PROGRAMS)
def redis(request: pytest.FixtureRequest) -> Generator[Store]:
    with running(request.param) as store:
        yield store


async def test_every_name_in_redis_has_an_end_and_says_whose_it_is(redis: Store, clock: FrozenClock) -> None:
    line = RedisConnection(redis.url, clock)
    days = RedisDayStore(line, "org-one", clock)
    await days.put_many(TOKENS, [read_at(TOKENS, day, NOW, tokens(1)) for day in (TODAY, YESTERDAY, LONG_AGO)])
    await line.aclose()
    with redis.admin as admin:
        names = sorted(admin.scan_iter("*"))
        left = {name.decode(): admin.pttl(name) for name in names}
    seconds = {name: round(milliseconds / 1000 - 7 * 86_400, -1) for name, milliseconds in left.items()}
    assert seconds == {
        f"usage-cost:1:org-one:usage:model:1d:{TODAY}": 60,
        f"usage-cost:1:org-one:usage:model:1d:{YESTERDAY}": 15 * 60,
        f"usage-cost:1:org-one:usage:model:1d:{LONG_AGO}": 30 * 86_400,
    }


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_day_of_a_hundred_thousand_rows_is_shared(program: str, clock: FrozenClock) -> None:
    require(program)
    large = read_at(TOKENS, LONG_AGO, NOW, *(tokens(7**13 % (n + 10**9), f"claude-{n}") for n in range(100_000)))
    with running(program) as store:
        line = RedisConnection(store.url, clock)
        days = RedisDayStore(line, "org-one", clock)
        await days.put_many(TOKENS, [large])
        assert await days.get_many(TOKENS, [LONG_AGO]) == {LONG_AGO: large}
        await line.aclose()


PLACE = DayId("org-one", TOKENS, YESTERDAY)
WRITTEN = encode(PLACE, read_at(TOKENS, YESTERDAY, NOW, tokens(5), tokens(7, None)))


@settings(max_examples=1000)
@given(st.integers(0, len(WRITTEN) - 1), st.integers(0, 255), st.integers(0, len(WRITTEN)))
def test_whatever_happens_to_its_bytes_a_day_is_exact_or_not_found(at: int, byte: int, length: int) -> None:
    garbled = (WRITTEN[:at] + bytes([byte]) + WRITTEN[at + 1 :])[:length]
    found = decode(PLACE, garbled, NOW, {})
    assert found is None or garbled == WRITTEN


@given(st.binary(max_size=200))
def test_bytes_of_whatever_kind_are_not_a_day(value: bytes) -> None:
    assert decode(PLACE, value, NOW, {}) is None
