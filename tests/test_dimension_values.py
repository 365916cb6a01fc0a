"""What `list_dimension_values` says: what exists, under which name, how much of it all, and what is not used."""

from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client

from tests.support import oracle
from tests.support.harness import Upstream, ask, text_of
from usage_cost_mcp.demo import organization as org
from usage_cost_mcp.demo.http import Request, Response

pytestmark = pytest.mark.anyio


async def test_workspaces_have_names_ids_and_shares_of_spend_and_tokens(client: Client, upstream: Upstream) -> None:
    answer = await ask(client, "list_dimension_values", dimension="workspace_id", period="2026-10")
    first = answer["values"][0]
    assert (first["value"], first["label"], first["used"]) == ("wrkspc_demoProduction", "Production", True)
    charged = oracle.charges(upstream.url, "2026-10-01", "2026-10-31", "workspace_id")
    assert first["cost_share"] == pytest.approx(float(charged[first["value"]] / sum(charged.values())), abs=1e-4)
    assert sum(value["cost_share"] for value in answer["values"]) == pytest.approx(1, abs=1e-3)
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
        ": 7 in use plus No API key (Console, sign-in or service account), 2 unused; largest: nightly-enrichment."
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


def hygiene(answer: dict[str, Any]) -> dict[str, str]:
    """The notes, except those on what the numbers include."""
    amounts = {"credits_included", "priority_tier_excluded", "priority_tier_included", "no_api_key"}
    return {note["code"]: note["message"] for note in answer["notes"] if note["code"] not in amounts}


Keys = list[dict[str, Any]]


def with_keys(upstream: Upstream, edit: Callable[[Keys], Keys]) -> None:
    """The list of keys is another one from now on."""

    def instead(request: Request) -> Response | None:
        if not request.path.endswith("api_keys"):
            return None
        response = upstream.respond(request)
        return Response({**response.body, "data": edit(response.body["data"])})

    upstream.override = instead


async def test_keys_without_use_are_counted_but_not_archived_ones(client: Client, upstream: Upstream) -> None:
    answer = await ask(client, "list_dimension_values", dimension="api_key_id", period="2026-10")
    used = oracle.tokens(upstream.url, "2026-10-01", "2026-10-31", ["api_key_id"])
    active = org.API_KEYS.keys() - org.ARCHIVED_KEYS
    (idle,) = (key for key in active if (key,) not in used)
    said = f"1 of {len(active)} active API keys had no use in this period: {org.API_KEYS[idle][0]}."
    assert hygiene(answer)["keys_without_use"] == said


@pytest.mark.parametrize("status", ["archived", "expired", "inactive"])
async def test_a_key_that_cannot_be_used_is_labeled_with_the_reason_and_not_counted(
    client: Client, upstream: Upstream, status: str
) -> None:
    with_keys(upstream, lambda keys: [{**key, "status": status} if key["id"] == org.FORGOTTEN else key for key in keys])
    answer = await ask(client, "list_dimension_values", dimension="api_key_id", period="2026-10")
    assert f"old-prototype ({status})" in [value["label"] for value in answer["values"]]
    assert "keys_without_use" not in hygiene(answer)


async def test_no_more_than_three_keys_without_use_are_named(client: Client) -> None:
    answer = await ask(client, "list_dimension_values", dimension="api_key_id", period="2023-05")
    said = hygiene(answer)["keys_without_use"]
    assert said.startswith("8 of 8 active API keys")
    assert said.endswith(": ci, evaluations, mobile-backend and 5 more.")


async def test_where_all_keys_are_used_nothing_is_said(client: Client, upstream: Upstream) -> None:
    with_keys(upstream, lambda keys: [key for key in keys if key["id"] != org.FORGOTTEN])
    answer = await ask(client, "list_dimension_values", dimension="api_key_id", period="2026-10")
    assert hygiene(answer) == {}


async def test_workspaces_without_keys_are_named(client: Client, upstream: Upstream) -> None:
    gone = {org.FORGOTTEN, org.CHAT}
    with_keys(upstream, lambda keys: [key for key in keys if key["id"] not in gone])
    answer = await ask(client, "list_dimension_values", dimension="workspace_id", period="2026-10")
    said = "Workspaces without an active API key: Sandbox, Support."
    assert hygiene(answer) == {"workspaces_without_keys": said}


async def test_where_all_workspaces_have_keys_nothing_is_said(client: Client) -> None:
    answer = await ask(client, "list_dimension_values", dimension="workspace_id", period="2026-10")
    assert hygiene(answer) == {}


async def test_a_workspace_is_not_called_keyless_when_the_list_of_keys_does_not_tell(
    client: Client, upstream: Upstream
) -> None:
    with_keys(upstream, lambda keys: [{name: key[name] for name in key if name != "workspace_id"} for key in keys])
    answer = await ask(client, "list_dimension_values", dimension="workspace_id", period="2026-10")
    assert list(hygiene(answer)) == ["keys_unavailable"]


async def test_a_workspace_is_not_called_keyless_when_keys_cannot_be_listed(client: Client, upstream: Upstream) -> None:
    upstream.override = lambda request: Response({}, 403) if request.path.endswith("api_keys") else None
    answer = await ask(client, "list_dimension_values", dimension="workspace_id", period="2026-10")
    assert list(hygiene(answer)) == ["keys_unavailable"]


@pytest.mark.parametrize(
    ("period", "codes"), [("2026-10", []), ("2025-01", ["dominant_model"]), ("2023-05", ["no_data"])]
)
async def test_a_model_that_most_of_the_spend_goes_to_is_named(
    client: Client, upstream: Upstream, period: str, codes: list[str]
) -> None:
    answer = await ask(client, "list_dimension_values", dimension="model", period=period)
    sums = oracle.charges(upstream.url, f"{period}-01", f"{period}-31", "model")
    model, largest = max(sums.items(), key=lambda item: item[1], default=(None, 0))
    assert ("dominant_model" in codes) == (2 * largest > sum(sums.values()))
    assert list(hygiene(answer)) == codes
    if "dominant_model" in codes:
        share = float(largest / sum(sums.values()))
        assert hygiene(answer)["dominant_model"] == f"{model} alone accounts for {share:.0%} of the spend."


async def test_a_workspace_that_is_called_like_the_default_one_is_told_with_its_id(
    client: Client, upstream: Upstream
) -> None:
    def renamed(request: Request) -> Response | None:
        if not request.path.endswith("workspaces"):
            return None
        return Response(
            {"data": [{"id": org.PRODUCTION, "name": "Default workspace", "archived_at": None}], "has_more": False}
        )

    upstream.override = renamed
    answer = await ask(client, "list_dimension_values", dimension="workspace_id")
    labels = {each["value"]: each["label"] for each in answer["values"]}
    assert labels[org.PRODUCTION] == f"Default workspace ({org.PRODUCTION})"
    assert labels[None] == "Default workspace"
