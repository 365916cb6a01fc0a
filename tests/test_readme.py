"""The README matches the program: example answer, tool table, configuration, settings and commands."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.support.canary import KEY
from tests.support.harness import Connect, ask
from tests.support.processes import environment, run
from tests.support.subprocess_http_server import started
from usage_cost_mcp.http.settings import HttpSettings
from usage_cost_mcp.render.terminal import render
from usage_cost_mcp.reports.registry import parse_answer
from usage_cost_mcp.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

QUESTIONS = {
    "get_spend": "What did we spend last month, by model?",
    "get_token_usage": "Which API key used the most output tokens this week?",
    "cache_hit_ratio": "Did prompt caching improve this quarter?",
    "compare_spend": "Why did we spend more in October than in September?",
    "forecast_spend": "Will this month stay below $8,000?",
    "find_spend_anomalies": "Is anything unusual in our spend?",
    "get_effective_prices": "What do we really pay for a million tokens of Opus?",
    "list_dimension_values": "Which workspaces do we have, and are any unused?",
    "get_status": "Which organization is this, and how current is the data?",
}

pytestmark = pytest.mark.anyio


def block(name: str) -> str:
    """The text between two markers."""
    match = re.search(rf"<!-- {name} -->\n(.*)\n<!-- /{name} -->", README, re.DOTALL)
    assert match, f"README.md has no block {name}"
    return match[1]


async def test_the_example_answer_is_current(connect: Connect) -> None:
    async with connect() as client:
        answer = await ask(client, "get_spend", period="last_month", group_by=["workspace_id"], granularity="week")
    assert block("answer") == f"```text\n{render(parse_answer(answer))}\n```"


async def test_the_tool_table_matches_the_tool_list(client: Client) -> None:
    rows = ["| tool | what it answers | for example |", "|---|---|---|"]
    for tool in (await client.list_tools()).tools:
        sentence = (tool.description or "").partition(". ")[0].removesuffix(".")
        rows.append(f"| `{tool.name}` | {sentence} | {QUESTIONS[tool.name]} |")
    assert block("tools") == "\n".join(rows)


async def test_the_configuration_block_equals_the_example_file() -> None:
    example = (ROOT / "examples" / "claude_desktop_config.json").read_text(encoding="utf-8")
    assert block("config") == f"```json\n{example}```"


class RecordingEnvironment(dict[str, str]):
    """An environment that remembers which variables were looked up."""

    def __init__(self, **variables: str) -> None:
        super().__init__(variables)
        self.read = set[str]()

    def get(self, name: str, default: Any = None) -> Any:  # as `dict` does, whose overloads say more
        self.read.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self.read.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.read.add(str(name))
        return super().__contains__(name)


def test_the_settings_table_lists_every_setting() -> None:
    environment = RecordingEnvironment(ANTHROPIC_ADMIN_API_KEY=KEY)
    Settings.from_environ(environment)
    HttpSettings.from_environ(environment, None, None)
    assert environment.read == set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) - QUESTIONS.keys()


async def test_all_host_configurations_start_the_same_command() -> None:
    config = json.loads((ROOT / "examples" / "claude_desktop_config.json").read_text(encoding="utf-8"))
    command = config["mcpServers"]["usage-cost"]["command"]
    assert README.count(command) == 3


def test_the_team_commands_lead_to_an_answer(tmp_path: Path) -> None:
    exported, *made, served = block("team").splitlines()[1:-1]
    name, _, file = exported.removeprefix("export ").partition("=")
    tokens = {name: str(tmp_path / file)}
    words = [shlex.split(each, comments=True) for each in (*made, served)]
    assert {each for line in words for each in line if "bin/" in each} == {".venv/bin/usage-cost-mcp"}
    ana, reporter = (run(*line[1:], env=environment(**tokens)).stdout.strip() for line in words[:-1])
    assert words[-1][-2:] == ["serve", "--http"]
    with started("--demo", environ=tokens) as server:
        for token in (ana, reporter):
            done = subprocess.run(
                [sys.executable, ROOT / "examples" / "ask_spend.py", server.url],
                env=environment(USAGE_COST_TOKEN=token),
                capture_output=True,
                encoding="utf-8",
                timeout=60,
                check=True,
            )
            assert done.stdout.startswith("Spend ")


def test_the_messages_api_command_produces_the_documented_body() -> None:
    command = "\n".join(block("connector").splitlines()[1:-1]).replace("curl ", "printf '%s\\n' ", 1)
    env = environment(TOKEN="ucm_x", ANTHROPIC_API_KEY="none")  # noqa: S106 - nobody's
    said = subprocess.run(["bash", "-c", command], env=env, capture_output=True, encoding="utf-8", check=True).stdout  # noqa: S607
    body = json.loads(said[said.index("{") :])
    (server,), tools = body["mcp_servers"], body["tools"]
    assert server["authorization_token"] == "ucm_x"  # noqa: S105 - nobody's
    assert tools == [{"type": "mcp_toolset", "mcp_server_name": server["name"]}]
