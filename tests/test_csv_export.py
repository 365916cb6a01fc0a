"""Answers as CSV: a head, every number as the structured answer has it, nothing that a spreadsheet would compute."""

import csv
import io
from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.harness import Connect, Upstream, ask
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.render import csv_export
from usage_cost_mcp.reports.registry import parse_answer

pytestmark = pytest.mark.anyio

KIND = ["model", "service_tier", "context_window", "inference_geo"]


async def asked(connect: Connect, tool: str, **arguments: Any) -> dict[str, Any]:
    """An answer without a bound, as the command line asks for it."""
    async with connect(max_answer_characters=None) as client:
        return await ask(client, tool, **arguments)


def as_csv(answer: dict[str, Any]) -> str:
    return csv_export.as_csv(parse_answer(answer).csv_rows())


def head(text: str) -> list[str]:
    return text.partition("\n")[0].split(",")


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def cells(values: Iterable[Any]) -> list[str]:
    """Values as a CSV reader gives them back."""
    return ["" if value is None else str(value).lower() if isinstance(value, bool) else str(value) for value in values]


@pytest.mark.parametrize(
    ("tool", "arguments", "measures"),
    [
        ("get_spend", {"period": "last_month"}, ["cost"]),
        ("get_spend", {"period": "this_week", "group_by": ["workspace_id", "model"]}, ["cost"]),
        ("get_spend", {"period": "2026-11", "group_by": ["description"], "granularity": "week"}, ["cost"]),
        ("get_spend", {"period": "last_month", "group_by": ["workspace_id"], "top": 2}, ["cost"]),
        ("get_token_usage", {"period": "today", "granularity": "hour"}, ["input_tokens", "output_tokens"]),
        ("get_token_usage", {"group_by": ["api_key_id"], "measures": ["output_tokens"]}, ["output_tokens"]),
        ("cache_hit_ratio", {"period": "last_week", "group_by": ["model"]}, ["cache_hit_ratio", "cache_savings"]),
    ],
)
async def test_a_series_is_a_line_for_each_group_in_each_bucket(
    connect: Connect, tool: str, arguments: dict[str, Any], measures: list[str]
) -> None:
    answer = await asked(connect, tool, **arguments)
    text = as_csv(answer)
    dimensions = arguments.get("group_by", [])
    assert head(text) == ["bucket", "partial", *dimensions, "label", "other_groups", *measures]
    expected = [
        cells(
            [
                bucket,
                bucket in answer["partial_buckets"],
                *((series["group"] or dict.fromkeys(dimensions)).values()),
                series["label"],
                series.get("other_groups"),
                *(series["values"][measure][index] for measure in measures),
            ]
        )
        for series in answer["series"]
        for index, bucket in enumerate(answer["buckets"])
    ]
    assert expected
    assert [list(line.values()) for line in lines(text)] == expected


async def test_a_day_under_way_and_the_groups_of_other_are_marked(connect: Connect) -> None:
    answer = await asked(connect, "get_spend", period="this_week", group_by=["model"], top=1)
    found = lines(as_csv(answer))
    assert {line["bucket"] for line in found if line["partial"] == "true"} == {"2026-11-22"}
    others = [line for line in found if line["other_groups"]]
    assert {(line["model"], line["label"], line["other_groups"]) for line in others} == {("", "Other (4 groups)", "4")}


async def test_an_estimate_says_so_in_each_line(connect: Connect) -> None:
    text = as_csv(await asked(connect, "get_spend", period="yesterday", group_by=["api_key_id"]))
    assert head(text) == ["bucket", "partial", "api_key_id", "label", "other_groups", "cost", "estimated"]
    assert {line["estimated"] for line in lines(text)} == {"true"}


@pytest.mark.parametrize(
    ("tool", "arguments", "name", "fields"),
    [
        (
            "list_dimension_values",
            {"dimension": "workspace_id"},
            "values",
            ["value", "label", "used", "cost", "cost_share", "credits", "tokens", "token_share"],
        ),
        (
            "compare_spend",
            {"period": "2026-10", "group_by": ["workspace_id", "model"], "top": 3},
            "groups",
            ["workspace_id", "model", "label", "cost", "previous_cost", "change", "status", "other_groups"],
        ),
        (
            "compare_spend",
            {"period": "2026-10", "group_by": []},
            "groups",
            ["label", "cost", "previous_cost", "change", "status", "other_groups"],
        ),
        (
            "find_spend_anomalies",
            {"period": "last_month"},
            "anomalies",
            ["workspace_id", "start", "end", "label", "cost", "expected", "excess", "status", "driver"],
        ),
        (
            "find_spend_anomalies",
            {"period": "last_week"},
            "anomalies",
            ["workspace_id", "start", "end", "label", "cost", "expected", "excess", "status", "driver"],
        ),
    ],
)
async def test_a_list_is_a_line_for_each_entry_with_a_head_even_when_it_is_empty(
    connect: Connect, tool: str, arguments: dict[str, Any], name: str, fields: list[str]
) -> None:
    answer = await asked(connect, tool, **arguments)
    text = as_csv(answer)
    assert head(text) == fields
    records: list[dict[str, Any]] = [{**each, **(each.get("group") or {})} for each in answer[name]]
    assert [list(line.values()) for line in lines(text)] == [cells(map(each.get, fields)) for each in records]


async def test_a_forecast_is_a_line_for_each_day(connect: Connect) -> None:
    answer = await asked(connect, "forecast_spend", budget=8000)
    days = zip(answer["buckets"], *answer["cumulative"].values(), strict=True)
    assert [tuple(line.values()) for line in lines(as_csv(answer))] == list(days)
    assert head(as_csv(answer)) == ["day", "expected", "low", "high"]


async def test_prices_are_a_line_for_each_token_type_and_what_has_none_says_why(connect: Connect) -> None:
    answer = await asked(connect, "get_effective_prices", period="2026-05..2026-08")
    text = as_csv(answer)
    assert head(text) == [*KIND, "token_type", "usd_per_million_tokens", "lowest", "highest", "reason"]
    priced = [
        cells([*each["group"].values(), kind, price, *each.get("range", {}).get(kind, (price, price)), None])
        for each in answer["prices"]
        for kind, price in each["usd_per_million_tokens"].items()
    ]
    unpriced = [
        cells([*each["group"].values(), kind, None, None, None, each["reason"]])
        for each in answer["unpriced"]
        for kind in each["token_types"]
    ]
    assert priced
    assert unpriced
    assert any(line["lowest"] != line["highest"] for line in lines(text))
    assert [list(line.values()) for line in lines(text)] == [*priced, *unpriced]


async def test_a_status_is_a_line_for_each_field(connect: Connect) -> None:
    answer = await asked(connect, "get_status")
    found = {line["key"]: line["value"] for line in lines(as_csv(answer))}
    assert found["organization.name"] == "Demo Organization"
    assert found["usage_mix.tokens"] == str(answer["usage_mix"]["tokens"])
    assert found["demo"] == "true"
    assert [found[f"limits.{index}"] for index in range(len(answer["limits"]))] == answer["limits"]


@pytest.mark.parametrize(
    "name", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "=1", "-", "+1", "\uff1d1+1", "\uff0bA1", "\uff20A1"]
)
async def test_a_name_of_theirs_is_never_a_formula(connect: Connect, upstream: Upstream, name: str) -> None:
    def hostile(request: Request) -> Response | None:
        response = upstream.respond(request)
        for workspace in response.body["data"] if request.path.endswith("workspaces") else ():
            workspace["name"] = name
        return response

    upstream.override = hostile
    async with connect() as client:
        values = await ask(client, "list_dimension_values", dimension="workspace_id")
        spend = await ask(client, "get_spend", group_by=["workspace_id"])
        changes = await ask(client, "compare_spend", group_by=["workspace_id"])
    for answer in (values, spend, changes):
        labels = {line["label"] for line in lines(as_csv(answer))} - {"Default workspace"}
        assert labels
        assert all(label.startswith(f"'{name}") for label in labels)


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\n=1"])
def test_a_text_that_hides_a_formula_behind_white_space_is_no_formula_either(text: str) -> None:
    assert f"'{text}" in csv_export.as_csv([["summary"], [text]])


@pytest.mark.parametrize("number", ["-450", "-0.000000000000000001", "12.50", -3, 0.25])
def test_a_number_stays_as_it_is(number: str | float) -> None:
    assert lines(csv_export.as_csv([["amount"], [number]])) == [{"amount": str(number)}]


@pytest.mark.parametrize("name", ['a "quoted", listed\nname', "a;b", "'", ""])
def test_any_other_text_comes_back_as_it_was(name: str) -> None:
    assert lines(csv_export.as_csv([["name", "value"], [name, 1]])) == [{"name": name, "value": "1"}]
