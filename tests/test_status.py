"""What `get_status` says: whom we are connected to, how new the data is, what it can never say."""

from datetime import UTC, datetime, timedelta

import pytest
from mcp import Client

from tests.support import oracle
from tests.support.harness import Connect, FrozenClock, Upstream, ask, refusal, text_of
from usage_cost_mcp.demo.http import Response

pytestmark = pytest.mark.anyio


async def test_status_names_the_organization_the_key_and_the_newest_data(client: Client) -> None:
    status = await ask(client, "get_status")
    assert status["organization"]["name"] == "Demo Organization"
    assert status["key"] == {"kind": "admin", "source": "the demo"}
    assert status["newest_data"] == {"spend": "2026-11-22", "usage": "2026-11-22", "billed_through": "2026-11-21"}
    assert (status["today"], status["provisional_since"]) == ("2026-11-22", "2026-11-19")
    assert status["demo"] is True


async def test_status_says_what_is_held(client: Client) -> None:
    await ask(client, "get_spend", period="2026-10")
    held = (await ask(client, "get_status"))["cached"]
    assert held["days"] == (31 + 22) + 31
    assert held["rows"] > held["days"]


async def test_status_says_what_the_numbers_leave_out(client: Client) -> None:
    result = await client.call_tool("get_status", {})
    assert "excludes Priority Tier cost" in text_of(result)
    assert "latest spend 2026-11-22" in text_of(result)


async def test_a_key_that_is_refused_is_an_error_and_not_a_status(client: Client, upstream: Upstream) -> None:
    upstream.override = lambda _: Response({"type": "error", "error": {"type": "authentication_error"}}, 401)
    assert "does not accept the Admin key" in await refusal(client, "get_status")


@pytest.mark.parametrize(("today", "codes"), [("2026-11-22", []), ("2025-02-15", ["dominant_model"])])
async def test_status_says_what_the_last_30_complete_days_were_made_of(
    connect: Connect, clock: FrozenClock, upstream: Upstream, today: str, codes: list[str]
) -> None:
    clock.moment = datetime.fromisoformat(f"{today}T14:30").replace(tzinfo=UTC)
    async with connect() as client:
        status = await ask(client, "get_status")
    first, last = (str(clock.moment.date() - timedelta(days=ago)) for ago in (30, 1))
    usage = oracle.tokens(upstream.url, first, last, ["context_window", "service_tier"])
    sizes = {
        group: sum(counts[name] for counts in days.values() for name in (*oracle.INPUTS, "output_tokens"))
        for group, days in usage.items()
    }
    tokens = sum(sizes.values())
    spent = oracle.charges(upstream.url, first, last, "model")
    model = max(spent, key=lambda each: spent[each])
    share = float(spent[model] / sum(spent.values()))

    def part(value: str) -> object:
        return pytest.approx(sum(size for group, size in sizes.items() if value in group) / tokens, abs=1e-4)

    assert status["usage_mix"] == {
        "start": first,
        "end": last,
        "tokens": tokens,
        "long_context_share": part("200k-1M"),
        "batch_share": part("batch"),
        "priority_share": part("priority"),
        "largest_model": model,
        "largest_model_cost_share": pytest.approx(share, abs=1e-4),
    }
    assert [note["code"] for note in status["notes"]] == codes
    assert (share > 0.5) == bool(codes)
    assert all(note["message"] == f"{model} alone accounts for {share:.0%} of the spend." for note in status["notes"])


async def test_status_asks_each_report_once(client: Client, upstream: Upstream) -> None:
    status = await ask(client, "get_status")
    assert status["cache"]["upstream_requests"] == 3
    assert (upstream.asked("cost_report"), upstream.asked("usage_report/messages")) == (1, 1)


async def test_without_use_status_has_no_shares(connect: Connect, clock: FrozenClock) -> None:
    clock.moment = datetime(2023, 5, 10, tzinfo=UTC)
    async with connect() as client:
        result = await client.call_tool("get_status", {})
    assert result.structured_content is not None
    mix = result.structured_content["usage_mix"]
    assert {value for name, value in mix.items() if name not in {"start", "end", "tokens"}} == {None}
    assert "Usage mix 2023-04-10 to 2023-05-09: no usage" in text_of(result)
