"""Faults of Redis: every answer stays exact.

E1: Redis is unavailable. E2: a value is corrupt. E3: the holder of a lease fails.
"""

import asyncio
import contextlib
import json
import logging
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.support.harness import REPORTS, Upstream, ask, refusal
from tests.support.processes import connected_to
from tests.support.redis_servers import PASSWORD, PROGRAMS, Store, hung, running
from tests.support.replicas import RunningClock, replica, replicas, truth
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.redis_backend import RedisConnection, RedisUnavailable
from usage_cost_mcp.runtime.limits import Limits

pytestmark = pytest.mark.anyio

PERIOD = "2026-10"
MAX_DELAY = 0.25
"""Seconds that an unavailable Redis may cost."""
TOLERANCE = 0.25
"""Seconds by which a busy machine may be late."""
OPERATIONS = 100
MAX_UNDELAYED = 10
"""Seconds of a call on a busy machine; a rate limit that is believed stops it for up to a minute."""


@pytest.fixture(autouse=True)
def no_password_in_the_log(caplog: pytest.LogCaptureFixture) -> Generator[None]:
    yield
    assert PASSWORD not in "".join(record.getMessage() for record in caplog.get_records("call"))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("usage_cost_mcp") and record.levelno >= logging.WARNING
    ]


# E1


@contextmanager
def down(redis: Store) -> Generator[SecretStr]:
    redis.kill()
    yield redis.url
    redis.start()


@contextmanager
def silent(_: Store) -> Generator[SecretStr]:
    with hung() as url:
        yield url


@contextmanager
def stopped(redis: Store) -> Generator[SecretStr]:
    """The process hangs."""
    assert redis.process is not None
    redis.process.send_signal(signal.SIGSTOP)
    yield redis.url
    redis.process.send_signal(signal.SIGCONT)


@contextmanager
def answering(*pieces: bytes | float) -> Generator[SecretStr]:
    """A server that sends the same pieces to every client, with pauses (in seconds)."""
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:

        def talk(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                for piece in pieces:
                    connection.sendall(piece) if isinstance(piece, bytes) else closing.wait(piece)
                closing.wait(30)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=talk, args=[listener.accept()[0]], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield SecretStr(f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
        closing.set()
        listener.shutdown(socket.SHUT_RDWR)


def drips(_: Store) -> Any:
    """Every byte arrives in time, the whole reply never does."""
    return answering(b"$1000000\r\n", *(piece for _ in range(200) for piece in (b"x", 0.05)))


def http(_: Store) -> Any:
    return answering(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n" * 10)


def endless(_: Store) -> Any:
    return answering(b"*1000000\r\n" * 1000)


def says(*lines: str) -> Callable[[Store], Any]:
    """The same error in reply to every command."""
    return lambda _: answering(b"".join(f"-{line}\r\n".encode() for line in lines) * 100)


def configured(**changes: str) -> Callable[[Store], Any]:
    """A server with another configuration."""

    @contextmanager
    def change(redis: Store) -> Generator[SecretStr]:
        with redis.admin as admin:
            before = {name: admin.config_get(name.replace("_", "-")) for name in changes}
            for name, value in changes.items():
                admin.config_set(name.replace("_", "-"), value)
            yield redis.url
            for values in before.values():
                for name, value in values.items():
                    admin.config_set(name, value)

    return change


@contextmanager
def read_only(redis: Store) -> Generator[SecretStr]:
    with redis.admin as admin:
        admin.replicaof("127.0.0.1", 9)
        yield redis.url
        admin.replicaof("NO", "ONE")


@contextmanager
def cannot_save(redis: Store) -> Generator[SecretStr]:
    """Without its disk, Redis rejects writes."""
    with redis.admin as admin:
        admin.config_set("save", "1 1")
        shutil.rmtree(redis.folder)
        admin.set("one", "1")
        deadline = time.monotonic() + 10
        while admin.info("persistence")["rdb_last_bgsave_status"] != "err":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield redis.url
        Path(redis.folder).mkdir()
        admin.config_set("stop-writes-on-bgsave-error", "no")
        admin.config_set("save", "")


@contextmanager
def wrong_password(redis: Store) -> Generator[SecretStr]:
    yield SecretStr(redis.url.get_secret_value().replace(PASSWORD, f"{PASSWORD}-but-wrong"))


@contextmanager
def no_permission(redis: Store) -> Generator[SecretStr]:
    with redis.admin as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-@write")
        yield redis.url
        admin.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def nowhere(_: Store) -> Generator[SecretStr]:
    yield SecretStr("redis://nowhere.invalid:6379/0")


@dataclass(frozen=True)
class Case:
    """One way in which Redis is unavailable while the block lasts."""

    number: str
    title: str
    broken: Callable[[Store], Any]

    def __str__(self) -> str:
        return f"{self.number} {self.title}"


E1 = [
    Case("E1.1", "nothing listens", down),
    Case("E1.2", "it accepts and never replies", silent),
    Case("E1.3", "the process is stopped", stopped),
    Case("E1.4", "it is full", configured(maxmemory="1", maxmemory_policy="noeviction")),
    Case("E1.5", "it is a replica and read-only", read_only),
    Case("E1.6", "it cannot save and rejects writes", cannot_save),
    Case("E1.7", "the password is wrong", wrong_password),
    Case("E1.8", "the user may not write", no_permission),
    Case("E1.9", "it drips", drips),
    Case("E1.10", "it speaks HTTP", http),
    Case("E1.11", "its reply never ends", endless),
    Case("E1.12", "it is loading", says("LOADING Redis is loading the dataset in memory")),
    Case("E1.13", "the key has moved", says("MOVED 3999 127.0.0.1:6381")),
    Case("E1.14", "the cluster is down", says("CLUSTERDOWN The cluster is down")),
    Case("E1.15", "it has too many clients", says("ERR max number of clients reached")),
    Case("E1.16", "its hostname is unknown", nowhere),
]


@pytest.fixture(params=PROGRAMS)
def redis(request: pytest.FixtureRequest) -> Generator[Store]:
    """A server with a password. It never contains the password or the Admin key."""
    with running(request.param, PASSWORD) as store:
        yield store
        assert store.said(PASSWORD) == set()


@pytest.mark.parametrize("case", E1, ids=str)
async def test_an_unavailable_redis_changes_no_answer_and_is_logged_once(
    case: Case, redis: Store, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    expected = [await truth(upstream, period=period) for period in (PERIOD, "2026-09")]
    clock = RunningClock()
    with case.broken(redis) as url:
        async with replica(upstream, None, redis_url=url, clock=clock) as client:
            answers = await asyncio.gather(*(ask(client, "get_spend", period=PERIOD) for _ in range(10)))
            assert {answer["totals"]["cost"] for answer in answers} == {expected[0]}
            assert (await ask(client, "get_spend", period=PERIOD))["cache"]["status"] == "hit"
            clock.ahead = 11  # the next probe fails too
            assert (await ask(client, "get_spend", period="2026-09"))["totals"]["cost"] == expected[1]
    assert upstream.asked("cost_report") == 2
    (warning,) = warnings(caplog)
    assert "own memory" in warning
    assert re.search(r"\(\w+\)", warning)


@pytest.mark.timing
@pytest.mark.parametrize("case", E1, ids=str)
async def test_an_unavailable_redis_delays_one_operation_in_ten_seconds(case: Case, redis: Store) -> None:
    clock = RunningClock()
    with case.broken(redis) as url:
        connection = RedisConnection(url, clock)

        async def delay() -> float:
            started = time.monotonic()
            with pytest.raises(RedisUnavailable):
                await connection.execute(lambda redis: redis.set("usage-cost-test", "1", px=10_000))
            return time.monotonic() - started

        at_first = await asyncio.gather(*(delay() for _ in range(OPERATIONS)))
        assert max(at_first) < MAX_DELAY + TOLERANCE
        started = time.monotonic()
        for _ in range(OPERATIONS):
            await delay()
        assert time.monotonic() - started < TOLERANCE
        clock.ahead = 11
        later = await asyncio.gather(*(delay() for _ in range(OPERATIONS)))
        assert max(later) < MAX_DELAY + TOLERANCE
        assert sorted(later)[-2] < TOLERANCE / 2  # only the probe waits
        await connection.aclose()


@pytest.mark.parametrize("case", [case for case in E1[:8] if case.broken not in {silent, wrong_password}], ids=str)
async def test_a_redis_that_recovers_is_used_again_after_ten_seconds(
    case: Case, redis: Store, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    clock = RunningClock()
    async with replica(upstream, redis, clock=clock) as one, replica(upstream, redis) as other:
        with case.broken(redis):
            await ask(one, "get_spend", period="2026-09")
        clock.ahead = 11
        await ask(one, "get_spend", period=PERIOD)
        answer = await ask(other, "get_spend", period=PERIOD)
    assert answer["cache"]["status"] == "hit"
    assert warnings(caplog)[-1] == "The shared cache is available again."


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
async def test_a_redis_that_fails_during_a_call_changes_no_answer(
    sent: signal.Signals, redis: Store, upstream: Upstream
) -> None:
    expected = await truth(upstream, period=PERIOD)

    def fail(request: Request) -> None:
        if request.path.endswith("cost_report"):
            assert redis.process is not None
            redis.process.send_signal(sent)

    upstream.override = fail
    async with replica(upstream, redis) as client:
        assert (await ask(client, "get_spend", period=PERIOD))["totals"]["cost"] == expected
        assert (await ask(client, "get_spend", period="2026-10-05"))["cache"]["status"] == "hit"
    redis.kill()
    redis.start()


async def test_a_busy_process_does_not_time_out_a_healthy_redis(redis: Store) -> None:
    connection = RedisConnection(redis.url, RunningClock())
    for _ in range(2):
        asking = asyncio.create_task(connection.execute(lambda redis: redis.get("any")))
        for _ in range(3):
            await asyncio.sleep(0)
            time.sleep(0.3)  # noqa: ASYNC251 - a long computation
        await asking
    await connection.aclose()


# E2

_TIMESTAMP = 32
"""The length of the timestamp at the start of a value."""


def edited(edit: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """The value with edited JSON."""

    def change(value: bytes) -> bytes:
        body = json.loads(zlib.decompress(value[_TIMESTAMP:]))
        edit(body)
        return value[:_TIMESTAMP] + zlib.compress(json.dumps(body).encode())

    return change


def first_amount(amount: object) -> Callable[[bytes], bytes]:
    def change(body: dict[str, Any]) -> None:
        body["sums"][0][0] = amount

    return edited(change)


def from_the_future(value: bytes) -> bytes:
    body = json.loads(zlib.decompress(value[_TIMESTAMP:]))
    moment = f"2099{value[4:_TIMESTAMP].decode()}"
    return moment.encode() + zlib.compress(json.dumps({**body, "fetched_at": moment}).encode())


def without(field: str) -> Callable[[bytes], bytes]:
    return edited(lambda body: body.pop(field))


def replaced(field: str, value: object) -> Callable[[bytes], bytes]:
    return edited(lambda body: body.update({field: value}))


@cache
def hundred_megabytes() -> bytes:
    return zlib.compress(b" " * 100_000_000)


def bomb(value: bytes) -> bytes:
    """A hundred kilobytes that inflate to a hundred megabytes."""
    return value[:_TIMESTAMP] + hundred_megabytes()


E2: dict[str, Callable[[bytes], bytes]] = {
    "E2.1 empty": lambda _: b"",
    "E2.2 noise": lambda _: b"\x00\xff" * 500,
    "E2.3 cut short": lambda value: value[: len(value) // 2],
    "E2.4 trailing bytes": lambda value: value + b"more",
    "E2.5 a flipped bit": lambda value: value[:200] + bytes([value[200] ^ 1]) + value[201:],
    "E2.6 a bomb": bomb,
    "E2.7 five megabytes": lambda value: value + bytes(5 * 2**20),
    "E2.8 a pickle": lambda _: pickle.dumps({"cost": 1}),
    "E2.9 deep nesting": lambda value: value[:_TIMESTAMP] + zlib.compress(b"[" * 100_000),
    "E2.10 an older format": replaced("format", 1),
    "E2.11 a newer format": replaced("format", 3),
    "E2.12 another organization's": replaced("organization", "another-organization"),
    "E2.13 another report's": replaced("report", "usage"),
    "E2.14 another day's": replaced("day", "2026-09-30"),
    "E2.15 another width's": replaced("width", "1h"),
    "E2.16 another view's": edited(lambda body: body["dimensions"].reverse()),
    "E2.17 a missing field": without("reported"),
    "E2.18 an extra field": replaced("more", 1),
    "E2.19 an extra row": edited(lambda body: body["sums"][0].append("1")),
    "E2.20 a missing column": edited(lambda body: body["keys"].pop()),
    "E2.21 fewer rows than counted": edited(lambda body: body["buckets"].append([60, 5])),
    "E2.22 dollars as a number": first_amount(12.5),
    "E2.23 dollars with an exponent": first_amount("1e3"),
    "E2.24 dollars that are not a number": first_amount("NaN"),
    "E2.25 null dollars": first_amount(None),
    "E2.26 dollars as an integer": first_amount(12),
    "E2.27 a number as a dimension value": edited(lambda body: body["keys"][0].__setitem__(0, 7)),
    "E2.28 read in the future": from_the_future,
    "E2.29 two different timestamps": lambda value: b"2026-01-01" + value[10:],
    "E2.30 a string as a boolean": replaced("reported", "yes"),
}


@pytest.mark.parametrize("change", [pytest.param(change, id=title) for title, change in E2.items()])
async def test_a_corrupt_value_is_fetched_again_and_replaced(
    change: Callable[[bytes], bytes], one_redis: Store, upstream: Upstream
) -> None:
    expected, clock = await truth(upstream, period=PERIOD), RunningClock()
    async with replica(upstream, one_redis, clock=clock) as client:
        await ask(client, "get_spend", period=PERIOD)
    with one_redis.admin as admin:
        names = list(admin.scan_iter("usage-cost:*:cost:*"))
        assert len(names) == 31
        for name in names:
            admin.set(name, change(admin.get(name)), keepttl=True)
    await assert_fetched_and_replaced(one_redis, upstream, expected, clock)


@pytest.mark.parametrize("kind", ["list", "hash"])
async def test_a_value_of_another_type_is_fetched_again_and_replaced(
    kind: str, one_redis: Store, upstream: Upstream
) -> None:
    expected, clock = await truth(upstream, period=PERIOD), RunningClock()
    async with replica(upstream, one_redis, clock=clock) as client:
        await ask(client, "get_spend", period=PERIOD)
    with one_redis.admin as admin:
        for name in list(admin.scan_iter("usage-cost:*:cost:*")):
            admin.delete(name)
            admin.rpush(name, "1") if kind == "list" else admin.hset(name, "a", "1")
    await assert_fetched_and_replaced(one_redis, upstream, expected, clock)


async def assert_fetched_and_replaced(redis: Store, upstream: Upstream, expected: str, clock: RunningClock) -> None:
    upstream.requests.clear()
    async with replica(upstream, redis, clock=clock) as one:
        answer = await ask(one, "get_spend", period=PERIOD)
    assert (answer["totals"]["cost"], answer["cache"]["status"]) == (expected, "miss")
    async with replica(upstream, redis, clock=clock) as other:
        answer = await ask(other, "get_spend", period=PERIOD)
    assert (answer["totals"]["cost"], answer["cache"]["status"]) == (expected, "hit")
    assert upstream.asked("cost_report") == 1


@pytest.fixture(scope="module")
def kept_redis() -> Generator[Store]:
    with running() as store:
        yield store


@pytest.fixture
def one_redis(kept_redis: Store) -> Store:
    """An empty server."""
    with kept_redis.admin as admin:
        admin.flushall()
    return kept_redis


@pytest.mark.parametrize("value", ["", "noise", "nan", "inf", "1e300", "-1"])
async def test_an_implausible_rate_limit_value_does_not_delay_requests(
    value: str, one_redis: Store, upstream: Upstream
) -> None:
    async with replica(upstream, one_redis, demo=False) as one:
        await ask(one, "get_spend", period="2026-10-05")
        with one_redis.admin as admin:
            (name,) = admin.scan_iter("usage-cost-rate-limit:*")
            admin.set(name, value)
        started = time.monotonic()
        await ask(one, "get_spend", period="2026-10-06")
        assert time.monotonic() - started < MAX_UNDELAYED


# E3


class Hold:
    """Holds the first request to the report until it is released."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.released = threading.Event()

    def __call__(self, request: Request) -> Response | None:
        if request.path.endswith("cost_report") and not self.reached.is_set():
            self.reached.set()
            self.released.wait(30)
        return None


@pytest.fixture
def hold(upstream: Upstream) -> Iterator[Hold]:
    upstream.override = hold = Hold()
    yield hold
    hold.released.set()


LEASE_AND_FETCH = 5 + 1.5
PAST_PERIOD = "2025-10"
"""In the past by the machine's clock as well as by the clock of the tests."""


@pytest.mark.timing
async def test_when_the_holder_is_killed_another_replica_fetches_after_the_lease_expires(
    redis: Store, upstream: Upstream, hold: Hold
) -> None:
    upstream.override = lambda _: None
    expected = await truth(upstream, period=PAST_PERIOD)
    upstream.override = hold
    environment = {**connected_to(upstream.url), "USAGE_COST_MCP_REDIS_URL": redis.url.get_secret_value()}
    command = [sys.executable, "-m", "usage_cost_mcp", "call", "get_spend", f"period={PAST_PERIOD}"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:  # noqa: ASYNC220 - at once
        assert await asyncio.to_thread(hold.reached.wait, 30)
        async with replicas(upstream, redis, 3) as clients:
            asking = [asyncio.create_task(ask(client, "get_spend", period=PAST_PERIOD)) for client in clients]
            done, _ = await asyncio.wait(asking, timeout=1)
            assert (len(done), upstream.asked("cost_report")) == (0, 1)
            holder.kill()
            started = time.monotonic()
            answers = await asyncio.gather(*asking)
            seconds = time.monotonic() - started
        assert holder.communicate() == (b"", b"")
    assert {answer["totals"]["cost"] for answer in answers} == {expected}
    assert upstream.asked("cost_report") == 2
    assert seconds < LEASE_AND_FETCH + TOLERANCE
    REPORTS.append(f"replicas: a holder was killed, the others answered {seconds:.1f} s later")


async def test_a_slow_holder_keeps_its_lease(one_redis: Store, upstream: Upstream, hold: Hold) -> None:
    async with replicas(upstream, one_redis, 2) as (one, other):
        asking = asyncio.create_task(ask(one, "get_spend", period=PERIOD))
        assert await asyncio.to_thread(hold.reached.wait, 30)
        waiting = asyncio.create_task(ask(other, "get_spend", period=PERIOD))
        done, _ = await asyncio.wait([asking, waiting], timeout=6.5)
        assert not done
        hold.released.set()
        assert (await waiting)["totals"] == (await asking)["totals"]
    assert upstream.asked("cost_report") == 1


@pytest.mark.timing
async def test_a_cancelled_holder_releases_its_lease_at_once(one_redis: Store, upstream: Upstream, hold: Hold) -> None:
    async with replicas(upstream, one_redis, 2) as (one, other):
        asking = asyncio.create_task(ask(one, "get_spend", period=PERIOD))
        assert await asyncio.to_thread(hold.reached.wait, 30)
        waiting = asyncio.create_task(ask(other, "get_spend", period=PERIOD))
        await asyncio.sleep(0.3)
        asking.cancel()
        started = time.monotonic()
        assert (await waiting)["totals"]["cost"] != "0"
        assert time.monotonic() - started < 2
    with one_redis.admin as admin:
        assert list(admin.scan_iter("*:lease")) == []


async def test_a_fetch_that_fails_for_the_holder_is_retried_by_the_others(one_redis: Store, upstream: Upstream) -> None:
    upstream.override = lambda request: Response({}, 500) if request.path.endswith("cost_report") else None
    async with contextlib.AsyncExitStack() as exit_stack:
        once = Limits(attempts=1)
        clients = [await exit_stack.enter_async_context(replica(upstream, one_redis, limits=once)) for _ in range(4)]
        errors = await asyncio.gather(*(refusal(client, "get_spend", period=PERIOD) for client in clients))
        assert all("the API is unavailable" in error for error in errors)
        assert upstream.asked("cost_report") == 4
        upstream.override = lambda _: None
        answers = await asyncio.gather(*(ask(client, "get_spend", period=PERIOD) for client in clients))
    assert len({answer["totals"]["cost"] for answer in answers}) == 1
    assert upstream.asked("cost_report") == 5


async def test_a_call_that_waits_too_long_for_a_holder_fails_with_the_reason(
    one_redis: Store, upstream: Upstream, hold: Hold
) -> None:
    async with (
        replica(upstream, one_redis) as one,
        replica(upstream, one_redis, limits=Limits(call_seconds=1)) as other,
    ):
        asking = asyncio.create_task(ask(one, "get_spend", period=PERIOD))
        assert await asyncio.to_thread(hold.reached.wait, 30)
        error = (await refusal(other, "get_spend", period=PERIOD)).lower()
        assert "took longer than 1 seconds" in error or "another replica" in error
        hold.released.set()
        await asking
