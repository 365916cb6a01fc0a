"""Faults of the Admin API: an error that says what to do, never a smaller number."""

from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client

from tests.support.canary import KEY
from tests.support.harness import Connect, FrozenClock, Upstream, ask, error, on, refusal
from usage_cost_mcp.demo.http import Request, Response

pytestmark = pytest.mark.anyio

Edit = Callable[[dict[str, Any]], object]


def first(count: int, response: Response) -> Callable[[Request], Response | None]:
    """The first few report requests fail, the others do not."""
    left = [response] * count
    return lambda request: left.pop() if left and request.path.endswith(("_report", "messages")) else None


@pytest.fixture
def edited(upstream: Upstream) -> Callable[[str, Edit], None]:
    """Change the body of the responses of a path."""

    def change(path: str, edit: Edit) -> None:
        def instead(request: Request) -> Response | None:
            if not request.path.endswith(path):
                return None
            response = upstream.respond(request)
            edit(response.body)
            return response

        upstream.override = instead

    return change


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (error(401, "authentication_error"), "does not accept the Admin key from the demo (401, request-id req_test1)"),
        (error(403, "permission_error"), "may not read /v1/organizations/cost_report (403"),
        (error(400, "invalid_request_error"), "rejected the server's request"),
        (error(404, "not_found_error"), "answered 404"),
        (error(307, headers={"location": "http://127.0.0.1:9/"}), "answered 307"),
        (error(204), "answered 204"),
    ],
    ids=lambda value: value.status if isinstance(value, Response) else "",
)
async def test_a_rejection_is_described_in_our_words_and_not_retried(
    client: Client, upstream: Upstream, response: Response, message: str
) -> None:
    upstream.override = on("cost_report", response)
    sentence = await refusal(client, "get_spend", period="yesterday")
    assert message in sentence
    assert "upstream text" not in sentence
    # A rejected request of the cost report may be due to its beta header, so it is sent once more without.
    assert len(upstream.requests) == (2 if response.status == 400 else 1)


async def test_a_bad_request_names_the_parameter_that_upstream_named(client: Client, upstream: Upstream) -> None:
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": "bucket_width: no such width"}}
    upstream.override = on("cost_report", Response(body, 400))
    assert "It names bucket_width." in await refusal(client, "get_spend", period="yesterday")


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_a_transient_fault_is_retried_and_the_answer_is_complete(
    connect: Connect, upstream: Upstream, status: int
) -> None:
    async with connect() as client:
        whole = await ask(client, "get_spend", period="2026-10")
    upstream.override = first(2, error(status))
    async with connect() as client:
        answer = await ask(client, "get_spend", period="2026-10")
    assert answer["totals"] == whole["totals"]
    assert answer["cache"]["upstream_requests"] == 3


@pytest.mark.parametrize("status", [500, 529])
async def test_a_persistent_fault_is_an_error_after_four_attempts(
    client: Client, upstream: Upstream, status: int
) -> None:
    upstream.override = on("cost_report", error(status))
    assert "the API is unavailable at the moment" in await refusal(client, "get_spend", period="yesterday")
    assert len(upstream.requests) == 4


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "2500"}, 2.5),
        ({"anthropic-ratelimit-requests-reset": "2026-11-22T14:30:20Z"}, 20),
    ],
    ids=["retry-after", "retry-after-ms", "reset"],
)
async def test_a_rate_limit_is_waited_out_for_as_long_as_upstream_says(
    connect: Connect, clock: FrozenClock, upstream: Upstream, headers: dict[str, str], waited: float
) -> None:
    upstream.override = first(1, error(429, headers=headers))
    start = clock.moment
    async with connect() as client:
        await ask(client, "get_spend", period="yesterday")
    assert (clock.moment - start).total_seconds() == waited


async def test_a_rate_limit_that_outlasts_the_call_says_when_to_ask_again(client: Client, upstream: Upstream) -> None:
    upstream.override = on("cost_report", error(429, headers={"retry-after": "90"}))
    message = await refusal(client, "get_spend", period="yesterday")
    assert "Ask again in 90 seconds (at 14:31:30 UTC)" in message
    assert len(upstream.requests) == 1


async def test_a_spend_cap_is_not_waited_for(client: Client, upstream: Upstream) -> None:
    message = "You will regain access on 2026-12-01 at 00:00 UTC."
    details = {"error_code": "enforced_spend_limit_reached"}
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": message, "details": details}}
    upstream.override = on("cost_report", Response(body, 429))
    message = await refusal(client, "get_spend", period="yesterday")
    assert "monthly spend limit" in message
    assert "until 2026-12-01" in message
    assert len(upstream.requests) == 1


async def test_upstream_may_forbid_a_retry(client: Client, upstream: Upstream) -> None:
    upstream.override = on("cost_report", error(500, headers={"x-should-retry": "false"}))
    await refusal(client, "get_spend", period="yesterday")
    assert len(upstream.requests) == 1


async def test_no_connection_names_the_host(connect: Connect, upstream: Upstream) -> None:
    async with connect() as client:
        await ask(client, "get_spend", period="yesterday")
    upstream.url = "http://127.0.0.1:9"
    async with connect() as client:
        assert "No connection to 127.0.0.1:9" in await refusal(client, "get_spend", period="yesterday")


async def test_a_failed_read_gives_no_total_but_keeps_the_pages_that_arrived(
    client: Client, upstream: Upstream
) -> None:
    def october_fails(request: Request) -> Response | None:
        return error(400) if ("starting_at", "2026-10-02T00:00:00Z") in request.query else None

    upstream.override = october_fails
    message = await refusal(client, "get_spend", period="2026-08-01..2026-10-29")
    assert "rejected the server's request" in message
    upstream.override = lambda _: None
    answer = await ask(client, "get_spend", period="2026-08-01..2026-10-29")
    assert answer["totals"]["cost"] != "0"


UNREADABLE: dict[str, Edit] = {
    "no data": lambda body: body.pop("data"),
    "no has_more": lambda body: body.pop("has_more"),
    "no results": lambda body: body["data"][0].pop("results"),
    "no start": lambda body: body["data"][0].pop("starting_at"),
    "no amount": lambda body: body["data"][0]["results"][0].pop("amount"),
    "amount as a number": lambda body: body["data"][0]["results"][0].update(amount=12.5),
    "amount with an exponent": lambda body: body["data"][0]["results"][0].update(amount="1e3"),
    "other currency": lambda body: body["data"][0]["results"][0].update(currency="EUR"),
    "no workspace": lambda body: body["data"][0]["results"][0].pop("workspace_id"),
    "other width": lambda body: body["data"][0].update(ending_at="2026-11-25T00:00:00Z"),
    "another day": lambda body: body["data"][0].update(
        starting_at="2026-11-20T00:00:00Z", ending_at="2026-11-21T00:00:00Z"
    ),
    "a day twice": lambda body: body["data"].append({**body["data"][0], "results": []}),
    "no more, but a next page": lambda body: body.update(has_more=False, next_page="page_2"),
    "no next page": lambda body: body.update(has_more=True, next_page=None),
    "an empty object": lambda body: body.clear(),
}


@pytest.mark.parametrize("fault", UNREADABLE)
async def test_an_unreadable_200_is_an_error_and_never_a_zero(
    client: Client, edited: Callable[[str, Edit], None], fault: str
) -> None:
    edited("cost_report", UNREADABLE[fault])
    assert "no total is reported" in (await refusal(client, "get_spend", period="yesterday")).lower()


async def test_a_repeated_page_token_is_an_error(client: Client, upstream: Upstream) -> None:
    def again(request: Request) -> Response:
        query = [pair for pair in request.query if pair[0] != "page"]
        response = upstream.respond(Request(request.path, query, request.headers))
        response.body.update(has_more=True, next_page="page_again")
        return response

    upstream.override = again
    assert "the same page token twice" in await refusal(client, "get_spend", period="yesterday")
    assert len(upstream.requests) == 2


UNREADABLE_ROWS: dict[str, Edit] = {
    "no count": lambda row: row.pop("output_tokens"),
    "a negative count": lambda row: row.update(output_tokens=-1),
    "a count as text": lambda row: row.update(output_tokens="12"),
    "no cache writes": lambda row: row.pop("cache_creation"),
    "no grouped dimension": lambda row: row.pop("model"),
}


@pytest.mark.parametrize("fault", UNREADABLE_ROWS)
async def test_an_unreadable_usage_row_is_an_error(
    client: Client, edited: Callable[[str, Edit], None], fault: str
) -> None:
    edited("messages", lambda body: UNREADABLE_ROWS[fault](body["data"][0]["results"][0]))
    assert "o total is reported" in await refusal(client, "get_token_usage", period="yesterday", group_by=["model"])


async def test_unknown_fields_and_values_are_accepted(client: Client, edited: Callable[[str, Edit], None]) -> None:
    before = await ask(client, "get_spend", period="yesterday", group_by=["service_tier"])

    def news(body: dict[str, Any]) -> None:
        body["brand_new"] = {"anything": 1}
        body["data"][0]["results"][0].update(service_tier="hyperspeed", surprise=[1, 2])

    edited("cost_report", news)
    after = await ask(client, "get_spend", period="2026-10-20", group_by=["service_tier"])
    assert "hyperspeed" in [series["label"] for series in after["series"]]
    assert before["series"]


async def test_a_day_that_upstream_omits_is_zero_with_a_note(
    client: Client, edited: Callable[[str, Edit], None]
) -> None:
    edited("cost_report", lambda body: body["data"].pop(1))
    answer = await ask(client, "get_spend", period="2026-11-10..2026-11-14")
    assert answer["bucket_totals"]["cost"][1] == "0"
    (note,) = [note for note in answer["notes"] if note["code"] == "days_not_reported"]
    assert note["message"] == "Anthropic's response omits 2026-11-11, wholly or partly; counted as zero."


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_forbidden_names_do_not_affect_the_numbers(connect: Connect, upstream: Upstream, status: int) -> None:
    upstream.override = on("workspaces", error(status))
    async with connect() as client:
        answer = await ask(client, "get_spend", period="2026-10", group_by=["workspace_id"])
        message = await refusal(client, "get_spend", period="2026-10", filter_by={"workspace_id": ["Production"]})
    assert "wrkspc_demoProduction" in [series["label"] for series in answer["series"]]
    assert "names_unavailable" in [note["code"] for note in answer["notes"]]
    assert "Use an ID (wrkspc_...)" in message


async def test_all_pages_of_a_list_of_names_are_read(client: Client, upstream: Upstream) -> None:
    def one_by_one(request: Request) -> Response | None:
        query = [(name, value) for name, value in request.query if name != "limit"]
        return upstream.respond(Request(request.path, [*query, ("limit", "1")], request.headers))

    upstream.override = lambda request: one_by_one(request) if request.path.endswith("workspaces") else None
    answer = await ask(client, "list_dimension_values", dimension="workspace_id")
    assert {value["label"] for value in answer["values"]} >= {"Production", "Sandbox", "Hackathon (archived)"}
    assert upstream.asked("workspaces") == 6


async def test_two_workspaces_with_the_same_name_are_told_apart(
    client: Client, edited: Callable[[str, Edit], None]
) -> None:
    edited("workspaces", lambda body: [item.update(name="Twin") for item in body["data"]])
    message = await refusal(client, "get_spend", period="2026-10", filter_by={"workspace_id": ["twin"]})
    assert "6 values are named 'twin'" in message
    answer = await ask(client, "get_spend", period="2026-10", group_by=["workspace_id"])
    assert "Twin (wrkspc_demoProduction)" in [series["label"] for series in answer["series"]]


async def test_a_report_in_small_pages_is_read_completely(connect: Connect, upstream: Upstream) -> None:
    async with connect() as client:
        whole = await ask(client, "get_spend", period="2026-10")

    def in_small_pages(request: Request) -> Response | None:
        query = [(name, value) for name, value in request.query if name != "limit"]
        return upstream.respond(Request(request.path, [*query, ("limit", "5")], request.headers))

    upstream.override = in_small_pages
    upstream.requests.clear()
    async with connect() as client:
        answer = await ask(client, "get_spend", period="2026-10")
    assert answer["series"] == whole["series"]
    assert len(upstream.requests) == 7
    asked = [[pair for pair in request.query if pair[0] != "page"] for request in upstream.requests]
    assert all(query == asked[0] for query in asked)


async def test_requests_are_as_documented(client: Client, upstream: Upstream) -> None:
    await ask(client, "get_token_usage", period="2026-10-05", group_by=["model"])
    (request,) = upstream.requests
    assert request.path == "/v1/organizations/usage_report/messages"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.headers["user-agent"].startswith("usage-cost-mcp/")
    assert request.headers["x-api-key"] == KEY
    assert list(request.query) == [
        ("starting_at", "2026-10-05T00:00:00Z"),
        ("ending_at", "2026-10-06T00:00:00Z"),
        ("bucket_width", "1d"),
        ("limit", "31"),
        ("group_by[]", "workspace_id"),
        ("group_by[]", "model"),
        ("group_by[]", "service_tier"),
        ("group_by[]", "context_window"),
        ("group_by[]", "inference_geo"),
    ]
