"""The real HTTP server as a process on a free loopback port, and MCP clients for it."""

import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import IO, Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.canary import keeps_silent
from tests.support.harness import LeakCheckingClient
from tests.support.processes import environment
from usage_cost_mcp.auth.tokens_file import sha256_of

PROGRAM = ("-m", "usage_cost_mcp", "serve", "--http", "--port", "0")

SECONDS = 20.0
"""How long a server may take to start, and to end."""

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Created once: a client takes longer to load certificates than a call takes."""


@dataclass
class HttpServer:
    """A running server.

    Attributes:
        url: The MCP endpoint.
        token: The ephemeral token; empty when there is none.
    """

    process: subprocess.Popen[str]
    stderr: IO[str]
    url: str = ""
    token: str = ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2].partition("/")[0])

    def stderr_text(self) -> str:
        """Everything on stderr so far."""
        self.stderr.seek(0)
        return self.stderr.read()

    def log_lines(self) -> list[str]:
        """The lines on stderr other than the audit log."""
        return [line for line in self.stderr_text().splitlines() if not line.startswith('{"at":')]

    def listens(self) -> bool:
        lines = self.stderr_text()
        assert self.process.poll() is None, lines
        for line in lines.splitlines(keepends=True):
            if line.startswith("Listening on ") and line.endswith("\n"):
                self.url = line.split()[-1]
            if "Bearer ucm_" in line and line.endswith("\n"):
                self.token = line.split()[-1]
        return bool(self.url)

    def end(self) -> int:
        """Send SIGTERM and wait, as an orchestrator does.

        Returns:
            The exit status.
        """
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)

    def left_behind(self) -> bool:
        """Whether a process of its group is still running."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


@contextmanager
def started(
    *arguments: str, environ: Mapping[str, str] | None = None, program: Sequence[str] = PROGRAM
) -> Generator[HttpServer]:
    """A server started by `serve --http` with these arguments and settings, until the block ends."""
    command = [sys.executable, *program, *arguments]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as stdout,
        tempfile.TemporaryFile("w+", encoding="utf-8") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            encoding="utf-8",
            env=environment(**(environ or {})),
            start_new_session=True,
        ) as process,
    ):
        server = HttpServer(process, stderr)
        try:
            until(server.listens)
            yield server
            if process.poll() is None:
                assert server.end() == 0, server.stderr_text()
        finally:
            process.kill()
            process.wait()
        stdout.seek(0)
        assert stdout.read() == ""
        assert keeps_silent(server.stderr_text())
        assert not server.left_behind()


def tokens_line(name: str, token: str, **more: Any) -> str:
    """A line of the tokens file."""
    return json.dumps({"name": name, "sha256": sha256_of(token), **more}) + "\n"


@asynccontextmanager
async def client_of(url: str, token: str | None = None, mode: str = "auto") -> AsyncGenerator[Client]:
    """A real MCP client with a token."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False, timeout=60, verify=NO_TLS) as http,
        LeakCheckingClient(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


def until(done: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Poll until another process has done something."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)
