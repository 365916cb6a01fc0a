"""Resources: a glossary of exactly the existing names, and the status as returned by `get_status`."""

import json
import re
from typing import Any, Literal

import pytest
from inline_snapshot import external_file
from mcp import Client, MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS

from tests.support.canary import keeps_silent
from tests.support.harness import Connect, Upstream, ask, refusal
from usage_cost_mcp.demo.http import Response
from usage_cost_mcp.view import CHART_URI

pytestmark = pytest.mark.anyio

GLOSSARY, STATUS = "usage-cost://glossary", "usage-cost://status"


async def read(client: Client, uri: str) -> str:
    [contents] = (await client.read_resource(uri)).contents
    return getattr(contents, "text", "")


def tables_in(markdown: str) -> list[list[dict[str, str]]]:
    """The tables of a page, each as rows by column name."""
    tables: list[list[dict[str, str]]] = []
    for block in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        head, _, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines())
        tables.append([dict(zip(head, row, strict=True)) for row in body])
    return tables


async def accepted(client: Client, tool: str, argument: str) -> set[str]:
    """The values that a tool's schema lists for an argument."""
    [schema] = [each.input_schema for each in (await client.list_tools()).tools if each.name == tool]
    argument_schema: dict[str, Any] = schema["properties"][argument]
    return set(argument_schema.get("enum") or argument_schema["items"]["enum"])


async def test_the_resources_are_listed_with_titles_and_types(client: Client) -> None:
    listed = (await client.list_resources()).resources
    assert [(each.uri, each.title, each.mime_type) for each in listed] == [
        (GLOSSARY, "Glossary", "text/markdown"),
        (STATUS, "Status", "application/json"),
        (CHART_URI, "Chart of an answer", "text/html;profile=mcp-app"),
    ]
    assert all(each.description for each in listed)


async def test_the_glossary_matches_the_reviewed_snapshot(client: Client, upstream: Upstream) -> None:
    text = await read(client, GLOSSARY)
    assert text == external_file("snapshots/glossary.md", format=".txt")
    assert upstream.requests == []


async def test_the_glossary_lists_every_dimension_and_the_reports_that_have_it(client: Client) -> None:
    rows = tables_in(await read(client, GLOSSARY))[0]
    assert {row["dimension"] for row in rows} == await accepted(client, "list_dimension_values", "dimension")
    spend, usage = [await accepted(client, tool, "group_by") for tool in ("get_spend", "get_token_usage")]
    billed = await accepted(client, "compare_spend", "group_by")
    for row in rows:
        name = row["dimension"]
        assert row["spend"] == ("billed" if name in billed else "estimated" if name in spend else "-")
        assert row["usage"] == ("counted" if name in usage else "-")
        assert row["meaning"]


@pytest.mark.parametrize("tool", ["get_spend", "get_token_usage"])
async def test_the_glossary_agrees_with_the_answers_of_the_tools(
    connect: Connect, tool: Literal["get_spend", "get_token_usage"]
) -> None:
    column = {"get_spend": "spend", "get_token_usage": "usage"}[tool]
    async with connect() as client:
        for row in tables_in(await read(client, GLOSSARY))[0]:
            query: dict[str, Any] = {"period": "2026-10", "group_by": [row["dimension"]], "granularity": "total"}
            if row[column] == "-":
                assert "does not exist" in await refusal(client, tool, **query)
                continue
            answer = await ask(client, tool, **query)
            assert answer.get("estimated", False) is (row[column] == "estimated")
            labels = {each["group"][row["dimension"]]: each["label"] for each in answer["series"] if each["group"]}
            assert row["null is"].startswith(labels.get(None, ""))
            if row["values"] != "any":
                assert labels.keys() - {None} <= set(row["values"].split(", "))


async def test_the_glossary_lists_every_measure_with_its_unit(client: Client) -> None:
    rows = tables_in(await read(client, GLOSSARY))[1]
    measures = await accepted(client, "get_token_usage", "measures") - {"all"}
    assert {row["measure"] for row in rows if row["tool"] == "get_token_usage"} == measures
    for tool, arguments in [("get_spend", {}), ("get_token_usage", {"measures": "all"}), ("cache_hit_ratio", {})]:
        answer = await ask(client, tool, period="2026-10", **arguments)
        assert {row["measure"]: row["unit"] for row in rows if row["tool"] == tool} == answer["measures"]


async def test_the_glossary_lists_every_effect_of_a_comparison(client: Client) -> None:
    effects = (await ask(client, "compare_spend", period="2026-10"))["effects"]
    causes = (await read(client, GLOSSARY)).partition("## Causes of a change")[2].partition("##")[0]
    assert re.findall(r"^- \*\*(\w+)\*\*: \w", causes, re.MULTILINE) == list(effects)


async def test_the_glossary_and_the_status_state_the_same_limits(client: Client) -> None:
    limits = (await ask(client, "get_status"))["limits"]
    text = (await read(client, GLOSSARY)).partition("## Limits of the data\n\n")[2]
    assert text == "\n".join(f"- {limit}" for limit in limits)


async def test_values_that_the_glossary_assigns_to_one_report_are_only_in_that_report(client: Client) -> None:
    async def groups(tool: str, dimension: str) -> set[str | None]:
        answer = await ask(client, tool, period="2026-10", group_by=[dimension], granularity="total")
        return {each["group"][dimension] for each in answer["series"]}

    assert "priority" in await groups("get_token_usage", "service_tier")
    assert "priority" not in await groups("get_spend", "service_tier")
    assert {"code_execution", "session_usage"} <= await groups("get_spend", "cost_type")


async def test_the_status_resource_equals_the_answer_of_get_status(client: Client) -> None:
    await ask(client, "get_status")
    answer = await ask(client, "get_status")
    assert json.loads(await read(client, STATUS)) == answer


async def test_a_failed_status_has_the_error_message_of_the_tool(client: Client, upstream: Upstream) -> None:
    upstream.override = lambda _: Response({"type": "error", "error": {"type": "authentication_error"}}, 401)
    with pytest.raises(MCPError) as failed:
        await client.read_resource(STATUS)
    assert failed.value.error.code == INTERNAL_ERROR
    assert failed.value.error.message == await refusal(client, "get_status")


async def test_an_unknown_resource_is_not_found(client: Client) -> None:
    with pytest.raises(MCPError) as failed:
        await client.read_resource("usage-cost://nothing")
    assert failed.value.error.code == INVALID_PARAMS


async def test_no_resource_contains_the_key(client: Client) -> None:
    for uri in (GLOSSARY, STATUS):
        assert keeps_silent(await read(client, uri))


async def test_the_status_is_available_to_several_clients(connect: Connect) -> None:
    async with connect() as one, connect("legacy") as other:
        assert (
            json.loads(await read(one, STATUS))["organization"] == json.loads(await read(other, STATUS))["organization"]
        )
