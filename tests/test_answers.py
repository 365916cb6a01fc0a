"""Answers fit: brief by default, bounded always, whole from the shell; what was shortened says so."""

import json
import re
from fractions import Fraction
from typing import Any

import pytest
from markdown_it import MarkdownIt
from mcp import Client
from mcp.types import CallToolResult

from tests.support.harness import Connect, Upstream, ask, refusal, text_of
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.render.markdown import escaped

pytestmark = pytest.mark.anyio

ALL = ["workspace_id", "model", "token_type", "service_tier", "context_window", "inference_geo"]


def halves(result: CallToolResult) -> tuple[int, int]:
    """The characters of the text and of the structured half."""
    return len(text_of(result)), len(json.dumps(result.structured_content, ensure_ascii=False, separators=(",", ":")))


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("get_spend", {}),
        ("get_spend", {"group_by": ["model"]}),
        ("get_spend", {"group_by": ["workspace_id"], "period": "this_year"}),
        ("get_spend", {"group_by": ALL, "period": "2025"}),
        ("get_token_usage", {"group_by": ["api_key_id"]}),
        ("get_token_usage", {"group_by": ["api_key_id"], "measures": ["all"]}),
        ("cache_hit_ratio", {"group_by": ["workspace_id", "model"], "period": "last_quarter"}),
        ("get_effective_prices", {}),
        ("get_effective_prices", {"period": "2025"}),
        ("list_dimension_values", {"dimension": "description"}),
        ("get_status", {}),
    ],
    ids=str,
)
async def test_a_default_answer_is_brief_in_both_halves(client: Client, tool: str, arguments: dict[str, Any]) -> None:
    result = await client.call_tool(tool, arguments)
    assert max(halves(result)) < 6_000


async def test_any_answer_stays_within_the_bound_and_its_totals_exact(client: Client, connect: Connect) -> None:
    wide = {"period": "2026", "group_by": ALL, "granularity": "day", "top": 100}
    result = await client.call_tool("get_spend", wide)
    assert max(halves(result)) < 40_000
    answer = result.structured_content
    assert answer is not None
    async with connect(max_answer_characters=None) as unbounded:
        whole = await ask(unbounded, "get_spend", **wide)
    assert (whole["granularity"], len(whole["buckets"])) == ("day", 326)
    assert answer["totals"] == whole["totals"]
    assert sum(Fraction(series["totals"]["cost"]) for series in answer["series"]) == Fraction(whole["totals"]["cost"])


async def test_a_shortened_answer_says_what_was_asked_and_how_to_see_it(client: Client) -> None:
    answer = await ask(client, "get_spend", period="2025", group_by=["model"])
    assert answer["granularity"] == "week"
    (note,) = [note for note in answer["notes"] if note["code"] == "granularity_reduced"]
    assert "per week instead of per day" in note["message"]
    assert "granularity=day" in note["message"]
    asked = await ask(client, "get_spend", period="2025", group_by=["model"], granularity="day")
    assert (asked["granularity"], len(asked["buckets"])) == ("day", 365)
    assert asked["totals"] == answer["totals"]


async def test_groups_are_folded_only_when_coarser_buckets_do_not_suffice(connect: Connect) -> None:
    async with connect(max_answer_characters=4_000) as client:
        answer = await ask(client, "get_spend", period="2026-10", group_by=ALL, granularity="day", top=100)
    assert answer["granularity"] in {"week", "total"}
    assert answer["series"][-1]["group"] is None
    assert {"granularity_reduced", "groups_merged"} <= {note["code"] for note in answer["notes"]}


async def test_weeks_are_never_passed_off_as_months(connect: Connect) -> None:
    wanted = {"period": "2025-11-01..2026-11-22", "group_by": ["model"], "granularity": "week", "top": 100}
    async with connect(max_answer_characters=4_000) as client:
        assert (await ask(client, "get_spend", **wanted))["granularity"] in {"week", "total"}


async def test_long_filters_are_counted_instead_of_repeated(client: Client) -> None:
    ids = [f"apikey_{number}" for number in range(60)]
    answer = await ask(client, "get_token_usage", period="2026-10", filter_by={"api_key_id": ids})
    assert "any of 60 api_key_id values" in answer["summary"]
    assert len([note for note in answer["notes"] if note["code"] == "filter_matches_nothing"]) == 1


async def test_a_question_longer_than_any_answer_is_refused(client: Client) -> None:
    ids = [f"wrkspc_{number:040}" for number in range(1000)]
    said = await refusal(client, "get_spend", filter_by={"workspace_id": ids})
    assert "name fewer values in filter_by" in said


async def test_a_week_is_named_by_its_monday_and_a_cut_one_says_so(client: Client) -> None:
    answer = await ask(client, "get_spend", period="2026-10", granularity="week")
    assert answer["buckets"] == ["2026-09-28", "2026-10-05", "2026-10-12", "2026-10-19", "2026-10-26"]
    assert {"first_bucket_partial", "last_bucket_partial"} <= {note["code"] for note in answer["notes"]}
    whole = await ask(client, "get_spend", period="2026-10-05..2026-10-18", granularity="week")
    assert not {"first_bucket_partial", "last_bucket_partial"} & {note["code"] for note in whole["notes"]}


@pytest.mark.parametrize("period", ["2026-10-01..2026-10-07", "2026-10"])
async def test_the_text_half_holds_every_group_of_every_bucket(client: Client, period: str) -> None:
    wanted = {"period": period, "group_by": ["workspace_id"], "granularity": "day", "measures": ["output_tokens"]}
    result = await client.call_tool("get_token_usage", wanted)
    answer = result.structured_content
    assert answer is not None
    for series in answer["series"]:
        assert series["label"] in text_of(result)
        for count in series["values"]["output_tokens"]:
            assert f"|{count:,}|" in text_of(result)


async def test_months_and_weeks_under_way_or_partly_in_the_period_are_partial(client: Client) -> None:
    months = await ask(client, "get_spend", period="2026-10..2026-11", granularity="month")
    assert (months["buckets"], months["partial_buckets"]) == (["2026-10", "2026-11"], ["2026-11"])
    weeks = await ask(client, "get_spend", period="last_7_days", granularity="week")
    assert weeks["partial_buckets"] == ["2026-11-09", "2026-11-16"]


async def test_values_that_do_not_fit_are_counted(connect: Connect) -> None:
    async with connect() as client:
        everything = await ask(client, "list_dimension_values", dimension="description", top=1000)
        few = await ask(client, "list_dimension_values", dimension="description", top=3)
    assert (everything["omitted"], len(few["values"])) == (0, 3)
    assert few["omitted"] == len(everything["values"]) - 3
    assert few["notes"][-1]["code"] == "values_omitted"


async def test_names_that_look_like_markup_stay_plain(client: Client, upstream: Upstream) -> None:
    def hostile(request: Request) -> Response | None:
        if not request.path.endswith("workspaces"):
            return None
        response = upstream.respond(request)
        response.body["data"][0]["name"] = "![x](http://e.example)|<b>\u202e\n# big"
        return response

    upstream.override = hostile
    result = await client.call_tool("get_spend", {"period": "2026-10", "group_by": ["workspace_id"]})
    text = text_of(result)
    assert "![x](" not in text
    assert "\\!\\[x\\](http:\\//e.example)\\|\\<b\\>\\# big" in text
    assert "\u202e" not in text


@pytest.mark.parametrize(
    "name",
    [
        "![x](https://e.example/x.png)",
        "[click](javascript:alert)",
        "<https://e.example>",
        "https://e.example/?q=1",
        "WWW.e.example",
        "# heading",
        "``` fence",
        "~~~ fence",
        "a | b",
        "**bold** `code`",
        "<img src=x>",
        "\\| twice escaped",
    ],
)
def test_a_name_is_never_markup(name: str) -> None:
    """Rendered by the reference parser with GitHub's extensions, it is the name again and nothing else."""
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    tokens = parser.parseInline(escaped(name))[0].children or []
    assert {token.type for token in tokens} <= {"text", "text_special", "escape"}
    assert "".join(token.content for token in tokens) == name
    assert not re.search(r"://|www\.|^#|\|(?<!\\\|)", escaped(name), re.IGNORECASE)
