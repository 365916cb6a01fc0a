"""A principal who sees some workspaces gets the answers of an organization that has no others."""

import json
import random
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import given, note
from hypothesis import strategies as st
from mcp import Client
from mcp.types import CallToolResult, PromptReference, TextResourceContents

from tests.support import workspace_scoping as scoping
from tests.support.generated_orgs import SPEND, USAGE, Body, Harness, Row, open_harness, row_of, worlds
from tests.support.harness import MIN_EXAMPLES, FixedPrincipal, FrozenClock, calls_a_server, text_of
from usage_cost_mcp.app import build_server
from usage_cost_mcp.auth.principals import OPERATOR, Principal
from usage_cost_mcp.demo import DemoApi
from usage_cost_mcp.demo import organization as org
from usage_cost_mcp.model.rows import Workspaces

LIMITS = [
    frozenset({org.PRODUCTION, org.SUPPORT}),
    frozenset({org.RESEARCH, None}),
    frozenset[str | None]({None}),
    frozenset[str | None]({org.DATA}),
    frozenset[str | None]({org.HACKATHON, org.SANDBOX}),
]


class Pair:
    """A limited principal of the demo organization, and the operator of one that has no other workspaces."""

    def __init__(self, portal: BlockingPortal, limited: Client, cut: Client) -> None:
        self._portal = portal
        self.clients = (limited, cut)

    def both(self, query: Callable[[Client], Any]) -> tuple[Any, Any]:
        limited, cut = (self._portal.call(query, client) for client in self.clients)
        return limited, cut

    def call(self, tool: str, arguments: Mapping[str, Any]) -> tuple[CallToolResult, CallToolResult]:
        return self.both(lambda client: client.call_tool(tool, dict(arguments)))


Pairs = Callable[[Workspaces], Pair]
Ask = Callable[[str, Mapping[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def pairs() -> Generator[Pairs]:
    """A pair for each limit, made when it is first needed."""
    made: dict[Workspaces, Pair] = {}
    clock = FrozenClock()
    with start_blocking_portal() as portal, ExitStack() as exit_stack:

        def client(settings: Any, principal: Principal) -> Client:
            server = build_server(settings, clock, access=FixedPrincipal(lambda: principal))
            return exit_stack.enter_context(portal.wrap_async_context_manager(Client(server)))

        whole = exit_stack.enter_context(scoping.serving(DemoApi(clock.now).respond))

        def pair(workspaces: Workspaces) -> Pair:
            if workspaces not in made:
                part = exit_stack.enter_context(scoping.serving(scoping.cut_api(clock.now, workspaces)))
                limited = Principal("somebody", workspaces)
                made[workspaces] = Pair(portal, client(whole, limited), client(part, OPERATOR))
            return made[workspaces]

        yield pair


@pytest.fixture(scope="module")
def whole() -> Generator[Ask]:
    """What the operator is answered."""
    clock = FrozenClock()
    with (
        scoping.serving(DemoApi(clock.now).respond) as settings,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Client(build_server(settings, clock))) as client,
    ):

        def ask(tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
            result = portal.call(client.call_tool, tool, dict(arguments))
            assert result.structured_content is not None, text_of(result)
            return result.structured_content

        yield ask


@calls_a_server
@given(st.sampled_from(LIMITS), st.integers(0, 2**32))
def test_every_answer_is_that_of_an_organization_without_the_others(
    pairs: Pairs, workspaces: Workspaces, seed: int
) -> None:
    tool, arguments = scoping.a_call(random.Random(seed).choice, workspaces)  # noqa: S311 - no secret
    note(f"{tool} {arguments}")
    limited, cut = pairs(workspaces).call(tool, arguments)
    assert scoping.without_the_limit(limited) == scoping.as_cut(scoping.without_the_limit(cut), workspaces)
    assert scoping.tables_of(limited) == scoping.tables_of(cut)


@pytest.mark.parametrize("workspaces", LIMITS, ids=lambda limit: " ".join(sorted(map(str, limit))))
def test_resources_and_completions_know_no_others(pairs: Pairs, workspaces: Workspaces) -> None:
    """Asked in the same order, so that the same days are held."""
    pair = pairs(workspaces)
    for uri in ("usage-cost://status", "usage-cost://glossary"):
        limited, cut = pair.both(lambda client, uri=uri: _read(client, uri))
        assert limited == cut
    for argument, typed in product(("workspace", "model", "api_key", "period"), ("", "a", "e", "demo", "default")):
        limited, cut = pair.both(lambda client, at=(argument, typed): _completed(client, *at))
        if None not in workspaces:
            cut = [value for value in cut if value not in {"Default workspace", "default"}]
        assert limited == cut


async def _read(client: Client, uri: str) -> Any:
    [contents] = (await client.read_resource(uri)).contents
    assert isinstance(contents, TextResourceContents)
    return contents.text if uri.endswith("glossary") else scoping.without_the_limit(json.loads(contents.text))


async def _completed(client: Client, argument: str, typed: str) -> list[str]:
    reference = PromptReference(name="caching_review")
    return (await client.complete(reference, {"name": argument, "value": typed})).completion.values


@pytest.mark.parametrize("workspaces", LIMITS, ids=lambda limit: " ".join(sorted(map(str, limit))))
@pytest.mark.parametrize("period", ["2026-10", "2026-06", "2025-09"])
@pytest.mark.parametrize("dimension", ["api_key_id", "account_id", "service_account_id"])
def test_spend_that_is_shared_out_is_what_the_operator_gets_with_a_filter(
    pairs: Pairs, whole: Ask, dimension: str, period: str, workspaces: Workspaces
) -> None:
    query = {"period": period, "group_by": [dimension, "model"], "granularity": "week"}
    limited, _ = pairs(workspaces).call("get_spend", query)
    filtered = whole("get_spend", {**query, "filter_by": {"workspace_id": list(workspaces)}})
    assert limited.structured_content is not None
    for part in ("series", "bucket_totals", "totals", "estimated"):
        assert limited.structured_content[part] == filtered[part]


# ── Organizations that Hypothesis makes up ──


@pytest.fixture
def houses() -> Generator[tuple[Harness, Harness]]:
    """A principal who sees two of three workspaces, and the operator of whatever there is."""
    with open_harness(Principal("somebody", SEEN)) as limited, open_harness() as cut:
        yield limited, cut
    assert limited.made > 3 * MIN_EXAMPLES


SEEN: Workspaces = frozenset({"wrkspc_one", None})
OF_KEYS = {None: None, "apikey_one": "wrkspc_one", "apikey_two": "wrkspc_two"}


def listed_key(key: str, workspace: str) -> Body:
    return {"id": key, "name": f"{key} of {workspace}", "status": "active", "workspace_id": workspace}


def keyed(row: Row) -> Row:
    """A key has one workspace."""
    key = row.group.get("api_key_id")
    return replace(row, group={**row.group, "workspace_id": OF_KEYS[key]}) if key else row


@calls_a_server
@given(st.data())
def test_any_organization_is_cut_to_the_workspaces_that_are_seen(
    houses: tuple[Harness, Harness], data: st.DataObject
) -> None:
    world = data.draw(worlds())
    other = USAGE if world.tool == SPEND else SPEND
    beside = data.draw(st.lists(row_of(other, world.period), max_size=15))
    rows, beside = ([keyed(row) for row in each] for each in (world.rows, beside))
    limited, cut = houses
    for house, seen in ((limited, {*SEEN, "wrkspc_two"}), (cut, SEEN)):
        mine, others = ([row for row in each if row.group["workspace_id"] in seen] for each in (rows, beside))
        house.api.keys = [listed_key(key, whose) for key, whose in OF_KEYS.items() if key and whose and whose in seen]
        house.enter(replace(world, rows=mine, other_report=others))
    tool, arguments = data.draw(questions(world.asked))
    results = [house.portal.call(house.client.call_tool, tool, arguments) for house in houses]
    note(f"{tool} {arguments}")
    told, expected = map(scoping.without_the_limit, results)
    assert told == expected


@st.composite
def questions(draw: st.DrawFn, period: str) -> tuple[str, dict[str, Any]]:
    tool = draw(st.sampled_from(scoping.TOOLS))
    base = st.lists(st.sampled_from(scoping.BASE), unique=True, max_size=3)
    match tool:
        case "get_spend":
            by = st.lists(st.sampled_from([*scoping.BILLED, "api_key_id"]), unique=True, max_size=4)
        case "get_token_usage":
            by = st.lists(st.sampled_from([*scoping.BASE, *scoping.BY_KEY]), unique=True, max_size=4)
        case _:
            by = base
    match tool:
        case "get_status":
            return tool, {}
        case "forecast_spend":
            return tool, {}
        case "list_dimension_values":
            return tool, {
                "period": period,
                "dimension": draw(st.sampled_from([*scoping.BILLED, *scoping.BY_KEY])),
            }
        case "get_effective_prices":
            return tool, {"period": period}
        case _:
            return tool, {"period": period, "group_by": draw(by)}
