"""The contract of every cache tier, and of the tiers combined."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.harness import NOW, FrozenClock
from tests.support.redis_servers import PROGRAMS, Store, require, running
from usage_cost_mcp.cache import View
from usage_cost_mcp.cache.codec import DayId, decode, encode
from usage_cost_mcp.cache.memory_store import MemoryDayStore
from usage_cost_mcp.cache.ports import DayCache
from usage_cost_mcp.cache.tiers import TieredDayCache
from usage_cost_mcp.model.rows import DayRows, Row
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT
from usage_cost_mcp.redis_backend import RedisConnection, RedisDayStore

pytestmark = pytest.mark.anyio

TODAY = NOW.date()
DAY = timedelta(days=1)
YESTERDAY = TODAY - DAY
LONG_AGO = TODAY - 100 * DAY

COSTS = View(COST_REPORT, ("model", "workspace_id"), "1d")
TOKENS = View(USAGE_REPORT, ("model",), "1d")


REDIS_TIERS = tuple(f"{layout}{program}" for program in PROGRAMS for layout in ("", "memory + "))


@pytest.fixture(scope="module", params=["memory", "tiered memory", *REDIS_TIERS])
def tiers(request: pytest.FixtureRequest) -> str:
    """The tiers under test: each one alone, and as a tiered cache."""
    return request.param


@pytest.fixture(scope="module")
def server(tiers: str) -> Generator[Store | None]:
    program = tiers.removeprefix("memory + ")
    if program not in PROGRAMS:
        yield None
        return
    with running(program) as store:
        yield store


Open = Callable[[str], DayCache]
"""Opens the cache of an organization."""


@pytest.fixture
async def open_cache(tiers: str, server: Store | None, clock: FrozenClock) -> AsyncGenerator[Open]:
    caches: dict[str, DayCache] = {}
    connection = RedisConnection(server.url, clock) if server else None

    def create(organization: str) -> DayCache:
        memory = MemoryDayStore(clock, 10_000)
        if connection is None:
            return TieredDayCache([memory], clock) if tiers == "tiered memory" else memory
        redis = RedisDayStore(connection, organization, clock)
        return TieredDayCache([memory, redis], clock) if tiers.startswith("memory + ") else redis

    def open_cache(organization: str) -> DayCache:
        if organization not in caches:
            caches[organization] = create(organization)
        return caches[organization]

    yield open_cache
    for cache in caches.values():
        await cache.clear()
    if connection:
        await connection.aclose()


@pytest.fixture
def store(open_cache: Open) -> DayCache:
    return open_cache("org-one")


def read_at(view: View, day: date, at: datetime = NOW, *rows: Row, **more: object) -> DayRows:
    """A day with these rows, read at the given time."""
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
    pytest.param(
        TOKENS,
        read_at(
            TOKENS, YESTERDAY, NOW, (("claude-opus-4-6",), (1, 0, 0, 0, 2, 0, 3)), more_inputs=("cache_creation.x",)
        ),
        id="more inputs",
    ),
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
async def test_a_day_is_found_exactly_as_it_was_put(store: DayCache, view: View, kept: DayRows) -> None:
    await store.put_many(view, [kept])
    found = (await store.get_many(view, [kept.day]))[kept.day]
    assert found == kept
    assert list(found.rows) == list(kept.rows)
    assert repr(found) == repr(kept)


async def test_only_the_days_that_were_put_are_found(store: DayCache) -> None:
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
async def test_a_day_is_fresh_for_its_lifetime_then_stale_for_a_week_then_expired(
    store: DayCache, clock: FrozenClock, day: date, fresh_for: timedelta
) -> None:
    await store.put_many(TOKENS, [read_at(TOKENS, day, NOW, tokens(1))])
    found: list[tuple[bool, bool]] = []
    second = timedelta(seconds=1)
    for since in (fresh_for - second, fresh_for, fresh_for + 7 * DAY - second, fresh_for + 7 * DAY):
        clock.moment = NOW + since
        fresh, stale = [await store.get_many(TOKENS, [day], include_stale=include) for include in (False, True)]
        found.append((day in fresh, day in stale))
    assert found == [(True, True), (False, True), (False, True), (False, False)]


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
async def test_another_view_report_or_width_is_not_found(store: DayCache, other: View) -> None:
    await store.put_many(TOKENS, [read_at(TOKENS, YESTERDAY, NOW, tokens(1))])
    assert await store.get_many(other, [YESTERDAY], include_stale=True) == {}
    assert await store.get_many(TOKENS, [TODAY], include_stale=True) == {}


async def test_another_organization_is_not_found(open_cache: Open) -> None:
    await open_cache("org-one").put_many(TOKENS, [read_at(TOKENS, YESTERDAY, NOW, tokens(1))])
    for other in ("org-two", "org-*", "org-one:usage", "", "org-on?"):
        assert await open_cache(other).get_many(TOKENS, [YESTERDAY], include_stale=True) == {}
        await open_cache(other).clear()
    assert await open_cache("org-one").get_many(TOKENS, [YESTERDAY]) != {}


async def test_the_later_of_two_readings_is_kept_in_either_order(store: DayCache, clock: FrozenClock) -> None:
    earlier, later = (read_at(TOKENS, LONG_AGO, NOW + at * timedelta(seconds=1), tokens(at)) for at in (1, 2))
    clock.advance(3)
    for order in ([earlier, later], [later, earlier]):
        await store.clear()
        for reading in order:
            await store.put_many(TOKENS, [reading])
        assert (await store.get_many(TOKENS, [LONG_AGO]))[LONG_AGO].rows == later.rows


async def test_nothing_is_found_after_clear(store: DayCache) -> None:
    days = [read_at(TOKENS, LONG_AGO + n * DAY, NOW, tokens(n)) for n in range(90)]
    await store.put_many(TOKENS, days)
    await store.clear()
    assert await store.get_many(TOKENS, [rows.day for rows in days], include_stale=True) == {}
    await store.put_many(TOKENS, days[:1])
    assert await store.get_many(TOKENS, [LONG_AGO]) == {LONG_AGO: days[0]}


async def test_put_returns_the_days_in_order(store: DayCache) -> None:
    days = [read_at(TOKENS, LONG_AGO + n * DAY, NOW, tokens(n)) for n in range(3)]
    assert list(await store.put_many(TOKENS, days)) == days
    assert list(await store.put_many(TOKENS, [])) == []


async def test_concurrent_users_find_their_days(store: DayCache) -> None:
    async def use(n: int) -> None:
        kept = read_at(TOKENS, LONG_AGO + n * DAY, NOW, tokens(n))
        await store.put_many(TOKENS, [kept])
        assert await store.get_many(TOKENS, [kept.day]) == {kept.day: kept}

    await asyncio.gather(*(use(n) for n in range(90)))


# The tiers combined: what each one contributes.


class Process:
    """The tiers of one of several processes: memory, in front of a store that all share."""

    def __init__(self, shared: DayCache, clock: FrozenClock) -> None:
        self.memory = MemoryDayStore(clock, 10_000)
        self.cache = TieredDayCache([self.memory, shared], clock)


@pytest.fixture
def processes(clock: FrozenClock) -> list[Process]:
    shared = MemoryDayStore(clock, 10_000)
    return [Process(shared, clock) for _ in range(2)]


async def test_a_day_that_one_process_put_is_copied_into_the_memory_of_another(processes: list[Process]) -> None:
    one, other = processes
    day = read_at(TOKENS, YESTERDAY, NOW, tokens(1))
    await one.cache.put_many(TOKENS, [day])
    assert await other.memory.get_many(TOKENS, [YESTERDAY]) == {}
    assert await other.cache.get_many(TOKENS, [YESTERDAY]) == {YESTERDAY: day}
    assert await other.memory.get_many(TOKENS, [YESTERDAY]) == {YESTERDAY: day}


async def test_a_later_reading_of_another_process_replaces_a_stale_one_and_is_marked_as_revised(
    processes: list[Process], clock: FrozenClock
) -> None:
    one, other = processes
    await one.cache.put_many(TOKENS, [read_at(TOKENS, YESTERDAY, NOW, tokens(1))])
    clock.advance(16 * 60)
    later = read_at(TOKENS, YESTERDAY, clock.now(), tokens(2))
    await other.cache.put_many(TOKENS, [later])
    found = (await one.cache.get_many(TOKENS, [YESTERDAY]))[YESTERDAY]
    assert (found.rows, found.revised) == (later.rows, NOW)


async def test_a_stale_day_of_another_process_is_compared_with_a_later_reading(
    processes: list[Process], clock: FrozenClock
) -> None:
    one, other = processes
    await one.cache.put_many(TOKENS, [read_at(TOKENS, YESTERDAY, NOW, tokens(1))])
    clock.advance(16 * 60)
    assert await other.cache.get_many(TOKENS, [YESTERDAY]) == {}
    (kept,) = await other.cache.put_many(TOKENS, [read_at(TOKENS, YESTERDAY, clock.now(), tokens(2))])
    assert kept.revised == NOW


async def test_in_an_outage_the_stale_days_of_another_process_are_found(
    processes: list[Process], clock: FrozenClock
) -> None:
    one, other = processes
    day = read_at(TOKENS, YESTERDAY, NOW, tokens(1))
    await one.cache.put_many(TOKENS, [day])
    clock.advance(16 * 60)
    assert await other.cache.get_many(TOKENS, [YESTERDAY], include_stale=True) == {YESTERDAY: day}


# Only Redis and the codec.


@pytest.fixture(params=PROGRAMS)
def redis(request: pytest.FixtureRequest) -> Generator[Store]:
    with running(request.param) as store:
        yield store


async def test_every_redis_key_names_its_organization_and_expires(redis: Store, clock: FrozenClock) -> None:
    connection = RedisConnection(redis.url, clock)
    days = RedisDayStore(connection, "org-one", clock)
    await days.put_many(TOKENS, [read_at(TOKENS, day, NOW, tokens(1)) for day in (TODAY, YESTERDAY, LONG_AGO)])
    await connection.aclose()
    with redis.admin as admin:
        expiry = {key.decode(): admin.pttl(key) for key in sorted(admin.scan_iter("*"))}
    seconds = {key: round(milliseconds / 1000 - 7 * 86_400, -1) for key, milliseconds in expiry.items()}
    assert seconds == {
        f"usage-cost:2:org-one:usage:model:1d:{TODAY}": 60,
        f"usage-cost:2:org-one:usage:model:1d:{YESTERDAY}": 15 * 60,
        f"usage-cost:2:org-one:usage:model:1d:{LONG_AGO}": 30 * 86_400,
    }


@pytest.mark.parametrize("program", PROGRAMS)
async def test_redis_keeps_a_day_of_a_hundred_thousand_rows(program: str, clock: FrozenClock) -> None:
    require(program)
    large = read_at(TOKENS, LONG_AGO, NOW, *(tokens(7**13 % (n + 10**9), f"claude-{n}") for n in range(100_000)))
    with running(program) as store:
        connection = RedisConnection(store.url, clock)
        days = RedisDayStore(connection, "org-one", clock)
        await days.put_many(TOKENS, [large])
        assert await days.get_many(TOKENS, [LONG_AGO]) == {LONG_AGO: large}
        await connection.aclose()


DAY_ID = DayId("org-one", TOKENS, YESTERDAY)
ENCODED = encode(DAY_ID, read_at(TOKENS, YESTERDAY, NOW, tokens(5), tokens(7, None)))


@settings(max_examples=1000)
@given(st.integers(0, len(ENCODED) - 1), st.integers(0, 255), st.integers(0, len(ENCODED)))
def test_a_day_with_corrupt_bytes_is_exact_or_not_found(at: int, byte: int, length: int) -> None:
    corrupt = (ENCODED[:at] + bytes([byte]) + ENCODED[at + 1 :])[:length]
    found = decode(DAY_ID, corrupt, NOW, {})
    assert found is None or corrupt == ENCODED


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_not_a_day(value: bytes) -> None:
    assert decode(DAY_ID, value, NOW, {}) is None
