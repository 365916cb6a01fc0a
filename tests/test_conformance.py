"""The official conformance suite, run for both revisions against this server with fixtures (`conformance_server.py`).

It needs Node 22 or newer and `npm install @modelcontextprotocol/conformance@0.2.0-alpha.12`, both on the PATH. A
scenario fails when one of its checks fails or warns. Scenarios that a revision does not require are run as well; the
report names those that fail.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.harness import REPORTS
from tests.support.processes import environment

SERVER = Path(__file__).with_name("support") / "conformance_server.py"
REQUIRED = {"2025-11-25": 30, "2026-07-28": 37}
"""Number of scenarios that each revision requires of a server."""

WITHOUT_STREAMS = {
    "2025-11-25": {
        "tools-call-with-logging": "log messages are sent as events during the call",
        "tools-call-with-progress": "progress is sent as events during the call",
        "tools-call-sampling": "the tool sends requests to the client during the call, which needs a session",
        "tools-call-elicitation": "the tool sends requests to the client during the call, which needs a session",
        "elicitation-sep1034-defaults": "the tool sends requests to the client during the call, which needs a session",
        "elicitation-sep1330-enums": "the tool sends requests to the client during the call, which needs a session",
        "server-sse-multiple-streams": "the suite warns if there is no session",
    },
    "2026-07-28": {"tools-call-with-progress": "progress is sent as events during the call"},
}
"""Scenarios that a server without sessions and with single JSON responses cannot pass, with the reason."""


@pytest.fixture(scope="module")
def suite() -> str:
    node, suite = shutil.which("node"), shutil.which("conformance")
    if node is None or suite is None:
        pytest.skip("node or conformance is not on the PATH")
    version = subprocess.run([node, "--version"], capture_output=True, encoding="utf-8", timeout=60, check=True).stdout
    if int(version.strip("v").partition(".")[0]) < 22:
        pytest.skip(f"the suite needs Node 22 or newer, not {version.strip()}")
    return suite


@contextmanager
def serving(transport: str, log: Path) -> Generator[str]:
    """A process with the server and the fixtures, which logs to a file.

    Yields:
        Its URL.
    """
    words = [sys.executable, SERVER, transport]
    with (
        log.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stderr, encoding="utf-8", env=environment()) as process,
    ):
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def run(suite: str, url: str, revision: str, results: Path) -> subprocess.CompletedProcess[str]:
    words = [suite, "server", "--url", url, "--requirements", revision, "-o", str(results)]
    return subprocess.run(words, capture_output=True, encoding="utf-8", timeout=120, check=False)


class Outcome:
    """The outcome of a run: its output, and the checks that it wrote to files."""

    def __init__(self, printed: str, results: Path) -> None:
        unscored = set(re.findall(r"^  [✓✗] (\S+) \(", printed, re.MULTILINE))
        statuses = {scenario_of(path.parent.name): statuses_in(path) for path in results.glob("*/checks.json")}
        failed = {name for name, found in statuses.items() if {"FAILURE", "WARNING"} & set(found)}
        self.required = statuses.keys() - unscored
        self.passed = sum(statuses[name].count("SUCCESS") for name in self.required)
        self.failed = failed - unscored
        self.optional_failed = failed & unscored

    def __str__(self) -> str:
        also = f"; not required: {', '.join(sorted(self.optional_failed))}" if self.optional_failed else ""
        return f"{len(self.required)} scenarios, {self.passed} checks passed, {len(self.failed)} failed{also}"


def scenario_of(folder: str) -> str:
    return re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", folder, count=2)


def statuses_in(checks: Path) -> list[str]:
    return [check["status"] for check in json.loads(checks.read_text(encoding="utf-8"))]


def test_the_version_of_the_suite_is_the_same_everywhere() -> None:
    root = SERVER.parent.parent.parent
    texts = [__doc__ or "", *((root / name).read_text(encoding="utf-8") for name in (".ci/run", "tests/README.md"))]
    assert [re.findall(r"@modelcontextprotocol/conformance@([\w.-]+)", text) for text in texts] == [
        ["0.2.0-alpha.12"]
    ] * 3


@pytest.mark.external
@pytest.mark.parametrize("revision", REQUIRED)
def test_the_server_passes_every_required_scenario(suite: str, tmp_path: Path, revision: str) -> None:
    with serving("streams", tmp_path / "log") as url:
        done = run(suite, url, revision, tmp_path / "results")
    assert done.returncode == 0, done.stdout
    outcome = Outcome(done.stdout, tmp_path / "results")
    REPORTS.append(f"conformance to {revision}: {outcome}")
    assert outcome.failed == set()
    assert len(outcome.required) == REQUIRED[revision]
    assert outcome.passed > 2 * REQUIRED[revision]


@pytest.mark.external
@pytest.mark.parametrize("revision", REQUIRED)
def test_single_json_responses_pass_every_scenario_that_needs_no_stream(
    suite: str, tmp_path: Path, revision: str
) -> None:
    with serving("answers", tmp_path / "log") as url:
        done = run(suite, url, revision, tmp_path / "results")
    outcome = Outcome(done.stdout, tmp_path / "results")
    REPORTS.append(f"conformance to {revision} without streams: {outcome}")
    assert outcome.failed == WITHOUT_STREAMS[revision].keys(), done.stdout
    assert len(outcome.required) == REQUIRED[revision]
