"""Dependencies point inward: the domain knows nobody, the adapters do not know each other, only the top wires."""

import ast
from pathlib import Path

import pytest

import usage_cost_mcp

ROOT = Path(usage_cost_mcp.__file__).parent

DOMAIN = {"redact", "errors", "model"}
FOUNDATION = DOMAIN | {"runtime"}
ALLOWED = {
    **dict.fromkeys(DOMAIN, DOMAIN),
    **dict.fromkeys(FOUNDATION - DOMAIN, FOUNDATION),
    "analysis": DOMAIN | {"analysis"},
    "settings": FOUNDATION,
    "auth": FOUNDATION | {"analysis", "auth", "cache", "settings"},
    "cache": FOUNDATION | {"cache"},
    "reports": FOUNDATION | {"auth", "analysis", "cache", "reports"},
    "admin_api": FOUNDATION | {"cache", "settings", "admin_api"},
    "redis_backend": FOUNDATION | {"cache", "redis_backend"},
    "tools": FOUNDATION | {"auth", "analysis", "render", "reports", "tools", "view"},
    "view": {"view"},
    "demo": {"demo"},
    "render": DOMAIN | {"reports", "render"},
    "http": FOUNDATION | {"auth", "http", "reports", "settings", "tools"},
    "app": FOUNDATION | {"admin_api", "auth", "http", "cache", "reports", "settings", "redis_backend", "tools", "view"},
}
"""What each part may import of the others; cli, doctor and tour stand above all."""


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """The parts of the package that a file imports."""
    found: set[str] = set()
    package = ["usage_cost_mcp", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names = [*base, *(node.module or "").split(".")]
            targets = [names] if node.module else [[*base, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        else:
            continue
        found |= {target[1] for target in targets if target[0] == "usage_cost_mcp" and len(target) > 1}
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_lies_further_in(path: Path) -> None:
    part = part_of(path)
    if part in ALLOWED:
        assert imports(path) <= ALLOWED[part]


def test_the_rule_sees_imports_at_all() -> None:
    assert imports(ROOT / "app.py") >= {"admin_api", "cache", "tools"}
    assert imports(ROOT / "render" / "markdown.py") >= {"reports"}
