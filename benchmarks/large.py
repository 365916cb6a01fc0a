"""The largest page, 31 days of 3,000 rows, compared with only parsing the same bytes with `pydantic_core.from_json`.

Each measurement runs in a new process: `python -m benchmarks.large PART PORT`. Peaks are resident memory (VmHWM) above
the level before the call; memory retained is measured with tracemalloc, in a run that is not timed.
"""

import asyncio
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from statistics import median

from mcp import Client
from pydantic_core import from_json

from usage_cost_mcp.app import build_server
from usage_cost_mcp.settings import Settings

from .figures import Figure, compared
from .processes import child, memory_of, settings_of
from .questions import Question, ask
from .upstream import USAGE, Upstream, upstream
from .world import last_days, midnight

DAYS = 31
ROWS_A_DAY = 3_000
ROUNDS = 5
MAX_TIME = 1.6
MAX_PEAK = 6
MAX_BYTES_PER_ROW = 400

_MEBIBYTE = 2**20
_QUESTION = Question("get_token_usage", {"period": f"last_{DAYS}_days", "group_by": ["model"], "granularity": "day"})
_WARM_UP = Question("get_spend", {"period": "yesterday", "group_by": ["model"]})


def times() -> Iterable[Figure]:
    """Time, peak memory and retained memory."""
    with upstream(ROWS_A_DAY) as api:
        size = len(_page(api))
        pairs = [(_measured("answer", api), _measured("floor", api)) for _ in range(ROUNDS)]
        held = _measured("held", api)
    ours, floor = ([each[side] for each in pairs] for side in (0, 1))
    transfer, parsing = median(_each("transfer", floor)), median(_each("seconds", floor))
    yield Figure("body", size / _MEBIBYTE, f"MiB: {DAYS * ROWS_A_DAY:,} rows")
    yield from compared("time / from_json", _each("seconds", ours), _each("seconds", floor), MAX_TIME)
    yield Figure("of which transfer", transfer / parsing, f"by http.client {transfer:.3f} s")
    yield _peak("peak memory / body", [peak / size for peak in _each("peak", ours)], MAX_PEAK)
    yield _peak("peak memory of from_json / body", [peak / size for peak in _each("peak", floor)], None)
    yield Figure("retained afterwards", held["bytes"] / (DAYS * ROWS_A_DAY), "bytes per row", MAX_BYTES_PER_ROW)


def _each(name: str, measured: Iterable[Mapping[str, float]]) -> list[float]:
    return [one[name] for one in measured]


def _peak(what: str, peaks: list[float], most: float | None) -> Figure:
    return Figure(what, median(peaks), "times the body", most, samples={"peaks": peaks})


def _page(api: Upstream) -> bytes:
    days = last_days(DAYS)
    start, end = midnight(days[0]), midnight(days[-1] + timedelta(days=1))
    return api.get(f"{USAGE}?starting_at={start}&ending_at={end}&limit={DAYS}")


def _measured(part: str, api: Upstream) -> dict[str, float]:
    with child("-m", f"{__package__}.large", part, str(api.port)) as process:
        out, _ = process.communicate()
    return json.loads(out)


def _floor(api: Upstream) -> dict[str, float]:
    begun = time.perf_counter()
    body = _page(api)
    transfer = time.perf_counter() - begun
    before = _fresh_peak()
    begun = time.perf_counter()
    parsed = from_json(body)
    seconds = time.perf_counter() - begun
    _, most = memory_of()
    return {"seconds": seconds, "transfer": transfer, "peak": most - before, "days": len(parsed["data"])}


def _answer(api: Upstream) -> dict[str, float]:
    return asyncio.run(_ask_once(api))


async def _ask_once(api: Upstream) -> dict[str, float]:
    async with Client(build_server(Settings.from_environ(settings_of(api.url)))) as client:
        await ask(client, _WARM_UP)
        before = _fresh_peak()
        begun = time.perf_counter()
        await ask(client, _QUESTION)
        seconds = time.perf_counter() - begun
        _, most = memory_of()
    return {"seconds": seconds, "peak": most - before}


def _held(api: Upstream) -> dict[str, float]:
    return asyncio.run(_weigh(api))


async def _weigh(api: Upstream) -> dict[str, float]:
    async with Client(build_server(Settings.from_environ(settings_of(api.url)))) as client:
        await ask(client, _WARM_UP)
        gc.collect()
        tracemalloc.start()
        await ask(client, _QUESTION)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    return {"bytes": held}


def _fresh_peak() -> int:
    """Reset the peak; return the current resident memory in bytes.

    Source: https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    resident, _ = memory_of()
    return resident


_PARTS: dict[str, Callable[[Upstream], dict[str, float]]] = {"floor": _floor, "answer": _answer, "held": _held}

if __name__ == "__main__":
    print(json.dumps(_PARTS[sys.argv[1]](Upstream(int(sys.argv[2])))))
