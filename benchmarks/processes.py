"""Child processes, started as a host would and always terminated."""

import os
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mcp import StdioServerParameters

ROOT = Path(__file__).parents[1]
OURS = ("-m", "usage_cost_mcp", "serve")
MAX_SECONDS = 600
"""Seconds until a running child is killed."""

_NO_KEY = "sk-ant-admin01-benchmark"
_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"


def settings_of(url: str) -> dict[str, str]:
    """Environment variables for our server."""
    return {"ANTHROPIC_ADMIN_API_KEY": _NO_KEY, "USAGE_COST_MCP_BASE_URL": url}


def over_stdio(*arguments: str, env: Mapping[str, str]) -> StdioServerParameters:
    """A Python process that serves MCP over stdio, for the SDK's client."""
    return StdioServerParameters(command=sys.executable, args=list(arguments), env=dict(env), cwd=ROOT)


@contextmanager
def child(*arguments: str, env: Mapping[str, str] | None = None) -> Generator[subprocess.Popen[bytes]]:
    """A Python process with pipes, terminated at the end of the block. Reads and writes bytecode files."""
    inherited = {name: value for name, value in os.environ.items() if name != _NO_BYTECODE}
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=inherited | dict(env or {}),
        cwd=ROOT,
    )
    deadline = threading.Timer(MAX_SECONDS, process.kill)
    deadline.start()
    try:
        with process:
            yield process
            process.communicate()
    finally:
        deadline.cancel()
        process.kill()


def memory_of(process: int | str = "self") -> tuple[int, int]:
    """Current and peak resident memory of a process, in bytes.

    Source: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
    """
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    kilobytes = dict(line.split(":", 1) for line in status.splitlines())
    resident, most = (int(kilobytes[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return resident, most
