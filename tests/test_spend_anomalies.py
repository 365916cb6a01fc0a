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
from tests.support.planted_orgs import (
    HAIKU,
    OPUS,
    RESEARCH,
    SONNET,
    UNCACHED,
    PlantedOrg,
    Tokens,
    Workload,
    client_of,
)
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
    assert (answer["history_days"], answer["minimum"]) == (56, "3")
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


# Planted organizations


def tokens_until(*changes: tuple[date | None, float]) -> Callable[[date], Tokens]:
    """Input tokens of a day: the first share of two million whose day is later, or None for the rest."""

    def tokens(day: date) -> Tokens:
        return {UNCACHED: int(2_000_000 * next(share for until, share in changes if until is None or day < until))}

    return tokens


MOVED = date(2026, 11, 9)


@pytest.mark.parametrize("group_by", [["model"], ["workspace_id", "model"]])
async def test_a_move_from_one_model_to_another_is_one_finding(group_by: list[str]) -> None:
    org = PlantedOrg(
        [
            Workload(tokens_until((MOVED, 1), (None, 0)), model=OPUS),
            Workload(tokens_until((MOVED, 0), (None, 1)), model=SONNET),
            Workload({UNCACHED: 3_000_000}, RESEARCH, HAIKU),
        ]
    )
    async with client_of(org) as client:
        answer = await ask(client, "find_spend_anomalies", period="last_30_days", group_by=group_by)
        csv = await ask(client, "find_spend_anomalies", period="last_30_days")
    (found,) = answer["anomalies"]
    assert (found["start"], found["group"]["model"], found["status"]) == ("2026-11-09", OPUS, "level_shift")
    assert (found["cost"], found["excess"], found["counterpart_excess"]) == ("0", "-130", "78")
    assert found["counterpart"].startswith(SONNET) or found["counterpart"].endswith(SONNET)
    assert found["driver"] == f"shift from {OPUS} to {SONNET} in Production -$52.00"
    assert f"as cost moved to {found['counterpart']} (+$78.00)" in answer["summary"]
    assert answer["summary"].startswith("1 anomaly")
    assert "counterpart" not in csv["anomalies"][0]


async def test_models_that_change_in_different_workspaces_are_two_findings() -> None:
    org = PlantedOrg(
        [
            Workload(tokens_until((MOVED, 1), (None, 0)), model=OPUS),
            Workload(tokens_until((MOVED, 0), (None, 1)), RESEARCH, SONNET),
            Workload({UNCACHED: 1_000_000}, model=SONNET),
            Workload({UNCACHED: 1_000_000}, RESEARCH, model=OPUS),
        ]
    )
    async with client_of(org) as client:
        answer = await ask(client, "find_spend_anomalies", group_by=["model"])
    assert found(answer) == [("2026-11-09", OPUS), ("2026-11-09", SONNET)]
    assert not any("counterpart" in each for each in answer["anomalies"])


async def test_a_workspace_that_stops_is_found_and_dated_by_its_first_day_without_spend() -> None:
    org = PlantedOrg(
        [
            Workload({UNCACHED: 400_000_000}),
            Workload(
                lambda day: {UNCACHED: 1_000_000 + 1_000_000 * (day.day * 7 % 5 % 3)}, RESEARCH, end=date(2026, 11, 3)
            ),
        ]
    )
    async with client_of(org) as client:
        answer = await ask(client, "find_spend_anomalies")
    (stop,) = answer["anomalies"]
    assert (stop["label"], stop["start"], stop["end"]) == ("Research", "2026-11-04", "2026-11-21")
    assert (stop["cost"], stop["status"]) == ("0", "level_shift")


async def test_growth_by_2_percent_a_day_is_a_drift() -> None:
    begin = date(2026, 11, 1)
    org = PlantedOrg([Workload(lambda day: {UNCACHED: int(10**7 * 1.02 ** max(0, (day - begin).days + 1))})])
    async with client_of(org) as client:
        answer = await ask(client, "find_spend_anomalies")
    (drift,) = answer["anomalies"]
    assert drift["status"] == "drift"
    assert abs(date.fromisoformat(drift["start"]) - begin) <= timedelta(days=3)
    assert drift["driver"].startswith(f"more uncached input in Production / {OPUS} +$")


async def test_a_job_on_the_1st_of_each_month_is_no_finding_from_the_third_time_on() -> None:
    def tokens(day: date) -> Tokens:
        return {UNCACHED: 9_000_000 if day.day == 1 else 1_000_000}

    async with client_of(PlantedOrg([Workload(tokens)])) as client:
        for period in ("last_30_days", "this_month", "2026-09", "2026-10"):
            answer = await ask(client, "find_spend_anomalies", period=period)
            assert answer["anomalies"] == [], period
            assert answer["summary"].startswith("No anomalies in spend for")
    async with client_of(PlantedOrg([Workload(tokens, start=date(2026, 9, 15))])) as client:
        answer = await ask(client, "find_spend_anomalies", period="2026-11")
    assert [each["start"] for each in answer["anomalies"]] == ["2026-11-01"]


async def test_ten_days_of_history_show_a_large_spike_and_nothing_else() -> None:
    spike, first = date(2026, 11, 20), date(2026, 11, 11)
    org = PlantedOrg([Workload(lambda day: {UNCACHED: 10_000_000 if day == spike else 2_000_000}, start=first)])
    async with client_of(org) as client:
        answer = await ask(client, "find_spend_anomalies", period="2026-11-15..2026-11-21")
        calm = await ask(client, "find_spend_anomalies", period="2026-11-18..2026-11-19")
        unknown = await ask(client, "find_spend_anomalies", period="2026-11-11..2026-11-16")
    assert [(each["start"], each["cost"], each["expected"]) for each in answer["anomalies"]] == [
        ("2026-11-20", "50", "10")
    ]
    assert calm["summary"].startswith("No large spikes in spend for 2026-11-18 to 2026-11-19")
    assert "cannot be found: there is less than a week of history of 1 workspace." in unknown["summary"]
    for each in (answer, calm, unknown):
        assert "insufficient_history" in [note["code"] for note in each["notes"]]


async def test_a_new_workspace_is_dated_by_its_first_day() -> None:
    start = date(2026, 11, 6)
    org = PlantedOrg(
        [
            Workload({UNCACHED: 20_000_000}),
            Workload(lambda day: {UNCACHED: 300_000 if day == start else 4_000_000}, RESEARCH, start=start),
        ]
    )
    async with client_of(org) as client:
        answer = await ask(client, "find_spend_anomalies")
    (new,) = answer["anomalies"]
    assert (new["label"], new["start"], new["expected"], new["status"]) == (
        "Research",
        "2026-11-06",
        "0",
        "level_shift",
    )


@pytest.mark.parametrize("lag", [0.5, 1.5, 2.5])
async def test_days_that_are_not_billed_are_not_evaluated(lag: float) -> None:
    org = PlantedOrg([Workload({UNCACHED: 26_000_000})], billing_lag=timedelta(days=lag))
    async with client_of(org) as client:
        answer = await ask(client, "find_spend_anomalies")
        last = {0.5: "2026-11-21", 1.5: "2026-11-20", 2.5: "2026-11-19"}[lag]
        assert (answer["anomalies"], answer["period"]["end"]) == ([], last)
        assert ("not_billed_yet" in [note["code"] for note in answer["notes"]]) == (lag > 1)
        if lag > 1:
            assert f"a period that ends by {last}" in await refusal(client, "find_spend_anomalies", period="yesterday")


@pytest.mark.parametrize("period", ["today", "2026-11-22"])
async def test_today_alone_is_refused(client: Client, upstream: Upstream, period: str) -> None:
    assert "is not over" in await refusal(client, "find_spend_anomalies", period=period)
    assert not upstream.requests
