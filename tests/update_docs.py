"""`python -m tests.update_docs`: renew what the README and docs/ show of the demo organization.

Each block of the kind `console` begins with a command, and what follows is its output, at the moment at which the
tests take place. `test_docs.py` holds that this is so. The tables of docs/truth.md are made by `truth_page`.
"""

import asyncio
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcp import Client

from benchmarks import demo
from benchmarks.questions import text_of
from tests.support import truth_page
from usage_cost_mcp.app import build_server
from usage_cost_mcp.render.terminal import render
from usage_cost_mcp.reports.registry import parse_answer
from usage_cost_mcp.settings import Settings

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(r"^```console\n\$ usage-cost-mcp call (.+) --demo\n(?:.*\n)*?```$", re.MULTILINE)
"""A command and its output."""


def main() -> None:
    """Write what has changed."""
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        renewed = asyncio.run(current(text))
        if renewed != text:
            path.write_text(renewed, encoding="utf-8")
            print(f"renewed {path.relative_to(ROOT)}")
    truth_page.PAGE.write_text(asyncio.run(truth_page.page()), encoding="utf-8")


async def current(text: str) -> str:
    """A document with the outputs of today."""
    outputs = iter([await output(shlex.split(shown[1])) for shown in SHOWN.finditer(text)])
    return SHOWN.sub(lambda shown: f"```console\n$ usage-cost-mcp call {shown[1]} --demo\n{next(outputs)}\n```", text)


async def output(words: Sequence[str]) -> str:
    """What `usage-cost-mcp call` prints: the answer as a person reads it, or why there is none."""
    tool, *given = words
    arguments = {name: _value(value) for name, _, value in (word.partition("=") for word in given)}
    with demo.upstream() as api:
        settings = replace(Settings.for_demo({}, api.url), max_answer_characters=None)
        async with Client(build_server(settings, demo.StandingClock())) as client:
            result = await client.call_tool(tool, arguments)
    return text_of(result) if result.is_error else render(parse_answer(result.structured_content or {}))


def _value(text: str) -> Any:
    return json.loads(text) if text.startswith(("{", "[")) else text


if __name__ == "__main__":
    main()
