"""What `get_effective_prices` says: the price of every cell, to the last digit, or why it has none."""

from collections import defaultdict
from collections.abc import Generator
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest
from mcp import Client

from tests.support.generated_orgs import (
    DAY,
    SPEND,
    GeneratedOrg,
    Harness,
    Row,
    billed,
    open_harness,
    used,
)
from tests.support.harness import NOW, Connect, Upstream, ask, refusal, text_of
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.demo.organization import MINUTES_PER_DAY, TOKEN_TYPES, Organization, Stream
from usage_cost_mcp.render.terminal import render
from usage_cost_mcp.reports.registry import parse_answer

DEMO = Organization(NOW.date())
Kind = tuple[str, str, str, str]
MONTHS = [f"{2024 + n // 12}-{n % 12 + 1:02}" for n in range(10, 34)]
"""The 24 complete months of the demo organization."""

pytestmark = pytest.mark.anyio


def kind(stream: Stream) -> Kind:
    return stream.model, stream.tier, stream.context, stream.inference_geo


def true_prices(month: str) -> dict[Kind, dict[str, Fraction]]:
    """Dollars per million tokens of everything that was used in a month and is billed."""
    prices: dict[Kind, dict[str, Fraction]] = defaultdict(dict)
    day = date.fromisoformat(f"{month}-01")
    while day.isoformat().startswith(month):
        for stream, counts in DEMO.usage(day, 0, MINUTES_PER_DAY):
            for token_type, count in zip(TOKEN_TYPES, counts, strict=False):
                if count and stream.tier != "priority":
                    prices[kind(stream)][token_type] = Fraction(DEMO.price(stream, token_type, day))
        day += timedelta(days=1)
    return prices


def told_prices(answer: dict[str, Any]) -> dict[Kind, dict[str, Fraction]]:
    return {
        tuple(row["group"].values()): {name: Fraction(price) for name, price in row["usd_per_million_tokens"].items()}
        for row in answer["prices"]
    }


async def test_every_price_of_every_month_is_the_true_one(connect: Connect) -> None:
    kinds: set[str] = set()
    async with connect(max_answer_characters=None) as client:
        for month in MONTHS:
            answer = await ask(client, "get_effective_prices", period=month)
            assert told_prices(answer) == true_prices(month)
            assert not {"prices_rounded", "prices_changed"} & {note["code"] for note in answer["notes"]}
            kinds |= {value for row in answer["prices"] for value in row["group"].values()}
    assert {"batch", "200k-1M", "us", "claude-haiku-4-5"} <= kinds


async def test_the_costs_of_all_rows_are_the_bill_of_tokens(client: Client) -> None:
    answer = await ask(client, "get_effective_prices", period="2026-10")
    bill = await ask(client, "get_spend", period="2026-10", filter_by={"cost_type": "tokens"}, granularity="total")
    rows = [*answer["prices"], *answer["unpriced"]]
    assert sum(Fraction(row["cost"]) for row in rows) == Fraction(bill["totals"]["cost"])
    used = await ask(client, "get_token_usage", period="2026-10", granularity="total")
    assert sum(row["tokens"] for row in rows) == used["totals"]["input_tokens"] + used["totals"]["output_tokens"]


async def test_a_price_that_changed_is_told_with_what_it_was_and_became(client: Client) -> None:
    answer = await ask(client, "get_effective_prices", period="2026-05-15..2026-06-15")
    changed = {tuple(row["group"].values()): row["range"] for row in answer["prices"] if "range" in row}
    assert {model for model, *_ in changed} == {"claude-sonnet-4-6"}
    assert changed["claude-sonnet-4-6", "standard", "0-200k", "global"]["output_tokens"] == ["12.5", "15"]
    (note,) = [note["message"] for note in answer["notes"] if note["code"] == "prices_changed"]
    assert "claude-sonnet-4-6" in note
    assert "shorter period" in note


async def test_priority_tier_is_listed_as_what_cannot_be_priced(client: Client) -> None:
    (row,) = (await ask(client, "get_effective_prices", period="2026-10"))["unpriced"]
    assert row["group"]["service_tier"] == "priority"
    assert (row["cost"], row["tokens"] > 0) == ("0", True)
    assert "Anthropic does not report its cost" in row["reason"]


async def test_what_is_not_made_of_tokens_is_left_out_with_its_total(client: Client) -> None:
    notes = {note["code"]: note["message"] for note in (await ask(client, "get_effective_prices"))["notes"]}
    assert "web_search" in notes["other_costs_excluded"]
    narrow = await ask(client, "get_effective_prices", filter_by={"model": "claude-opus-4-6"})
    assert "other_costs_excluded" not in {note["code"] for note in narrow["notes"]}


async def test_filters_take_names_and_narrow_both_reports(client: Client) -> None:
    wanted = {"workspace_id": "Production", "model": "Claude-Sonnet-4.6", "token_type": "output_tokens"}
    answer = await ask(client, "get_effective_prices", period="2026-10", filter_by=wanted)
    assert told_prices(answer) == {
        ("claude-sonnet-4-6", "standard", "0-200k", "global"): {"output_tokens": Fraction(25, 2)},
        ("claude-sonnet-4-6", "standard", "0-200k", "us"): {"output_tokens": Fraction(55, 4)},
    }


async def test_a_filter_that_only_the_usage_report_knows_is_not_called_unknown(client: Client) -> None:
    answer = await ask(client, "get_effective_prices", filter_by={"service_tier": "priority"})
    assert "filter_matches_nothing" not in {note["code"] for note in answer["notes"]}
    assert "no cost with tokens to divide it by" in answer["summary"]


async def test_dimensions_that_set_no_price_are_refused(client: Client) -> None:
    said = await refusal(client, "get_effective_prices", filter_by={"api_key_id": ["web-backend"]})
    assert "Accepted: workspace_id, model, service_tier, context_window, inference_geo, speed, token_type" in said


async def test_both_reports_are_read_side_by_side_and_only_once(client: Client, upstream: Upstream) -> None:
    first = await ask(client, "get_effective_prices", period="2026-10")
    assert first["cache"] == {"status": "miss", "upstream_requests": 2}
    assert (upstream.asked("cost_report"), upstream.asked("messages")) == (1, 1)
    again = await ask(client, "get_effective_prices", period="2026-10-05..2026-10-11")
    assert again["cache"] == {"status": "hit", "upstream_requests": 0}


async def test_fewer_rows_say_how_many_are_missing(client: Client) -> None:
    answer = await ask(client, "get_effective_prices", period="2026-10", top=2)
    everything = await ask(client, "get_effective_prices", period="2026-10")
    assert len(answer["prices"]) == 2
    assert answer["prices"] == everything["prices"][:2]
    assert answer["omitted"] == len(everything["prices"]) - 2
    assert [note["code"] for note in answer["notes"]][-1] == "prices_omitted"


async def test_the_text_half_is_one_table_of_all_prices(client: Client) -> None:
    result = await client.call_tool("get_effective_prices", {"period": "2026-10"})
    assert "|claude-sonnet-4-6, standard, 0-200k, us|2.75|0.275|3.4375|5.5|13.75|$" in text_of(result)
    assert "Anthropic does not report its cost|" in text_of(result)
    assert "$5 per million uncached input tokens and $25 per million output tokens" in text_of(result)
    assert "13.75" in render(parse_answer(result.structured_content or {}))


async def test_a_bill_that_cannot_be_read_gives_no_prices(client: Client, upstream: Upstream) -> None:
    def refused(request: Request) -> Response | None:
        return Response({}, 403) if request.path.endswith("cost_report") else None

    upstream.override = refused
    assert "may not read" in await refusal(client, "get_effective_prices")


@pytest.fixture(scope="module")
def house() -> Generator[Harness]:
    with open_harness() as house:
        yield house


def prices_in(house: Harness, bill: list[Row], use: list[Row]) -> dict[str, Any]:
    house.enter(GeneratedOrg(SPEND, (DAY, DAY), bill, other_report=use))
    return house.ask("get_effective_prices", period=str(DAY))


def test_a_price_without_end_is_rounded_and_says_so(house: Harness) -> None:
    answer = prices_in(house, [billed("100", "uncached_input_tokens")], [used(3_000_000)])
    assert answer["prices"][0]["usd_per_million_tokens"] == {"uncached_input_tokens": "0.333333"}
    assert "prices_rounded" in {note["code"] for note in answer["notes"]}


def test_tokens_without_cost_and_cost_without_tokens_are_told_apart(house: Harness) -> None:
    bill = [billed("100", "output_tokens", model="claude-haiku-4-5"), billed("300", "uncached_input_tokens")]
    answer = prices_in(house, bill, [used(1_000_000, 5)])
    assert [row["usd_per_million_tokens"] for row in answer["prices"]] == [{"uncached_input_tokens": "3"}]
    assert [(row["group"]["model"], row["token_types"], row["reason"]) for row in answer["unpriced"]] == [
        ("claude-haiku-4-5", ["output_tokens"], "cost without tokens"),
        ("claude-opus-4-6", ["cache_read_input_tokens"], "tokens without cost"),
    ]


def test_a_cell_is_pooled_over_workspaces(house: Harness) -> None:
    bill = [billed("300", "output_tokens"), billed("100", "output_tokens", workspace_id="wrkspc_one")]
    use = [used(0, 0, 0, 0, 100_000), used(0, 0, 0, 0, 300_000, workspace_id="wrkspc_one")]
    (row,) = prices_in(house, bill, use)["prices"]
    assert (row["usd_per_million_tokens"], row["cost"], row["tokens"]) == ({"output_tokens": "10"}, "4", 400_000)


def test_a_place_that_one_report_does_not_name_is_the_same_place(house: Harness) -> None:
    bill = [billed("100", "output_tokens", inference_geo=None)]
    (row,) = prices_in(house, bill, [used(0, 0, 0, 0, 1_000_000, inference_geo="not_available")])["prices"]
    assert row["usd_per_million_tokens"] == {"output_tokens": "1"}
