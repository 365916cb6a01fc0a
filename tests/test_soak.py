"""A server that has answered many calls uses no more memory, open files and tasks than at the start."""

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
"""Number of calls; tests/README.md describes the long run."""

CONCURRENT_CLIENTS = 16
CONNECTIONS = 8
"""Connections to the shared cache, which are opened on demand."""
REVISIONS = ("2025-11-25", "2026-07-28")
MAX_GROWTH = 6 * 2**20
"""Bytes of resident memory that the allocator may keep."""

TOOL_CALLS: list[tuple[str, dict[str, Any]]] = [
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

COUNT_TASKS = """
    import asyncio, json, signal, sys

    def count(*_):
        sys.stderr.write(json.dumps({"tasks": len(asyncio.all_tasks())}) + "\\n")
        sys.stderr.flush()

    signal.signal(signal.SIGUSR1, count)
"""
"""Run by the server's interpreter at its start: prints the number of tasks on a signal."""


def state(server: HttpServer) -> dict[str, int]:
    """The resources of the idle process."""
    count = server.stderr_text().count('{"tasks"')
    server.process.send_signal(signal.SIGUSR1)
    until(lambda: server.stderr_text().count('{"tasks"') > count)
    tasks = [json.loads(line)["tasks"] for line in server.stderr_text().splitlines() if line.startswith('{"tasks"')][-1]
    process = Path(f"/proc/{server.process.pid}")
    pages = int((process / "statm").read_text().split()[1])
    return {
        "tasks": tasks,
        "files": len(list((process / "fd").iterdir())),
        "memory": pages * os.sysconf("SC_PAGE_SIZE"),
    }


def query(number: int) -> dict[str, Any]:
    """A tool call in one of the two eras."""
    name, arguments = TOOL_CALLS[number % len(TOOL_CALLS)]
    revision = REVISIONS[number // len(TOOL_CALLS) % 2]
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
    """Send all calls, several at once, on connections that are closed after 50 calls."""

    async def one() -> None:
        for batch in iter(lambda: list(itertools.islice(numbers, 50)), []):
            async with httpx.AsyncClient(verify=NO_TLS, timeout=60) as client:
                for number in batch:
                    answer = await client.post(url, **query(number))
                    assert answer.status_code == 200, answer.text
                    assert "result" in answer.json() or "error" in answer.json()

    await asyncio.gather(*(one() for _ in range(CONCURRENT_CLIENTS)))


async def test_many_calls_leak_no_memory_files_or_tasks(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(dedent(COUNT_TASKS))
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
    growth = {name: after[name] - before[name] for name in before}
    REPORTS.append(
        f"soak: {CALLS} calls; {before['memory'] / 2**20:.1f} MiB before, {growth['memory'] / 2**20:+.1f} MiB after; "
        f"{before['files']} open files, {growth['files']:+d}; {before['tasks']} tasks, {growth['tasks']:+d}"
    )
    assert growth["tasks"] <= 0
    assert growth["files"] <= CONNECTIONS
    assert growth["memory"] < MAX_GROWTH
