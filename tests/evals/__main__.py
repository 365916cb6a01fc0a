"""`python -m tests.evals`: ask a model sixty questions, print the scores, write all replies to build/evals.json.

Exit status: 1 if the endpoint failed to answer a question, else 0, whatever the scores.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from usage_cost_mcp.render.terminal import aligned

from .cases import all_cases
from .endpoints import APIS
from .runner import Result, run

KEY = "EVALS_API_KEY"
OUTPUT = Path("build") / "evals.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation."""
    parser = argparse.ArgumentParser(prog="python -m tests.evals", description=__doc__)
    parser.add_argument("--model", required=True, help="the model's name at the endpoint")
    parser.add_argument(
        "--base-url", required=True, help="for example http://127.0.0.1:11434/v1, https://api.anthropic.com"
    )
    parser.add_argument(
        "--api", choices=sorted(APIS), default="openai", help=f"API of the endpoint; its key is read from {KEY}"
    )
    given = parser.parse_args(argv)
    results = asyncio.run(_ask(given.api, given.model, given.base_url))
    print(_table(results))
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(_as_json(given.model, results), ensure_ascii=False, indent=1), encoding="utf-8")
    return int(any(result.failed for result in results))


async def _ask(api: str, model: str, base_url: str) -> Sequence[Result]:
    results: list[Result] = []
    async for result in run(api, model, base_url, os.environ.get(KEY, ""), all_cases()):
        print(f"{result.score.total}/3 {result.case.name} {result.failed}".rstrip(), file=sys.stderr, flush=True)
        results.append(result)
    return results


def _table(results: Sequence[Result]) -> str:
    answered = [result for result in results if not result.failed]
    points = [[each.score.tool, each.score.arguments, each.score.answer, len(each.calls)] for each in answered]
    sums = [sum(column) for column in zip(*points, strict=True)] or [0] * 4
    rows = [
        ["question", "tool", "arguments", "answer", "calls"],
        *([result.case.name, *map(str, numbers)] for result, numbers in zip(answered, points, strict=True)),
        [f"correct of {len(answered)}", *map(str, sums)],
    ]
    failed = [f"no answer: {result.case.name}: {result.failed}" for result in results if result.failed]
    return "\n".join([aligned(rows), *failed])


def _as_json(model: str, results: Sequence[Result]) -> dict[str, Any]:
    return {
        "model": model,
        "results": [
            {
                "name": result.case.name,
                "question": result.case.question,
                "score": asdict(result.score),
                "calls": [{"tool": each.tool, "arguments": each.arguments, "text": each.text} for each in result.calls],
                "reply": result.reply,
                "failed": result.failed,
            }
            for result in results
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
