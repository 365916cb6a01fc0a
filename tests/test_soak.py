"""A server that has answered for long is as it was in the beginning: in memory, in open files, in tasks."""

import asyncio
import gc
import itertools
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest

from tests.support.harness import REPORTS
from tests.support.redis_servers import running
from tests.support.subprocess_http_server import NO_TLS, HttpServer, started, until

CALLS = int(os.environ.get("SOAK_CALLS", "1000"))
"""How many; the long form is in tests/README.md."""

AT_ONCE = 16
CONNECTIONS = 8
"""To the shared cache, which are opened when they are needed."""
REVISIONS = ("2025-11-25", "2026-07-28")
MOST_GROWTH = 6 * 2**20
"""Bytes of resident memory: the allocator's own, which comes and goes."""

QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("get_spend", {"period": "last_month", "group_by": ["model"]}),
    ("get_spend", {"period": "2026-09", "group_by": ["workspace_id"], "granularity": "week"}),
    ("get_token_usage", {"period": "last_7_days", "group_by": ["api_key_id"]}),
    ("cache_hit_ratio", {"period": "last_30_days"}),
    ("compare_spend", {"period": "last_month"}),
    ("list_dimension_values", {"dimension": "workspace_id"}),
    ("get_status", {}),
    ("get_spend", {"period": "whenever"}),
    ("get_spend", {"perod": "today"}),
    ("no_such_tool", {}),
]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory and open files are read from /proc"),
]

TELLS = """
    import asyncio, json, signal, sys

    def tell(*_):
        sys.stderr.write(json.dumps({"tasks": len(asyncio.all_tasks())}) + "\\n")
        sys.stderr.flush()

    signal.signal(signal.SIGUSR1, tell)
"""
"""What the server's interpreter runs before the server: on a signal it counts its tasks."""


def state(server: HttpServer) -> dict[str, int]:
    """What the process holds when nothing is asked of it."""
    told = server.stderr_text().count('{"tasks"')
    server.process.send_signal(signal.SIGUSR1)
    until(lambda: server.stderr_text().count('{"tasks"') > told)
    tasks = [json.loads(line)["tasks"] for line in server.stderr_text().splitlines() if line.startswith('{"tasks"')][-1]
    process = Path(f"/proc/{server.process.pid}")
    pages = int((process / "statm").read_text().split()[1])
    return {
        "tasks": tasks,
        "files": len(list((process / "fd").iterdir())),
        "memory": pages * os.sysconf("SC_PAGE_SIZE"),
    }


def query(number: int) -> dict[str, Any]:
    """One call of a tool, in one of the two eras, some with a token that nobody has."""
    name, arguments = QUESTIONS[number % len(QUESTIONS)]
    revision = REVISIONS[number // len(QUESTIONS) % 2]
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": revision}
    params: dict[str, Any] = {"name": name, "arguments": arguments}
    if revision == REVISIONS[1]:
        headers |= {"mcp-method": "tools/call", "mcp-name": name}
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": revision,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    return {"headers": headers, "json": {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}}


async def soak(url: str, numbers: Iterator[int]) -> None:
    """Ask until the numbers end, several at once, each asker on a connection of its own that it ends now and then."""

    async def one() -> None:
        for batch in iter(lambda: list(itertools.islice(numbers, 50)), []):
            async with httpx.AsyncClient(verify=NO_TLS, timeout=60) as client:
                for number in batch:
                    answer = await client.post(url, **query(number))
                    assert answer.status_code == 200, answer.text
                    assert "result" in answer.json() or "error" in answer.json()

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))


async def test_many_calls_leak_no_memory_files_or_tasks(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(dedent(TELLS))
    with running() as store:
        environ = {
            "PYTHONPATH": str(tmp_path),
            "USAGE_COST_MCP_REDIS_URL": store.url.get_secret_value(),
            "USAGE_COST_MCP_CALLS_PER_MINUTE": "999999",
        }
        with started("--demo", environ=environ) as server:
            await soak(server.url, iter(range(max(500, CALLS // 10))))
            before = state(server)
            await soak(server.url, iter(range(CALLS)))
            gc.collect()
            after = state(server)
    grown = {what: after[what] - before[what] for what in before}
    REPORTS.append(
        f"soak: {CALLS} calls; {before['memory'] / 2**20:.1f} MiB before, {grown['memory'] / 2**20:+.1f} MiB after; "
        f"{before['files']} open files, {grown['files']:+d}; {before['tasks']} tasks, {grown['tasks']:+d}"
    )
    assert grown["tasks"] <= 0
    assert grown["files"] <= CONNECTIONS
    assert grown["memory"] < MOST_GROWTH
