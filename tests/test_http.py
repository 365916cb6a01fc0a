"""MCP over HTTP as clients, balancers and orchestrators see it: real processes, real sockets."""

import asyncio
import json
import re
import signal
import socket
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.support.canary import KEY, keeps_silent
from tests.support.fault_cases import sends
from tests.support.fault_cases import status as answers_with
from tests.support.fault_server import Act, FaultServer, Piece, fault_server, healthy
from tests.support.harness import FrozenClock, Upstream, ask
from tests.support.inprocess_http_server import Front, served
from tests.support.processes import connected_to, environment
from tests.support.subprocess_http_server import NO_TLS, HttpServer, client_of, started, until
from usage_cost_mcp.app import SharedResources, build_report_context
from usage_cost_mcp.demo import DemoApi
from usage_cost_mcp.demo.http import Response
from usage_cost_mcp.http.health import READINESS_TTL_SECONDS, Readiness
from usage_cost_mcp.http.request_guard import MAX_BODY_BYTES, MAX_CONCURRENT_CALLS
from usage_cost_mcp.http.settings import HttpSettings
from usage_cost_mcp.runtime.clock import CorrectedClock
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.settings import Settings

pytestmark = pytest.mark.anyio

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
STATELESS = "2026-07-28"
ACCEPTED = {"accept": "application/json, text/event-stream"}
TOKEN_LIKE = "ucm_Zk3vT9qLw2XsB7nRy5JdHc8MfGp1AeUo"  # noqa: S105 - of no server
ORGANIZATION = "/v1/organizations/me"


@pytest.fixture(scope="module")
def demo() -> Generator[HttpServer]:
    """A server that requires no token. Nothing that clients send makes it log a line."""
    with started("--demo") as server:
        yield server
        assert server.log_lines() == [f"Listening on {server.url}"]


@pytest.fixture
def faulty() -> Generator[FaultServer]:
    """An Admin API with faults."""
    with fault_server(DemoApi(lambda: datetime.now(UTC)).respond) as server:
        yield server


@pytest.fixture
def keyed(faulty: FaultServer) -> Generator[HttpServer]:
    """A server with a key, which requires the token that it printed."""
    with started(environ={**connected_to(faulty.url), "USAGE_COST_MCP_CALLS_PER_MINUTE": "999999"}) as server:
        yield server


def message(method: str, **params: Any) -> dict[str, Any]:
    """A request of the protocol before the stateless era; this server requires no handshake for it either."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


SPEND = message("tools/call", name="get_spend", arguments={"period": "2026-08"})


def bearer(server: HttpServer) -> dict[str, str]:
    return {**ACCEPTED, **({"authorization": f"Bearer {server.token}"} if server.token else {})}


def http_client(server: HttpServer) -> httpx.AsyncClient:
    base_url = server.url.removesuffix("/mcp")
    no_limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(
        base_url=base_url, headers=bearer(server), timeout=30, trust_env=False, limits=no_limits, verify=NO_TLS
    )


@pytest.fixture
async def http(demo: HttpServer) -> AsyncGenerator[httpx.AsyncClient]:
    async with http_client(demo) as client:
        yield client


# --- the same answers ------------------------------------------------------------------------------------------------


async def results(client: Client) -> Any:
    """What a server returns to a client, without what depends on the time of the call."""
    tools = await client.list_tools()
    prompt = await client.get_prompt("monthly_spend_review", {"month": "2026-10"})
    glossary = await client.read_resource("usage-cost://glossary")
    spend = await ask(client, "get_spend", period="2026-10", group_by=["workspace_id", "model"])
    usage = await ask(client, "get_token_usage", period="2026-10-01..2026-10-07", group_by=["api_key_id"])
    answers = [{**each, "fetched_at": "", "cache": ""} for each in (spend, usage)]
    refused = await client.call_tool("get_spend", {"period": "whenever"})
    return [each.model_dump() for each in (tools, prompt, glossary, refused)], answers


@ERAS
async def test_http_and_stdio_return_the_same_results(demo: HttpServer, mode: str) -> None:
    stdio = StdioServerParameters(
        command=sys.executable, args=["-m", "usage_cost_mcp", "serve", "--demo"], env=environment()
    )
    async with Client(demo.url, mode=mode) as over_http, Client(stdio, mode=mode) as over_stdio:
        assert over_http.server_info == over_stdio.server_info
        assert await results(over_http) == await results(over_stdio)


class Balancer(httpx2.AsyncHTTPTransport):
    """Sends each request to the next replica in turn."""

    def __init__(self, *replicas: HttpServer) -> None:
        super().__init__()
        self.next = cycle(replicas)
        self.asked: list[int] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        port = next(self.next).port
        self.asked.append(port)
        request.url = request.url.copy_with(port=port)
        return await super().handle_async_request(request)


@ERAS
async def test_any_replica_answers_any_request(demo: HttpServer, mode: str) -> None:
    async with Client(demo.url, mode=mode) as client:
        expected = await results(client)
    with started("--demo") as other:
        for replicas in ((demo, other), (other, demo)):
            balancer = Balancer(*replicas)
            async with (
                httpx2.AsyncClient(transport=balancer, timeout=30) as through_it,
                Client(streamable_http_client(demo.url, http_client=through_it), mode=mode) as client,
            ):
                assert await results(client) == expected
            assert {demo.port, other.port} == set(balancer.asked)


async def test_a_stateless_request_needs_no_handshake(http: httpx.AsyncClient) -> None:
    answer = await http.post("/mcp", json=SPEND)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "mcp-session-id" not in answer.headers
    assert answer.json()["result"]["structuredContent"]["demo"] is True


async def test_responses_do_not_wait_for_a_tcp_acknowledgement(http: httpx.AsyncClient) -> None:
    took: list[float] = []
    for _ in range(40):
        begun = time.monotonic()
        await http.get("/healthz")
        took.append(time.monotonic() - begun)
    assert statistics.median(took) < 0.03  # an acknowledgement may take 0.04


# --- the ephemeral token ---------------------------------------------------------------------------------------------


async def test_a_server_with_a_key_requires_the_token_printed_at_its_start(keyed: HttpServer) -> None:
    assert keyed.stderr_text().count(keyed.token) == 1
    assert len(keyed.token) == len("ucm_") + 43
    async with http_client(keyed) as client:
        assert (await client.post("/mcp", json=SPEND)).json()["result"]["structuredContent"]["demo"] is False
        for wrong in (
            "",
            keyed.token,
            "Bearer",
            f"Bearer {keyed.token}x",
            f"Basic {keyed.token}",
            "Bearer é",
        ):
            refused = await client.post("/mcp", json=SPEND, headers=[(b"authorization", wrong.encode())])
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Bearer ")
            assert keyed.token not in refused.text
        for path, text in (("/healthz", "ok\n"), ("/readyz", "ready\n")):
            assert (await client.get(path, headers={"authorization": ""})).text == text


async def test_each_run_has_a_different_token(keyed: HttpServer, faulty: FaultServer) -> None:
    with started(environ=connected_to(faulty.url)) as other:
        assert other.token != keyed.token


@ERAS
async def test_a_client_with_that_token_is_served_in_both_eras(keyed: HttpServer, mode: str) -> None:
    async with client_of(keyed.url, keyed.token, mode) as client:
        assert (await ask(client, "get_spend", period="2026-10"))["demo"] is False


# --- the request guard -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("version", ["2025-11-25", STATELESS, None])
async def test_the_endpoint_accepts_only_post(http: httpx.AsyncClient, method: str, version: str | None) -> None:
    headers = {"mcp-protocol-version": version} if version else {}
    answer = await http.request(method, "/mcp", headers=headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(("path", "status"), [("/mcp", 405), ("/healthz", 200), ("/unknown", 404)])
async def test_websocket_upgrades_are_not_accepted(http: httpx.AsyncClient, path: str, status: int) -> None:
    wanted = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "eA==",
    }
    assert (await http.get(path, headers=wanted)).status_code == status


async def test_subscriptions_are_not_offered(http: httpx.AsyncClient) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "a test", "version": "1"},
    }
    method = "subscriptions/listen"
    headers = {"mcp-protocol-version": STATELESS, "mcp-method": method}
    wanted = message(method, notifications={"toolsListChanged": True}, _meta=meta)
    answer = await http.post("/mcp", json=wanted, headers=headers, timeout=5)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32601)


@pytest.mark.parametrize(
    "path", ["/mcp/", "/", "/healthz/", "/MCP", "//mcp", "/mcp/x", "/.well-known/openid-configuration"]
)
async def test_other_paths_return_404_without_a_redirect(http: httpx.AsyncClient, path: str) -> None:
    assert (
        await http.request("POST", httpx.URL(f"{http.base_url}").copy_with(raw_path=path.encode()))
    ).status_code == 404


TOO_LARGE = b"x" * (MAX_BODY_BYTES + 1)


async def pieces_of(body: bytes) -> AsyncGenerator[bytes]:
    """A body without a Content-Length."""
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


@pytest.mark.parametrize("path", ["/mcp", "/healthz", "/unknown"])
async def test_an_oversized_body_is_rejected_with_and_without_content_length(
    http: httpx.AsyncClient, path: str
) -> None:
    for body in (TOO_LARGE, pieces_of(TOO_LARGE)):
        answer = await http.post(path, content=body)
        assert (answer.status_code, answer.text) == (413, "The request body is larger than 256 KiB.\n")


async def test_a_body_of_the_maximum_size_is_accepted(http: httpx.AsyncClient) -> None:
    query = {**SPEND, "params": {**SPEND["params"], "_meta": {"padding": ""}}}
    query["params"]["_meta"]["padding"] = "x" * (MAX_BODY_BYTES - len(json.dumps(query)))
    body = json.dumps(query).encode()
    assert len(body) == MAX_BODY_BYTES
    for content in (body, pieces_of(body)):
        answer = await http.post("/mcp", content=content, headers={"content-type": "application/json"})
        assert answer.json()["result"]["structuredContent"]["demo"] is True


@pytest.mark.parametrize("length", ["-1", "+5", "1e3", "0x5", "5.0", "five", "", "9" * 30, f"{MAX_BODY_BYTES + 1}"])
async def test_an_invalid_content_length_is_rejected(demo: HttpServer, length: str) -> None:
    received = await exchange(
        demo, f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode()
    )
    assert re.match(rb"HTTP/1.1 (400|413) ", received)


async def exchange(server: HttpServer | Front, *pieces: bytes | float) -> bytes:
    """All bytes received until the server disconnects; numbers are seconds to wait between the pieces sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port)

    async def write() -> None:
        for piece in pieces:
            if isinstance(piece, bytes):
                writer.write(piece)
            else:
                await asyncio.sleep(piece)

    writing, received = asyncio.create_task(write()), b""
    with suppress(ConnectionError):
        while arrived := await reader.read(65_536):
            received += arrived
    writing.cancel()
    writer.close()
    return received


def request(target: str, *headers: str, body: bytes = b"") -> bytes:
    """A request as raw bytes, which no client library logs."""
    head = [f"POST {target} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


async def test_slow_clients_are_disconnected(clock: FrozenClock) -> None:
    assert (HttpSettings().head_seconds, HttpSettings().body_seconds) == (10, 10), "which is too long for a test"
    head = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    ping = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    drops = [piece for _ in range(20) for piece in (b"x", 0.06)]
    async with served(clock, demo=True, head_seconds=0.6, body_seconds=0.6) as front:
        begun = time.monotonic()
        silent, half_a_head, slow_head, half_a_body, slow_body, second_head = await asyncio.wait_for(
            asyncio.gather(
                exchange(front),
                exchange(front, ping),
                exchange(front, ping, b"X-Slow: ", *drops),
                exchange(front, head, b"x"),
                exchange(front, head, *drops),
                after_an_answer(front, ping + b"\r\n", b"GET "),
            ),
            10,
        )
        assert time.monotonic() - begun >= 0.5
    assert (silent, half_a_head, slow_head, second_head) == (b"", b"", b"", b"")
    assert half_a_body.startswith(b"HTTP/1.1 408 ")
    assert slow_body.startswith(b"HTTP/1.1 408 ")


async def after_an_answer(front: Front, request: bytes, more: bytes) -> bytes:
    """The bytes received after a response when half of another request is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(front.url).port)
    writer.write(request)
    await reader.readuntil(b"ok\n")
    writer.write(more)
    received = await reader.read()
    writer.close()
    return received


QUERIES = {
    "a token by its usual name": f"access_token={TOKEN_LIKE}",
    "a token by a short name": "token=letmein",
    "a token by another name": f"key={TOKEN_LIKE}",
    "a token alone": TOKEN_LIKE,
    "a token in capitals": "TOKEN=LETMEIN",
    "a header in the query": "authorization=Bearer%20letmein",
    "a token of an identity provider": "jwt=eyJhbGciOiJub25lIn0.e30.",
    "a token in disguise": f"key=%75cm%5f{TOKEN_LIKE[4:]}",
    "a token in double disguise": "access%255Ftoken%253Dletmein",
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
@pytest.mark.parametrize("path", ["/mcp", "/healthz"])
async def test_a_token_in_the_url_is_rejected_with_advice(http: httpx.AsyncClient, path: str, query: str) -> None:
    answer = await http.post(f"{path}?{query}", json=SPEND)
    assert answer.status_code == 400
    assert "Authorization: Bearer" in answer.text
    assert TOKEN_LIKE not in answer.text
    assert "letmein" not in answer.text.lower()


KEYS = {"a value": f"key={KEY}", "no name": f"x=1&{KEY}", "capitals": KEY.upper(), "disguise": KEY.replace("-", "%2D")}


@pytest.mark.parametrize("query", KEYS.values(), ids=KEYS.keys())
async def test_an_anthropic_key_in_the_url_is_rejected_with_advice_to_revoke_it(demo: HttpServer, query: str) -> None:
    received = await exchange(demo, request(f"/mcp?{query}"))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"Revoke" in received
    assert keeps_silent(received)


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "Cookie"])
@pytest.mark.parametrize("value", [f"Bearer {KEY}", KEY, KEY.upper(), KEY.replace("admin", "api")], ids=range(4))
async def test_an_anthropic_key_in_a_header_is_rejected_with_advice_to_revoke_it(
    demo: HttpServer, name: str, value: str
) -> None:
    received = await exchange(demo, request("/mcp", f"{name}: {value}"))
    assert received.startswith(b"HTTP/1.1 401 ")
    assert b'www-authenticate: Bearer error="invalid_token"' in received
    assert b"Revoke that key" in received
    assert keeps_silent(received)


async def test_a_harmless_query_string_is_accepted(http: httpx.AsyncClient) -> None:
    assert (await http.post("/mcp?tokens=0&who=me", json=SPEND)).status_code == 200


async def test_no_token_is_logged_at_any_level(faulty: FaultServer) -> None:
    with started(environ={**connected_to(faulty.url), "USAGE_COST_MCP_LOG_LEVEL": "DEBUG"}) as server:
        async with http_client(server) as client:
            assert (await client.post("/mcp", json=SPEND)).status_code == 200
        for misplaced in (
            request(f"/mcp?token={TOKEN_LIKE}"),
            request(f"/{TOKEN_LIKE}?key={KEY}"),
            request("/mcp", f"Authorization: Bearer {TOKEN_LIKE}"),
            request("/mcp", f"Authorization: Bearer {KEY}"),
            request("/mcp", f"Origin: https://{TOKEN_LIKE}.example"),
            request("/mcp", f"Authorization: Bearer {server.token}", f"Mcp-Protocol-Version: {TOKEN_LIKE}", body=b"{}"),
            request("/mcp", f"Authorization: Bearer {server.token}", f"Content-Type: {TOKEN_LIKE}", body=b"{}"),
            request(f"/{TOKEN_LIKE}").replace(b"localhost", TOKEN_LIKE.encode()),
            TOKEN_LIKE.encode() + b"\r\n\r\n",
        ):
            received = await exchange(server, misplaced)
            assert received.startswith(b"HTTP/1.1 4")
            assert TOKEN_LIKE.encode() not in received
        text = server.stderr_text()
    assert TOKEN_LIKE[4:] not in text
    assert text.count(server.token) == 1
    assert "Traceback" not in text


# --- health ----------------------------------------------------------------------------------------------------------


async def test_probes_reveal_nothing_but_alive_and_ready(http: httpx.AsyncClient) -> None:
    for path, text in (("/healthz", "ok\n"), ("/readyz", "ready\n")):
        answer = await http.get(path)
        assert (answer.status_code, answer.text) == (200, text)
        assert answer.headers.keys() == {"date", "content-length", "content-type", "cache-control"}
        assert (await http.post(path)).status_code == 405


async def test_without_upstream_the_server_is_alive_but_not_ready_until_days_are_cached(
    keyed: HttpServer, faulty: FaultServer
) -> None:
    faulty.fail([answers_with(401)], forever=True, faulty=(ORGANIZATION,))
    async with http_client(keyed) as client:
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(50)))
        assert {(answer.status_code, answer.text) for answer in answers} == {(503, "not ready\n")}
        assert (await client.get("/healthz")).status_code == 200
        assert [request.path for request in faulty.requests] == [ORGANIZATION]
        await client.post("/mcp", json=SPEND)
        assert (await client.get("/readyz")).status_code == 200


@pytest.mark.timing
async def test_a_readiness_probe_times_out_when_upstream_hangs(faulty: FaultServer, clock: FrozenClock) -> None:
    assert HttpSettings().probe_seconds == 5, "which is too long for a test"
    faulty.fail([sends(Act.HANG)], forever=True, faulty=(ORGANIZATION,))
    async with served(clock, faulty.url, probe_seconds=0.5) as front:
        begun = time.monotonic()
        answers = await asyncio.gather(*(front.get("/readyz") for _ in range(20)))
        assert {answer.status_code for answer in answers} == {503}
        assert time.monotonic() - begun < 3
    assert len(faulty.requests) == 1


async def test_readiness_is_probed_again_after_30_seconds(upstream: Upstream, clock: FrozenClock) -> None:
    upstream.override = lambda _: Response({}, status=403)
    async with AsyncExitStack() as exit_stack:
        settings = Settings.for_demo({}, upstream.url)
        context = build_report_context(
            settings, CorrectedClock(clock), Limits(), SharedResources(settings, clock), exit_stack
        )
        readiness = Readiness(probe_seconds=5)
        assert not await readiness.is_ready(context)
        upstream.override = lambda _: None
        clock.advance(READINESS_TTL_SECONDS - 1)
        assert not await readiness.is_ready(context)
        clock.advance(2)
        assert await readiness.is_ready(context)
        upstream.override = lambda _: Response({}, status=403)
        clock.advance(READINESS_TTL_SECONDS - 1)
        assert await readiness.is_ready(context)
        clock.advance(2)
        assert not await readiness.is_ready(context)
    assert len(upstream.requests) == 3


# --- many calls, and shutdown ----------------------------------------------------------------------------------------


def later(seconds: float) -> Any:
    """The normal response, after a delay."""

    def fault(response: Response) -> Iterator[Piece]:
        yield seconds
        yield healthy(response)

    return fault


@asynccontextmanager
async def calling(server: HttpServer, faulty: FaultServer, calls: int = 1) -> AsyncGenerator[list[asyncio.Task[Any]]]:
    """Calls whose requests have reached upstream."""
    async with http_client(server) as client:
        tasks = [asyncio.create_task(client.post("/mcp", json=SPEND)) for _ in range(calls)]
        await asyncio.to_thread(faulty.asked.wait, 10)
        yield tasks


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
async def test_a_running_call_is_answered_in_full_after_the_signal(
    keyed: HttpServer, faulty: FaultServer, number: signal.Signals
) -> None:
    faulty.fail([later(1)], forever=True)
    async with calling(keyed, faulty) as [call]:
        keyed.process.send_signal(number)
        until(lambda: not listens(keyed))
        assert not call.done()
        answer = await call
    assert answer.json()["result"]["structuredContent"]["totals"]["cost"]
    assert keyed.process.wait(5) == 0
    assert len(keyed.log_lines()) == 2


def listens(server: HttpServer) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except ConnectionError:
        return False
    return True


@pytest.mark.timing
async def test_calls_above_the_limit_get_503_and_shutdown_waits_ten_seconds_for_the_others(
    keyed: HttpServer, faulty: FaultServer
) -> None:
    faulty.fail([sends(Act.HANG)], forever=True)
    too_many = 20
    async with calling(keyed, faulty, MAX_CONCURRENT_CALLS + too_many) as tasks:
        while sum(task.done() for task in tasks) < too_many:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0.01)
        async with http_client(keyed) as client:
            assert (await client.post("/mcp", json=SPEND)).text == "The server is busy. Try again.\n"
            assert (await client.get("/healthz")).status_code == 200
        rejected = [task.result() for task in tasks if task.done()]
        assert {(answer.status_code, answer.headers["retry-after"]) for answer in rejected} == {(503, "1")}
        assert len(rejected) == too_many
        begun = time.monotonic()
        keyed.process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*tasks)
        assert await asyncio.to_thread(keyed.process.wait, 12) == 0
        assert 9 < time.monotonic() - begun <= 11
    interrupted = [answer for answer in answers if answer not in rejected]
    assert {(answer.status_code, answer.text) for answer in interrupted} == {
        (503, "The server is stopping. Try again.\n")
    }
    assert len(keyed.log_lines()) == 2


def stateless(name: str, **arguments: Any) -> dict[str, Any]:
    """A tool call in the stateless era, in which a disconnect cancels it."""
    meta: dict[str, Any] = {
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    headers = {"mcp-protocol-version": STATELESS, "mcp-method": "tools/call", "mcp-name": name}
    return {"json": message("tools/call", name=name, arguments=arguments, _meta=meta), "headers": headers}


async def test_client_disconnect_cancels_upstream_request(keyed: HttpServer, faulty: FaultServer) -> None:
    faulty.fail([sends(Act.HANG)], forever=True)
    async with http_client(keyed) as client:
        call = asyncio.create_task(client.post("/mcp", **stateless("get_spend", period="2026-08")))
        assert await asyncio.to_thread(faulty.asked.wait, 10)
        call.cancel()
        assert await asyncio.to_thread(faulty.hung_up.wait, 10)
    until(lambda: '"outcome":"cancelled"' in keyed.stderr_text())


async def test_client_disconnect_does_not_cancel_a_fetch_that_others_wait_for(
    keyed: HttpServer, faulty: FaultServer
) -> None:
    faulty.fail([later(1)], forever=True)
    async with http_client(keyed) as client:
        leaving, staying = (
            asyncio.create_task(client.post("/mcp", **stateless("get_spend", period="2026-08"))) for _ in range(2)
        )
        assert await asyncio.to_thread(faulty.asked.wait, 10)
        leaving.cancel()
        assert (await staying).json()["result"]["structuredContent"]["totals"]["cost"]
    assert len(faulty.requests) == 1


@pytest.mark.timing
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
async def test_a_second_signal_ends_the_process_at_once(
    keyed: HttpServer, faulty: FaultServer, number: signal.Signals
) -> None:
    faulty.fail([sends(Act.HANG)], forever=True)
    async with calling(keyed, faulty) as [call]:
        keyed.process.send_signal(number)
        until(lambda: not listens(keyed))
        keyed.process.send_signal(number)
        assert keyed.process.wait(2) == -number
        with pytest.raises(httpx.TransportError):
            await call


@pytest.mark.timing
async def test_open_connections_do_not_delay_shutdown() -> None:
    with started("--demo", "--host", "localhost") as server:
        async with http_client(server) as client:
            await client.get("/healthz")
            with (
                socket.create_connection(("127.0.0.1", server.port)),
                socket.create_connection(("127.0.0.1", server.port)) as half,
            ):
                half.sendall(b"POST /mcp HTTP/1.1\r\nHost: ")
                begun = time.monotonic()
                assert server.end() == 0
                assert time.monotonic() - begun < 2


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6")
async def test_the_server_can_bind_an_ipv6_address() -> None:
    with started("--demo", "--host", "::1") as server:
        assert server.url == f"http://[::1]:{server.port}/mcp"
        async with Client(server.url) as client:
            assert (await ask(client, "get_status"))["key"]["source"] == "the demo"


# --- many connections ------------------------------------------------------------------------------------------------


@contextmanager
def files(most: int) -> Generator[None]:
    """Limit the open files of processes started in the block."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def first_answer(client: httpx.AsyncClient, url: httpx.URL) -> str:
    """The first answer of a server that may reset connections for some seconds."""
    for _ in range(100):
        with suppress(httpx.TransportError):
            return (await client.get(url)).text
        await asyncio.sleep(0.1)
    pytest.fail("the server does not answer")


@pytest.mark.parametrize("most", [120, 256], ids=["more than there are files", "fewer than there are files"])
async def test_the_server_survives_more_connections_than_open_files(most: int) -> None:
    with ExitStack() as opened:
        with files(most):
            server = opened.enter_context(started("--demo"))
        with ExitStack() as held, suppress(OSError):
            for _ in range(2 * most):
                held.enter_context(socket.create_connection(("127.0.0.1", server.port), 0.2))
        # asyncio pauses accepting for a second when no file descriptor is left, and resets what is still in the queue.
        async with httpx.AsyncClient(trust_env=False) as client:
            assert await first_answer(client, httpx.URL(server.url).join("/healthz")) == "ok\n"
        assert "Traceback" not in server.stderr_text()
