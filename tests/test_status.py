"""What `get_status` says: whom we are connected to, how new the data is, what it can never say."""

import pytest
from conftest import Upstream, ask, refusal, text_of
from mcp import Client

from usage_cost_mcp.demo.http import Response

pytestmark = pytest.mark.anyio


async def test_status_names_the_organization_the_key_and_the_newest_data(client: Client) -> None:
    status = await ask(client, "get_status")
    assert status["organization"]["name"] == "Demo Organization"
    assert status["key"] == {"kind": "admin", "source": "the demo"}
    assert status["newest_data"] == {"spend": "2026-11-22", "usage": "2026-11-22"}
    assert (status["today"], status["provisional_since"]) == ("2026-11-22", "2026-11-19")
    assert status["demo"] is True


async def test_status_says_what_is_held(client: Client) -> None:
    await ask(client, "get_spend", period="2026-10")
    held = (await ask(client, "get_status"))["held"]
    assert held["days"] == 31 + 4 + 4
    assert held["rows"] > held["days"]


async def test_status_says_what_the_numbers_leave_out(client: Client) -> None:
    result = await client.call_tool("get_status", {})
    assert "no Priority Tier cost" in text_of(result)
    assert "newest spend 2026-11-22" in text_of(result)


async def test_a_key_that_is_refused_is_an_error_and_not_a_status(client: Client, upstream: Upstream) -> None:
    upstream.instead = lambda _: Response({"type": "error", "error": {"type": "authentication_error"}}, 401)
    assert "does not accept the Admin key" in await refusal(client, "get_status")
