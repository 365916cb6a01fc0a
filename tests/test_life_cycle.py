"""The stdio server ends within two seconds when it should, with the right exit status, and leaves no process behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator

import pytest

from tests.support.fault_cases import sends
from tests.support.fault_server import Act, FaultServer, fault_server
from tests.support.harness import FrozenClock
from tests.support.processes import HANDSHAKE, connected_to, environment, message
from usage_cost_mcp.demo import DemoApi

SERVE = [sys.executable, "-m", "usage_cost_mcp", "serve", "--demo"]
SPEND_CALL = message(2, "tools/call", name="get_spend", arguments={"period": "yesterday"})


@pytest.fixture
def hanging() -> Generator[FaultServer]:
    """An Admin API that never answers."""
    with fault_server(DemoApi(FrozenClock().now).respond) as server:
        server.fail([sends(Act.HANG)], forever=True)
        yield server


def started(env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """A server after the MCP handshake."""
    pipe = subprocess.PIPE
    words = SERVE if env is None else SERVE[:-1]
    server = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", env=env or environment())
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(HANDSHAKE)
    server.stdin.flush()
    assert '"id":1' in server.stdout.readline()
    return server


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)], ids=["TERM", "INT"]
)
def test_the_first_signal_ends_the_server(number: signal.Signals, status: int) -> None:
    with started() as server:
        server.send_signal(number)
        assert server.wait(timeout=2) == status
        assert server.stderr is not None
        assert "Traceback" not in server.stderr.read()


def test_end_of_input_ends_the_server_during_a_call(hanging: FaultServer) -> None:
    with started(connected_to(hanging.url)) as server:
        assert server.stdin is not None
        server.stdin.write(SPEND_CALL)
        server.stdin.flush()
        _until(lambda: bool(hanging.requests))
        server.stdin.close()
        assert server.wait(timeout=2) == 0


def test_the_server_ends_when_its_parent_is_killed() -> None:
    parent = (
        "import subprocess, sys, time\n"
        f"server = subprocess.Popen({SERVE!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "server.stdin.write(sys.argv[1].encode()); server.stdin.flush(); server.stdout.readline()\n"
        "print(server.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent, HANDSHAKE], stdout=subprocess.PIPE, encoding="utf-8", env=environment()
    ) as host:
        assert host.stdout is not None
        orphan = int(host.stdout.readline())
        host.kill()
    _until(lambda: not _alive(orphan))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123 - gone at any moment
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def _until(done: Callable[[], bool], seconds: float = 2) -> None:
    """Poll until another process has done something, for two seconds at most."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)
