"""A warm answer of 30 days and ten groups, compared with a parrot on the same SDK that returns the same bytes.

There are two parrots, because clients validate answers against the published schema, which takes longer than the rest
of a parrot's work. One publishes our short schema, the other the schema that the SDK generates from the same
annotation. The first is the baseline of our computation, the second that of an untuned tool.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from mcp import Client

from usage_cost_mcp.app import build_server
from usage_cost_mcp.settings import Settings

from .figures import Figure, counted, percentile
from .parrot import Heard, build_parrot, hear
from .processes import OURS, over_stdio, settings_of
from .questions import Question, ask, compact
from .upstream import upstream

ROUNDS = 300
MAX_BY_ROWS_A_DAY = {40: 1.5, 400: 4.0}

_OURS, _SAME_SCHEMA, _SDK_SCHEMA = "ours", "same bytes", "same bytes, SDK's schema"
_QUESTION = Question("get_spend", {"period": "last_30_days", "group_by": ["model"], "granularity": "day"})
_WARM_UP = 20

Clients = Mapping[str, Client]
Seconds = Mapping[str, list[float]]


def times() -> Iterable[Figure]:
    """Times over both transports, with 40 and 400 rows a day."""
    for rows_a_day, most in MAX_BY_ROWS_A_DAY.items():
        with upstream(rows_a_day) as api:
            for transport, connect in (("in memory", _in_memory), ("stdio", _over_stdio)):
                seconds = asyncio.run(_take_turns(connect(api.url)))
                for floor in (_SAME_SCHEMA, _SDK_SCHEMA):
                    yield from _ratios(f"{rows_a_day} rows a day, {transport}", seconds, floor, most)
            yield counted(f"{rows_a_day} rows a day, requests of two servers", len(api.asked()), "requests", 2)


def _ratios(what: str, seconds: Seconds, floor: str, most: float) -> Iterable[Figure]:
    samples = {name: seconds[name] for name in (_OURS, floor)}
    for percent, bound in ((50, most), (99, None)):
        ours, theirs = (percentile(each, percent) for each in samples.values())
        meaning = f"ours {1000 * ours:.1f} ms / {1000 * theirs:.1f} ms"
        yield Figure(f"{what}, p{percent} / {floor}", ours / theirs, meaning, bound, samples=samples)


async def _take_turns(connection: AbstractAsyncContextManager[Clients]) -> Seconds:
    async with connection as clients:
        seconds: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(_WARM_UP + ROUNDS):
            for name, client in clients.items():
                seconds[name].append(await _timed(client))
    return {name: each[_WARM_UP:] for name, each in seconds.items()}


async def _timed(client: Client) -> float:
    begun = time.perf_counter()
    await ask(client, _QUESTION)
    return time.perf_counter() - begun


@asynccontextmanager
async def _in_memory(url: str) -> AsyncGenerator[Clients]:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(Client(build_server(Settings.from_environ(settings_of(url)))))
        clients = {_OURS: ours}
        for name, heard in (await _to_repeat(ours)).items():
            clients[name] = await stack.enter_async_context(Client(build_parrot(heard)))
        yield clients


@asynccontextmanager
async def _over_stdio(url: str) -> AsyncGenerator[Clients]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = await stack.enter_async_context(Client(over_stdio(*OURS, env=settings_of(url))))
        clients = {_OURS: ours}
        for name, heard in (await _to_repeat(ours)).items():
            saved = folder / f"{name}.json"
            saved.write_text(compact(heard), encoding="utf-8")
            parrot = over_stdio("-m", f"{__package__}.parrot", str(saved), env={})
            clients[name] = await stack.enter_async_context(Client(parrot))
        yield clients


async def _to_repeat(ours: Client) -> Mapping[str, Heard]:
    heard = await hear(ours, _QUESTION)
    return {_SAME_SCHEMA: heard, _SDK_SCHEMA: heard._replace(schema=None)}
