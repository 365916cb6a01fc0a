"""What `get_token_usage` says, held against the usage report itself."""

from typing import Any

import pytest
from mcp import Client

from tests.support import oracle
from tests.support.harness import Connect, FrozenClock, Upstream, ask, refusal
from tests.support.planted_orgs import OUTPUT, UNCACHED, PlantedOrg, Workload, client_of
from usage_cost_mcp.demo.http import Request

pytestmark = pytest.mark.anyio

MONTH = {"period": "2026-10"}


def totals_by_group(answer: dict[str, Any]) -> dict[tuple[str | None, ...], dict[str, int]]:
    return {tuple(series["group"].values()): series["totals"] for series in answer["series"]}


@pytest.mark.parametrize(
    "group_by",
    [
        ["model"],
        ["api_key_id"],
        ["account_id", "model"],
        ["workspace_id", "service_tier", "context_window"],
        ["api_key_id", "model", "service_tier", "context_window", "inference_geo"],
        ["workspace_id", "speed"],
        ["service_account_id"],
    ],
    ids="+".join,
)
async def test_every_token_is_in_the_group_and_on_the_day_where_the_report_has_it(
    connect: Connect, upstream: Upstream, group_by: list[str]
) -> None:
    async with connect(max_answer_characters=None) as client:
        answer = await ask(client, "get_token_usage", **MONTH, group_by=group_by, top=100, measures="all")
    expected = oracle.tokens(upstream.url, "2026-10-01", "2026-10-31", group_by)
    assert {tuple(series["group"].values()) for series in answer["series"]} == expected.keys()
    for series in answer["series"]:
        days = expected[tuple(series["group"].values())]
        for measure in oracle.TOKENS:
            assert series["values"][measure] == [days[day][measure] for day in answer["buckets"]]
        assert series["totals"]["input_tokens"] == sum(day[each] for day in days.values() for each in oracle.INPUTS)


async def test_only_the_chosen_measures_have_values_but_totals_always_have_all(client: Client) -> None:
    default = await ask(client, "get_token_usage", **MONTH)
    assert list(default["measures"]) == ["input_tokens", "output_tokens"]
    chosen = await ask(client, "get_token_usage", **MONTH, measures=["cache_read_input_tokens"])
    assert list(chosen["series"][0]["values"]) == ["cache_read_input_tokens"]
    assert list(chosen["totals"]) == ["input_tokens", *oracle.TOKENS]
    assert chosen["totals"] == default["totals"]


@pytest.mark.parametrize("measure", ["output_tokens", "web_search_requests", "cache_read_input_tokens"])
async def test_groups_are_ranked_by_the_measure_that_was_asked_for(client: Client, measure: str) -> None:
    answer = await ask(client, "get_token_usage", **MONTH, group_by=["api_key_id"], measures=[measure])
    sizes = [series["totals"][measure] for series in answer["series"]]
    assert sizes == sorted(sizes, reverse=True)
    share = round(100 * sizes[0] / answer["totals"][measure])
    most = f"; most {measure.replace('_', ' ')} ({share}%): {answer['series'][0]['label']}."
    assert answer["summary"].endswith(most)


def org_of_keys(count: int) -> PlantedOrg:
    """Keys with less and less input; the last one has most of the output and the searches."""
    workloads = [Workload({UNCACHED: 100_000 - n, OUTPUT: 10}, api_key=f"apikey_{n:02}") for n in range(count - 1)]
    writer = Workload({UNCACHED: 1_000, OUTPUT: 10_000}, api_key="apikey_writer", searches=5)
    return PlantedOrg([*workloads, writer])


YESTERDAY = {"period": "yesterday", "group_by": ["api_key_id"]}


async def test_the_largest_group_of_each_measure_is_named_and_shown() -> None:
    async with client_of(org_of_keys(20)) as client:
        answer = await ask(client, "get_token_usage", **YESTERDAY)
    assert answer["summary"].endswith("; most input tokens (5%): apikey_00; most output tokens (98%): apikey_writer.")
    labels = [series["label"] for series in answer["series"]]
    assert labels == [*(f"apikey_{n:02}" for n in range(10)), "apikey_writer", "Other (9 groups)"]


async def test_a_chosen_top_is_kept_and_the_summary_names_the_others() -> None:
    async with client_of(org_of_keys(20)) as client:
        answer = await ask(client, "get_token_usage", **YESTERDAY, top=2)
    assert [series["label"] for series in answer["series"]] == ["apikey_00", "apikey_01", "Other (18 groups)"]
    assert answer["summary"].endswith("most output tokens (98%): apikey_writer.")


async def test_one_group_may_be_the_largest_by_several_measures() -> None:
    measures = ["output_tokens", "web_search_requests", "cache_read_input_tokens"]
    async with client_of(org_of_keys(4)) as client:
        answer = await ask(client, "get_token_usage", **YESTERDAY, measures=measures)
    assert answer["summary"].endswith(
        "; most output tokens (more than 99%) and web search requests (100%): apikey_writer."
    )
    assert answer["series"][0]["label"] == "apikey_writer"


@pytest.mark.parametrize(("keys", "shown"), [(10, 10), (15, 15), (16, 12)])
async def test_a_handful_of_groups_is_not_merged_into_other(keys: int, shown: int) -> None:
    async with client_of(org_of_keys(keys)) as client:
        answer = await ask(client, "get_token_usage", **YESTERDAY)
    assert len(answer["series"]) == shown


async def test_searches_are_counted_as_run_and_the_note_says_so_where_they_are_shown() -> None:
    async with client_of(org_of_keys(4)) as client:
        shown = await ask(client, "get_token_usage", **YESTERDAY, measures=["web_search_requests"])
        none = await ask(
            client, "get_token_usage", **YESTERDAY, measures="all", filter_by={"api_key_id": ["apikey_00"]}
        )
        hidden = await ask(client, "get_token_usage", **YESTERDAY)
    assert ["searches_run" in str(answer["notes"]) for answer in (shown, none, hidden)] == [True, False, False]


async def test_priority_tier_tokens_come_with_a_warning_not_to_divide_by_them(client: Client) -> None:
    def codes(answer: dict[str, Any]) -> list[str]:
        return [note["code"] for note in answer["notes"]]

    assert "priority_tier_included" in codes(await ask(client, "get_token_usage", **MONTH))
    for without in ({"service_tier": ["batch"]}, {"workspace_id": ["Support"]}):
        answer = await ask(client, "get_token_usage", **MONTH, filter_by=without)
        assert "priority_tier_included" not in codes(answer)


async def test_use_without_a_key_has_a_name_of_its_own(client: Client, upstream: Upstream) -> None:
    answer = await ask(client, "get_token_usage", **MONTH, filter_by={"api_key_id": ["none"]})
    expected = oracle.tokens(upstream.url, "2026-10-01", "2026-10-31", ["api_key_id"])[(None,)]
    assert answer["totals"]["output_tokens"] == sum(day["output_tokens"] for day in expected.values())
    assert "No API key (Console, sign-in or service account)" in answer["summary"]


async def test_priority_tier_tokens_are_here_although_their_cost_is_nowhere(client: Client) -> None:
    answer = await ask(client, "get_token_usage", **MONTH, filter_by={"service_tier": ["priority"]})
    assert answer["totals"]["input_tokens"] > 0
    spend = await ask(client, "get_spend", **MONTH, filter_by={"service_tier": ["priority"]})
    assert spend["totals"]["cost"] is None


async def test_hours_add_up_to_their_day_and_minutes_to_their_hour(client: Client) -> None:
    day = await ask(client, "get_token_usage", period="2026-11-18")
    hours = await ask(client, "get_token_usage", period="2026-11-18", granularity="hour")
    minutes = await ask(
        client, "get_token_usage", period="2026-11-18", granularity="minute", measures=["output_tokens"]
    )
    assert hours["totals"] == minutes["totals"] == day["totals"]
    assert (len(hours["buckets"]), hours["buckets"][5]) == (24, "2026-11-18T05:00Z")
    assert sum(hours["bucket_totals"]["output_tokens"]) == day["totals"]["output_tokens"]


async def test_today_by_the_hour_ends_with_the_hour_under_way(client: Client) -> None:
    answer = await ask(client, "get_token_usage", period="today", granularity="hour")
    assert answer["buckets"][-1] == "2026-11-22T14:00Z"
    assert answer["partial_buckets"] == ["2026-11-22T14:00Z"]
    assert answer["bucket_totals"]["input_tokens"][-1] > 0
    assert answer["totals"] == (await ask(client, "get_token_usage", period="today"))["totals"]


async def test_a_minute_that_begins_while_the_rows_are_read_has_its_place(
    connect: Connect, clock: FrozenClock, upstream: Upstream
) -> None:
    def slow_names(request: Request) -> None:
        if request.path.endswith("workspaces"):
            clock.advance(40)

    clock.advance(45)
    upstream.override = slow_names
    wanted = {"period": "today", "granularity": "minute", "filter_by": {"workspace_id": ["Production"]}}
    async with connect() as client:
        answer = await ask(client, "get_token_usage", **wanted)
    assert answer["buckets"][-1] == "2026-11-22T14:31Z"


async def test_a_sixth_dimension_is_refused_before_any_request(client: Client, upstream: Upstream) -> None:
    said = await refusal(
        client,
        "get_token_usage",
        group_by=["api_key_id", "model", "service_tier", "context_window", "inference_geo"],
        filter_by={"workspace_id": ["wrkspc_demoProduction"]},
    )
    assert "6 dimensions together" in said
    assert "at most 5" in said
    assert not upstream.requests


async def test_the_beta_header_is_sent_only_when_speed_is_asked_for(client: Client, upstream: Upstream) -> None:
    await ask(client, "get_token_usage", period="yesterday", group_by=["model"])
    await ask(client, "get_token_usage", period="yesterday", group_by=["speed"])
    assert [request.headers.get("anthropic-beta") for request in upstream.requests] == [None, "fast-mode-2026-02-01"]


async def test_cost_dimensions_are_refused_with_a_pointer_to_the_tool_that_has_them(client: Client) -> None:
    said = await refusal(client, "get_token_usage", group_by=["token_type"])
    assert "token_type does not exist in Anthropic's usage report (get_spend has it)" in said
