"""The real server over HTTP: a process on a free port of loopback, for as long as a block lasts."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from canary import keeps_silent
from test_cli import environment

PROGRAM = ("-m", "usage_cost_mcp", "serve", "--http", "--port", "0")

SECONDS = 20.0
"""How long a server may take to listen, and to end."""


@dataclass
class HttpServer:
    """A server that listens.

    Attributes:
        url: Of its MCP endpoint.
        token: The one that was made for this run, if one was.
    """

    process: subprocess.Popen[str]
    stderr: IO[str]
    url: str = ""
    token: str = ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2].partition("/")[0])

    def said(self) -> str:
        """All that is on stderr so far."""
        self.stderr.seek(0)
        return self.stderr.read()

    def remarks(self) -> list[str]:
        """What is on stderr besides the audit."""
        return [line for line in self.said().splitlines() if not line.startswith('{"at":')]

    def listens(self) -> bool:
        lines = self.said()
        assert self.process.poll() is None, lines
        for line in lines.splitlines(keepends=True):
            if line.startswith("Listening on ") and line.endswith("\n"):
                self.url = line.split()[-1]
            if "Bearer ucm_" in line and line.endswith("\n"):
                self.token = line.split()[-1]
        return bool(self.url)

    def end(self) -> int:
        """Ask it to end, as an orchestrator does.

        Returns:
            The exit status.
        """
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)

    def left_behind(self) -> bool:
        """Whether a process of its group still runs."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


@contextmanager
def started(
    *arguments: str, environ: Mapping[str, str] | None = None, program: Sequence[str] = PROGRAM
) -> Generator[HttpServer]:
    """A server, as `serve --http` with more arguments and settings starts it; it is ended with the block."""
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
                assert server.end() == 0, server.said()
        finally:
            process.kill()
            process.wait()
        stdout.seek(0)
        assert stdout.read() == ""
        assert keeps_silent(server.said())
        assert not server.left_behind()


@contextmanager
def served(*arguments: str, environ: Mapping[str, str] | None = None) -> Generator[str]:
    """The URL of a server, where nothing else of it matters."""
    with started(*arguments, environ=environ) as server:
        yield server.url


def until(done: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)
