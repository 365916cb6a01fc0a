"""Baseline of a warm answer: a "parrot", a server on the same SDK whose tool always returns one recorded result."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from mcp import Client
from mcp.server import MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult

from usage_cost_mcp.reports.series_answer import SeriesAnswer

from .questions import Question, ask

Series = Annotated[CallToolResult, SeriesAnswer]


class Heard(NamedTuple):
    """A recorded result.

    Attributes:
        schema: The published output schema, which clients validate against; None for the one that the SDK generates.
    """

    result: Mapping[str, Any]
    schema: Mapping[str, Any] | None


async def hear(client: Client, query: Question) -> Heard:
    """Record a result."""
    result = await ask(client, query)
    schema = next(tool.output_schema for tool in (await client.list_tools()).tools if tool.name == query.tool)
    return Heard(result.model_dump(mode="json", by_alias=True), schema)


def build_parrot(heard: Heard) -> MCPServer[Any]:
    """A server that only returns the recorded result; the SDK validates it as it validates ours."""
    result = CallToolResult.model_validate(heard.result)

    async def get_spend(period: str, group_by: list[str], granularity: str) -> Series:  # noqa: ARG001 - the same signature as ours
        return result

    tool = Tool.from_function(get_spend)
    if heard.schema is not None:
        tool.fn_metadata.output_schema = dict(heard.schema)
    return MCPServer("parrot", tools=[tool])


if __name__ == "__main__":
    build_parrot(Heard(*json.loads(Path(sys.argv[1]).read_bytes()))).run("stdio")
