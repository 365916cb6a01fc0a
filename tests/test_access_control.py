"""The principal of a call over HTTP, the rate limit and the audit log."""

import asyncio
import json
import logging
import re
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client, MCPError
from mcp.server import MCPServer

from tests.support.canary import KEY, keeps_silent
from tests.support.harness import ANYTHING, FrozenClock, Upstream, ask, calls_a_server, refusal, text_of
from tests.support.inprocess_http_server import Front, holds_none_of, served, text_in
from tests.support.subprocess_http_server import tokens_line
from usage_cost_mcp.auth import audit_log
from usage_cost_mcp.auth.audit_log import AuditLog
from usage_cost_mcp.auth.tokens_file import new_token
from usage_cost_mcp.demo.http import Request
from usage_cost_mcp.http.access import HttpAccess
from usage_cost_mcp.http.authentication import build_authentication
from usage_cost_mcp.http.settings import HttpSettings
from usage_cost_mcp.runtime.rate_limit import LocalRateLimiter
from usage_cost_mcp.tools.resources import STATUS

pytestmark = pytest.mark.anyio

NAMES = ("ana", "bob", "eva", "a-nightly-agent")
TOKENS = {name: new_token() for name in NAMES}

both_eras = pytest.mark.parametrize("mode", ["auto", "legacy"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.jsonl"
    path.write_text("".join(tokens_line(name, token) for name, token in TOKENS.items()))
    return path


def add_whoami(server: MCPServer[Any], access: HttpAccess) -> None:
    """Add a tool that returns the principal, after other calls had time to start."""

    @server.tool()
    async def whoami() -> str:
        before = access.principal().name
        await asyncio.sleep(0.01)
        assert access.principal().name == before
        return before


@pytest.fixture
async def front(file: Path, clock: FrozenClock, upstream: Upstream) -> AsyncGenerator[Front]:
    async with served(clock, upstream.url, add_whoami, tokens_file=file) as front:
        yield front


# --- the principal ---------------------------------------------------------------------------------------------------


@both_eras
async def test_a_call_has_the_principal_of_its_token(mode: str, front: Front) -> None:
    for name, token in TOKENS.items():
        async with front.client(token, mode) as client:
            assert text_of(await client.call_tool("whoami")) == name


@both_eras
async def test_concurrent_calls_keep_their_principals(mode: str, front: Front) -> None:
    async def names(token: str) -> set[str]:
        async with front.client(token, mode) as client:
            return set(map(text_of, await asyncio.gather(*(client.call_tool("whoami") for _ in range(15)))))

    answers = await asyncio.gather(*map(names, TOKENS.values()))
    assert answers == [{name} for name in TOKENS]


async def test_the_principal_of_a_demo_without_tokens_is_demo(clock: FrozenClock, upstream: Upstream) -> None:
    async with served(clock, upstream.url, add_whoami, demo=True) as front, front.client(None) as client:
        assert text_of(await client.call_tool("whoami")) == "demo"


async def test_a_demo_with_a_tokens_file_requires_tokens(file: Path, clock: FrozenClock) -> None:
    async with served(clock, demo=True, tokens_file=file) as front:
        assert (await front.post()).status_code == 401


async def test_the_ephemeral_token_belongs_to_the_operator(clock: FrozenClock) -> None:
    async with served(clock, prepare=add_whoami) as front:
        token = front.ephemeral_token
        async with front.client(token) as client:
            assert text_of(await client.call_tool("whoami")) == "operator"
        assert (await front.post(TOKENS["ana"])).status_code == 401


async def test_there_is_no_ephemeral_token_with_a_tokens_file(clock: FrozenClock, file: Path) -> None:
    async with served(clock, tokens_file=file) as front:
        assert front.ephemeral_token is None


async def test_a_call_without_a_principal_fails(clock: FrozenClock, file: Path) -> None:
    authentication = build_authentication(HttpSettings(tokens_file=file), clock, demo=False)
    access = HttpAccess(authentication, LocalRateLimiter(clock), 60, clock)
    with pytest.raises(LookupError):
        access.principal()
    with pytest.raises(LookupError):
        async with access.guard_call("get_spend", {}):
            pass


# --- the rate limit --------------------------------------------------------------------------------------------------


async def call_repeatedly(client: Client, calls: int) -> list[str]:
    """The texts of a number of calls, all at the same time of the frozen clock."""
    return [text_of(await client.call_tool("get_spend", {"period": "yesterday"})) for _ in range(calls)]


LIMITED = re.compile(r"Rate limit reached \(\d+ calls per minute\)\. Try again in (\d+) seconds?\.")


@both_eras
async def test_the_call_after_60_in_a_minute_is_rejected_with_the_time_to_wait(mode: str, front: Front) -> None:
    async with front.client(TOKENS["ana"], mode) as client:
        answers = await call_repeatedly(client, 61)
    assert not any(LIMITED.search(each) for each in answers[:60])
    assert answers[60] == "Rate limit reached (60 calls per minute). Try again in 1 second."


async def test_a_call_after_the_stated_wait_is_answered(
    file: Path, clock: FrozenClock, upstream: Upstream, capfd: pytest.CaptureFixture[str]
) -> None:
    async with (
        served(clock, upstream.url, tokens_file=file, calls_per_minute=4) as front,
        front.client(TOKENS["ana"]) as client,
    ):
        *_, last = await call_repeatedly(client, 5)
        match = LIMITED.fullmatch(last)
        assert match, last
        assert last.startswith("Rate limit reached (4 calls per minute)")
        clock.advance(int(match[1]) - 0.5)
        assert LIMITED.fullmatch((await call_repeatedly(client, 1))[0])
        clock.advance(0.5)
        assert not LIMITED.fullmatch((await call_repeatedly(client, 1))[0])
    assert [line["outcome"] for line in lines(capfd)] == [*["ok"] * 4, "limited", "limited", "ok"]


async def test_the_rate_limit_of_one_principal_does_not_affect_others(front: Front, upstream: Upstream) -> None:
    async with front.client(TOKENS["ana"]) as ana, front.client(TOKENS["bob"]) as bob:
        await call_repeatedly(ana, 60)
        before = len(upstream.requests)
        assert LIMITED.fullmatch(await refusal(ana, "get_spend", period="2024"))
        assert len(upstream.requests) == before, "no request was sent"
        assert (await ask(bob, "get_spend", period="yesterday"))["totals"]


async def test_invalid_calls_and_status_reads_count_towards_the_rate_limit(
    file: Path, clock: FrozenClock, upstream: Upstream
) -> None:
    async with (
        served(clock, upstream.url, tokens_file=file, calls_per_minute=4) as front,
        front.client(TOKENS["ana"]) as client,
    ):
        assert "tool 'get_spent' is not known. Did you mean get_spend?" in await refusal(client, "get_spent")
        assert "Unknown argument" in await refusal(client, "get_spend", dayz=3)
        assert "is not known" in await refusal(client, "get_spend", period="whenever")
        assert "organization" in text_in(await client.read_resource(STATUS))
        assert LIMITED.fullmatch(await refusal(client, "get_spend"))
        with pytest.raises(MCPError, match=r"\(4 calls per minute\)"):
            await client.read_resource(STATUS)
        assert text_in(await client.read_resource("usage-cost://glossary")), "which sends no request"


# --- the audit log ---------------------------------------------------------------------------------------------------


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The lines of the audit log so far."""
    return [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]


async def test_a_call_is_logged_as_one_line_without_numbers_of_its_answer(
    front: Front, capfd: pytest.CaptureFixture[str]
) -> None:
    async with front.client(TOKENS["ana"]) as client:
        answer = await ask(client, "get_spend", period="last_month", group_by=["model"])
        err = capfd.readouterr().err
    assert err.count("\n") == 1
    line = json.loads(err)
    assert line.pop("milliseconds") >= 0
    assert line.pop("rows") > 100
    assert line == {
        "at": "2026-11-22T14:30:00.000Z",
        "principal": "ana",
        "tool": "get_spend",
        "arguments": {"period": "last_month", "group_by": ["model"]},
        "outcome": "ok",
        "cache": "miss",
    }
    assert answer["totals"]["cost"] not in err
    assert holds_none_of(TOKENS["ana"], err)


async def test_the_cache_status_is_logged(front: Front, capfd: pytest.CaptureFixture[str]) -> None:
    async with front.client(TOKENS["ana"]) as ana, front.client(TOKENS["bob"]) as bob:
        await ask(ana, "get_spend", period="2026-10-01..2026-10-10")
        await ask(bob, "get_spend", period="2026-10-01..2026-10-20")
        await ask(ana, "get_spend", period="2026-10-11..2026-10-20")
        await ask(bob, "compare_spend", period="2026-10-11..2026-10-20", against="2026-10-01..2026-10-10")
        assert text_in(await bob.read_resource(STATUS))
    found = lines(capfd)
    assert [(line["principal"], line["tool"], line["cache"]) for line in found] == [
        ("ana", "get_spend", "miss"),
        ("bob", "get_spend", "partial"),
        ("ana", "get_spend", "hit"),
        ("bob", "compare_spend", "partial"),
        ("bob", STATUS, "miss"),
    ]
    first, both, second, compared, _ = (line["rows"] for line in found)
    assert first + second == both
    assert compared > both, "a comparison also looks at tokens"


async def test_invalid_and_failed_calls_are_logged(
    front: Front, upstream: Upstream, capfd: pytest.CaptureFixture[str]
) -> None:
    def hang_up(_: Request) -> None:
        raise ConnectionError

    async with front.client(TOKENS["eva"]) as client:
        await refusal(client, "get_spend", dayz=3)
        await refusal(client, "get_spend", period="whenever")
        upstream.override = hang_up
        await refusal(client, "get_spend", period="yesterday")
    assert [(line["outcome"], line["arguments"], line["rows"], line["cache"]) for line in lines(capfd)] == [
        ("refused", {"dayz": 3}, None, None),
        ("refused", {"period": "whenever"}, None, None),
        ("error", {"period": "yesterday"}, None, None),
    ]


async def test_a_call_of_an_unknown_tool_is_logged_truncated_and_redacted(
    front: Front, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mcp.client.streamable_http")  # the client logs what it sends
    async with front.client(TOKENS["ana"]) as client:
        text = await refusal(client, f"x\n{KEY}{'y' * 5000}")
    (line,) = lines(capfd)
    assert (line["tool"], line["outcome"]) == ("unknown", "refused")
    assert line["arguments"]["name"].startswith("x\n[key removed]")
    assert len(text) < 1000
    assert keeps_silent(text)


async def test_a_cancelled_call_is_logged(clock: FrozenClock, capfd: pytest.CaptureFixture[str]) -> None:
    access = HttpAccess(None, LocalRateLimiter(clock), 60, clock)
    under_way = asyncio.Event()

    async def call() -> None:
        async with access.guard_call("get_spend", {}):
            under_way.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await under_way.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [line["outcome"] for line in lines(capfd)] == ["cancelled"]


async def test_keys_and_tokens_are_not_logged_wherever_they_are(
    front: Front, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mcp.client.streamable_http")  # the client logs what it sends
    jwt = f"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbmEifQ.{'Zx7' * 20}"
    async with front.client(TOKENS["ana"]) as client:
        for secret in (KEY, TOKENS["bob"], jwt):
            text = [
                await refusal(client, "get_spend", period=secret),
                await refusal(client, "get_spend", filter_by={"workspace_id": [secret], secret: ["x"]}),
                await refusal(client, "get_spend", **{secret: 1}),
            ]
            err = capfd.readouterr().err
            assert err.count("\n") == 3
            assert "[key removed]" in err
            assert keeps_silent(err)
            assert holds_none_of(secret.rpartition(".")[2], err, *text)


async def test_control_characters_and_long_arguments_make_one_short_line(
    front: Front, capfd: pytest.CaptureFixture[str]
) -> None:
    async with front.client(TOKENS["ana"]) as client:
        await refusal(client, "get_spend", period='x\n{"principal":"eva"}\u2028\u202e\x1b[31m\x00')
        await refusal(client, "get_spend", group_by=["x" * 5000] * 50, filter_by={"y" * 3000: ["z" * 3000]})
    out, err = capfd.readouterr()
    assert not out
    assert err.isascii()
    first, second = err.splitlines()
    assert json.loads(first)["principal"] == "ana"
    assert not re.search(r"[\x00-\x1f]", first + second)
    assert json.loads(second)["arguments"]["group_by"]
    assert len(second) <= audit_log.MAX_LINE_CHARACTERS


@calls_a_server
@given(arguments=st.dictionaries(st.text(), ANYTHING, max_size=5))
def test_any_arguments_make_one_short_line(arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    AuditLog(FrozenClock()).log_call("ana", "get_spend", arguments, outcome="refused")
    text = capsys.readouterr().err
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    assert len(text) <= audit_log.MAX_LINE_CHARACTERS + 1
    json.loads(text, parse_constant=pytest.fail)


HUGE: dict[str, Callable[[], dict[str, Any]]] = {
    "many arguments": lambda: {f"argument-{n}": "x" * 300 for n in range(5000)},
    "many values": lambda: {"group_by": ["\u4e2d" * 300] * 5000},
    "many levels": lambda: {"filter_by": _nested(500)},
    "a number of many digits": lambda: {"top": 10**4200},
    "wide at each level": lambda: {str(a): {str(b): ["y" * 90] * 30 for b in range(30)} for a in range(30)},
}


def _nested(levels: int) -> Any:
    return [_nested(levels - 1)] if levels else "end"


@pytest.mark.parametrize("case", HUGE)
def test_huge_arguments_make_a_short_line(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    AuditLog(FrozenClock()).log_call("ana", "get_spend", HUGE[case](), outcome="refused")
    text = capsys.readouterr().err
    assert len(text) <= audit_log.MAX_LINE_CHARACTERS + 1
    assert json.loads(text)["tool"] == "get_spend"


async def test_a_flood_of_bad_tokens_is_logged_as_ten_lines_per_minute_and_a_count(
    front: Front, clock: FrozenClock, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(50):
        assert (await front.post("ucm_guess")).status_code == 401
    assert [line["why"] for line in lines(capfd)] == ["unknown"] * 10
    clock.advance(60)
    await front.post()
    more, line = lines(capfd)
    assert more == {
        "at": "2026-11-22T14:31:00.000Z",
        "principal": None,
        "outcome": "refused",
        "why": "more",
        "count": 40,
    }
    assert line["why"] == "none"


async def test_calls_are_logged_during_a_flood_of_bad_tokens(front: Front, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(20):
        await front.post("ucm_guess")
    async with front.client(TOKENS["ana"]) as client:
        await refusal(client, "get_spend", period="whenever")
    assert lines(capfd)[-1]["principal"] == "ana"


async def test_a_closed_stderr_does_not_fail_a_call(clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, _: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    AuditLog(clock).log_call("ana", "get_spend", {}, outcome="ok")


async def test_there_is_no_audit_log_over_stdio_or_in_process(
    connect: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    async with connect() as client:
        await ask(client, "get_spend", period="yesterday")
    assert lines(capfd) == []
