"""The MCP Apps chart: its resource, and its behavior in a browser inside the official host code.

The browser cases are in view/chart.mjs, which Node runs once; each is a test here. They need Node on the PATH and
`npm install --prefix tests/view --no-package-lock`, which installs a browser.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client import advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID
from mcp.types import CallToolResult, TextResourceContents

from tests.support.canary import KEY
from tests.support.harness import NOW, FrozenClock, Upstream, ask
from usage_cost_mcp.app import build_server
from usage_cost_mcp.demo import DemoApi, serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.settings import Settings
from usage_cost_mcp.view import CHART_URI

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent / "view"
NODE = shutil.which("node")
SCREENSHOTS = os.environ.get("CHART_SCREENSHOTS")
"""Folder for a screenshot of every case."""

CASES = re.findall(r'^test\("(.+?)",', (HERE / "chart.mjs").read_text(encoding="utf-8"), re.MULTILINE)

CHART_TOOLS = ["get_spend", "get_token_usage", "cache_hit_ratio", "compare_spend", "forecast_spend"]

HOSTILE_NAMES = {
    "Production": "<img src=x onerror=window.pwned=1>",
    "Support": '"><script>window.pwned=1</script>',
    "Research": '=HYPERLINK("http://127.0.0.1:9/","Research")',
    "Data Platform": "Data" * 40,
}


async def test_only_the_tools_with_a_chart_reference_it(client: Client) -> None:
    tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools if tool.meta] == CHART_TOOLS
    assert all(tool.meta in (None, {"ui": {"resourceUri": CHART_URI}}) for tool in tools)


async def test_the_chart_is_one_self_contained_page_of_at_most_50_kilobytes(client: Client) -> None:
    (listed,) = [each for each in (await client.list_resources()).resources if each.uri == CHART_URI]
    (page,) = (await client.read_resource(CHART_URI)).contents
    assert isinstance(page, TextResourceContents)
    assert listed.mime_type == page.mime_type == APP_MIME_TYPE
    assert len(page.text.encode()) <= 50_000
    namespace = "http://www.w3.org/2000/svg"
    assert set(re.findall(r"\w+://[^\s\"']+", page.text)) == {namespace}
    assert not re.search(r"\beval\b|[iI]nnerHTML|AdjacentHTML|document\.write|Function\(|import\(|fetch\(", page.text)


@pytest.mark.parametrize("tool", CHART_TOOLS)
async def test_a_host_without_apps_gets_the_same_answer(upstream: Upstream, clock: FrozenClock, tool: str) -> None:
    apps = advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})
    answers: list[CallToolResult] = []
    for extensions in ([], [apps]):
        server = build_server(Settings.for_demo({}, upstream.url), clock)
        async with Client(server, extensions=extensions) as client:
            answers.append(await client.call_tool(tool, {}))
    without, with_apps = answers
    assert without.content == with_apps.content
    assert without.structured_content == with_apps.structured_content


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, str | None]]:
    """The error of each case; None for success."""
    here = tmp_path_factory.mktemp("chart")
    with ExitStack() as stack:
        upstream = stack.enter_context(serve_on_loopback(DemoApi(lambda: NOW).respond))
        plan = {
            "python": sys.executable,
            "key": KEY,
            "upstream": upstream,
            "hostile": stack.enter_context(serve_on_loopback(hostile_api())),
            "year": str(write_year_of_days(upstream, here / "year.json")),
            "screenshots": SCREENSHOTS and str(Path(SCREENSHOTS).resolve()),
        }
        (here / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        done = subprocess.run(
            [str(NODE), HERE / "chart.mjs", here / "plan.json"],
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        yield {line["name"]: line["error"] for line in lines}


@pytest.mark.external
@pytest.mark.skipif(NODE is None, reason="node is not on the PATH")
@pytest.mark.skipif(
    not (HERE / "node_modules").is_dir(), reason="needs npm install --prefix tests/view --no-package-lock"
)
@pytest.mark.parametrize("case", CASES)
def test_in_a_browser(outcomes: dict[str, str | None], case: str) -> None:
    if error := outcomes[case]:
        pytest.fail(error, pytrace=False)


def hostile_api() -> Any:
    """The demo organization with names that contain markup and formulas."""
    api = DemoApi(lambda: NOW)

    def respond(request: Request) -> Response:
        response = api.respond(request)
        if not request.path.endswith("/workspaces"):
            return response
        named = [{**each, "name": HOSTILE_NAMES.get(each["name"], each["name"])} for each in response.body["data"]]
        return replace(response, body={**response.body, "data": named})

    return respond


def write_year_of_days(upstream: str, path: Path) -> Path:
    """Write a real answer, longer than the limit for hosts, to a file."""
    settings = replace(Settings.for_demo({}, upstream), max_answer_characters=None)
    days = {"start": (NOW - timedelta(days=365)).date(), "end": (NOW - timedelta(days=1)).date()}

    async def answer() -> dict[str, Any]:
        async with Client(build_server(settings, FrozenClock())) as client:
            period = f"{days['start']}..{days['end']}"
            group_by = ["workspace_id", "model", "token_type"]
            return await ask(client, "get_spend", period=period, group_by=group_by, granularity="day", top=10)

    path.write_text(json.dumps(anyio.run(answer)), encoding="utf-8")
    return path
