"""Every example runs."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_agent_script_asks_three_questions_and_computes_exactly() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "ask_spend.py", "--demo"],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    summary, exact, *prices, caching = done.stdout.splitlines()
    assert summary.startswith("Spend ")
    assert exact.endswith("dollars, to the last digit")
    assert any(line.startswith("claude-opus-4-6: ") for line in prices)
    assert caching.endswith("of the input was read from the cache")


def test_the_agent_script_passes_on_why_a_question_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_ADMIN_API_KEY", "sk-ant-admin01-not-a-real-key")
    monkeypatch.setenv("USAGE_COST_MCP_BASE_URL", "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "ask_spend.py"], capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert done.returncode == 1
    assert "No connection to 127.0.0.1:9" in done.stderr


def test_the_desktop_configuration_starts_the_server() -> None:
    config = json.loads((EXAMPLES / "claude_desktop_config.json").read_text(encoding="utf-8"))
    server = config["mcpServers"]["usage-cost"]
    assert server["command"].endswith("/.venv/bin/usage-cost-mcp")
    here = Path(sys.executable).parent / "usage-cost-mcp"

    async def tools() -> list[str]:
        started = StdioServerParameters(command=str(here), env=server["env"])
        async with Client(started) as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    assert "get_spend" in asyncio.run(tools())
