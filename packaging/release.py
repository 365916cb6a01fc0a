"""Prepare a release: set the version in every file that states it, and date the changelog's section.

.venv/bin/python packaging/release.py 0.2.0
"""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent

VERSION = r"\d+\.\d+\.\d+"
STATED_IN = {
    "pyproject.toml": rf'(?m)^(version = "){VERSION}(")',
    "packaging/server.json": rf'("version": "){VERSION}(")',
    "packaging/mcpb/manifest.json": rf'("version": "){VERSION}(")',
}
UNRELEASED = "## [Unreleased]\n"

NEXT_STEPS = """\
Version {version} is set. Next:
  .venv/bin/pip install --quiet --no-deps -e .   # updates the installed version
  .venv/bin/python -m tests.update_docs          # renews the documents that show it
  .ci/run
  git commit --all --message "Release {version}" && git tag v{version}
"""


def main(arguments: list[str]) -> None:
    """Set the version, or exit with the reason why not."""
    if len(arguments) != 1 or not re.fullmatch(VERSION, arguments[0]):
        sys.exit("usage: release.py MAJOR.MINOR.PATCH")
    [version] = arguments
    texts = {"CHANGELOG.md": dated_changelog(version)}
    for name, pattern in STATED_IN.items():
        texts[name], count = re.subn(pattern, rf"\g<1>{version}\g<2>", (ROOT / name).read_text(encoding="utf-8"))
        if not count:
            sys.exit(f"{name} states no version.")
    for name, text in texts.items():
        (ROOT / name).write_text(text, encoding="utf-8")
    print(NEXT_STEPS.format(version=version), end="")


def dated_changelog(version: str) -> str:
    """The changelog with the unreleased changes in a section for the version, dated today (UTC)."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if f"## [{version}]" in text:
        sys.exit(f"CHANGELOG.md already has a section for {version}.")
    before, _, after = text.partition(UNRELEASED)
    changes = after.partition("\n## [")[0].strip()
    if not changes:
        sys.exit("CHANGELOG.md lists no unreleased changes.")
    return f"{before}{UNRELEASED}\n## [{version}] - {datetime.now(UTC):%Y-%m-%d}\n{after}"


if __name__ == "__main__":
    main(sys.argv[1:])
