"""Real Redis and Valkey servers, each a process of its own on a free loopback port, for as long as a test."""

import socket
import subprocess
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import RedisError

from tests.support.canary import leaks_in
from tests.support.programs import find_program

PROGRAMS = ("redis-server", "valkey-server")
PASSWORD = "not-a-real-password-7Qx"  # noqa: S105 - of a server that lives for one test

_STARTED_WITHIN = 10


@dataclass
class Store:
    """A running server.

    Attributes:
        url: How the program under test reaches it.
    """

    program: str
    port: int
    folder: str
    password: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> SecretStr:
        login = f":{self.password}@" if self.password else ""
        return SecretStr(f"redis://{login}127.0.0.1:{self.port}/0")

    @property
    def admin(self) -> Any:
        """A client of the test's own."""
        return Redis(host="127.0.0.1", port=self.port, password=self.password or None, protocol=2)

    def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self.folder}
        if self.password:
            options["requirepass"] = self.password
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        program = str(find_program(self.program))
        with Path(self.folder, "log").open("wb") as log:
            self.process = subprocess.Popen([program, *words], stdout=log, stderr=log)
        deadline = time.monotonic() + _STARTED_WITHIN
        while time.monotonic() < deadline:
            with suppress(RedisError), self.admin as admin:
                admin.ping()
                return
            time.sleep(0.02)
        raise AssertionError(Path(self.folder, "log").read_text())

    def kill(self) -> None:
        """End it as an outage would: at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def everything(self) -> Iterable[bytes]:
        """Every name and every value that it holds."""
        with self.admin as admin:
            for name in admin.scan_iter("*"):
                yield name
                yield b"%r" % (admin.dump(name),)
                with suppress(RedisError):
                    yield admin.get(name) or b""

    def endless(self) -> list[bytes]:
        """The names that would stay for ever."""
        with self.admin as admin:
            return [name for name in admin.scan_iter("*") if admin.pttl(name) == -1]

    def said(self, *secrets: str) -> set[str]:
        """Which secrets it holds, the key in any form among them."""
        found = set[str]()
        for each in self.everything():
            found |= leaks_in(each) | {secret for secret in secrets if secret.encode() in each}
        return found


def require(program: str) -> None:
    """Skip the test where the program is not installed."""
    if find_program(program) is None:
        pytest.skip(f"{program} is not installed")


@contextmanager
def running(program: str = PROGRAMS[0], password: str = "") -> Generator[Store]:
    """A server for as long as the block lasts."""
    require(program)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with TemporaryDirectory() as folder:
        store = Store(program, port, folder, password)
        store.start()
        try:
            yield store
        finally:
            store.kill()


@contextmanager
def hung() -> Generator[SecretStr]:
    """The address of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield SecretStr(f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
