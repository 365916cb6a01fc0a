"""The floor of answering: a server on the same SDK whose tool gives back one result, whatever is asked."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from mcp import Client
from mcp.server import MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult

from usage_cost_mcp.reports.answers import SeriesAnswer

from .questions import Question, ask

Series = Annotated[CallToolResult, SeriesAnswer]


class Heard(NamedTuple):
    """What a server said, on the wire.

    Attributes:
        schema: What its list of tools says of the result, which the client checks too; None for what the SDK would say.
    """

    result: Mapping[str, Any]
    schema: Mapping[str, Any] | None


async def hear(client: Client, query: Question) -> Heard:
    """An answer, to be repeated."""
    result = await ask(client, query)
    schema = next(tool.output_schema for tool in (await client.list_tools()).tools if tool.name == query.tool)
    return Heard(result.model_dump(mode="json", by_alias=True), schema)


def build_parrot(heard: Heard) -> MCPServer[Any]:
    """A server that says nothing but what it heard, which the SDK checks as it checks ours."""
    result = CallToolResult.model_validate(heard.result)

    async def get_spend(period: str, group_by: list[str], granularity: str) -> Series:  # noqa: ARG001 - as ours takes
        return result

    tool = Tool.from_function(get_spend)
    if heard.schema is not None:
        tool.fn_metadata.output_schema = dict(heard.schema)
    return MCPServer("parrot", tools=[tool])


if __name__ == "__main__":
    build_parrot(Heard(*json.loads(Path(sys.argv[1]).read_bytes()))).run("stdio")
