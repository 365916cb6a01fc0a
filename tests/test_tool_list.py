"""Every word that a model reads of our tools passes review: a change shows up as a change of a snapshot."""

import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from inline_snapshot import external_file
from mcp import Client, MCPError

from tests.support.harness import Connect, ask
from tests.support.workspace_scoping import TOOLS
from usage_cost_mcp.reports.answers import Answer
from usage_cost_mcp.reports.registry import BY_REPORT

pytestmark = pytest.mark.anyio


async def listed(client: Client) -> dict[str, dict[str, Any]]:
    tools = (await client.list_tools()).tools
    return {tool.name: tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools}


async def test_the_tools_are_listed_in_a_fixed_order(client: Client) -> None:
    assert list(await listed(client)) == TOOLS


@pytest.mark.parametrize("name", TOOLS)
async def test_a_tool_is_described_as_reviewed(client: Client, name: str) -> None:
    tool = (await listed(client))[name]
    assert tool == external_file(f"snapshots/{name}.json")


async def test_the_whole_list_is_small(client: Client) -> None:
    wire = json.dumps(list((await listed(client)).values()), separators=(",", ":"))
    assert len(wire) <= 14_500


@pytest.mark.parametrize("name", TOOLS)
async def test_every_tool_is_read_only_titled_and_strict(client: Client, name: str) -> None:
    tool = (await listed(client))[name]
    assert tool["annotations"]["readOnlyHint"] is True
    assert tool["title"]
    assert tool["inputSchema"]["additionalProperties"] is False
    assert not re.search("anyOf|oneOf|allOf", json.dumps(tool["inputSchema"]))
    assert tool["outputSchema"]["type"] == "object"
    assert len(tool["description"]) < 500


@pytest.mark.parametrize("name", TOOLS)
async def test_no_description_of_a_schema_has_an_empty_list(client: Client, name: str) -> None:
    """Such as "at most one of , those in filter_by": a list of names joined into a sentence, without a name."""
    tool = (await listed(client))[name]
    for text in [tool["description"], *descriptions(tool["inputSchema"])]:
        assert not re.search(r"\b(of|or|and|as|in|Default) ?[,.;:]|[:,] ?[.,;]|  |\(\)", text), text
        assert text.endswith((".", '."')), text


def descriptions(schema: Any) -> Iterator[str]:
    """Every description in a schema."""
    match schema:
        case {**parts}:
            if isinstance(schema.get("description"), str):
                yield schema["description"]
            for part in parts.values():
                yield from descriptions(part)
        case [*parts]:
            for part in parts:
                yield from descriptions(part)
        case _:
            pass


async def test_instructions_fit_where_hosts_cut_them_and_name_every_tool(client: Client) -> None:
    assert client.instructions is not None
    assert len(client.instructions) < 2_000
    for name in TOOLS:
        assert name in client.instructions


async def test_the_server_says_who_it_is(client: Client) -> None:
    assert client.server_info is not None
    assert (client.server_info.name, client.server_info.version) == ("usage-cost-mcp", version("usage-cost-mcp"))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("get_spend", {"group_by": ["api_key_id"]}),
        ("compare_spend", {"period": "2026-10", "against": "2026-09"}),
        ("forecast_spend", {"budget": 1}),
        ("find_spend_anomalies", {}),
        ("get_effective_prices", {}),
        ("list_dimension_values", {"dimension": "model"}),
        ("get_status", {}),
    ],
)
async def test_every_field_of_an_answer_is_in_the_output_schema_but_those_that_every_answer_has(
    client: Client, name: str, arguments: dict[str, Any]
) -> None:
    schema = (await listed(client))[name]["outputSchema"]
    answer = await ask(client, name, **arguments)
    assert [*Answer.model_fields, *schema["properties"]] == list(answer)
    assert answer["report"] in BY_REPORT


async def test_the_organization_is_null_until_it_is_known_and_costs_no_request(client: Client) -> None:
    first = await ask(client, "get_spend")
    status = await ask(client, "get_status")
    again = await ask(client, "get_spend")
    assert first["organization"] is None
    assert again["organization"] == status["organization"]
    assert again["organization"]["name"] == "Demo Organization"
    assert again["cache"] == {"status": "hit", "upstream_requests": 0}


async def test_the_lists_may_be_kept_because_they_do_not_change(connect: Connect) -> None:
    async with connect("2026-07-28") as client:
        lists = [
            await client.list_tools(),
            await client.list_prompts(),
            await client.list_resources(),
            await client.list_resource_templates(),
        ]
        assert {(each.ttl_ms, each.cache_scope) for each in lists} == {(300_000, "public")}
        able = client.server_capabilities
        assert not any(each and each.list_changed for each in (able.tools, able.prompts, able.resources))
        with pytest.raises(MCPError, match="Method not found"):
            async with client.listen(tools_list_changed=True):
                pass


async def test_what_is_read_may_not_be_kept_for_others(connect: Connect) -> None:
    async with connect("2026-07-28") as client:
        status = await client.read_resource("usage-cost://status")
        assert (status.ttl_ms, status.cache_scope) == (0, "private")
