"""A principal limited to workspaces sees nothing else, and is told so; one cache serves everybody."""

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from mcp import Client
from mcp.types import CallToolResult
from pydantic import SecretStr

from tests.support import workspace_scoping as scoping
from tests.support.allocation import allocated, true_costs
from tests.support.canary import KEY
from tests.support.generated_orgs import Body
from tests.support.harness import (
    REPORTS,
    FixedPrincipal,
    FrozenClock,
    LeakCheckingClient,
    Upstream,
    error,
    on,
    override_body,
    text_of,
)
from tests.support.workspace_scoping import ASKING, limited_to
from usage_cost_mcp.analysis.allocation import AllocationRule
from usage_cost_mcp.app import SharedResources, build_report_context, build_server
from usage_cost_mcp.auth.principals import OPERATOR, Principal
from usage_cost_mcp.auth.workspace_scope import ScopedReportCache
from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.demo import DemoApi
from usage_cost_mcp.demo import organization as org
from usage_cost_mcp.demo.http import Response
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.series import values_of
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import CorrectedClock
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.settings import DEFAULT_ANSWER_CHARACTERS, Settings

pytestmark = pytest.mark.anyio

ENGINEERING = limited_to(org.PRODUCTION, org.SUPPORT)
SCIENCE = limited_to(org.RESEARCH, None)
NOBODY = limited_to()


@pytest.fixture
async def client(upstream: Upstream, clock: FrozenClock) -> AsyncGenerator[Client]:
    """A client of a server that everybody shares; `ASKING` says who asks."""
    settings = replace(Settings.for_demo({}, upstream.url), admin_key=SecretStr(KEY))
    async with LeakCheckingClient(build_server(settings, clock, access=FixedPrincipal(ASKING.get))) as client:
        yield client


async def call(client: Client, principal: Principal, tool: str, /, **arguments: Any) -> CallToolResult:
    ASKING.set(principal)
    return await client.call_tool(tool, arguments)


async def ask(client: Client, principal: Principal, tool: str, /, **arguments: Any) -> dict[str, Any]:
    result = await call(client, principal, tool, **arguments)
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


async def refusal(client: Client, principal: Principal, tool: str, /, **arguments: Any) -> str:
    result = await call(client, principal, tool, **arguments)
    assert result.is_error, result.structured_content
    return text_of(result)


def note_in(answer: Mapping[str, Any], code: str) -> str:
    """What a note says; nothing when it is not there."""
    return "".join(note["message"] for note in answer["notes"] if note["code"] == code)


# ── What is told ──

NEEDED = {"list_dimension_values": {"dimension": "model"}}


@pytest.mark.parametrize("tool", scoping.TOOLS)
async def test_every_answer_says_whose_numbers_it_holds(client: Client, tool: str) -> None:
    result = await call(client, ENGINEERING, tool, **NEEDED.get(tool, {}))
    answer = result.structured_content
    assert answer is not None
    assert answer["summary"].endswith(". Limited to the workspaces Production and Support.")
    message = "Results are limited to the workspaces Production and Support."
    assert answer["notes"][0] == {"code": "scoped_to_workspaces", "message": message}
    assert text_of(result).startswith(answer["summary"])
    assert f"Note: {message}" in text_of(result)


@pytest.mark.parametrize("tool", scoping.TOOLS)
async def test_who_sees_everything_is_told_of_no_limit(client: Client, tool: str) -> None:
    answer = await ask(client, OPERATOR, tool, **NEEDED.get(tool, {}))
    assert "Limited to" not in answer["summary"]
    assert note_in(answer, "scoped_to_workspaces") == ""


@pytest.mark.parametrize(
    ("workspaces", "told"),
    [
        ([], "no workspace"),
        ([None], "the Default workspace"),
        ([org.HACKATHON], "the workspace Hackathon (archived)"),
        (["wrkspc_gone", org.DATA], "the workspaces Data Platform and wrkspc_gone"),
        ([org.DATA, org.SANDBOX, None], "the workspaces Data Platform, Default workspace and Sandbox"),
        ([org.DATA, org.SANDBOX, org.SUPPORT, None], "the workspaces Data Platform, Default workspace and 2 more"),
        (
            [f"wrkspc_{n:03}" for n in range(500)],
            "the workspaces wrkspc_000, wrkspc_001 and 498 more",
        ),
    ],
    ids=str,
)
async def test_the_workspaces_are_called_as_they_are_called(
    client: Client, workspaces: list[str | None], told: str
) -> None:
    answer = await ask(client, limited_to(*workspaces), "get_spend", period="2025-09", granularity="total")
    assert answer["summary"].endswith(f" Limited to {told}.")
    assert len(note_in(answer, "scoped_to_workspaces")) < 300


async def test_answers_that_were_shortened_still_fit_with_what_is_said_besides(client: Client) -> None:
    query = {"period": "this_year", "group_by": ["description", "workspace_id"], "granularity": "day", "top": 50}
    result = await call(client, ENGINEERING, "get_spend", **query)
    structured = json.dumps(result.structured_content, separators=(",", ":"), ensure_ascii=False)
    assert max(len(text_of(result)), len(structured)) <= DEFAULT_ANSWER_CHARACTERS
    assert note_in(result.structured_content or {}, "scoped_to_workspaces")


async def test_who_sees_no_workspace_is_answered_with_nothing(client: Client) -> None:
    await ask(client, OPERATOR, "get_spend")
    assert (await ask(client, NOBODY, "get_spend"))["totals"] == {"cost": "0"}
    assert (await ask(client, NOBODY, "list_dimension_values", dimension="workspace_id"))["values"] == []
    assert (await ask(client, NOBODY, "get_status"))["cached"]["rows"] == 0


async def test_ids_are_told_when_names_cannot_be_looked_up(client: Client, upstream: Upstream) -> None:
    upstream.override = on("workspaces", error(500))
    answer = await ask(client, ENGINEERING, "get_spend", period="yesterday")
    assert answer["summary"].endswith(" Limited to the workspaces wrkspc_demoProduction and wrkspc_demoSupport.")
    for given, said in [(org.RESEARCH, "is not known"), ("Research", "cannot be looked up at the moment")]:
        sentence = await refusal(client, ENGINEERING, "get_spend", filter_by={"workspace_id": [given]})
        assert said in sentence
        assert scoping.leaked(sentence.replace(given, ""), scoping.words_of_others(ENGINEERING.workspaces)) == set()
    one = await ask(client, ENGINEERING, "get_spend", period="yesterday", filter_by={"workspace_id": [org.SUPPORT]})
    assert one["filter_by"] == {"workspace_id": [org.SUPPORT]}


# ── One cache ──


async def test_rows_are_held_once_for_everybody(client: Client, upstream: Upstream) -> None:
    first = await ask(client, ENGINEERING, "get_spend")
    assert first["cache"] == {"status": "miss", "upstream_requests": 2}
    assert upstream.asked("cost_report") == upstream.asked("workspaces") == len(upstream.requests) / 2 == 1
    for principal in (SCIENCE, OPERATOR, ENGINEERING):
        assert (await ask(client, principal, "get_spend"))["cache"] == {"status": "hit", "upstream_requests": 0}


async def test_all_principals_together_see_the_whole(client: Client) -> None:
    parts = [await ask(client, limited_to(each), "get_spend", period="2026-10") for each in [*org.WORKSPACES, None]]
    whole = await ask(client, OPERATOR, "get_spend", period="2026-10")
    cents = [round(float(answer["totals"]["cost"]) * 100) for answer in (whole, *parts)]
    assert cents[0] == pytest.approx(sum(cents[1:]), abs=len(parts))


async def test_what_is_held_is_counted_without_the_rows_of_others(client: Client, clock: FrozenClock) -> None:
    async def held(client: Client, principal: Principal) -> dict[str, int]:
        ASKING.set(principal)
        await client.call_tool("get_spend", {"period": "2026-10"})
        return (await ask(client, principal, "get_status"))["cached"]

    with scoping.serving(scoping.cut_api(clock.now, SCIENCE.workspaces)) as settings:
        async with Client(build_server(settings, clock)) as alone:
            expected = await held(alone, OPERATOR)
    assert await held(client, SCIENCE) == expected
    assert (await held(client, OPERATOR))["rows"] > expected["rows"]


def _dearer(workspace: str | None) -> Callable[[Body], object]:
    """A bill on which a workspace pays more than before."""

    def edit(body: Body) -> None:
        for bucket in body["data"]:
            for row in bucket["results"]:
                if row["workspace_id"] == workspace:
                    row["amount"] = f"1{row['amount']}"

    return edit


@pytest.mark.parametrize("revised", [org.PRODUCTION, org.RESEARCH, None, org.DATA])
async def test_a_revision_is_told_to_those_whose_rows_were_revised(
    client: Client, upstream: Upstream, clock: FrozenClock, revised: str | None
) -> None:
    await ask(client, OPERATOR, "get_spend", period="last_3_days")
    upstream.override = override_body("cost_report", _dearer(revised), upstream)
    clock.advance(20 * 60)
    for principal in (ENGINEERING, SCIENCE, OPERATOR):
        theirs = principal.workspaces is None or revised in principal.workspaces
        answer = await ask(client, principal, "get_spend", period="last_3_days")
        assert bool(note_in(answer, "revised")) == theirs


# ── What belongs to others does not exist ──

FILTERED = [tool for tool in scoping.TOOLS if tool not in {"list_dimension_values", "get_status"}]
LIKE_NOWHERE = [
    ("Research", "Elsewhere"),
    (org.RESEARCH, "wrkspc_nowhere"),
    ("Sandbox", "Elsewhere"),
    (org.HACKATHON, "wrkspc_nowhere"),
    ("Hackathon (archived)", "Elsewhere"),
    ("default", "elsewhere"),
    ("Default workspace", "elsewhere"),
]


@pytest.mark.parametrize("tool", FILTERED)
@pytest.mark.parametrize(("others", "nowhere"), LIKE_NOWHERE)
async def test_a_workspace_of_others_is_refused_like_one_that_does_not_exist(
    client: Client, tool: str, others: str, nowhere: str
) -> None:
    said = [
        await refusal(client, ENGINEERING, tool, filter_by={"workspace_id": [given]}) for given in (others, nowhere)
    ]
    assert said[0] == f"filter_by workspace_id '{others}' is not known. Accepted: Production, Support."
    assert said[1] == said[0].replace(others, nowhere)


async def test_the_null_of_the_default_workspace_is_refused_where_it_is_not_theirs(client: Client) -> None:
    said = await refusal(client, ENGINEERING, "get_spend", filter_by={"workspace_id": [None]})
    assert said == "filter_by workspace_id 'default' is not known. Accepted: Production, Support."
    for word in (None, "default", "Default workspace"):
        answer = await ask(client, SCIENCE, "get_spend", filter_by={"workspace_id": [word]})
        assert answer["filter_by"] == {"workspace_id": [None]}


async def test_one_workspace_of_others_among_theirs_is_refused(client: Client) -> None:
    for given in (["Production", "Research"], ["Production, Research"], [org.SUPPORT, org.RESEARCH]):
        assert "is not known" in await refusal(client, ENGINEERING, "get_spend", filter_by={"workspace_id": given})


@pytest.mark.parametrize("tool", ["get_spend", "get_token_usage"])
@pytest.mark.parametrize(
    ("dimension", "others", "nobody"),
    [("api_key_id", org.EVALS, "apikey_nobody"), ("account_id", org.ANALYST, "user_nobody")],
)
async def test_the_id_of_a_key_or_account_of_others_is_like_one_that_does_not_exist(
    client: Client, tool: str, dimension: str, others: str, nobody: str
) -> None:
    results = [
        await call(client, ENGINEERING, tool, period="last_7_days", filter_by={dimension: [given]})
        for given in (others, nobody)
    ]
    answers = [json.dumps(scoping.without_the_limit(result)) for result in results]
    assert answers[1] == answers[0].replace(others, nobody)
    assert "There is no data for" in answers[0]


@pytest.mark.parametrize(
    ("dimension", "others", "accepted"),
    [
        ("api_key_id", "evaluations", "none, mobile-backend, support-chat, web-backend"),
        ("account_id", "Demo Analyst", "nothing so far"),
    ],
)
async def test_the_name_of_a_key_or_account_of_others_is_like_one_that_does_not_exist(
    client: Client, dimension: str, others: str, accepted: str
) -> None:
    for given in (others, "Nobody"):
        said = await refusal(client, ENGINEERING, "get_token_usage", filter_by={dimension: [given]})
        assert said == f"filter_by {dimension} '{given}' is not known. Accepted: {accepted}."


# ── Accounts ──


async def test_accounts_that_used_their_workspaces_have_names(client: Client, upstream: Upstream) -> None:
    research = limited_to(org.RESEARCH)
    query = {"period": "last_7_days", "group_by": ["account_id"], "granularity": "total"}
    answer = await ask(client, research, "get_token_usage", **query)
    assert {series["label"] for series in answer["series"]} == {"Demo Analyst", "No user account"}
    views = [dict(request.query)["starting_at"][:10] for request in upstream.requests if "usage" in request.path]
    assert sorted(views) == ["2026-10-23", "2026-11-15"], "one request for the rows, one for who is known"
    named = await ask(client, research, "get_token_usage", filter_by={"account_id": ["demo analyst"]}, period="2026-10")
    assert named["filter_by"] == {"account_id": [org.ANALYST]}
    assert "Demo Engineer" in await refusal(client, research, "get_spend", filter_by={"account_id": ["Demo Engineer"]})


async def test_who_used_what_is_looked_up_once_for_all_names_of_a_filter(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    reading = ScopedReportCache.days

    async def days(self: ScopedReportCache, *query: Any, **options: Any) -> CacheResult:
        read.append(query[0].name)
        return await reading(self, *query, **options)

    monkeypatch.setattr(ScopedReportCache, "days", days)
    spellings = ["Demo Analyst", "demo analyst", "DEMO ANALYST", "demo analyst,Demo analyst"]
    answer = await ask(client, limited_to(org.RESEARCH), "get_token_usage", filter_by={"account_id": spellings})
    assert answer["filter_by"] == {"account_id": [org.ANALYST]}
    assert read.count("usage") == 2, "once for who used what, once for the answer"


async def test_an_account_that_used_them_long_ago_is_shown_by_its_id(client: Client, upstream: Upstream) -> None:
    def left(body: Body) -> None:
        for bucket in body["data"]:
            for row in bucket["results"]:
                if row["account_id"] == org.ANALYST and bucket["starting_at"] > "2026-10":
                    row["account_id"] = "user_new"

    upstream.override = override_body("usage_report/messages", left, upstream)
    query = {"period": "2026-08", "group_by": ["account_id"], "granularity": "total"}
    answer = await ask(client, SCIENCE, "get_token_usage", **query)
    assert {series["label"] for series in answer["series"]} == {org.ANALYST, "Demo Engineer", "No user account"}


async def test_accounts_are_shown_by_id_when_nobody_can_say_who_used_what(client: Client, upstream: Upstream) -> None:
    query = {"period": "2026-08", "group_by": ["account_id"], "granularity": "total"}
    await ask(client, OPERATOR, "get_token_usage", **{**query, "group_by": ["workspace_id", "account_id"]})
    upstream.override = on("usage_report/messages", error(529))
    answer = await ask(client, SCIENCE, "get_token_usage", **query)
    assert {series["label"] for series in answer["series"]} == {org.ANALYST, org.ENGINEER, "No user account"}
    assert "accounts cannot be looked up" in note_in(answer, "names_unavailable")


# ── Keys ──


def _untold(body: Body) -> None:
    for key in body["data"]:
        del key["workspace_id"]


async def test_a_list_that_does_not_tell_whose_a_key_is_names_none(client: Client, upstream: Upstream) -> None:
    upstream.override = override_body("api_keys", _untold, upstream)
    answer = await ask(client, SCIENCE, "get_token_usage", group_by=["api_key_id"], granularity="total")
    labels = {series["label"] for series in answer["series"]}
    assert labels == {org.EVALS, org.NOTEBOOKS, org.CI, "No API key (Console, sign-in or service account)"}
    assert note_in(answer, "names_unavailable")
    listed = await ask(client, SCIENCE, "list_dimension_values", dimension="workspace_id")
    assert "cannot be determined" in note_in(listed, "keys_unavailable")


@pytest.mark.parametrize("unlisted", [[], [org.EVALS], [org.EVALS, org.CI], [*org.API_KEYS]], ids=len)
@pytest.mark.parametrize("principal", [ENGINEERING, SCIENCE], ids=["engineering", "science"])
async def test_each_key_of_theirs_costs_what_it_truly_cost(
    client: Client, upstream: Upstream, principal: scoping.Limited, unlisted: list[str]
) -> None:
    """Also keys that the list no longer has: their use is known by workspace."""

    def edit(body: Body) -> None:
        body["data"] = [key for key in body["data"] if key["id"] not in unlisted]

    upstream.override = override_body("api_keys", edit, upstream)
    answer = await ask(client, principal, "get_spend", period="2026-10", group_by=["api_key_id"], granularity="total")
    costs = true_costs("2026-10", lambda stream: (stream.workspace, stream.api_key))
    expected: dict[tuple[str | None, ...], Any] = {}
    for (workspace, key), cost in costs.items():
        if workspace in principal.workspaces:
            expected[key,] = expected.get((key,), 0) + cost
    assert allocated(answer) == expected


# ── What cannot be had beside the workspace ──


async def test_five_other_dimensions_are_refused_before_any_request(client: Client, upstream: Upstream) -> None:
    dimensions = ["api_key_id", "model", "service_tier", "context_window", "inference_geo"]
    for tool in ("get_token_usage", "cache_hit_ratio"):
        said = await refusal(client, ENGINEERING, tool, group_by=dimensions)
        assert "have 6 dimensions together (workspace_id, api_key_id," in said
        assert said.endswith("workspace_id is always one of them, because your access is limited to some workspaces.")
    assert upstream.requests == []


async def test_spend_by_account_and_geo_is_refused_before_any_request(client: Client, upstream: Upstream) -> None:
    said = await refusal(client, ENGINEERING, "get_spend", group_by=["account_id", "inference_geo"])
    assert "Drop workspace_id or inference_geo." in said
    assert said.endswith("because your access is limited to some workspaces.")
    assert upstream.requests == []


async def test_the_ratio_by_key_is_told_without_savings(client: Client) -> None:
    answer = await ask(client, ENGINEERING, "cache_hit_ratio", group_by=["api_key_id"], granularity="total")
    assert {series["label"] for series in answer["series"]} == {"web-backend", "mobile-backend", "support-chat"}
    assert "Anthropic's report cannot be grouped by workspace_id, api_key_id" in note_in(
        answer, "cache_savings_unavailable"
    )


async def test_no_row_of_others_is_handed_to_a_report(upstream: Upstream, clock: FrozenClock) -> None:
    """Whatever the view: what the reports leave out later, they do not get in the first place."""
    everything = Period(date(2026, 10, 1), date(2026, 10, 31), date(2026, 10, 31))
    async with AsyncExitStack() as exit_stack:
        settings = Settings.for_demo({}, upstream.url)
        context = build_report_context(
            settings, CorrectedClock(clock), Limits(), SharedResources(settings, clock), exit_stack
        )
        seen, call = context.scoped_to(SCIENCE), CallContext(clock.monotonic() + 50)
        for report, dimension in [
            (COST_REPORT, "model"),
            (USAGE_REPORT, "model"),
            (USAGE_REPORT, "api_key_id"),
            (USAGE_REPORT, "account_id"),
        ]:
            held = await seen.cache.days(report, [(dimension,)], "1d", everything, call)
            assert values_of(held.days, "workspace_id") == SCIENCE.workspaces
        by_key = AllocationRule("api_key_id", ("model", "service_tier", "context_window", "inference_geo")).view
        held = await seen.cache.key_usage_days(USAGE_REPORT, by_key, everything, call)
        assert values_of(held.days, "api_key_id") == {org.EVALS, org.NOTEBOOKS, org.CI}


# ── Upstream in trouble ──


@pytest.mark.parametrize("failure", [error(401), error(403), error(429), error(529), error(413), Response({})], ids=str)
async def test_an_error_says_the_same_to_everybody(client: Client, upstream: Upstream, failure: Response) -> None:
    upstream.override = on("cost_report", failure)
    said = [await refusal(client, each, "get_spend", period="yesterday") for each in (OPERATOR, ENGINEERING, SCIENCE)]
    assert len({re.sub(r"\d+", "N", each) for each in said}) == 1


async def test_stale_days_are_theirs_too(client: Client, upstream: Upstream, clock: FrozenClock) -> None:
    fresh = await ask(client, SCIENCE, "get_spend", period="last_7_days")
    await ask(client, OPERATOR, "get_spend", period="last_7_days", group_by=["workspace_id"])
    upstream.override = lambda _: error(529)
    clock.advance(timedelta(hours=3).total_seconds())
    answer = await ask(client, SCIENCE, "get_spend", period="last_7_days")
    assert answer["cache"]["status"] == "stale"
    assert answer["totals"] == fresh["totals"]


# ── Two principals, one cache ──

AT_ONCE = 16
DIFFERENT_CALLS = 150
"""Per principal: the answers of the cut organizations are worked out once."""


@pytest.mark.parametrize("total", [500, pytest.param(5_000, marks=pytest.mark.slow)])
async def test_interleaved_calls_of_two_principals_show_neither_a_row_of_the_other(
    clock: FrozenClock, total: int
) -> None:
    rng = random.Random(2026)  # noqa: S311 - no secret
    principals = [limited_to(org.SUPPORT, org.DATA), SCIENCE]
    began = time.perf_counter()
    async with AsyncExitStack() as exit_stack:

        async def opened(settings: Settings, principal: Callable[[], Principal]) -> Client:
            return await exit_stack.enter_async_context(
                Client(build_server(settings, clock, access=FixedPrincipal(principal)))
            )

        todo: list[tuple[scoping.Limited, str, dict[str, Any]]] = []
        expected: dict[tuple[scoping.Limited, str], Any] = {}
        for principal in principals:
            workspaces = principal.workspaces
            settings = exit_stack.enter_context(scoping.serving(scoping.cut_api(clock.now, workspaces)))
            alone = await opened(settings, lambda: OPERATOR)
            calls = [scoping.a_call(rng.choice, workspaces) for _ in range(DIFFERENT_CALLS)]
            for tool, arguments in calls:
                result = await alone.call_tool(tool, arguments)
                expected[principal, scoping.as_key(tool, arguments)] = scoping.as_cut(
                    scoping.without_the_limit(result), workspaces
                )
            weights = [1 if tool == "forecast_spend" else 6 for tool, _ in calls]  # it takes ten times as long
            todo += [(principal, *each) for each in rng.choices(calls, weights, k=total // len(principals))]
        rng.shuffle(todo)
        everything = exit_stack.enter_context(scoping.serving(DemoApi(clock.now).respond))
        shared = await opened(everything, ASKING.get)
        answered = 0

        async def work() -> None:
            nonlocal answered
            while todo:
                principal, tool, arguments = todo.pop()
                steps: list[Any] = []

                async def progress(
                    progress: float, total: float | None, message: str | None, to: list[Any] = steps
                ) -> None:
                    to.append((progress, total, message))

                ASKING.set(principal)
                result = await shared.call_tool(tool, arguments, progress_callback=progress)
                assert scoping.without_the_limit(result) == expected[principal, scoping.as_key(tool, arguments)]
                said = f"{result.model_dump_json()} {steps}"
                found = scoping.leaked(said, scoping.words_of_others(principal.workspaces))
                assert found <= scoping.leaked(json.dumps(arguments), scoping.words_of_others(principal.workspaces))
                answered += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    seconds = time.perf_counter() - began
    REPORTS.append(f"sight: {answered} interleaved calls of two principals on one cache, {seconds:.0f} s")
    assert answered == total
