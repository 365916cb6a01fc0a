"""Completions: real names, ids and models, with few requests and never an error."""

from collections.abc import Callable

import pytest
from mcp import Client
from mcp.types import Completion, PromptReference, ResourceTemplateReference

from tests.support.canary import keeps_silent
from tests.support.harness import Connect, Upstream, ask
from usage_cost_mcp.demo.http import Request, Response

pytestmark = pytest.mark.anyio


async def complete(client: Client, argument: str, typed: str, prompt: str = "caching_review") -> Completion:
    reference = PromptReference(name=prompt)
    return (await client.complete(reference, {"name": argument, "value": typed})).completion


async def offered(client: Client, argument: str, typed: str, prompt: str = "caching_review") -> list[str]:
    completion = await complete(client, argument, typed, prompt)
    assert (completion.total, completion.has_more) == (len(completion.values), False)
    assert keeps_silent(*completion.values)
    return completion.values


@pytest.mark.parametrize(
    ("argument", "typed", "values"),
    [
        ("workspace", "prod", ["Production"]),
        ("workspace", "PROD", ["Production"]),
        ("workspace", "ar", ["Research", "Hackathon (archived)"]),
        ("workspace", "wrkspc_demoS", ["wrkspc_demoSandbox", "wrkspc_demoSupport"]),
        ("workspace", "def", ["Default workspace"]),
        ("workspace", "nothing like it", []),
        ("api_key", "web", ["web-backend"]),
        ("api_key", "backend", ["mobile-backend", "web-backend"]),
        ("api_key", "apikey_demoWeb", ["apikey_demoWeb"]),
        ("api_key", "none", ["none"]),
        ("model", "claude-opus", ["claude-opus-4-6"]),
        ("model", "sonnet", ["claude-sonnet-4-5", "claude-sonnet-4-6"]),
        ("period", "last_m", ["last_month"]),
        ("budget", "", []),
        ("nothing", "", []),
    ],
)
async def test_a_prefix_or_part_of_a_name_is_completed(
    client: Client, argument: str, typed: str, values: list[str]
) -> None:
    assert await offered(client, argument, typed) == values


async def test_names_in_use_come_first_and_archived_ones_last(client: Client) -> None:
    assert await offered(client, "workspace", "") == [
        "Data Platform",
        "Production",
        "Research",
        "Sandbox",
        "Support",
        "Hackathon (archived)",
        "Default workspace",
    ]


@pytest.mark.parametrize(
    ("prompt", "argument", "typed", "values"),
    [
        ("chargeback_report", "month", "2026-1", ["2026-11", "2026-10"]),
        ("monthly_spend_review", "month", "l", ["last_month"]),
        ("monthly_spend_review", "audience", "", ["engineering", "finance", "leadership"]),
        (
            "explain_spend_change",
            "against",
            "prev",
            ["previous", "previous_week", "previous_month", "previous_quarter", "previous_year"],
        ),
        ("explain_spend_change", "api_key", "", []),
        ("no_such_prompt", "workspace", "", []),
    ],
)
async def test_each_prompt_completes_its_own_arguments(
    client: Client, prompt: str, argument: str, typed: str, values: list[str]
) -> None:
    assert await offered(client, argument, typed, prompt) == values


async def test_resources_have_no_completions(client: Client) -> None:
    reference = ResourceTemplateReference(uri="usage-cost://{name}")
    assert (await client.complete(reference, {"name": "name", "value": ""})).completion.values == []


@pytest.mark.parametrize(
    ("prompt", "argument"),
    [("caching_review", "workspace"), ("chargeback_report", "api_key"), ("explain_spend_change", "model")],
)
async def test_every_completion_is_accepted_as_an_argument(connect: Connect, prompt: str, argument: str) -> None:
    dimension = {"workspace": "workspace_id", "api_key": "api_key_id", "model": "model"}[argument]
    async with connect() as client:
        for value in await offered(client, argument, "", prompt):
            await client.get_prompt(prompt, {argument: value})
            await ask(client, "get_token_usage", filter_by={dimension: [value]}, granularity="total")


@pytest.mark.parametrize(("argument", "path"), [("workspace", "workspaces"), ("api_key", "api_keys")])
async def test_a_list_of_names_is_fetched_once(client: Client, upstream: Upstream, argument: str, path: str) -> None:
    for typed in ("", "w", "we", "web"):
        await complete(client, argument, typed)
    assert len(upstream.requests) == upstream.asked(path) == 1


@pytest.mark.parametrize("tool", ["get_spend", "get_token_usage"])
async def test_models_in_cached_data_need_no_request(client: Client, upstream: Upstream, tool: str) -> None:
    await ask(client, tool, period="2026-10")
    upstream.requests.clear()
    assert "claude-opus-4-6" in await offered(client, "model", "claude")
    assert upstream.requests == []


async def test_otherwise_models_of_the_last_30_days_are_fetched_once(client: Client, upstream: Upstream) -> None:
    for typed in ("", "c"):
        assert "claude-haiku-4-5" in await offered(client, "model", typed)
    assert len(upstream.requests) == upstream.asked("cost_report") == 1


async def test_months_and_period_keywords_need_no_request(client: Client, upstream: Upstream) -> None:
    await complete(client, "month", "", "chargeback_report")
    await complete(client, "period", "")
    assert upstream.requests == []


FAILURES: dict[str, Callable[[Request], Response | None]] = {
    "401": lambda _: Response({"type": "error", "error": {"type": "authentication_error"}}, 401),
    "403": lambda _: Response({"type": "error", "error": {"type": "permission_error"}}, 403),
    "429": lambda _: Response({"type": "error", "error": {"type": "rate_limit_error"}}, 429),
    "500": lambda _: Response({"type": "error", "error": {"type": "api_error"}}, 500),
    "no JSON": lambda _: Response("what?"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_an_upstream_failure_gives_no_completions(client: Client, upstream: Upstream, failure: str) -> None:
    upstream.override = FAILURES[failure]
    assert await offered(client, "workspace", "prod") == []
    assert await offered(client, "api_key", "web") == []
    assert await offered(client, "model", "claude") == []


async def test_without_names_the_ids_in_cached_data_are_offered(client: Client, upstream: Upstream) -> None:
    await ask(client, "get_token_usage", period="2026-10")
    upstream.override = FAILURES["500"]
    assert "wrkspc_demoProduction" in await offered(client, "workspace", "prod")


async def test_there_are_at_most_100_values(connect: Connect, upstream: Upstream) -> None:
    many = [
        {"id": f"wrkspc_{n:03}", "name": f"Team {n:03}", "type": "workspace", "archived_at": None} for n in range(250)
    ]
    page = {"data": many, "has_more": False, "first_id": None, "last_id": None}
    upstream.override = lambda request: Response(page) if request.path.endswith("workspaces") else None
    async with connect() as client:
        completion = await complete(client, "workspace", "team")
        assert (len(completion.values), completion.total, completion.has_more) == (100, 250, True)
        assert (await complete(client, "workspace", "team 24")).values == [f"Team 24{n}" for n in range(10)]


async def test_a_hostile_name_is_sanitized(connect: Connect, upstream: Upstream) -> None:
    name = "pro\u202ed\u0000 \x1b[31mred"
    page = {
        "data": [{"id": "wrkspc_1", "name": name, "type": "workspace", "archived_at": None}],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }
    upstream.override = lambda request: Response(page) if request.path.endswith("workspaces") else None
    async with connect() as client:
        assert await offered(client, "workspace", "red") == ["prod [31mred"]
