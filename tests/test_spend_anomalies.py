"""find_spend_anomalies: what was planted is found with its cause, and nothing else."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from mcp import Client

from tests.support.harness import Upstream, ask, refusal, text_of
from tests.support.oracle import dollars
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.model.upstream_reports import COST_REPORT

pytestmark = pytest.mark.anyio


def found(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(each["start"], each["label"]) for each in answer["anomalies"]]


async def test_the_runaway_evaluation_and_the_credit_are_found_each_with_its_cause(
    client: Client, upstream: Upstream
) -> None:
    answer = await ask(client, "find_spend_anomalies", period="2026-10")
    assert found(answer) == [("2026-10-21", "Research"), ("2026-10-25", "Default workspace")]
    spike, credit = answer["anomalies"]
    truth = dollars(upstream.url, "2026-10-21", "2026-10-21", ["workspace_id"])
    assert Fraction(spike["cost"]) == truth[("wrkspc_demoResearch",)]["2026-10-21"]
    assert spike["driver"].startswith("more use of claude-opus-4-6 in Research +$6")
    assert credit["driver"] == "Service Credit in Default workspace -$450.00"
    for each in answer["anomalies"]:
        assert Decimal(each["excess"]) == Decimal(each["cost"]) - Decimal(each["expected"])
        assert (each["status"], each["end"]) == ("resolved", each["start"])


async def test_both_halves_tell_each_finding(client: Client) -> None:
    result = await client.call_tool("find_spend_anomalies", {"period": "2026-10"})
    answer: dict[str, Any] = result.structured_content or {}
    for half in (text_of(result), str(answer)):
        for told in ("Research", "2026-10-21", "2026-10-25", "claude-opus-4-6 in Research", "2 anomalies"):
            assert told in half


async def test_a_month_without_anomalies_says_so_and_states_what_was_compared(
    client: Client, upstream: Upstream
) -> None:
    answer = await ask(client, "find_spend_anomalies", period="2026-07")
    assert answer["anomalies"] == []
    assert answer["summary"].startswith("No anomalies in spend for 2026-07-01 to 2026-07-31")
    assert "Compared 5 workspaces" in answer["summary"]
    assert (answer["history_days"], answer["minimum"]) == (56, "10")
    assert upstream.asked("messages") == 0, "usage is read for causes alone"


async def test_a_switch_of_models_is_one_new_level_with_its_cause(client: Client) -> None:
    answer = await ask(client, "find_spend_anomalies", period="2026-08")
    assert [(each["label"], each["status"]) for each in answer["anomalies"]] == [("Support", "level_shift")]
    assert answer["anomalies"][0]["driver"].startswith("shift from claude-sonnet-4-5 to claude-haiku-4-5 in Support -$")


async def test_by_default_the_last_30_complete_days_are_judged(client: Client, upstream: Upstream) -> None:
    answer = await ask(client, "find_spend_anomalies")
    assert answer["period"] == {"start": "2026-10-23", "end": "2026-11-21", "timezone": "UTC"}
    assert upstream.asked("cost_report") == 3


async def test_today_is_never_judged(client: Client) -> None:
    answer = await ask(client, "find_spend_anomalies", period="this_month")
    assert answer["period"]["end"] == "2026-11-21"
    assert "today_excluded" in [note["code"] for note in answer["notes"]]


async def test_a_minimum_leaves_out_what_is_smaller(client: Client) -> None:
    answer = await ask(client, "find_spend_anomalies", period="2026-10", minimum=500)
    assert found(answer) == [("2026-10-21", "Research")]
    assert answer["minimum"] == "500"


async def test_other_groups_and_filters_are_judged_by_themselves(client: Client) -> None:
    by_model = await ask(client, "find_spend_anomalies", period="2026-10", group_by=["model"])
    assert ("2026-10-21", "claude-opus-4-6") in found(by_model)
    research = await ask(
        client, "find_spend_anomalies", period="2026-10", group_by=["model"], filter_by={"workspace_id": ["research"]}
    )
    assert found(research) == [("2026-10-21", "claude-opus-4-6")]
    by_type = await ask(client, "find_spend_anomalies", period="2026-10", group_by=["cost_type"])
    assert all("driver" not in each for each in by_type["anomalies"])


async def test_groups_with_too_little_history_are_named_instead_of_guessed(client: Client) -> None:
    answer = await ask(client, "find_spend_anomalies", period="2024-11-20..2024-12-20")
    assert "insufficient_history" in [note["code"] for note in answer["notes"]]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"minimum": 0}, "minimum must be a dollar amount above zero"),
        ({"minimum": "1e-400"}, "minimum must be a dollar amount above zero"),
        ({"group_by": ["fast_mode"]}, "is not known"),
    ],
)
async def test_what_cannot_be_judged_is_refused_before_any_request(
    client: Client, upstream: Upstream, query: dict[str, Any], said: str
) -> None:
    assert said in await refusal(client, "find_spend_anomalies", **query)
    assert not upstream.requests


def billed(dollars: Callable[[date], int | None]) -> Callable[[Request], Response | None]:
    """A cost report with one row a day, or none; a usage report without any."""

    def instead(request: Request) -> Response | None:
        if not request.path.endswith(("cost_report", "messages")):
            return None
        query = dict(request.query)
        first, end = (date.fromisoformat(query[name][:10]) for name in ("starting_at", "ending_at"))
        days = [first + timedelta(days=n) for n in range((end - first).days)]
        return Response({"data": [_bucket(request, day, dollars(day)) for day in days], "has_more": False})

    return instead


def _bucket(request: Request, day: date, dollars: int | None) -> dict[str, Any]:
    row = {
        **dict.fromkeys(COST_REPORT.dimensions),
        "workspace_id": "wrkspc_a",
        "amount": f"{100 * (dollars or 0)}",
        "currency": "USD",
    }
    return {
        "starting_at": f"{day}T00:00:00Z",
        "ending_at": f"{day + timedelta(days=1)}T00:00:00Z",
        "results": [row] if dollars is not None and request.path.endswith("cost_report") else [],
    }


async def test_a_finding_of_several_days_has_the_cost_of_all_of_them(client: Client, upstream: Upstream) -> None:
    odd = {date(2026, 11, 7), date(2026, 11, 9)}  # with a Sunday between them that costs what Sundays do
    upstream.override = billed(lambda day: 100 if day in odd else 30 if day.weekday() == SUNDAY else 2)
    answer = await ask(client, "find_spend_anomalies", period="2026-11-01..2026-11-21")
    (found,) = answer["anomalies"]
    assert (found["start"], found["end"]) == ("2026-11-07", "2026-11-09")
    assert (found["cost"], found["expected"], found["excess"]) == ("230", "34", "196")


SUNDAY = 6


async def test_the_first_days_of_an_organization_are_not_held_against_days_before_it(
    client: Client, upstream: Upstream
) -> None:
    upstream.override = billed(lambda day: 50 if day >= date(2026, 10, 1) else None)
    answer = await ask(client, "find_spend_anomalies", period="2026-10")
    assert answer["anomalies"] == []
    assert "insufficient_history" in [note["code"] for note in answer["notes"]]
