"""Use without an API key: by signed-in users, by service accounts, and in the Console, which is only a part of it."""

from typing import Any

import pytest
from mcp import Client

from tests.support.harness import Upstream, ask, error, refusal
from tests.support.planted_orgs import HAIKU, OPUS, OUTPUT, RESEARCH, UNCACHED, PlantedOrg, Workload, client_of
from usage_cost_mcp.demo.http import Request, Response

pytestmark = pytest.mark.anyio

WEEK = {"period": "2026-11-02..2026-11-08"}
NO_KEY = "No API key (Console, sign-in or service account)"

ORG = PlantedOrg(
    [
        Workload({UNCACHED: 1_000_000, OUTPUT: 100_000}),
        Workload({UNCACHED: 800_000, OUTPUT: 60_000}, api_key=None, account="user_ann", searches=10),
        Workload({UNCACHED: 100_000}, RESEARCH, HAIKU, api_key=None, service_account="svac_nightly"),
        Workload({UNCACHED: 100_000}, RESEARCH, api_key=None),
    ]
)
"""Without a key: $38.50 and $0.70 of searches by a person, $0.70 by a service account, $3.50 in the Console."""


def split_of(answer: dict[str, Any]) -> str | None:
    return next((note["message"] for note in answer["notes"] if note["code"] == "no_api_key"), None)


async def test_tokens_without_a_key_are_split_by_the_measure_that_ranks_them() -> None:
    async with client_of(ORG) as client:
        answer = await ask(client, "get_token_usage", group_by="api_key_id", **WEEK)
        output = await ask(client, "get_token_usage", group_by="api_key_id", measures="output_tokens", **WEEK)
    assert NO_KEY in [series["label"] for series in answer["series"]]
    assert split_of(answer) == (
        "Without an API key: sign-ins 5,600,000 input tokens (80%), Console 700,000 input tokens (10%), "
        "service accounts 700,000 input tokens (10%)."
    )
    assert split_of(output) == "Without an API key: sign-ins 420,000 output tokens (100%)."


async def test_spend_without_a_key_is_split_by_tokens_and_adds_up() -> None:
    async with client_of(ORG) as client:
        answer = await ask(client, "get_spend", group_by="api_key_id", **WEEK)
        research = await ask(client, "get_spend", group_by="api_key_id", filter_by={"workspace_id": [RESEARCH]}, **WEEK)
    (keyless,) = (series for series in answer["series"] if series["label"] == NO_KEY)
    assert keyless["totals"]["cost"] == "43.4"
    assert split_of(answer) == (
        "Without an API key (estimated by tokens): sign-ins $39.20 (90%), Console $3.50 (8%), "
        "service accounts $0.70 (2%)."
    )
    assert split_of(research) == (
        "Without an API key (estimated by tokens): Console $3.50 (83%), service accounts $0.70 (17%)."
    )


async def test_a_kind_of_cache_write_that_is_not_documented_is_split_too() -> None:
    long = "cache_creation.ephemeral_24h_input_tokens"
    sign_in = Workload({long: 1_000_000}, api_key=None, account="user_ann")
    console = Workload({UNCACHED: 100_000, long: 1_000_000}, api_key=None)
    async with client_of(PlantedOrg([sign_in, console])) as client:
        answer = await ask(client, "get_spend", group_by="api_key_id", **WEEK)
    assert split_of(answer) == (
        "Without an API key (estimated by tokens): Console $38.50 (52%), sign-ins $35.00 (48%)."
    )


async def test_the_split_costs_one_request_and_only_where_a_null_occurs() -> None:
    with_keys = PlantedOrg(ORG.workloads[:1])
    for org, requests in ((ORG, 2), (with_keys, 1)):
        org.requests.clear()
        async with client_of(org) as client:
            await ask(client, "get_token_usage", group_by="api_key_id", **WEEK)
            await ask(client, "get_token_usage", group_by="api_key_id", **WEEK)
        assert sum(request.path.endswith("messages") for request in org.requests) == requests


@pytest.mark.parametrize(
    ("group_by", "labels"),
    [
        (
            ["api_key_id", "account_id", "service_account_id"],
            {
                "apikey_main / No user account / No service account",
                "Sign-in (no API key) / user_ann / No service account",
                "Service account (no API key) / No user account / svac_nightly",
                "Console (no API key) / No user account / No service account",
            },
        ),
        (
            ["api_key_id", "account_id"],
            {"apikey_main / No user account", "Sign-in (no API key) / user_ann", f"{NO_KEY} / No user account"},
        ),
    ],
    ids=["both accounts", "user accounts"],
)
async def test_a_label_says_what_the_dimensions_of_its_group_tell(group_by: list[str], labels: set[str]) -> None:
    async with client_of(ORG) as client:
        answer = await ask(client, "get_token_usage", group_by=group_by, **WEEK)
    assert {series["label"] for series in answer["series"]} == labels
    assert (split_of(answer) is None) == (len(group_by) == 3)


@pytest.mark.parametrize(("word", "tokens"), [("console", 700_000), ("none", 7_000_000), (NO_KEY, 7_000_000)])
async def test_console_means_the_console_only_and_none_all_use_without_a_key(word: str, tokens: int) -> None:
    async with client_of(ORG) as client:
        answer = await ask(client, "get_token_usage", filter_by={"api_key_id": [word]}, **WEEK)
        ratio = await ask(client, "cache_hit_ratio", filter_by={"api_key_id": [word]}, **WEEK)
    assert answer["totals"]["input_tokens"] == ratio["totals"]["input_tokens"] == tokens
    assert ("UTC), Console use: " in answer["summary"]) == (word == "console")


@pytest.mark.parametrize(
    ("tool", "filters", "said"),
    [
        ("get_spend", {"api_key_id": ["Console"]}, "spend cannot be estimated for Console use alone"),
        ("get_spend", {"api_key_id": "apikey_main,console"}, "spend cannot be estimated for Console use alone"),
        (
            "get_token_usage",
            {"api_key_id": ["console", "apikey_main"]},
            "cannot be combined with other keys or accounts",
        ),
        (
            "get_token_usage",
            {"api_key_id": ["console"], "account_id": ["user_ann"]},
            "cannot be combined with other keys",
        ),
    ],
)
async def test_console_is_refused_where_it_cannot_be_told_apart(tool: str, filters: Any, said: str) -> None:
    async with client_of(ORG) as client:
        ORG.requests.clear()
        refused = await refusal(client, tool, filter_by=filters)
    assert said in refused
    assert not ORG.requests


async def test_without_the_accounts_the_answer_is_the_same_without_the_split(
    client: Client, upstream: Upstream
) -> None:
    def respond(request: Request) -> Response | None:
        return error(500) if ("group_by[]", "service_account_id") in request.query else None

    upstream.override = respond
    without = await ask(client, "get_token_usage", group_by="api_key_id", **WEEK)
    upstream.override = lambda _: None
    whole = await ask(client, "get_token_usage", group_by="api_key_id", **WEEK)
    assert split_of(without) is None
    assert split_of(whole) is not None
    assert without["series"] == whole["series"]


async def test_a_revoked_key_is_an_error_also_when_only_the_split_fails(client: Client, upstream: Upstream) -> None:
    def respond(request: Request) -> Response | None:
        return error(401) if ("group_by[]", "service_account_id") in request.query else None

    upstream.override = respond
    assert "key" in await refusal(client, "get_token_usage", group_by="api_key_id", **WEEK)


async def test_dimensions_that_leave_no_room_for_the_accounts_leave_the_split_out() -> None:
    filters = {"model": [OPUS], "service_tier": ["standard"], "context_window": ["0-200k"]}
    async with client_of(ORG) as client:
        answer = await ask(client, "get_token_usage", group_by="api_key_id", filter_by=filters, **WEEK)
    assert NO_KEY in [series["label"] for series in answer["series"]]
    assert split_of(answer) is None


async def test_the_list_of_keys_is_split_too() -> None:
    async with client_of(ORG) as client:
        answer = await ask(client, "list_dimension_values", dimension="api_key_id", **WEEK)
    assert split_of(answer) == (
        "Without an API key: sign-ins 6,020,000 tokens (81%), Console 700,000 tokens (9%), "
        "service accounts 700,000 tokens (9%)."
    )


async def test_a_search_without_a_token_cost_is_split_too() -> None:
    searching = [
        Workload({UNCACHED: 1_000}, api_key=None, searches=30),
        Workload({UNCACHED: 1_000}, api_key=None, account="user_ann", searches=10),
    ]
    async with client_of(PlantedOrg(searching)) as client:
        filters = {"cost_type": ["web_search"]}
        answer = await ask(client, "get_spend", group_by="api_key_id", filter_by=filters, **WEEK)
    assert split_of(answer) == "Without an API key (estimated by tokens): Console $2.10 (75%), sign-ins $0.70 (25%)."
