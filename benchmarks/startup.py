"""Time from process start to the result of `initialize` over stdio, and the memory at that moment."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from . import demo
from .figures import Figure, compared, counted
from .processes import OURS, child, memory_of, settings_of

ROUNDS = 15
MOST = 1.15
MAX_MEBIBYTES = 15

_MINIMAL = ("-m", f"{__package__}.minimal")
_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "benchmarks", "version": "1"},
    },
}
_MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Start:
    """One start: wall and CPU seconds, current and peak MiB."""

    wall: float
    cpu: float
    resident: float
    peak: float


def counts() -> Iterable[Figure]:
    """Requests to the Admin API before the first question."""
    with demo.upstream() as api:
        _start(OURS, api.url)
        yield counted("requests before the first question", len(api.requests), "requests", 0)


def times() -> Iterable[Figure]:
    """This server and the minimal server, interleaved."""
    with demo.upstream() as api:
        for server in (OURS, _MINIMAL):
            _start(server, api.url)
        pairs = [(_start(OURS, api.url), _start(_MINIMAL, api.url)) for _ in range(ROUNDS)]
    ours, floor = zip(*pairs, strict=True)
    yield from compared("start to initialize", [start.wall for start in ours], [start.wall for start in floor], MOST)
    yield from compared("processor time of it", [start.cpu for start in ours], [start.cpu for start in floor])
    yield _more("memory after it", [start.resident for start in ours], [start.resident for start in floor])
    yield _more("peak memory of it", [start.peak for start in ours], [start.peak for start in floor])


def _more(what: str, ours: list[float], floor: list[float]) -> Figure:
    meaning = f"MiB more: ours {median(ours):.1f}, minimal server {median(floor):.1f}"
    samples = {"ours": ours, "floor": floor}
    return Figure(what, median(ours) - median(floor), meaning, MAX_MEBIBYTES, samples=samples)


def _start(server: tuple[str, ...], url: str) -> Start:
    begun = time.perf_counter()
    with child(*server, env=settings_of(url)) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the server has no pipes")
        process.stdin.write(json.dumps(_INITIALIZE).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        wall = time.perf_counter() - begun
        if "result" not in answer:
            raise RuntimeError(f"initialize was refused: {answer}")
        resident, peak = memory_of(process.pid)
        return Start(wall, _processor_seconds(process.pid), resident / _MEBIBYTE, peak / _MEBIBYTE)


def _processor_seconds(process: int) -> float:
    """CPU seconds of a process.

    Source: https://man7.org/linux/man-pages/man3/clock_getcpuclockid.3.html; Linux derives the clock id from the pid.
    """
    return time.clock_gettime((~process << 3) | 2)
