"""Last week's spend in Markdown, for a channel or a mail on Monday morning.

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
    """The structured answer to a question; a refused question ends the script with its reason."""
    result = await client.call_tool(tool, arguments)
    if result.is_error or result.structured_content is None:
        sys.exit(" ".join(block.text for block in result.content if block.type == "text"))
    return result.structured_content


def dollars(amount: str) -> str:
    """An amount as a person says it: -$1,234.50."""
    value = Decimal(amount)
    return f"{'-' if value < 0 else ''}${abs(value):,.2f}"


def plain(name: str) -> str:
    """A name of theirs that does nothing in Markdown."""
    return re.sub(r"([\\`*_~\[\]<>|!#]|(?<=:)/|(?<=www)\.)", r"\\\1", name)


def compared(comparison: Answer) -> Iterator[str]:
    """The week, against the one before."""
    week, change = comparison["period"], Decimal(comparison["change"])
    yield f"# Claude API spend, {week['start']} to {week['end']}"
    ratio = comparison["change_ratio"]
    share = f" ({abs(ratio):.1%})" if ratio else ""
    more = f"{dollars(str(abs(change)))}{share} {'more' if change > 0 else 'less'} than" if change else "as much as"
    before = dollars(comparison["cost_against"])
    yield f"We spent **{dollars(comparison['cost'])}**, {more} the week before ({before})."
    rows = [
        f"| {plain(each['label'])} | {dollars(each['cost'])} | {dollars(each['cost_against'])} |"
        for each in sorted(comparison["groups"], key=lambda each: -Decimal(each["cost"]))
    ]
    yield "\n".join(["| | last week | the week before |", "|---|---:|---:|", *rows])
    if comparison["provisional_since"]:
        yield f"Anthropic may still revise the days from {comparison['provisional_since']} on."


def causes(comparison: Answer) -> Iterator[str]:
    """What moved it most."""
    yield "## What changed"
    named = [each for each in comparison["drivers"] if each["effect"] != "rest"][:3]
    lines = [
        f"- {plain(each['label'])}: {'+' * (Decimal(each['change']) > 0)}{dollars(each['change'])}" for each in named
    ]
    yield "\n".join(lines) or "Nothing: it was a week like the one before."


def oddities(anomalies: Answer) -> Iterator[str]:
    """Days that somebody should look at."""
    yield "## Out of line"
    lines = [
        f"- {plain(each['label'])}, {' to '.join(dict.fromkeys([each['start'], each['end']]))}: "
        f"{dollars(each['cost'])} instead of the usual {dollars(each['expected'])}"
        + (f" ({plain(each['driver'])})" if "driver" in each else "")
        for each in anomalies["anomalies"]
    ]
    yield "\n".join(lines) or "Nothing: every workspace spent what it usually does."


def outlook(forecast: Answer, caching: Answer) -> Iterator[str]:
    """Where the month is going, and what the cache was good for."""
    yield "## The month, and the cache"
    interval = (
        f"; eight times out of ten such a month ends between {dollars(forecast['low'])} and {dollars(forecast['high'])}"
        if forecast["low"]
        else ""
    )
    yield f"Until {forecast['period']['end']} we expect {dollars(forecast['expected'])}{interval}."
    totals = caching["totals"]
    if totals["cache_hit_ratio"] is not None:
        saved = totals["cache_savings"]
        worth = f", which saved about {dollars(saved)}" if saved is not None else ""
        yield f"Last week {totals['cache_hit_ratio']:.1%} of the input came from the prompt cache{worth}."


async def main() -> None:
    """Ask four questions, write four paragraphs."""
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
    parts = [*compared(comparison), *causes(comparison), *oddities(anomalies), *outlook(forecast, caching)]
    if comparison["demo"]:
        parts.append("*Demo data: an organization that never existed.*")
    print("\n\n".join(parts))


if __name__ == "__main__":
    asyncio.run(main())
