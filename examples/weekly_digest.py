"""Last week's spend in Markdown, for a channel or an e-mail on Monday morning.

python examples/weekly_digest.py            your organization (ANTHROPIC_ADMIN_API_KEY)
python examples/weekly_digest.py --demo     the demo organization
"""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from mcp import Client, StdioServerParameters

Answer = dict[str, Any]


async def ask(client: Client, tool: str, **arguments: Any) -> Answer:
    """The structured answer of a tool call. An error ends the script with its message."""
    result = await client.call_tool(tool, arguments)
    if result.is_error or result.structured_content is None:
        sys.exit(" ".join(block.text for block in result.content if block.type == "text"))
    return result.structured_content


def dollars(amount: str) -> str:
    """A readable amount, such as -$1,234.50."""
    value = Decimal(amount)
    return f"{'-' if value < 0 else ''}${abs(value):,.2f}"


def escape(name: str) -> str:
    """A name without effect in Markdown."""
    return re.sub(r"([\\`*_~\[\]<>|!#]|(?<=:)/|(?<=www)\.)", r"\\\1", name)


def week_section(comparison: Answer) -> Iterator[str]:
    """The week compared with the previous one."""
    week, change = comparison["period"], Decimal(comparison["change"])
    yield f"# Claude API spend, {week['start']} to {week['end']}"
    ratio = comparison["change_ratio"]
    percent = f" ({abs(ratio):.1%})" if ratio else ""
    difference = (
        f"{dollars(str(abs(change)))}{percent} {'more' if change > 0 else 'less'} than" if change else "as much as"
    )
    before = "{start} to {end}".format(**comparison["against"])
    cost, previous_cost = dollars(comparison["cost"]), dollars(comparison["previous_cost"])
    yield f"We spent **{cost}**, {difference} from {before} ({previous_cost})."
    yield from (note["message"] for note in comparison["notes"] if note["code"] == "not_billed_yet")
    rows = [
        f"| {escape(each['label'])} | {dollars(each['cost'])} | {dollars(each['previous_cost'])} |"
        for each in sorted(comparison["groups"], key=lambda each: -Decimal(each["cost"]))
    ]
    yield "\n".join(["| | last week | before |", "|---|---:|---:|", *rows])
    if comparison["provisional_since"]:
        yield f"Anthropic may still revise the days from {comparison['provisional_since']} on."


def causes_section(comparison: Answer) -> Iterator[str]:
    """The three largest causes of the change."""
    yield "## What changed"
    largest = [each for each in comparison["drivers"] if each["effect"] != "rest"][:3]
    lines = [
        f"- {escape(each['label'])}: {'+' * (Decimal(each['change']) > 0)}{dollars(each['change'])}" for each in largest
    ]
    yield "\n".join(lines) or "No causes reported."


def anomalies_section(anomalies: Answer) -> Iterator[str]:
    """Days with unusual spend."""
    yield "## Anomalies"
    lines = [
        f"- {escape(each['label'])}, {' to '.join(dict.fromkeys([each['start'], each['end']]))}: "
        f"{dollars(each['cost'])} instead of an expected {dollars(each['expected'])}"
        + (f" ({escape(each['driver'])})" if "driver" in each else "")
        for each in anomalies["anomalies"]
    ]
    yield "\n".join(lines) or "None found."


def outlook_section(forecast: Answer, caching: Answer) -> Iterator[str]:
    """The month's forecast and last week's cache savings."""
    yield "## Outlook and caching"
    interval = f"; 80% interval {dollars(forecast['low'])} to {dollars(forecast['high'])}" if forecast["low"] else ""
    yield f"Expected spend by {forecast['period']['end']}: {dollars(forecast['expected'])}{interval}."
    totals = caching["totals"]
    if totals["cache_hit_ratio"] is not None:
        saved = totals["cache_savings"]
        savings = f", which saved about {dollars(saved)}" if saved is not None else ""
        yield f"Last week {totals['cache_hit_ratio']:.1%} of the input came from the prompt cache{savings}."


async def main() -> None:
    """Ask four questions, print four sections."""
    if "--demo" not in sys.argv and not any(name.startswith("ANTHROPIC_ADMIN_API_KEY") for name in os.environ):
        sys.exit("Set ANTHROPIC_ADMIN_API_KEY, or add --demo.")
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "usage_cost_mcp", "serve", *sys.argv[1:]], env=dict(os.environ)
    )
    async with Client(server) as client:
        comparison = await ask(client, "compare_spend", period="last_week")
        anomalies = await ask(client, "find_spend_anomalies", period="last_week")
        forecast = await ask(client, "forecast_spend")
        caching = await ask(client, "cache_hit_ratio", period="last_week", granularity="total")
    parts = [*week_section(comparison), *causes_section(comparison), *anomalies_section(anomalies)]
    parts += outlook_section(forecast, caching)
    if comparison["demo"]:
        parts.append("*Demo data (fictional organization).*")
    print("\n\n".join(parts))


if __name__ == "__main__":
    asyncio.run(main())
