"""What `get_spend` says, held against the cost report itself, to the last digit."""

from fractions import Fraction
from typing import Any

import pytest
from mcp import Client

from tests.support import oracle
from tests.support.harness import Connect, Upstream, ask, refusal, text_of

pytestmark = pytest.mark.anyio

QUARTER = {"period": "2026-08-01..2026-10-29"}


def by_group(answer: dict[str, Any]) -> dict[tuple[str | None, ...], dict[str, Fraction]]:
    """Nonzero costs by group and bucket."""
    return {
        tuple(series["group"].values()): {
            bucket: Fraction(cost)
            for bucket, cost in zip(answer["buckets"], series["values"]["cost"], strict=True)
            if cost != "0"
        }
        for series in answer["series"]
    }


@pytest.mark.parametrize(
    "group_by",
    [
        ["model"],
        ["workspace_id"],
        ["cost_type", "token_type"],
        ["workspace_id", "model", "service_tier", "context_window", "inference_geo"],
        ["description"],
        ["workspace_id", "model", "cost_type", "token_type", "service_tier", "context_window", "inference_geo"],
    ],
    ids="+".join,
)
async def test_every_cent_of_90_days_is_in_the_group_and_on_the_day_where_the_report_has_it(
    connect: Connect, upstream: Upstream, group_by: list[str]
) -> None:
    async with connect(max_answer_characters=None) as client:
        answer = await ask(client, "get_spend", **QUARTER, group_by=group_by, top=100)
    expected = oracle.dollars(upstream.url, "2026-08-01", "2026-10-29", group_by)
    assert by_group(answer) == expected
    assert len(answer["buckets"]) == 90
    assert Fraction(answer["totals"]["cost"]) == sum(sum(days.values()) for days in expected.values())


async def test_bucket_and_group_totals_add_up_to_the_total_exactly(client: Client) -> None:
    answer = await ask(client, "get_spend", **QUARTER, group_by=["workspace_id"], granularity="week", top=2)
    total = Fraction(answer["totals"]["cost"])
    assert sum(Fraction(series["totals"]["cost"]) for series in answer["series"]) == total
    assert sum(map(Fraction, answer["bucket_totals"]["cost"])) == total
    for series in answer["series"]:
        assert sum(map(Fraction, series["values"]["cost"])) == Fraction(series["totals"]["cost"])


async def test_groups_beyond_top_become_one_exact_other(connect: Connect) -> None:
    async with connect() as client:
        everything = await ask(client, "get_spend", **QUARTER, group_by=["model"], granularity="total")
        answer = await ask(client, "get_spend", **QUARTER, group_by=["model"], granularity="total", top=1)
    *_, other = answer["series"]
    assert (other["group"], other["other_groups"], other["label"]) == (None, 4, "Other (4 groups)")
    rest = [Fraction(series["totals"]["cost"]) for series in everything["series"][1:]]
    assert Fraction(other["totals"]["cost"]) == sum(rest)
    assert answer["totals"] == everything["totals"]


async def test_without_a_grouping_there_is_one_series_for_everything(client: Client) -> None:
    answer = await ask(client, "get_spend", period="yesterday")
    assert [(series["label"], series["group"]) for series in answer["series"]] == [("Total", {})]
    assert answer["series"][0]["totals"] == answer["totals"]


@pytest.mark.parametrize(
    "value", ["Production", "production", "wrkspc_demoProduction"], ids=["name", "other case", "id"]
)
async def test_a_workspace_is_found_by_name_and_by_id(connect: Connect, upstream: Upstream, value: str) -> None:
    async with connect() as client:
        answer = await ask(client, "get_spend", period="2026-10", filter_by={"workspace_id": [value]})
    expected = oracle.dollars(upstream.url, "2026-10-01", "2026-10-31", ["workspace_id"])[("wrkspc_demoProduction",)]
    assert Fraction(answer["totals"]["cost"]) == sum(expected.values())
    assert answer["filter_by"] == {"workspace_id": ["wrkspc_demoProduction"]}
    assert "workspace_id Production" in answer["summary"]


@pytest.mark.parametrize("value", ["default", "Default workspace", None])
async def test_the_default_workspace_is_the_null_of_the_report(
    connect: Connect, upstream: Upstream, value: str | None
) -> None:
    async with connect() as client:
        answer = await ask(client, "get_spend", period="2026-10", filter_by={"workspace_id": [value]})
    expected = oracle.dollars(upstream.url, "2026-10-01", "2026-10-31", ["workspace_id"])[(None,)]
    assert Fraction(answer["totals"]["cost"]) == sum(expected.values())


async def test_filters_on_several_dimensions_hold_together(connect: Connect, upstream: Upstream) -> None:
    wanted = {"model": ["claude-haiku-4-5", "claude-opus-4-6"], "token_type": ["output_tokens"]}
    async with connect() as client:
        answer = await ask(client, "get_spend", period="2026-10", filter_by=wanted)
    expected = oracle.dollars(upstream.url, "2026-10-01", "2026-10-31", ["model", "token_type"])
    picked = [expected[(model, "output_tokens")] for model in wanted["model"]]
    assert Fraction(answer["totals"]["cost"]) == sum(sum(days.values()) for days in picked)


async def test_labels_are_names_and_the_null_group_is_named_too(client: Client) -> None:
    answer = await ask(client, "get_spend", period="2026-10", group_by="workspace_id", granularity="total")
    labels = {series["label"]: series["group"]["workspace_id"] for series in answer["series"]}
    assert labels["Data Platform"] == "wrkspc_demoDataPlatform"
    assert labels["Default workspace"] is None


async def test_an_archived_workspace_keeps_its_name(client: Client) -> None:
    answer = await ask(client, "get_spend", period="2025-09", group_by="workspace_id", granularity="total")
    assert "Hackathon (archived)" in [series["label"] for series in answer["series"]]


async def test_today_is_included_and_marked_partial(client: Client) -> None:
    answer = await ask(client, "get_spend", period="this_month")
    assert answer["buckets"][-1] == "2026-11-22"
    assert answer["partial_buckets"] == ["2026-11-22"]
    assert Fraction(answer["bucket_totals"]["cost"][-1]) > 0
    assert answer["provisional_since"] == "2026-11-19"


async def test_a_month_that_ended_is_final(client: Client) -> None:
    answer = await ask(client, "get_spend", period="last_month")
    assert (answer["partial_buckets"], answer["provisional_since"]) == ([], None)


async def test_credits_are_kept_negative_and_noted(client: Client) -> None:
    answer = await ask(client, "get_spend", period="2026-10-25", group_by=["description"])
    assert "-450" in [series["totals"]["cost"] for series in answer["series"]]
    message = (
        "Includes credits of -$450.00: Service Credit -$450.00 on 2026-10-25. "
        "filter_by charge_category Credit shows them alone."
    )
    assert {"code": "credits_included", "message": message} in answer["notes"]


async def test_what_the_cost_report_leaves_out_is_said_only_where_it_applies(client: Client) -> None:
    def codes(answer: dict[str, Any]) -> list[str]:
        return [note["code"] for note in answer["notes"]]

    assert "priority_tier_excluded" in codes(await ask(client, "get_spend"))
    assert "priority_tier_excluded" not in codes(
        await ask(client, "get_spend", filter_by={"cost_type": ["web_search"]})
    )


async def test_a_cost_that_is_in_no_report_is_not_told_as_a_zero(client: Client) -> None:
    answer = await ask(client, "get_spend", filter_by={"service_tier": ["priority"]})
    assert answer["summary"].endswith(
        ": not reported. Anthropic does not report Priority Tier cost: it is unknown, not zero."
    )
    assert answer["totals"] == answer["series"][0]["totals"] == {"cost": None}
    assert set(answer["bucket_totals"]["cost"]) == set(answer["series"][0]["values"]["cost"]) == {None}


async def test_both_halves_stand_alone(client: Client) -> None:
    result = await client.call_tool("get_spend", {"period": "last_month", "group_by": ["model"], "granularity": "week"})
    answer = result.structured_content
    assert answer is not None
    text = text_of(result)
    assert text.startswith(answer["summary"])
    assert answer["summary"] == (
        "Spend 2026-10-01 to 2026-10-31 (31 days, UTC): $7,309.88; "
        "largest before credits: claude-sonnet-4-6 $3,073.18 (40%)."
    )
    assert "|model|09-28|10-05|10-12|10-19|10-26|Total|" in text
    for series in answer["series"]:
        assert series["label"] in text
    for note in answer["notes"]:
        assert note["message"] in text


async def test_days_before_the_first_use_are_not_mistaken_for_frugal_ones(client: Client) -> None:
    nothing = await ask(client, "get_spend", period="2023")
    assert nothing["totals"]["cost"] == "0"
    assert "no_data" in [note["code"] for note in nothing["notes"]]
    some = await ask(client, "get_spend", period="2024-10..2024-11")
    assert some["notes"][0] == {
        "code": "data_starts_later",
        "message": "Data for the period starts on 2024-11-01; earlier days have none.",
    }


async def test_a_filter_that_nothing_matches_is_zero_with_a_word_of_warning(client: Client) -> None:
    answer = await ask(client, "get_spend", period="2026-10", filter_by={"model": ["claude-opus-46"]})
    assert answer["totals"]["cost"] == "0"
    (note,) = [note for note in answer["notes"] if note["code"] == "filter_matches_nothing"]
    assert note["message"] == (
        "There is no data for model claude-opus-46 in this period (did you mean claude-opus-4-6?)."
    )
    assert note["message"] in answer["summary"]


async def test_a_real_workspace_without_use_is_zero_and_gets_no_other_suggested(client: Client) -> None:
    answer = await ask(client, "get_spend", period="2026-10", filter_by={"workspace_id": ["Sandbox"]})
    assert answer["summary"].endswith(
        "workspace_id Sandbox: $0.00. There is no data for workspace_id Sandbox in this period."
    )


async def test_a_model_may_be_spelled_with_a_dot(client: Client) -> None:
    answer = await ask(client, "get_spend", period="2026-10", filter_by={"model": ["Claude-Opus-4.6"]})
    assert answer["filter_by"] == {"model": ["claude-opus-4-6"]}
    assert answer["totals"]["cost"] != "0"


async def test_a_model_that_is_not_even_spelled_like_one_is_refused(client: Client) -> None:
    said = await refusal(client, "get_spend", period="2026-10", filter_by={"model": ["opus"]})
    assert said.startswith("filter_by model 'opus' is not known.")
    assert "claude-opus-4-6" in said


async def test_spend_by_speed_is_exact(client: Client) -> None:
    answer = await ask(client, "get_spend", group_by=["speed"], granularity="total")
    by_type = await ask(client, "get_spend", group_by=["cost_type"], granularity="total")
    costs = {series["label"]: series["totals"]["cost"] for series in answer["series"]}
    assert costs.keys() == {"standard", "No speed"}
    assert costs["standard"] == next(each["totals"]["cost"] for each in by_type["series"] if each["label"] == "tokens")
