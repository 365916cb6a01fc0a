"""The official conformance suite against our server with its fixtures (`conformance_server.py`), for both revisions.

It needs Node 22 or newer and `npm install @modelcontextprotocol/conformance@0.2.0-alpha.12`, both on the PATH. A
scenario is wanting when a check of it fails or warns. Scenarios that a revision does not require are run too; which of
them are wanting is in the report.
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
"""How many scenarios a revision requires of a server."""

WITHOUT_STREAMS = {
    "2025-11-25": {
        "tools-call-with-logging": "messages of the log are events while the call runs",
        "tools-call-with-progress": "progress is events while the call runs",
        "tools-call-sampling": "the tool asks the client back during the call, which takes a session",
        "tools-call-elicitation": "the tool asks the client back during the call, which takes a session",
        "elicitation-sep1034-defaults": "the tool asks the client back during the call, which takes a session",
        "elicitation-sep1330-enums": "the tool asks the client back during the call, which takes a session",
        "server-sse-multiple-streams": "the suite warns when there is no session",
    },
    "2026-07-28": {"tools-call-with-progress": "progress is events while the call runs"},
}
"""What a server that gives one JSON answer a request, and keeps no sessions, cannot pass, and why."""


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
    """A process with our server and the fixtures; what it says goes to a file.

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
    """What a run of the suite found, of which it also wrote every check down."""

    def __init__(self, printed: str, results: Path) -> None:
        unscored = set(re.findall(r"^  [✓✗] (\S+) \(", printed, re.MULTILINE))
        statuses = {scenario_of(path.parent.name): statuses_in(path) for path in results.glob("*/checks.json")}
        wanting = {name for name, found in statuses.items() if {"FAILURE", "WARNING"} & set(found)}
        self.required = statuses.keys() - unscored
        self.passed = sum(statuses[name].count("SUCCESS") for name in self.required)
        self.wanting = wanting - unscored
        self.also_wanting = wanting & unscored

    def __str__(self) -> str:
        also = f"; not required: {', '.join(sorted(self.also_wanting))}" if self.also_wanting else ""
        return f"{len(self.required)} scenarios, {self.passed} checks passed, {len(self.wanting)} wanting{also}"


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
    assert outcome.wanting == set()
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
    assert outcome.wanting == WITHOUT_STREAMS[revision].keys(), done.stdout
    assert len(outcome.required) == REQUIRED[revision]
