"""MCP client that asks three questions and computes with the exact numbers.

python examples/ask_spend.py            your organization (ANTHROPIC_ADMIN_API_KEY)
python examples/ask_spend.py --demo     the demo organization
python examples/ask_spend.py URL        your team's server (USAGE_COST_TOKEN)
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


async def ask(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured answer of a tool call. An error ends the script with its message."""
    result = await client.call_tool(tool, arguments)
    if result.is_error or result.structured_content is None:
        sys.exit(" ".join(block.text for block in result.content if block.type == "text"))
    return result.structured_content


@asynccontextmanager
async def connect() -> AsyncGenerator[Client]:
    """A client of the server at the URL on the command line, or else of a new server process."""
    if url := next((word for word in sys.argv[1:] if word.startswith("http")), None):
        if "USAGE_COST_TOKEN" not in os.environ:
            sys.exit("Set USAGE_COST_TOKEN to the token you got from the server's operator.")
        http_client = httpx2.AsyncClient(
            headers={"authorization": f"Bearer {os.environ['USAGE_COST_TOKEN']}"}, timeout=60
        )
        async with http_client, Client(streamable_http_client(url, http_client=http_client)) as client:
            yield client
        return
    if "--demo" not in sys.argv and not any(name.startswith("ANTHROPIC_ADMIN_API_KEY") for name in os.environ):
        sys.exit("Set ANTHROPIC_ADMIN_API_KEY, add --demo, or give the URL of your team's server.")
    command = ["-m", "usage_cost_mcp", "serve", *sys.argv[1:]]
    async with Client(StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))) as client:
        yield client


async def main() -> None:
    async with connect() as client:
        spend = await ask(client, "get_spend", period="last_month", group_by=["model"], granularity="total")
        prices = await ask(client, "get_effective_prices", period="last_month")
        caching = await ask(client, "cache_hit_ratio", period="last_month", granularity="total")

    print(spend["summary"])

    # Amounts are exact decimal strings; Decimal keeps them exact.
    days = (spend["period"]["start"], spend["period"]["end"])
    total = Decimal(spend["totals"]["cost"])
    print(f"{days[0]} to {days[1]}: {total} dollars, exactly")

    for series in spend["series"]:
        share = Decimal(series["totals"]["cost"]) / total if total else 0
        print(f"{series['label']}: {share:.1%} of spend")

    for item in prices["prices"]:
        name = ", ".join(value for value in item["group"].values() if value)
        if price := item["usd_per_million_tokens"].get("output_tokens"):
            print(f"{name}: {price} dollars per million output tokens")

    print(f"{caching['totals']['cache_hit_ratio']:.1%} of the input was read from the cache")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except* MCPError:
        sys.exit("Access denied or no connection: the token is missing, wrong or revoked, or the server is down.")
