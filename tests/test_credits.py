"""Credits are negative costs: they are told apart, can be asked for, and never distort a share."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from tests.support.harness import ask, refusal, text_of
from tests.support.planted_orgs import (
    HAIKU,
    OPUS,
    OUTPUT,
    RESEARCH,
    SONNET,
    UNCACHED,
    Charge,
    PlantedOrg,
    Workload,
    client_of,
)
from usage_cost_mcp.reports.credits import share_of
from usage_cost_mcp.reports.wording import enumeration, whole_percent

pytestmark = pytest.mark.anyio

WEEK = {"period": "2026-11-02..2026-11-08"}

ORG = PlantedOrg(
    [
        Workload({UNCACHED: 2_000_000}),
        Workload({UNCACHED: 1_000_000}, RESEARCH, SONNET),
        Workload({UNCACHED: 400_000, OUTPUT: 100_000}, model=HAIKU, tier="priority", api_key="apikey_priority"),
    ],
    [
        Charge(date(2026, 11, 3), Decimal("-40.125"), "Service Credit"),
        Charge(date(2026, 11, 5), Decimal(-35), "Promotional Credit", workspace=RESEARCH),
        Charge(date(2026, 11, 6), Decimal("0.50"), "Correction"),
    ],
)
"""$70 of opus, $21 of sonnet, $0.50 of adjustments and $75.125 of credits in the week."""


def notes_of(answer: dict[str, Any]) -> dict[str, str]:
    return {note["code"]: note["message"] for note in answer["notes"]}


async def test_shares_are_of_the_spend_before_credits_and_credits_stand_apart() -> None:
    async with client_of(ORG) as client:
        models = await ask(client, "list_dimension_values", dimension="model", **WEEK)
        workspaces = await ask(client, "list_dimension_values", dimension="workspace_id", **WEEK)
    by_model = {each["value"]: each for each in models["values"]}
    assert (by_model[OPUS]["cost"], by_model[OPUS]["cost_share"]) == ("70", round(70 / 91.5, 4))
    assert (by_model[None]["cost"], by_model[None]["credits"]) == ("-74.625", "-75.125")
    assert by_model[None]["cost_share"] == round(0.5 / 91.5, 4)
    assert notes_of(models)["dominant_model"] == f"{OPUS} alone accounts for 77% of the spend before credits."
    by_workspace = {each["value"]: each for each in workspaces["values"]}
    assert by_workspace[RESEARCH]["credits"] == "-35"
    assert by_workspace[RESEARCH]["cost_share"] == round(21 / 91.5, 4)
    assert sum(each["cost_share"] for each in by_workspace.values()) == pytest.approx(1, abs=1e-3)


async def test_a_value_that_has_credits_only_has_no_share() -> None:
    async with client_of(ORG) as client:
        answer = await ask(client, "list_dimension_values", dimension="charge_category", **WEEK)
        result = await client.call_tool("list_dimension_values", {"dimension": "description", **WEEK})
    by_value = {each["value"]: each for each in answer["values"]}
    assert by_value.keys() == {"Usage", "Credit", "Adjustment"}
    assert "cost_share" not in by_value["Credit"]
    assert by_value["Usage"]["cost_share"] == round(91 / 91.5, 4)
    assert "|Service Credit|-$40.12|-|" in text_of(result)


async def test_the_summary_names_the_largest_group_before_credits() -> None:
    async with client_of(ORG) as client:
        by_workspace = await ask(client, "get_spend", group_by="workspace_id", **WEEK)
        alone = await ask(client, "get_spend", group_by="model", filter_by={"model": [OPUS]}, **WEEK)
    assert by_workspace["summary"].endswith("$16.38; largest before credits: Production $70.00 (77%).")
    assert alone["summary"].endswith("$70.00; largest: claude-opus-4-6 $70.00 (100%).")


async def test_the_credits_of_a_total_are_named_with_their_days() -> None:
    async with client_of(ORG) as client:
        answer = await ask(client, "get_spend", **WEEK)
        charged = await ask(client, "get_spend", filter_by={"charge_category": ["usage", "adjustment"]}, **WEEK)
    assert notes_of(answer)["credits_included"] == (
        "Includes credits of -$75.12: Service Credit -$40.12 on 2026-11-03, Promotional Credit -$35.00 on 2026-11-05. "
        "filter_by charge_category Credit shows them alone."
    )
    assert charged["totals"]["cost"] == "91.5"
    assert "credits_included" not in notes_of(charged)


async def test_more_than_three_credits_are_counted() -> None:
    credits_ = [Charge(date(2026, 11, day), Decimal(-day), f"Credit {day}") for day in range(2, 8)]
    async with client_of(PlantedOrg(ORG.workloads, credits_)) as client:
        answer = await ask(client, "get_spend", **WEEK)
    assert notes_of(answer)["credits_included"].startswith(
        "Includes credits of -$27.00: Credit 7 -$7.00 on 2026-11-07, Credit 6 -$6.00 on 2026-11-06, "
        "Credit 5 -$5.00 on 2026-11-05 and 3 more. "
    )


async def test_credits_can_be_asked_for_by_day_workspace_and_description() -> None:
    async with client_of(ORG) as client:
        answer = await ask(
            client,
            "get_spend",
            group_by=["workspace_id", "description"],
            filter_by={"charge_category": ["credit"]},
            **WEEK,
        )
    assert answer["filter_by"] == {"charge_category": ["Credit"]}
    found = {
        tuple(each["group"].values()): dict(zip(answer["buckets"], each["values"]["cost"], strict=True))
        for each in answer["series"]
    }
    assert found[None, "Service Credit"]["2026-11-03"] == "-40.125"
    assert found[RESEARCH, "Promotional Credit"]["2026-11-05"] == "-35"
    assert answer["totals"]["cost"] == "-75.125"
    assert answer["summary"].endswith("-$75.12; largest: Default workspace / Service Credit -$40.12.")
    assert "credits_included" not in notes_of(answer)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({}, "$0.00. There are no credits in this period."),
        ({"workspace_id": [RESEARCH]}, "$0.00. There are no credits in this period."),
    ],
    ids=["all", "filtered"],
)
async def test_that_there_are_no_credits_is_said(filters: dict[str, list[str]], said: str) -> None:
    async with client_of(PlantedOrg(ORG.workloads)) as client:
        answer = await ask(client, "get_spend", filter_by={"charge_category": ["Credit"], **filters}, **WEEK)
    assert answer["summary"].endswith(said)


async def test_that_there_are_no_credits_with_a_filter_is_said() -> None:
    filters = {"charge_category": ["Credit"], "cost_type": ["tokens"]}
    async with client_of(ORG) as client:
        answer = await ask(client, "get_spend", filter_by=filters, **WEEK)
    assert answer["summary"].endswith("$0.00. There are no credits with these filters in this period.")


async def test_a_category_that_does_not_exist_is_refused() -> None:
    async with client_of(ORG) as client:
        said = await refusal(client, "get_spend", filter_by={"charge_category": ["tax"]})
    assert said == "filter_by charge_category 'tax' is not known. Accepted: Usage, Credit, Adjustment."


async def test_a_cost_that_no_report_has_is_null_with_the_reason() -> None:
    async with client_of(ORG) as client:
        tiers = await ask(client, "list_dimension_values", dimension="service_tier", **WEEK)
        models = await ask(client, "list_dimension_values", dimension="model", **WEEK)
        keys = await ask(client, "list_dimension_values", dimension="api_key_id", **WEEK)
    for answer, value in ((tiers, "priority"), (models, HAIKU)):
        (found,) = (each for each in answer["values"] if each["value"] == value)
        assert not {"cost", "cost_share"} & found.keys()
        assert notes_of(answer)["priority_tier_excluded"] == (
            "The tokens include Priority Tier tokens, whose cost Anthropic does not report: a cost is null where all "
            "tokens are of that tier."
        )
    assert notes_of(keys)["priority_tier_included"].startswith("The tokens include Priority Tier tokens")


@pytest.mark.parametrize("group_by", ["api_key_id", "account_id", "service_account_id", "speed"])
async def test_priority_tier_tokens_are_noted_by_whatever_dimension(group_by: str) -> None:
    async with client_of(ORG) as client:
        answer = await ask(client, "get_token_usage", group_by=group_by, **WEEK)
        without = await ask(
            client, "get_token_usage", group_by=group_by, filter_by={"service_tier": ["standard"]}, **WEEK
        )
    assert notes_of(answer)["priority_tier_included"].startswith("Includes Priority Tier tokens")
    assert "priority_tier_included" not in notes_of(without)


async def test_where_the_tier_does_not_fit_the_note_says_that_it_is_not_known() -> None:
    dimensions = ["workspace_id", "api_key_id", "account_id", "service_account_id", "model"]
    async with client_of(ORG) as client:
        answer = await ask(client, "get_token_usage", group_by=dimensions, **WEEK)
    assert notes_of(answer)["priority_tier_included"] == (
        "May include Priority Tier tokens, whose cost Anthropic does not report: the tier is not known by these "
        "dimensions."
    )


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 5, "0%"), (1, 1000, "less than 1%"), (1, 3, "33%"), (999, 1000, "more than 99%"), (1, 1, "100%")],
)
def test_a_percentage_says_nothing_that_the_share_is_not(part: int, whole: int, text: str) -> None:
    assert whole_percent(Fraction(part, whole)) == text


def test_a_share_of_nothing_is_none() -> None:
    assert share_of(0, 0) is None


def test_an_enumeration_reads_as_a_sentence() -> None:
    assert [enumeration(["a", "b", "c"][:count]) for count in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
