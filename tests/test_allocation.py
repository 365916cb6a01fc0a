"""Spend by API key, account and service account: the bill to the last digit, and the truth where it is known."""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from datetime import date
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client

from tests.support.allocation import Group, allocated, by_group, true_costs
from tests.support.generated_orgs import (
    SPEND,
    USAGE,
    Body,
    GeneratedOrg,
    Harness,
    Row,
    midnight,
    open_harness,
    row_of,
    worlds,
)
from tests.support.harness import Upstream, ask, calls_a_server, override_body, refusal, text_of
from tests.support.planted_orgs import PRODUCTION, RESEARCH, SONNET, UNCACHED, PlantedOrg, Workload, client_of
from usage_cost_mcp.demo import organization as org
from usage_cost_mcp.demo.http import Response
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT

DIMENSIONS = ["api_key_id", "account_id", "service_account_id"]


def codes(answer: Mapping[str, Any]) -> list[str]:
    return [note["code"] for note in answer["notes"]]


# ── The demo organization, whose true costs are known ──


@pytest.mark.anyio
@pytest.mark.parametrize("month", ["2026-10", "2026-06", "2025-09"])
async def test_each_key_costs_what_it_truly_cost_to_the_last_digit(client: Client, month: str) -> None:
    answer = await ask(client, "get_spend", period=month, group_by=["api_key_id"], granularity="total")
    assert allocated(answer) == true_costs(month, lambda stream: (stream.api_key,))


@pytest.mark.anyio
async def test_use_without_a_key_is_found_in_its_workspace(client: Client) -> None:
    answer = await ask(
        client, "get_spend", period="2026-10", group_by=["workspace_id", "api_key_id"], granularity="total", top=100
    )
    expected = true_costs("2026-10", lambda stream: (stream.workspace, stream.api_key))
    assert allocated(answer) == expected
    assert {(org.RESEARCH, None), (None, None)} < expected.keys()
    assert "Research / No API key (Console, sign-in or service account)" in [
        series["label"] for series in answer["series"]
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("more", [[], ["workspace_id"], ["inference_geo", "model"]], ids=str)
async def test_each_account_costs_what_it_truly_cost(client: Client, more: list[str]) -> None:
    answer = await ask(
        client, "get_spend", period="2026-10", group_by=["account_id", *more], granularity="total", top=100
    )
    costs: dict[str | None, Fraction] = defaultdict(Fraction)
    for group, cost in allocated(answer).items():
        costs[group[0]] += cost
    assert {(account,): cost for account, cost in costs.items()} == true_costs(
        "2026-10", lambda stream: (stream.account,)
    )


@pytest.mark.anyio
@pytest.mark.parametrize("dimension", DIMENSIONS)
async def test_costs_without_tokens_are_unallocated(client: Client, dimension: str) -> None:
    answer = await ask(
        client, "get_spend", period="2026-10", group_by=[dimension, "cost_type"], granularity="total", top=100
    )
    whole = await ask(client, "get_spend", period="2026-10", group_by=["cost_type"], granularity="total")
    unallocated = {group[1]: cost for group, cost in by_group(answer).items() if group[0] == "unallocated"}
    without = {group[0]: cost for group, cost in by_group(whole).items()}
    assert unallocated == {kind: without[kind] for kind in ("code_execution", "session_usage", None)}
    assert any(series["label"].startswith("Not allocated to a") for series in answer["series"])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("CI", org.CI),
        (org.CI, org.CI),
        ("none", None),
        (None, None),
        ("Not allocated to a key", "unallocated"),
    ],
)
async def test_a_key_can_be_picked_by_name_id_or_word(client: Client, value: str | None, key: str | None) -> None:
    everyone = await ask(client, "get_spend", period="2026-10", group_by=["api_key_id"])
    one = await ask(client, "get_spend", period="2026-10", filter_by={"api_key_id": [value]})
    assert one["estimated"] is True
    assert one["cache"] == {"status": "hit", "upstream_requests": 0}
    assert one["filter_by"] == {"api_key_id": [key]}
    assert Fraction(one["totals"]["cost"]) == by_group(everyone)[key,]


def _without(*ids: str) -> Callable[[Body], object]:
    def edit(body: Body) -> None:
        body["data"] = [key for key in body["data"] if key["id"] not in ids]

    return edit


def _without_workspaces(body: Body) -> None:
    for key in body["data"]:
        del key["workspace_id"]


@pytest.mark.anyio
@pytest.mark.parametrize("edit", [_without(org.EVALS), _without(org.WEB, org.CI)], ids=["one", "two"])
async def test_a_key_that_the_list_no_longer_knows_is_found_by_what_the_others_leave(
    client: Client, upstream: Upstream, edit: Callable[[Body], object]
) -> None:
    upstream.override = override_body("api_keys", edit, upstream)
    answer = await ask(client, "get_spend", period="2026-10", group_by=["api_key_id"], granularity="total")
    assert allocated(answer) == true_costs("2026-10", lambda stream: (stream.api_key,))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "edit", [_without(*org.API_KEYS), _without_workspaces], ids=["no key is listed", "no workspace is listed"]
)
async def test_nothing_is_lost_when_no_key_is_known(
    client: Client, upstream: Upstream, edit: Callable[[Body], object]
) -> None:
    known = await ask(client, "get_spend", period="2026-10", granularity="week")
    upstream.override = override_body("api_keys", edit, upstream)
    answer = await ask(client, "get_spend", period="2026-10", granularity="week", group_by=["api_key_id"])
    assert answer["bucket_totals"] == known["bucket_totals"]
    assert {group[0] for group in allocated(answer)} == {
        key for (key,) in true_costs("2026-10", lambda stream: (stream.api_key,))
    }


def _no_geo(body: Body) -> None:
    for bucket in body["data"]:
        for row in bucket["results"]:
            row["inference_geo"] = None


@pytest.mark.anyio
async def test_costs_without_a_geo_are_joined_to_their_tokens(client: Client, upstream: Upstream) -> None:
    upstream.override = override_body("cost_report", _no_geo, upstream)
    answer = await ask(client, "get_spend", period="2026-10", group_by=["api_key_id"], granularity="total")
    assert allocated(answer) == true_costs("2026-10", lambda stream: (stream.api_key,))


# ── Notes, summaries and upstream requests ──


@pytest.mark.anyio
async def test_both_halves_say_that_it_is_an_estimate_and_how_it_was_made(client: Client) -> None:
    result = await client.call_tool("get_spend", {"period": "last_month", "group_by": ["api_key_id"]})
    answer = result.structured_content
    assert answer is not None
    assert answer["estimated"] is True
    assert answer["summary"] == (
        "Spend 2026-10-01 to 2026-10-31 (31 days, UTC), estimated by API key: $7,309.88; "
        "largest before credits: web-backend $2,212.66 (29%)."
    )
    (note,) = [note for note in answer["notes"] if note["code"] == "allocated"]
    assert note == {
        "code": "allocated",
        "message": "Estimated: the cost report has no API key, so each cost is allocated in proportion to tokens of "
        "the same token_type, workspace_id, model, service_tier, context_window, inference_geo, speed; web search cost "
        "in proportion to searches. The parts add up to the reported cost exactly.",
    }
    assert answer["summary"] in text_of(result)
    assert note["message"] in text_of(result)


@pytest.mark.anyio
@pytest.mark.parametrize("tool", ["get_spend", "get_token_usage"])
async def test_what_is_exact_is_not_called_an_estimate(client: Client, tool: str) -> None:
    answer = await ask(client, tool, group_by=["model"])
    assert "estimated" not in answer
    assert "allocated" not in codes(answer)
    assert "estimated" not in answer["summary"]


@pytest.mark.anyio
async def test_thirty_days_by_key_cost_five_requests_and_then_none(client: Client, upstream: Upstream) -> None:
    answer = await ask(client, "get_spend", group_by=["api_key_id"])
    assert answer["cache"] == {"status": "miss", "upstream_requests": 5}
    assert [upstream.asked(path) for path in ("cost_report", "usage_report/messages", "api_keys")] == [1, 3, 1]
    for follow_up in (
        {"group_by": ["api_key_id"]},
        {"group_by": ["api_key_id", "model"], "period": "last_7_days"},
        {"filter_by": {"api_key_id": ["ci"]}, "granularity": "total"},
        {},
    ):
        again = await ask(client, "get_spend", **follow_up)
        assert again["cache"] == {"status": "hit", "upstream_requests": 0}


@pytest.mark.anyio
async def test_spend_that_is_held_is_not_read_again(client: Client) -> None:
    await ask(client, "get_spend")
    answer = await ask(client, "get_spend", group_by=["account_id"])
    assert answer["cache"] == {"status": "partial", "upstream_requests": 2}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"group_by": ["api_key_id", "account_id"]},
            ["one of api_key_id, account_id", "exceed the 5 dimensions"],
        ),
        (
            {"group_by": ["account_id"], "filter_by": {"service_account_id": ["svac_one"]}},
            ["not by account_id and service_account_id", "Ask for each one separately"],
        ),
        (
            {"group_by": ["account_id", "workspace_id"], "filter_by": {"inference_geo": ["us"]}},
            [
                "account_id, workspace_id and inference_geo",
                "exceed the 5 dimensions",
                "Drop workspace_id or inference_geo",
            ],
        ),
        ({"group_by": ["api_key_id"], "granularity": "hour"}, ["spend is reported per UTC day only"]),
    ],
    ids=str,
)
async def test_what_cannot_be_joined_is_refused_with_the_reason(
    client: Client, upstream: Upstream, arguments: dict[str, Any], words: list[str]
) -> None:
    said = await refusal(client, "get_spend", **arguments)
    for word in words:
        assert word in said
    assert not upstream.requests


@pytest.mark.anyio
async def test_without_the_list_of_keys_there_is_no_spend_by_key_but_by_account(
    client: Client, upstream: Upstream
) -> None:
    upstream.override = lambda request: Response({}, 403) if request.path.endswith("api_keys") else None
    said = await refusal(client, "get_spend", group_by=["api_key_id"])
    assert said.startswith("The list of API keys is unavailable at the moment")
    assert (await ask(client, "get_spend", group_by=["account_id"]))["estimated"] is True


# ── Keys that the list no longer has ──

PLANTED_DAY = date(2026, 11, 10)
WEEK = "2026-11-10..2026-11-16"


def gone(key: str | None, workspace: str, tokens: int, **more: Any) -> Workload:
    return Workload({UNCACHED: tokens}, api_key=key, workspace=workspace, **more)


async def costs_by_key(org: PlantedOrg) -> tuple[dict[str, Fraction], dict[str, Any]]:
    async with client_of(org) as client:
        answer = await ask(client, "get_spend", period=WEEK, group_by=["api_key_id"], granularity="total")
    return {series["label"]: Fraction(series["totals"]["cost"]) / 7 for series in answer["series"]}, answer


def note_of(answer: Mapping[str, Any]) -> str:
    return next(note["message"] for note in answer["notes"] if note["code"] == "allocated")


@pytest.mark.anyio
async def test_deleted_keys_cost_what_they_used_in_their_workspaces() -> None:
    org = PlantedOrg(
        [
            gone("apikey_gone_a", PRODUCTION, 1_000_000),
            gone("apikey_gone_b", RESEARCH, 300_000),
            gone(None, RESEARCH, 100_000),
            gone("apikey_main", PRODUCTION, 200_000),
        ]
    )
    costs, answer = await costs_by_key(org)
    assert costs == {
        "apikey_gone_a": Fraction(5),
        "apikey_gone_b": Fraction("1.5"),
        "No API key (Console, sign-in or service account)": Fraction("0.5"),
        "apikey_main": Fraction(1),
    }
    assert answer["cache"]["upstream_requests"] == 6
    assert "assumption" not in note_of(answer)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "workloads",
    [
        [gone("apikey_gone_a", PRODUCTION, 1_000_000), gone("apikey_gone_b", PRODUCTION, 10)],
        [gone("apikey_gone_a", PRODUCTION, 1_000_000), gone("apikey_gone_b", RESEARCH, 10, model=SONNET)],
        [gone(None, PRODUCTION, 1_000_000), gone(None, RESEARCH, 10)],
    ],
    ids=["one workspace", "different models", "only use without a key"],
)
async def test_no_request_is_made_for_what_the_other_reports_tell(workloads: list[Workload]) -> None:
    org = PlantedOrg([*workloads, gone("apikey_main", PRODUCTION, 200_000)])
    costs, answer = await costs_by_key(org)
    split_of_keyless_use = any(each.api_key is None for each in workloads)
    assert answer["cache"]["upstream_requests"] == 4 + split_of_keyless_use
    keys = {each.api_key or "No API key (Console, sign-in or service account)": each.api_key for each in org.workloads}
    assert costs == {
        label: Fraction(org.cost(PLANTED_DAY, PLANTED_DAY, lambda each, key=key: each.api_key == key))
        for label, key in keys.items()
    }


@pytest.mark.anyio
@pytest.mark.parametrize("deleted", ["one geo each", "one workspace each"])
async def test_the_geo_of_deleted_keys_is_found_where_the_reports_tell_it(deleted: str) -> None:
    b_in_production = [gone("apikey_gone_b", PRODUCTION, 500_000, geo="us")] if deleted == "one geo each" else []
    a_in_us = [gone("apikey_gone_a", PRODUCTION, 400_000, geo="us")] if deleted == "one workspace each" else []
    org = PlantedOrg(
        [
            gone("apikey_gone_a", PRODUCTION, 1_000_000),
            gone("apikey_gone_b", RESEARCH, 300_000, geo="us"),
            gone(None, PRODUCTION, 700_000, geo="us"),
            gone(None, RESEARCH, 100_000, geo="us"),
            gone(None, RESEARCH, 100_000),
            *b_in_production,
            *a_in_us,
        ]
    )
    costs, answer = await costs_by_key(org)
    assert costs == {
        label: Fraction(org.cost(PLANTED_DAY, PLANTED_DAY, lambda each, key=key: each.api_key == key))
        for label, key in {
            "apikey_gone_a": "apikey_gone_a",
            "apikey_gone_b": "apikey_gone_b",
            "No API key (Console, sign-in or service account)": None,
        }.items()
    }
    assert "assumption" not in note_of(answer)


@pytest.mark.anyio
async def test_an_estimate_says_how_much_of_it_is_assumed() -> None:
    org = PlantedOrg(
        [
            gone(key, workspace, tokens, geo=geo)
            for key, tokens in (("apikey_gone_a", 1_000_000), ("apikey_gone_b", 500_000))
            for workspace in (PRODUCTION, RESEARCH)
            for geo in ("global", "us")
        ]
        + [gone("apikey_main", PRODUCTION, 1_000_000, model=SONNET)]
    )
    _, answer = await costs_by_key(org)
    assumed = 7 * 2 * (Fraction("7.5") + Fraction("8.25"))
    assert Fraction(answer["totals"]["cost"]) == assumed + 21
    assert f"For ${float(assumed):,.2f} of it (91%) the reports do not have all of these dimensions" in note_of(answer)


@pytest.mark.anyio
async def test_an_account_in_a_workspace_with_two_geos_is_partly_assumed() -> None:
    org = PlantedOrg(
        [
            gone("apikey_main", PRODUCTION, 1_000_000, account="user_a"),
            gone("apikey_main", PRODUCTION, 1_000_000, account="user_b", geo="us"),
            gone("apikey_main", RESEARCH, 1_000_000, account="user_a"),
        ]
    )
    async with client_of(org) as client:
        answer = await ask(
            client, "get_spend", period=WEEK, group_by=["account_id", "workspace_id"], granularity="total"
        )
        plain = await ask(client, "get_spend", period=WEEK, group_by=["account_id"], granularity="total")
    assert "For $73.50 of it (68%)" in note_of(answer)
    assert "assumption" not in note_of(plain)


# ── Organizations that Hypothesis makes up ──

KEYS: list[Body] = [
    {"id": "apikey_one", "name": "one", "workspace_id": "wrkspc_one"},
    {"id": "apikey_three", "name": "three", "workspace_id": "wrkspc_one"},
    {"id": "apikey_four", "name": "four", "workspace_id": None},
]
"""The reports hold a key "apikey_two" besides, which is in no list."""


@pytest.fixture
def house() -> Generator[Harness]:
    with open_harness() as house:
        house.api.keys = KEYS
        yield house


def ask_all(house: Harness, world: GeneratedOrg, **query: Any) -> dict[str, Any]:
    return house.ask(SPEND, period=world.asked, top=100, **query)


@st.composite
def usage_of(draw: st.DrawFn, world: GeneratedOrg) -> list[Row]:
    """Usage in the cells of the bill and in any others, by keys and accounts in any workspace."""
    anywhere = draw(st.lists(row_of(USAGE, world.period), max_size=12))
    billed = [draw(st.sampled_from(world.rows)) for _ in anywhere[::2]]
    return anywhere[len(billed) :] + [
        replace(
            row, moment=cost.moment, group={**row.group, **{cell: cost.group[cell] for cell in USAGE_REPORT.base_view}}
        )
        for row, cost in zip(anywhere, billed, strict=False)
    ]


@calls_a_server
@given(st.data())
def test_the_parts_are_the_bill_whatever_the_usage(house: Harness, data: st.DataObject) -> None:
    world = data.draw(worlds([SPEND]))
    house.api.beside = data.draw(usage_of(world))
    house.enter(world)
    filters = data.draw(st.sampled_from([{}, {"cost_type": ["tokens"]}, {"workspace_id": ["default"]}]))
    granularity = data.draw(st.sampled_from(["day", "week", "month", "total"]))
    whole = ask_all(house, world, granularity=granularity, filter_by=filters)
    for dimension in DIMENSIONS:
        parts = ask_all(house, world, granularity=granularity, filter_by=filters, group_by=[dimension])
        assert parts["estimated"] is True
        assert parts["bucket_totals"] == whole["bucket_totals"]
        assert parts["totals"] == whole["totals"]
        for n in range(len(whole["buckets"])):
            of_bucket = sum(Fraction(series["values"]["cost"][n]) for series in parts["series"])
            assert of_bucket == Fraction(whole["bucket_totals"]["cost"][n])
        for (value,), cost in by_group(parts).items():
            one = ask_all(house, world, granularity=granularity, filter_by={**filters, dimension: [value]})
            assert Fraction(one["totals"]["cost"]) == cost


TOKEN_TYPES = org.TOKEN_TYPES
HOMES: dict[str, str | None] = {key["id"]: key["workspace_id"] for key in KEYS}
CELLS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["claude-opus-4-6", "claude-haiku-4-5"]),
        "service_tier": st.sampled_from(["standard", "batch"]),
        "context_window": st.sampled_from(["0-200k", "200k-1M"]),
        "inference_geo": st.sampled_from(["global", "us"]),
    }
)
DELETED = [("apikey_gone_a", "wrkspc_one"), ("apikey_gone_b", "wrkspc_two"), ("apikey_gone_c", "wrkspc_two")]
KEYLESS = st.tuples(st.none(), st.sampled_from([None, "wrkspc_one", "wrkspc_two"]))
OWNERS = st.sampled_from(list(HOMES.items())) | KEYLESS


def bill(used: list[Row], prices: Mapping[Group, int]) -> Iterator[Row]:
    """The costs of usage, a line per workspace, cell and token type, in cents; a price is for 10**8 tokens."""
    cents: dict[tuple[Group, str], int] = defaultdict(int)
    for row in used:
        cell = row.key(["workspace_id", "model", "service_tier", "context_window", "inference_geo"])
        for token_type, count in zip(TOKEN_TYPES, row.values, strict=False):
            cents[cell, token_type] += int(count) * prices[*cell[1:], token_type]
    for ((workspace, *cell), token_type), amount in cents.items():
        model, tier, context, geo = cell
        group = {"workspace_id": workspace, "model": model, "service_tier": tier, "context_window": context}
        more = {"inference_geo": geo, "cost_type": "tokens", "token_type": token_type, "description": f"{cell}"}
        yield Row(used[0].moment, {**group, **more}, (f"{amount // 10**8}.{amount % 10**8:08}",))


@calls_a_server
@given(st.data())
@pytest.mark.parametrize(
    "owners", [OWNERS, OWNERS | st.sampled_from(DELETED)], ids=["every key is listed", "some keys are deleted"]
)
def test_each_key_costs_the_truth(
    house: Harness, owners: st.SearchStrategy[tuple[str | None, str | None]], data: st.DataObject
) -> None:
    day = date(2026, 10, 5)
    blank = {"account_id": None, "service_account_id": None, "speed": "standard"}
    used = [
        Row(midnight(day), {**cell, **blank, "api_key_id": key, "workspace_id": workspace}, (*counts, 0))
        for cell, (key, workspace), counts in data.draw(
            st.lists(st.tuples(CELLS, owners, st.tuples(*[st.integers(0, 10**6)] * 5)), min_size=1, max_size=12)
        )
    ]
    prices: dict[Group, int] = defaultdict(lambda: data.draw(st.integers(1, 10**6)))
    house.api.beside = used
    house.enter(GeneratedOrg(SPEND, (day, day), list(bill(used, prices))))
    answer = house.ask(SPEND, period=f"{day}", group_by=["api_key_id", "workspace_id"], top=100)
    truth: dict[Group, Fraction] = defaultdict(Fraction)
    for row in used:
        cell = row.key(["model", "service_tier", "context_window", "inference_geo"])
        for token_type, count in zip(TOKEN_TYPES, row.values, strict=False):
            truth[row.key(["api_key_id", "workspace_id"])] += Fraction(int(count) * prices[*cell, token_type], 10**10)
    assert by_group(answer) == {group: cost for group, cost in truth.items() if cost}


@calls_a_server
@given(st.data())
def test_the_order_in_which_upstream_tells_it_does_not_matter(house: Harness, data: st.DataObject) -> None:
    world = data.draw(worlds([SPEND]))
    house.api.beside = used = data.draw(usage_of(world))
    house.enter(world)
    plain = ask_all(house, world, group_by=["api_key_id"])
    house.api.beside = data.draw(st.permutations(used))
    house.enter(replace(world, rows=data.draw(st.permutations(world.rows)), shuffled=1))
    assert ask_all(house, world, group_by=["api_key_id"])["series"] == plain["series"]
