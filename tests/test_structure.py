"""The map of the server: its rooms, the modules of each, and the rooms that each may import.

A room is a subpackage of `usage_cost_mcp`, or a single module beside them.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import usage_cost_mcp

PACKAGE = Path(usage_cost_mcp.__file__).parent


@dataclass(frozen=True)
class Room:
    """A folder, or a single module if `modules` is empty."""

    modules: str = ""
    """The modules of a folder in alphabetical order; `__init__` is named only where there is nothing else."""
    imports: str = ""
    """The rooms that its modules may import."""


# Bottom up: a room imports only rooms above it in this table. A new module is one more word in its room's list.
ROOMS = {
    "__init__": Room(),
    "redact": Room(),
    "errors": Room(imports="redact"),
    "runtime": Room("addresses call_context clock concurrency limits rate_limit tls"),
    "settings": Room(imports="errors runtime"),
    "model": Room("buckets dimensions money names periods query_schema rows series upstream_reports", imports="errors"),
    "analysis": Room(
        "allocation anomalies apportionment billing_lag cache_savings cost_usage_join forecasting "
        "price_volume_mix prices speeds spend_pattern token_moves working_days",
        imports="errors model",
    ),
    "cache": Room(
        "cache_result codec day_loader memory_store ports report_cache tenant tiers ttl views window_fetcher windows",
        imports="errors model runtime",
    ),
    "admin_api": Room(
        "auth bounded_body client directory error_mapping paging report_reader retry row_parsing sanitise schemas "
        "throttle",
        imports="cache errors model redact runtime settings",
    ),
    "redis_backend": Room("connection day_store leases rate_limit", imports="cache errors model runtime"),
    "auth": Room(
        "access access_tokens audit_log jwks principals rejections tokens_file verifier workspace_scope",
        imports="cache errors model redact runtime settings",
    ),
    "reports": Room(
        "allocated_spend answers billing cache_efficiency context credits dimension_values effective_prices filters "
        "housekeeping joined_reports keyless_use labels notes query registry results scope_note series_answer "
        "series_report spend "
        "spend_anomalies spend_comparison spend_forecast status tables token_usage wording",
        imports="analysis auth cache errors model runtime",
    ),
    "render": Room("charts csv_export markdown png terminal vega_lite vega_to_png", imports="model reports"),
    "view": Room("__init__"),
    "tools": Room(
        "arguments catalogue completions execution glossary prompts registration resources server service",
        imports="analysis auth errors model redact render reports runtime view",
    ),
    "http": Room(
        "access allowed_hosts auth_challenges authentication connections health request_guard server settings",
        imports="auth errors reports runtime settings tools",
    ),
    "app": Room(imports="admin_api auth cache http redis_backend reports runtime settings tools view"),
    "demo": Room("api http organization"),
    "cli": Room(
        "demo doctor main tokens",
        imports="app auth demo errors http model redact redis_backend render reports runtime settings tools",
    ),
    "__main__": Room(imports="cli"),
}


@dataclass(frozen=True)
class Import:
    """An import of one of our modules. `only_types`: it stands below `if TYPE_CHECKING:`."""

    module: str
    only_types: bool


def violations(package: Path, rooms: Mapping[str, Room]) -> list[str]:
    """Where the modules of a package differ from the map, one sentence each."""
    modules = {".".join(path.relative_to(package).with_suffix("").parts): path for path in package.rglob("*.py")}
    imports = {module: imports_of(path, package, modules) for module, path in modules.items()}
    return [
        *map_violations(rooms),
        *listing_violations(modules, rooms),
        *import_violations(imports, rooms),
        *cycle_violations(imports),
    ]


def map_violations(rooms: Mapping[str, Room]) -> Iterator[str]:
    """A map without circles: a room imports only rooms above it."""
    below: set[str] = set()
    for name, room in rooms.items():
        for upward in sorted(set(room.imports.split()) - below):
            yield f"ROOMS[{name!r}] imports {upward!r}, which does not stand above it"
        below.add(name)


def listing_violations(modules: Mapping[str, Path], rooms: Mapping[str, Room]) -> Iterator[str]:
    """Each file is listed once, and each listed module has a file."""
    listed: set[str] = set()
    for name, room in rooms.items():
        for module in room.modules.split():
            if f"{name}.{module}" in listed:
                yield f"ROOMS[{name!r}] lists {module!r} twice"
            listed.add(f"{name}.{module}")
        listed.add(f"{name}.__init__" if room.modules else name)
    for module in sorted(modules.keys() - listed):
        name, _, rest = module.partition(".")
        yield f"{module} is not listed: add {rest or name!r} to ROOMS[{name!r}] in tests/test_structure.py"
    for module in sorted(listed - modules.keys()):
        yield f"{module} is listed in tests/test_structure.py but has no file"


def import_violations(imports: Mapping[str, list[Import]], rooms: Mapping[str, Room]) -> Iterator[str]:
    """A module imports its own room and the rooms that its room declares."""
    for module, found in sorted(imports.items()):
        name = room_of(module)
        allowed = {name, *rooms.get(name, Room()).imports.split()}
        for imported in sorted({room_of(each.module) for each in found} - allowed):
            yield f"{module} imports {imported!r}, which ROOMS[{name!r}] in tests/test_structure.py does not allow"


def cycle_violations(imports: Mapping[str, list[Import]]) -> Iterator[str]:
    """No module imports itself through others. An import for types only is not executed and cannot do harm."""
    graph = {module: [each.module for each in found if not each.only_types] for module, found in imports.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield "import cycle: " + " -> ".join(reversed(error.args[1]))


def room_of(module: str) -> str:
    return module.partition(".")[0]


def imports_of(path: Path, package: Path, modules: Mapping[str, Path]) -> list[Import]:
    """What a file imports of its own package, wherever the import stands in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    parents = [package.name, *path.relative_to(package).parent.parts]
    return [
        Import(module, only_types=node in for_types)
        for node in ast.walk(tree)
        for target in targets(node, parents)
        if (module := module_named(target, package.name, modules))
    ]


def targets(node: ast.AST, parents: list[str]) -> Iterator[list[str]]:
    """The dotted names that a statement imports, absolute: `from ..a import b` in `p.c.d` is `p.a.b`."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name.split(".")
    elif isinstance(node, ast.ImportFrom):
        base = parents[: len(parents) - node.level + 1] if node.level else []
        for alias in node.names:
            yield [*base, *(node.module.split(".") if node.module else []), alias.name]


def module_named(target: list[str], package: str, modules: Mapping[str, Path]) -> str | None:
    """The module of the package that a dotted name stands for, or that defines the name; None for other packages."""
    if target[0] != package:
        return None
    for length in range(len(target), 0, -1):
        name = ".".join(target[1:length])
        for module in (name, f"{name}.__init__" if name else "__init__"):
            if module in modules:
                return module
    return None


def test_every_module_is_listed_and_imports_only_what_its_room_may() -> None:
    assert violations(PACKAGE, ROOMS) == []


def test_the_architecture_page_lists_every_room_in_this_order() -> None:
    page = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("| package |")[2].partition("\n\n")[0]
    rooms = [name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert rooms == [name for name in ROOMS if not name.startswith("__")]


FILES = {
    "__init__.py": "",
    "model/__init__.py": "",
    "model/money.py": "import decimal",
    "cache/__init__.py": "from .store import Store",
    "cache/store.py": "from ..model.money import Money\nfrom ..model import money",
    "app.py": "def build():\n    from house import cache",
}
HOUSE = {
    "__init__": Room(),
    "model": Room("money"),
    "cache": Room("store", imports="model"),
    "app": Room(imports="cache"),
}
"""A small package and its map, without a violation."""


def violations_with(tmp_path: Path, files: dict[str, str], rooms: dict[str, Room] | None = None) -> list[str]:
    for name, text in (FILES | files).items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return violations(tmp_path / "house", HOUSE | (rooms or {}))


def test_a_package_as_its_map_says_has_no_violation(tmp_path: Path) -> None:
    assert violations_with(tmp_path, {}) == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cache/disk.py", "cache.disk is not listed: add 'disk' to ROOMS['cache'] in tests/test_structure.py"),
        ("reports/spend.py", "reports.spend is not listed: add 'spend' to ROOMS['reports'] in tests/test_structure.py"),
        ("clock.py", "clock is not listed: add 'clock' to ROOMS['clock'] in tests/test_structure.py"),
    ],
)
def test_an_unlisted_module_is_a_violation(tmp_path: Path, name: str, sentence: str) -> None:
    assert violations_with(tmp_path, {name: ""}) == [sentence]


def test_a_listed_module_without_a_file_is_a_violation(tmp_path: Path) -> None:
    assert violations_with(tmp_path, {}, {"model": Room("money names")}) == [
        "model.names is listed in tests/test_structure.py but has no file"
    ]


def test_a_module_that_is_listed_twice_is_a_violation(tmp_path: Path) -> None:
    assert violations_with(tmp_path, {}, {"model": Room("money money")}) == ["ROOMS['model'] lists 'money' twice"]


@pytest.mark.parametrize(
    "statement",
    [
        "from ..app import build",
        "from .. import app",
        "import house.app",
        "from house import app",
        "def later():\n    from ..app import build",
        "if TYPE_CHECKING:\n    from ..app import build",
    ],
)
def test_an_undeclared_import_is_a_violation(tmp_path: Path, statement: str) -> None:
    found = violations_with(tmp_path, {"model/money.py": statement})
    assert found[0] == "model.money imports 'app', which ROOMS['model'] in tests/test_structure.py does not allow"


def test_the_map_allows_no_import_that_runs_back_up(tmp_path: Path) -> None:
    rooms = {"model": Room("money", imports="cache")}
    assert violations_with(tmp_path, {}, rooms) == ["ROOMS['model'] imports 'cache', which does not stand above it"]


def test_modules_of_one_room_that_import_each_other_are_a_violation(tmp_path: Path) -> None:
    files = {"cache/store.py": "from .lease import Lease", "cache/lease.py": "from .store import Store"}
    [cycle] = violations_with(tmp_path, files, {"cache": Room("lease store", imports="model")})
    assert cycle.startswith("import cycle: cache.")


def test_an_import_for_types_only_makes_no_cycle(tmp_path: Path) -> None:
    files = {
        "cache/store.py": "from .lease import Lease",
        "cache/lease.py": "if TYPE_CHECKING:\n    from .store import Store",
    }
    assert violations_with(tmp_path, files, {"cache": Room("lease store", imports="model")}) == []
