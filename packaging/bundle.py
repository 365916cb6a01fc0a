"""Build and validate the bundle that a host installs with a click, with the official packer."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAME = "usage-cost-mcp.mcpb"
COMMAND = "npx --yes --package @anthropic-ai/mcpb@2.1.2 -- .venv/bin/python packaging/bundle.py"
"""How to run this; it puts the packer on the PATH."""


def main(words: list[str]) -> None:
    """Build the bundle in a folder, by default `build`."""
    target = Path(words[0]) if words else ROOT / "build"
    packer = shutil.which("mcpb") or sys.exit(f"mcpb is not on the PATH. Run: {COMMAND}")
    contents = target / "mcpb"
    shutil.rmtree(contents, ignore_errors=True)
    lay_out(contents)
    subprocess.run([packer, "validate", contents], check=True)
    subprocess.run([packer, "pack", contents, target / NAME], check=True)


def lay_out(contents: Path) -> None:
    """Put what goes into the bundle into a new folder."""
    shutil.copytree(ROOT / "packaging" / "mcpb", contents)
    shutil.copytree(ROOT / "server", contents / "server", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "LICENSE", "SECURITY.md"):
        shutil.copy(ROOT / name, contents)
    (contents / "pyproject.toml").write_text(project(), encoding="utf-8")


def project() -> str:
    """Our pyproject.toml for a host: without what development needs, with the versions that the tests ran with."""
    tables = re.split(r"^(?=\[)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    kept = [table for table in tables if table.startswith(("[build-system]", "[project", "[tool.uv."))]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line.removesuffix(" \\") for line in lines if re.match(r"\w", line)]
    return "".join(kept) + f"[tool.uv]\nconstraint-dependencies = {json.dumps(pinned, indent=2)}\n"


if __name__ == "__main__":
    main(sys.argv[1:])
