"""Every fault of the table, for every tool that reaches upstream, cold and warm; for one tool over every transport.

After each: the number is exact, honestly stale, or absent; the requests are within their bound; the next call works.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult

from tests.support.fault_cases import CASES, Case
from tests.support.fault_server import FaultServer, fault_server
from tests.support.harness import NOW, RUN_COUNTS, FrozenClock, ask, text_of
from tests.support.subprocess_http_server import started
from usage_cost_mcp.app import build_server
from usage_cost_mcp.demo import DemoApi, serve_on_loopback
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.settings import Settings

pytestmark = pytest.mark.anyio

PATIENT = Limits(max_body_bytes=2**20, retry_budget=1000)
IMPATIENT = replace(PATIENT, request_seconds=0.8)
"""For what hangs: a moment stands for half a minute."""

TOOLS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "get_spend": ({"period": "yesterday", "group_by": ["model"]}, {"spend"}),
    "get_token_usage": ({"period": "yesterday", "group_by": ["service_tier"]}, {"usage"}),
    "cache_hit_ratio": ({"period": "yesterday"}, {"usage"}),
    "compare_spend": ({"period": "yesterday"}, {"spend", "usage"}),
    "get_effective_prices": ({"period": "yesterday"}, {"spend", "usage"}),
    "list_dimension_values": ({"period": "yesterday", "dimension": "model"}, {"spend", "usage"}),
    "get_status": ({}, {"spend", "usage"}),
}
"""The question asked of each tool, and the reports that it reads; others ask the ledger for more of the same days."""

A_MONTH_IN_PIECES = 1 + 4 + 16
"""Requests for the days of get_status when they are too much at once: at first whole, then 8 days, then 2."""
TEN_DAYS_IN_PIECES = 1 + 2 + 6
"""The same for a day and those before it, which give the prices that show whether the day is billed."""

NUMBERS = (
    *("series", "bucket_totals", "totals", "values", "prices", "unpriced", "newest_data", "usage_mix"),
    *("cost", "change", "effects"),
)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def faulty(clock: FrozenClock) -> Generator[FaultServer]:
    with fault_server(DemoApi(clock.now).respond) as server:
        yield server


def check(claim: object, *context: object) -> None:
    RUN_COUNTS["fault checks"] += 1
    assert claim, context


def numbers(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in NUMBERS if name in answer}


def as_far_as_asked(expected: Any, answer: dict[str, Any]) -> Any:
    """The numbers without savings, where an answer says that their prices are not asked for again so soon."""
    if not any("retried after an hour" in note["message"] for note in answer["notes"]):
        return expected
    return json.loads(re.sub(r'("cache_savings": )(\[?)"[^"]*"', r"\1\2null", json.dumps(expected)))


@asynccontextmanager
async def connected(server: FaultServer, clock: FrozenClock, case: Case) -> AsyncGenerator[Client]:
    limits = IMPATIENT if case.hangs else PATIENT
    async with Client(build_server(Settings.for_demo({}, server.url), clock, limits)) as client:
        yield client


WHOLE: dict[tuple[str, datetime], dict[str, Any]] = {}


async def whole(tool: str, clock: FrozenClock) -> dict[str, Any]:
    """What a server that never saw a fault answers at this moment."""
    if (tool, clock.moment) not in WHOLE:
        with serve_on_loopback(DemoApi(clock.now).respond) as url:
            async with Client(build_server(Settings.for_demo({}, url), clock)) as client:
                WHOLE[tool, clock.moment] = numbers(await ask(client, tool, **TOOLS[tool][0]))
    return WHOLE[tool, clock.moment]


def applies(case: Case, tool: str) -> bool:
    return case.only is None or case.only in TOOLS[tool][1]


EVERY_CASE = {"get_spend", "get_token_usage"}
"""Meet every case: one of each report. The others share their reader and cache, and meet one case of each kind."""

MANY = 100
KINDS = {(case.outcome, re.sub(r"\d+", "", case.said)): case for case in reversed(CASES) if case.most_requests < MANY}
"""The first case of each outcome and error, except pages without end, which take long."""


def cell(case: Case, tool: str, state: str) -> Any:
    everyday = tool in EVERY_CASE or case in KINDS.values()
    return pytest.param(case, tool, state, marks=() if everyday else pytest.mark.slow, id=f"{case}-{tool}-{state}")


CELLS = [
    cell(case, tool, state) for case in CASES for tool in TOOLS if applies(case, tool) for state in ("cold", "warm")
]
PATHS = {None: ("cost_report", "messages"), "spend": ("cost_report",), "usage": ("messages",)}


@pytest.mark.parametrize(("case", "tool", "state"), CELLS)
async def test_a_fault_never_makes_an_answer_smaller(
    case: Case, tool: str, state: str, faulty: FaultServer, clock: FrozenClock
) -> None:
    arguments, warm = TOOLS[tool][0], state == "warm"
    async with connected(faulty, clock, case) as client:
        held = await ask(client, tool, **arguments) if warm else {}
        clock.advance(20 * 60 * warm)  # what is held is no longer fresh
        expected = await whole(tool, clock)

        faulty.fail(case.faults, forever=case.forever, faulty=PATHS[case.only])
        started = clock.moment
        result = await client.call_tool(tool, arguments)

        check((clock.moment - started).total_seconds() <= PATIENT.call_seconds, "waited too long")
        asked = Counter(request.path for request in faulty.requests if request.path.endswith(faulty.faulty))
        in_pieces = A_MONTH_IN_PIECES if tool == "get_status" else TEN_DAYS_IN_PIECES
        most = max(case.most_requests, in_pieces * (case.most_requests > 1))
        check(all(count <= most for count in asked.values()), asked)
        if case.outcome == "exact":
            check(numbers(result.structured_content or {}) == expected, text_of(result))
        elif case.outcome == "outage" and warm:
            check(numbers(result.structured_content or {}) == numbers(held), text_of(result))
            check_stale(result, case)
        else:
            check(result.is_error and result.structured_content is None, text_of(result))
            check(case.said in text_of(result), text_of(result))
            check("oops" not in text_of(result), text_of(result))

        faulty.heal()
        clock.advance(20 * 60)  # past every pause
        answer = await ask(client, tool, **arguments)
        check(numbers(answer) == as_far_as_asked(await whole(tool, clock), answer), "the next call")
    RUN_COUNTS["fault cells"] += 1


def check_stale(result: CallToolResult, case: Case) -> None:
    """Old numbers say how old they are and why, in both halves, and first of all in the summary."""
    answer: dict[str, Any] = result.structured_content or {}
    (note, *_) = [note["message"] for note in answer["notes"] if note["code"] == "stale"]
    check(re.search("as of 2026-11-22 14:30 UTC, 2[01] minutes ago", note), note)
    check(case.said in note, note)
    check(note in text_of(result).replace("\\", ""), text_of(result))
    check(answer["cache"]["status"] == "stale")


@contextmanager
def process(transport: str, server: FaultServer) -> Generator[StdioServerParameters | str]:
    """A process of its own, with the short limits of this module; how a client reaches it."""
    words = ["-m", "tests.support.serve_briefly", transport, server.url]
    if transport == "stdio":
        yield StdioServerParameters(command=sys.executable, args=words)
    else:
        with started(program=words) as front:
            yield front.url


@pytest.mark.parametrize(
    ("transport", "mode"),
    [
        ("stdio", "auto"),
        ("http", "auto"),
        pytest.param("stdio", "legacy", marks=pytest.mark.slow),
        pytest.param("http", "legacy", marks=pytest.mark.slow),
    ],
)
async def test_every_fault_over_a_transport_in_one_process(transport: str, mode: str) -> None:
    # The clock of that process stands still, so the pause that outlasts a call outlasts all others: it comes last.
    cases = sorted((case for case in CASES if applies(case, "get_spend")), key=lambda case: case.number == "A2.3")
    with fault_server(DemoApi(lambda: NOW).respond) as server, process(transport, server) as reached:
        async with Client(reached, mode=mode) as client:
            for day, case in enumerate(cases, 1):
                period = f"2026-0{day // 28 + 1}-{day % 28 + 1:02}"
                query = {"period": period, "group_by": ["model"]}
                server.fail(case.faults, forever=case.forever, day=period)
                result = await client.call_tool("get_spend", query)
                check(server.sent, case, "no fault was sent")
                check(bool(result.is_error) == (case.outcome != "exact"), case, text_of(result))
                server.heal()
                healthy = {} if case is cases[-1] else await ask(client, "get_spend", **query)
                if case.outcome == "exact":
                    check(numbers(result.structured_content or {}) == numbers(healthy), case)
                else:
                    check(case.said in text_of(result), case, text_of(result))
                RUN_COUNTS["fault cells"] += 1
