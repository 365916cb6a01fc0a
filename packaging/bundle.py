"""Build and validate the bundle for one-click install in Claude Desktop, with the official packer."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAME = "usage-cost-mcp.mcpb"
COMMAND = "npx --yes --package @anthropic-ai/mcpb@2.1.2 -- .venv/bin/python packaging/bundle.py"
"""The documented command: npx puts the packer on the PATH."""


def main(arguments: list[str]) -> None:
    """Build the bundle in the given folder, by default `build`."""
    target = Path(arguments[0]) if arguments else ROOT / "build"
    packer = shutil.which("mcpb") or sys.exit(f"mcpb is not on the PATH. Run: {COMMAND}")
    contents = target / "mcpb"
    shutil.rmtree(contents, ignore_errors=True)
    copy_contents(contents)
    subprocess.run([packer, "validate", contents], check=True)
    subprocess.run([packer, "pack", contents, target / NAME], check=True)


def copy_contents(contents: Path) -> None:
    """Copy the files of the bundle into a new folder."""
    shutil.copytree(ROOT / "packaging" / "mcpb", contents)
    shutil.copytree(ROOT / "server", contents / "server", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "LICENSE", "SECURITY.md"):
        shutil.copy(ROOT / name, contents)
    (contents / "pyproject.toml").write_text(bundle_pyproject(), encoding="utf-8")


def bundle_pyproject() -> str:
    """The pyproject.toml of the bundle: without the development tools, with the versions that the tests use."""
    tables = re.split(r"^(?=\[)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    kept = [table for table in tables if table.startswith(("[build-system]", "[project", "[tool.uv."))]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line.removesuffix(" \\") for line in lines if re.match(r"\w", line)]
    return "".join(kept) + f"[tool.uv]\nconstraint-dependencies = {json.dumps(pinned, indent=2)}\n"


if __name__ == "__main__":
    main(sys.argv[1:])
