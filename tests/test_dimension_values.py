"""What `list_dimension_values` says: what exists, under which name, how much of it all, and what is not used."""

import oracle
import pytest
from conftest import Upstream, ask, text_of
from mcp import Client

pytestmark = pytest.mark.anyio


async def test_workspaces_have_names_ids_and_shares_of_spend_and_tokens(client: Client, upstream: Upstream) -> None:
    answer = await ask(client, "list_dimension_values", dimension="workspace_id", period="2026-10")
    first = answer["values"][0]
    assert (first["value"], first["label"], first["used"]) == ("wrkspc_demoProduction", "Production", True)
    costs = oracle.dollars(upstream.url, "2026-10-01", "2026-10-31", ["workspace_id"])
    total = sum(sum(days.values()) for days in costs.values())
    assert first["cost_share"] == pytest.approx(float(sum(costs[(first["value"],)].values()) / total), abs=1e-4)
    assert sum(value["token_share"] for value in answer["values"]) == pytest.approx(1, abs=1e-3)


async def test_workspaces_and_keys_without_use_are_listed_last_and_marked(client: Client) -> None:
    workspaces = await ask(client, "list_dimension_values", dimension="workspace_id", period="2026-10")
    assert [value["label"] for value in workspaces["values"] if not value["used"]] == [
        "Hackathon (archived)",
        "Sandbox",
    ]
    keys = await ask(client, "list_dimension_values", dimension="api_key_id", period="2026-10")
    assert [value["used"] for value in keys["values"]] == [True] * 8 + [False] * 2
    assert keys["summary"].endswith(
        ": 7 in use besides Console (no API key), 2 without use; largest: nightly-enrichment."
    )


@pytest.mark.parametrize(
    ("dimension", "columns"),
    [
        ("model", {"cost", "tokens"}),
        ("token_type", {"cost"}),
        ("api_key_id", {"tokens"}),
    ],
)
async def test_a_share_is_given_only_of_what_the_reports_have(
    client: Client, dimension: str, columns: set[str]
) -> None:
    answer = await ask(client, "list_dimension_values", dimension=dimension, period="2026-10")
    assert {"cost", "tokens"} & answer["values"][0].keys() == columns


async def test_the_text_half_lists_every_value(client: Client) -> None:
    result = await client.call_tool("list_dimension_values", {"dimension": "api_key_id", "period": "2026-10"})
    answer = result.structured_content
    assert answer is not None
    for value in answer["values"]:
        assert value["label"] in text_of(result)
    assert "|old-prototype (not used)|apikey_demoForgotten|0|0.0%|" in text_of(result)


async def test_a_period_without_any_use_has_no_shares(client: Client) -> None:
    answer = await ask(client, "list_dimension_values", dimension="workspace_id", period="2023-05")
    assert {value["used"] for value in answer["values"]} == {False}
    assert not any("cost_share" in value or "token_share" in value for value in answer["values"])
