"""What is forgiven, what is refused, and in which words. A refused question sends nothing."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client

from tests.support.harness import NOW, Connect, FrozenClock, Upstream, ask, refusal
from usage_cost_mcp.auth.audit_log import AuditLog
from usage_cost_mcp.demo import DemoApi
from usage_cost_mcp.demo.http import Request, Response

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("get_spend", {"perid": "today"}, ["Unknown argument 'perid'.", "Did you mean period?", "group_by, filter_by"]),
        ("get_spend", {"period": "lst_month"}, ["period 'lst_month'", "Did you mean last_month?", "2026-Q3"]),
        ("get_spend", {"period": "2026-13"}, ["period '2026-13' is not known"]),
        ("get_spend", {"period": "2027-01"}, ["is in the future", "today is 2026-11-22"]),
        ("get_spend", {"period": "2026-10-09..2026-10-01"}, ["ends (2026-10-01) before it starts (2026-10-09)"]),
        ("get_spend", {"group_by": ["team"]}, ["group_by 'team'", "workspace_id, model, cost_type"]),
        ("get_spend", {"filter_by": {"modell": ["x"]}}, ["filter_by 'modell'", "Did you mean model?"]),
        (
            "get_spend",
            {"filter_by": {"service_tier": ["standart"]}},
            ["filter_by service_tier 'standart'", "Did you mean standard?", "batch, priority"],
        ),
        ("get_spend", {"filter_by": {"model": []}}, ["filter_by model has no value"]),
        (
            "get_spend",
            {"filter_by": {"model": ["claude-opus-4-6,claude-haiku-4-5"] * 501}},
            ["filter_by model names more than 1000 values at once"],
        ),
        ("get_spend", {"filter_by": "model"}, ["filter_by must be an object"]),
        ("get_spend", {"granularity": "hour"}, ["spend is reported per UTC day only", "day, week, month, total"]),
        ("get_spend", {"granularity": "fortnight"}, ["granularity 'fortnight'", "day, week, month, total"]),
        ("get_spend", {"top": 0}, ["top must be from 1 to 100, not 0"]),
        ("get_spend", {"top": "many"}, ["top must be a whole number"]),
        ("get_token_usage", {"measures": ["tokens"]}, ["measures 'tokens'", "input_tokens", "all"]),
        (
            "get_token_usage",
            {"period": "2026", "granularity": "minute"},
            ["granularity minute is limited to 7 days; the period has 326"],
        ),
        (
            "get_token_usage",
            {"filter_by": {"service_account_id": ["robot"]}},
            ["service_account_id takes IDs that start with svac_"],
        ),
        ("list_dimension_values", {"dimension": "team"}, ["dimension 'team'", "workspace_id, api_key_id"]),
        ("list_dimension_values", {"dimension": "model", "top": 1001}, ["top must be from 1 to 1000"]),
        ("list_dimension_values", {}, ["Missing argument 'dimension'", "Accepted arguments: dimension, period, top"]),
        ("get_status", {"verbose": True}, ["Unknown argument 'verbose'", "It takes no arguments"]),
    ],
    ids=str,
)
async def test_a_question_that_cannot_be_meant_is_refused_with_what_is_accepted(
    client: Client, upstream: Upstream, tool: str, arguments: dict[str, Any], words: list[str]
) -> None:
    said = await refusal(client, tool, **arguments)
    for word in words:
        assert word in said
    assert "pydantic" not in said
    assert not upstream.requests


@pytest.mark.parametrize(
    "given",
    ["model,workspace_id", '["model", "workspace_id"]', "model, workspace_id", ["model", "workspace_id", "model"]],
)
async def test_lists_are_taken_in_the_forms_in_which_models_send_them(client: Client, given: object) -> None:
    answer = await ask(client, "get_spend", period="yesterday", group_by=given)
    assert answer["group_by"] == ["model", "workspace_id"]


@pytest.mark.parametrize(
    "given",
    [
        {"model": "claude-opus-4-6"},
        {"model": ["claude-opus-4-6"]},
        '{"model": ["claude-opus-4-6"]}',
    ],
)
async def test_filters_are_taken_in_the_forms_in_which_models_send_them(client: Client, given: object) -> None:
    answer = await ask(client, "get_spend", period="yesterday", filter_by=given)
    assert answer["filter_by"] == {"model": ["claude-opus-4-6"]}


async def test_comma_lists_work_in_filters_and_names_may_hold_commas(
    client: Client, connect: Connect, upstream: Upstream
) -> None:
    models = await ask(client, "get_spend", filter_by={"model": "claude-opus-4-6, claude-haiku-4-5"})
    assert models["filter_by"] == {"model": ["claude-haiku-4-5", "claude-opus-4-6"]}
    names = await ask(client, "get_spend", filter_by={"workspace_id": "Production,default"})
    assert names["filter_by"] == {"workspace_id": [None, "wrkspc_demoProduction"]}
    upstream.override = renamed("Old, but gold")
    async with connect() as fresh:
        comma = await ask(fresh, "get_spend", filter_by={"workspace_id": "old, but gold"})
    assert comma["filter_by"] == {"workspace_id": ["wrkspc_demoProduction"]}


def renamed(name: str) -> Callable[[Request], Response | None]:
    """The first workspace is called something else."""
    api = DemoApi(lambda: NOW)

    def instead(request: Request) -> Response | None:
        if not request.path.endswith("workspaces"):
            return None
        response = api.respond(request)
        response.body["data"][0]["name"] = name
        return response

    return instead


async def test_a_workspace_called_default_is_not_mistaken_for_the_default_one(
    client: Client, upstream: Upstream
) -> None:
    upstream.override = renamed("Default")
    said = await refusal(client, "get_spend", filter_by={"workspace_id": ["default"]})
    assert "2 values are named 'default'. Use an ID: null, wrkspc_demoProduction." in said


@pytest.mark.parametrize(
    ("dimension", "label", "value"),
    [
        ("workspace_id", "Hackathon (archived)", "wrkspc_demoHackathon"),
        ("workspace_id", "Default workspace", None),
        ("cost_type", "Other (no cost type)", None),
        ("token_type", "Not a token cost", None),
        ("model", "Claude-Opus-4-6", "claude-opus-4-6"),
    ],
)
async def test_what_an_answer_calls_a_value_is_understood_as_a_filter(
    client: Client, dimension: str, label: str, value: str | None
) -> None:
    answer = await ask(client, "get_spend", period="2026-10", filter_by={dimension: [label]})
    assert answer["filter_by"] == {dimension: [value]}


async def test_a_value_that_upstream_has_used_is_known_from_then_on(client: Client, upstream: Upstream) -> None:
    def newer(request: Request) -> Response | None:
        response = DemoApi(lambda: NOW).respond(request)
        for bucket in response.body["data"]:
            for row in bucket["results"]:
                row["inference_geo"] = "eu"
        return response

    assert "'eu' is not known" in await refusal(client, "get_spend", filter_by={"inference_geo": ["eu"]})
    upstream.override = newer
    everything = await ask(client, "get_spend", period="yesterday", group_by=["inference_geo"])
    answer = await ask(client, "get_spend", period="yesterday", filter_by={"inference_geo": ["eu"]})
    assert answer["totals"] == everything["totals"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"period": "z" * 50_000},
        {"group_by": ["z" * 50_000]},
        {"filter_by": {"z" * 50_000: ["x"]}},
        {"filter_by": {"workspace_id": ["z" * 50_000]}},
        {"filter_by": {"description": ["z" * 50_000]}},
        {"z" * 50_000: 1},
    ],
    ids=["period", "group_by", "dimension", "name", "description", "argument"],
)
async def test_a_refusal_is_short_whatever_was_given(client: Client, arguments: dict[str, Any]) -> None:
    assert len(await refusal(client, "get_spend", **arguments)) < 1_500


_LARGEST = 250_000
"""Characters: nearly as many as a request over HTTP may have."""

LABORIOUS: dict[str, tuple[str, dict[str, Any]]] = {
    "a token that might begin anywhere": ("get_spend", {"period": "eyJ" * (_LARGEST // 3)}),
    "blanks before a word that never comes": ("get_spend", {"period": f"a{' ' * _LARGEST}b"}),
    "a zone like all zones": (
        "get_token_usage",
        {"timezone": "".join(map(chr, (*range(97, 123), *range(256, 480)))) * 500},
    ),
    "arguments of many names": ("get_spend", {f"perio{n:x}": 1 for n in range(_LARGEST // 14)}),
    "one name again and again": ("get_spend", {"filter_by": {"workspace_id": ["Research"] * (_LARGEST // 11)}}),
    "one name in commas": ("get_spend", {"filter_by": {"workspace_id": "Research," * (_LARGEST // 9)}}),
}


@pytest.mark.parametrize("case", LABORIOUS)
async def test_no_question_keeps_all_others_waiting(client: Client, case: str) -> None:
    tool, arguments = LABORIOUS[case]
    began = time.process_time()
    await refusal(client, tool, **arguments)
    AuditLog(FrozenClock()).log_call("ana", tool, arguments, outcome="refused")
    assert time.process_time() - began < 2


@asynccontextmanager
async def longest_stretch() -> AsyncGenerator[list[float]]:
    """The most seconds of CPU that the event loop's thread used between two of its turns, in a list of one."""
    longest, ended = [0.0], asyncio.Event()

    async def watch() -> None:
        before = time.thread_time()
        while not ended.is_set():
            await asyncio.sleep(0.001)
            now = time.thread_time()
            longest[0], before = max(longest[0], now - before), now

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    try:
        yield longest
    finally:
        ended.set()
        await watching


@pytest.mark.timing
@pytest.mark.parametrize(
    ("tool", "query"),
    [
        ("get_spend", {"period": "2024-11-01..2026-10-31", "group_by": ["workspace_id", "description"]}),
        ("get_spend", {"period": "2026-01-01..2026-10-31", "group_by": ["api_key_id"]}),
    ],
)
async def test_what_takes_long_is_worked_out_while_others_are_answered(
    client: Client, tool: str, query: dict[str, Any]
) -> None:
    first = await ask(client, tool, **query)
    began = time.process_time()
    async with longest_stretch() as longest:
        again = await ask(client, tool, **query)
    whole = time.process_time() - began
    assert {**again, "cache": None} == {**first, "cache": None}
    assert longest[0] < whole / 3, whole


async def test_a_truth_value_is_no_number(client: Client) -> None:
    assert "top must be a whole number" in await refusal(client, "get_spend", top=True)


@pytest.mark.parametrize(
    ("given", "minimum"), [(8.125, "8.125"), (1e3, "1000"), ("8.000,00", "8000"), ("8,5k", "8500"), ("$2M", "2000000")]
)
async def test_an_amount_is_read_as_people_write_it_and_a_number_has_one_reading(
    client: Client, given: object, minimum: str
) -> None:
    answer = await ask(client, "find_spend_anomalies", period="yesterday", minimum=given)
    assert answer["minimum"] == minimum


@pytest.mark.parametrize("given", ["8.125", "1e999999999", "NaN", "\u20ac100", 1e300, -8])
async def test_an_amount_that_is_uncertain_is_refused_before_any_request(
    client: Client, upstream: Upstream, given: object
) -> None:
    said = await refusal(client, "find_spend_anomalies", minimum=given)
    assert said.startswith("minimum ")
    assert len(said) < 200
    assert not upstream.requests


async def test_null_means_not_given(client: Client) -> None:
    nulls = dict.fromkeys(["period", "group_by", "filter_by", "granularity", "top"])
    assert (await ask(client, "get_spend", **nulls))["series"] == (await ask(client, "get_spend"))["series"]


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        (2025, "2025-01-01", "2025-12-31"),
        ("Last Week", "2026-11-09", "2026-11-15"),
        ("last 3 months", "2026-08-01", "2026-10-31"),
        ("last_2_weeks", "2026-11-02", "2026-11-15"),
        ("mtd", "2026-11-01", "2026-11-22"),
        ("2026-10-01 to 2026-10-15", "2026-10-01", "2026-10-15"),
    ],
)
async def test_periods_are_read_as_people_write_them(client: Client, given: object, start: str, end: str) -> None:
    answer = await ask(client, "get_spend", period=given, granularity="total")
    assert answer["period"] == {"start": start, "end": end, "timezone": "UTC"}


async def test_an_unknown_name_lists_the_nearest(client: Client) -> None:
    said = await refusal(client, "get_spend", filter_by={"workspace_id": ["Prodction"]})
    assert "filter_by workspace_id 'Prodction' is not known. Did you mean Production?" in said
    assert "Accepted: default, Data Platform, Hackathon" in said


async def test_keys_and_people_go_by_name_too(client: Client) -> None:
    by_key = await ask(client, "get_token_usage", filter_by={"api_key_id": ["CI"]})
    assert by_key["filter_by"] == {"api_key_id": ["apikey_demoCi"]}
    by_account = await ask(client, "get_token_usage", filter_by={"account_id": ["Demo Analyst"]})
    assert by_account["totals"]["input_tokens"] > 0


async def test_a_period_that_reaches_into_the_future_is_cut_and_says_so(client: Client) -> None:
    answer = await ask(client, "get_spend", period="2026-11")
    assert answer["period"]["end"] == "2026-11-22"
    assert answer["notes"][0]["message"].startswith("The requested period ends on 2026-11-30;")
