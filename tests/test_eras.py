"""Both eras of the protocol give the same: the other tests use the current one, the slow run both."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import PromptReference

from tests.support.harness import Connect, ask, refusal
from usage_cost_mcp.tools.resources import GLOSSARY, STATUS

pytestmark = pytest.mark.anyio

CALLS: dict[str, dict[str, Any]] = {
    "get_spend": {"period": "2026-10", "group_by": ["model"]},
    "get_token_usage": {"period": "last_7_days", "group_by": ["api_key_id"]},
    "cache_hit_ratio": {"period": "last_30_days"},
    "compare_spend": {"period": "last_month"},
    "forecast_spend": {},
    "find_spend_anomalies": {"period": "last_month"},
    "get_effective_prices": {"period": "2026-10"},
    "list_dimension_values": {"dimension": "model", "period": "2026-10"},
    "get_status": {},
}


@pytest.fixture
async def current(connect: Connect) -> AsyncGenerator[Client]:
    async with connect("auto") as client:
        yield client


@pytest.fixture
async def legacy(connect: Connect) -> AsyncGenerator[Client]:
    async with connect("legacy") as client:
        yield client


async def test_the_tools_are_the_same(current: Client, legacy: Client) -> None:
    listed = [(await client.list_tools()).tools for client in (current, legacy)]
    assert listed[0] == listed[1]
    assert {tool.name for tool in listed[0]} == set(CALLS)


@pytest.mark.parametrize("tool", CALLS)
async def test_a_tool_answers_the_same(current: Client, legacy: Client, tool: str) -> None:
    one, other = [await client.call_tool(tool, CALLS[tool]) for client in (current, legacy)]
    assert (one.is_error, other.is_error) == (False, False)
    assert (one.content, one.structured_content) == (other.content, other.structured_content)


async def test_a_refused_call_says_the_same(current: Client, legacy: Client) -> None:
    texts = {await refusal(client, "get_spend", period="whenever") for client in (current, legacy)}
    assert len(texts) == 1
    assert "whenever" in texts.pop()


async def test_an_unknown_tool_and_an_unknown_resource_are_the_same_error(current: Client, legacy: Client) -> None:
    codes = list[Any]()
    for client in (current, legacy):
        unknown = await refusal(client, "no_such_tool")
        with pytest.raises(MCPError) as failed:
            await client.read_resource("usage-cost://nothing")
        codes.append((unknown, failed.value.error.code))
    assert codes[0] == codes[1]


async def test_progress_arrives_in_both(current: Client, legacy: Client) -> None:
    for client in (current, legacy):
        steps = list[tuple[float, float | None]]()

        async def listen(
            progress: float,
            total: float | None,
            message: str | None,  # noqa: ARG001 - the protocol names it
            to: list[tuple[float, float | None]] = steps,
        ) -> None:
            to.append((progress, total))

        # Each server has a cache of its own, so both read.
        await client.call_tool("get_spend", {"period": "2026-08-01..2026-10-29"}, progress_callback=listen)
        assert steps == [(1, 3), (2, 3), (3, 3)]


async def test_prompts_resources_and_completions_are_the_same(current: Client, legacy: Client) -> None:
    found = list[Any]()
    for client in (current, legacy):
        prompts = (await client.list_prompts()).prompts
        reference = PromptReference(name=prompts[0].name)
        arguments = prompts[0].arguments or []
        glossary = (await client.read_resource(GLOSSARY)).contents
        status = json.loads((await client.read_resource(STATUS)).contents[0].model_dump()["text"])
        completed = [
            (await client.complete(reference, {"name": argument.name, "value": ""})).completion
            for argument in arguments
        ]
        found.append((prompts, (await client.list_resources()).resources, glossary, status["organization"], completed))
    assert found[0] == found[1]


async def test_an_answer_after_an_error_is_whole(current: Client, legacy: Client) -> None:
    for client in (current, legacy):
        await refusal(client, "get_spend", period="whenever")
        assert (await ask(client, "get_spend", period="2026-10"))["totals"]["cost"] != "0"
