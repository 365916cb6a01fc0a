"""`usage-cost-mcp demo`: asks the demo server the main questions, as a host would."""

import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from mcp import Client, StdioServerParameters

from usage_cost_mcp.render.terminal import render
from usage_cost_mcp.reports.registry import parse_answer
from usage_cost_mcp.settings import Settings

QUESTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "What did we spend last month, by model?",
        "get_spend",
        {"period": "last_month", "group_by": ["model"], "granularity": "day"},
    ),
    (
        "Why was it more than the month before?",
        "compare_spend",
        {"period": "last_month", "against": "previous_month", "group_by": ["workspace_id"]},
    ),
    (
        "Will this month stay below $8,000?",
        "forecast_spend",
        {"budget": 8000},
    ),
    (
        "What does each API key cost?",
        "get_spend",
        {"period": "last_month", "group_by": ["api_key_id"], "granularity": "total"},
    ),
    (
        "Does prompt caching pay?",
        "cache_hit_ratio",
        {"period": "this_year", "filter_by": {"workspace_id": ["Production"]}, "granularity": "month"},
    ),
)


def closing(program: Path) -> str:
    """What to do next."""
    return f"""\
That was a demo organization, asked through a real MCP client.

To ask about your own organization in Claude Desktop, add this to claude_desktop_config.json:

  {{"mcpServers": {{"usage-cost": {{
      "command": "{program.resolve()}",
      "env": {{"ANTHROPIC_ADMIN_API_KEY": "sk-ant-admin01-..."}}}}}}}}

An organization admin creates the key in the Claude Console under Settings > Admin keys.
To check it: ANTHROPIC_ADMIN_API_KEY=... {program} doctor"""


async def run_tour() -> None:
    """Start the demo server, ask, print.

    Raises:
        ConfigurationError: When a setting is malformed.
    """
    Settings.for_demo(os.environ, "http://127.0.0.1")
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "usage_cost_mcp", "serve", "--demo"], env=dict(os.environ)
    )
    answers: list[dict[str, Any]] = []
    _say("Starting the demo server ...")
    async with Client(server) as client:
        for number, (_, tool, arguments) in enumerate(QUESTIONS, 1):
            _say(f"Asking {number} of {len(QUESTIONS)} ...")
            answers.append((await client.call_tool(tool, arguments)).structured_content or {})
    _say("")
    program = Path(sys.argv[0])
    for number, ((question, tool, arguments), answer) in enumerate(zip(QUESTIONS, answers, strict=True), 1):
        command = f"{program} call {_as_words(tool, arguments)} --demo"
        print(f"{number}. {question}\n   {command}\n\n{render(parse_answer(answer))}\n")
    print(closing(program), flush=True)


def _say(progress: str) -> None:
    """One line of progress that is overwritten by the next, where a person watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{progress}", end="", file=sys.stderr, flush=True)


def _as_words(tool: str, arguments: Mapping[str, Any]) -> str:
    """The same question as words of a command."""
    return " ".join([tool, *(f"{name}={_as_word(value)}" for name, value in arguments.items())])


def _as_word(value: object) -> str:
    match value:
        case list():
            return ",".join(map(str, cast("list[object]", value)))
        case dict():
            return shlex.quote(json.dumps(value))
        case _:
            return str(value)
