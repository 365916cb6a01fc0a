"""The declared dependencies: each imported package is one of them, within a range that the tests run on."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import usage_cost_mcp

ROOT = Path(__file__).parent.parent
PACKAGE = Path(usage_cost_mcp.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

REQUIRED: dict[str, Requirement] = {
    canonicalize_name(each.name): each for each in map(Requirement, PROJECT["dependencies"])
}
EXTRAS: dict[str, tuple[str, Requirement]] = {
    canonicalize_name(Requirement(each).name): (extra, Requirement(each))
    for extra, requirements in PROJECT["optional-dependencies"].items()
    for each in requirements
}
USERS_OF_EXTRAS = {"charts": "render/vega_to_png.py", "redis": "redis_backend/"}
"""Where the packages of an extra may be imported; everything else runs without them."""

DATED = {"certifi", "tzdata"}
"""Data packages whose version is a date."""

DISTRIBUTIONS = packages_distributions()
PINNED = dict(re.findall(r"^([\w.-]+)==([^ ]+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))


def imported_packages(path: Path) -> set[str]:
    """The distributions of other projects that a file imports, wherever the import stands in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.partition(".")[0])
    others = names - sys.stdlib_module_names - {PACKAGE.name}
    return {canonicalize_name(distribution) for name in others for distribution in DISTRIBUTIONS.get(name, [name])}


IMPORTED = {path.relative_to(PACKAGE).as_posix(): imported_packages(path) for path in PACKAGE.rglob("*.py")}


def test_every_imported_package_is_declared_and_every_declared_one_is_imported() -> None:
    imported = {name for names in IMPORTED.values() for name in names}
    assert imported == (REQUIRED.keys() | EXTRAS.keys()) - {"tzdata"}


def test_only_the_modules_of_an_extra_import_its_packages() -> None:
    users = {(EXTRAS[name][0], module) for module, names in IMPORTED.items() for name in names & EXTRAS.keys()}
    assert all(module.startswith(USERS_OF_EXTRAS[extra]) for extra, module in users)
    assert {extra for extra, _ in users} == USERS_OF_EXTRAS.keys()


@pytest.mark.parametrize("requirement", [*REQUIRED.values(), *(each for _, each in EXTRAS.values())], ids=str)
def test_every_range_has_a_lower_and_an_upper_bound_and_holds_the_pinned_version(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    operators = sorted(each.operator for each in requirement.specifier)
    assert operators == ([">="] if name in DATED else ["<", ">="])
    assert PINNED[name] in requirement.specifier


@pytest.mark.parametrize("name", ["h11", "uvicorn"])
def test_packages_whose_internals_are_used_are_pinned_to_the_newest_minor_version_allowed(name: str) -> None:
    """So the tests of `http/connections.py` run on the newest version that users can get."""
    [cap] = [Version(each.version) for each in REQUIRED[name].specifier if each.operator == "<"]
    pinned = Version(PINNED[name])
    assert (cap.major, cap.minor) == (pinned.major, pinned.minor + 1)


def test_time_zones_load_where_the_system_has_none() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "usage_cost_mcp", "call", "--demo", "get_token_usage", "timezone=Europe/Berlin"],
        env={"PYTHONTZPATH": ""},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Europe/Berlin" in done.stdout
