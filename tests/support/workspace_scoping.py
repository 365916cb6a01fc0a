"""What the tests of who sees what share: principals, a demo organization cut down to some workspaces, random calls."""

import json
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, cast

from mcp.types import CallToolResult

from tests.support.harness import text_of
from usage_cost_mcp.auth.principals import OPERATOR, Principal
from usage_cost_mcp.demo import DemoApi, serve_on_loopback
from usage_cost_mcp.demo import organization as org
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.model.rows import Workspaces
from usage_cost_mcp.settings import Settings

Pick = Callable[[Sequence[Any]], Any]
"""Chooses one of several; how, is the test's."""

ASKING: ContextVar[Principal] = ContextVar("ASKING", default=OPERATOR)
"""Who asks a server that is made with `gate=GateOf(ASKING.get)`."""


@dataclass(frozen=True)
class Limited(Principal):
    """A principal who is limited."""

    workspaces: Workspaces = frozenset()


def limited_to(*workspaces: str | None) -> Limited:
    return Limited("somebody", frozenset(workspaces))


class Part(org.Organization):
    """The demo organization, had it no other workspaces."""

    def __init__(self, today: date, workspaces: Workspaces) -> None:
        super().__init__(today)
        self._workspaces = workspaces

    def usage(self, day: date, start: int, end: int) -> Iterator[tuple[org.Stream, org.Counts]]:
        for stream, counts in super().usage(day, start, end):
            if stream.workspace in self._workspaces:
                yield stream, counts

    def costs(self, day: date, end: int = org.MINUTES_PER_DAY) -> Iterator[org.CostLine]:
        return (line for line in super().costs(day, end) if line.workspace in self._workspaces)


def cut_api(now: Callable[[], datetime], workspaces: Workspaces) -> Callable[[Request], Response]:
    """The Admin API of that organization: rows, keys and names of some workspaces, accounts that used them of late."""
    part = Part(now().date(), workspaces)
    api = DemoApi(now, part)
    days = [now().date() - timedelta(days=n) for n in range(31)]
    accounts = {stream.account for day in days for stream, _ in part.usage(day, 0, org.MINUTES_PER_DAY)}
    kept: dict[str, Callable[[Mapping[str, Any]], bool]] = {
        "workspaces": lambda item: item["id"] in workspaces,
        "api_keys": lambda item: item["workspace_id"] in workspaces,
        "users": lambda item: item["id"] in accounts,
    }

    def respond(request: Request) -> Response:
        response = api.respond(request)
        keep = kept.get(request.path.rsplit("/", 1)[-1])
        if keep is None:
            return response
        body = cast("dict[str, Any]", response.body)
        return replace(response, body={**body, "data": [item for item in body["data"] if keep(item)]})

    return respond


@contextmanager
def serving(respond: Callable[[Request], Response]) -> Generator[Settings]:
    """Settings with which a server asks this Admin API, and says all at any length."""
    with serve_on_loopback(respond) as url:
        yield replace(Settings.for_demo({}, url), max_answer_characters=None)


# ── What is theirs ──


@cache
def words_of_others(workspaces: Workspaces) -> frozenset[str]:
    """The ids and names of whatever is not of these workspaces."""
    theirs = [stream for stream in org.STREAMS if stream.workspace in workspaces]
    accounts = org.USERS.keys() - {stream.account for stream in theirs}
    models = {stream.model for stream in org.STREAMS} - {stream.model for stream in theirs}
    others = [
        *((each, name) for each, name in org.WORKSPACES.items() if each not in workspaces),
        *((key, name) for key, (name, workspace) in org.API_KEYS.items() if workspace not in workspaces),
        *((account, org.USERS[account]) for account in accounts),
    ]
    return frozenset(
        [
            *(word for words in others for word in words),
            *models,
            *(["Default workspace"] if None not in workspaces else []),
        ]
    )


def leaked(said: str, words: frozenset[str]) -> set[str]:
    """Those of the words that are in there."""
    return set(_any_of(words).findall(said)) if words else set()


@cache
def _any_of(words: frozenset[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, sorted(words)))})(?![\w-])")


# ── What is compared ──

CODE = "scoped_to_workspaces"
ABOUT_THE_SERVER = {"cache", "cached", "organization"}
HELD_BY_CHANCE = "priority_tier_included"
"""Told of rows that tell their tier, which they do where a finer view than was asked for happens to be held."""


def without_the_limit(result: CallToolResult | Mapping[str, Any]) -> Any:
    """All that a result says but that it is limited, and how it was come by."""
    if isinstance(result, CallToolResult):
        return text_of(result) if result.is_error else without_the_limit(result.structured_content or {})
    answer = dict(result)
    answer["notes"] = [note for note in answer["notes"] if note["code"] not in {CODE, HELD_BY_CHANCE}]
    answer["summary"] = re.sub(r"(; \d+ days cached)?\.( Limited to [^.]*\.)?$", ".", answer["summary"])
    return {name: part for name, part in answer.items() if name not in ABOUT_THE_SERVER}


def as_cut(text: Any, workspaces: Workspaces) -> Any:
    """A refusal as it reads where there always is a default workspace."""
    if isinstance(text, str) and None not in workspaces:
        return re.sub(r"(filter_by workspace_id .* Accepted: )(?:default, )?", r"\1", text)
    return text


def tables_of(result: CallToolResult) -> list[str]:
    """The rows of the tables in the text half."""
    return [line for line in text_of(result).splitlines() if line.startswith("|")]


# ── Random calls ──

PERIODS = ["yesterday", "today", "last_7_days", "last_30_days", "this_month", "2026-10", "2026-09-20..2026-10-05"]
BASE = ["workspace_id", "model", "service_tier", "context_window", "inference_geo"]
BILLED = [*BASE, "cost_type", "token_type", "description"]
BY_KEY = ["api_key_id", "account_id", "service_account_id", "speed"]
TOOLS = [
    "get_spend",
    "get_token_usage",
    "cache_hit_ratio",
    "compare_spend",
    "forecast_spend",
    "find_spend_anomalies",
    "get_effective_prices",
    "list_dimension_values",
    "get_status",
]


def _some(pick: Pick, values: Sequence[str], most: int = 2) -> list[str]:
    return list(dict.fromkeys(pick(values) for _ in range(pick(range(most + 1)))))


def values_for(dimension: str, workspaces: Workspaces) -> Sequence[str | None]:
    """What a filter may name: what is theirs, what is somebody else's, and what does not exist."""
    ids = [each for each in org.WORKSPACES if each in workspaces]
    null = [None, "default", "Default workspace"] if None in workspaces else []
    values: dict[str, Sequence[str | None]] = {
        "workspace_id": [*null, *ids, *org.WORKSPACES.values(), "Nowhere", "Production, Research"],
        "api_key_id": [
            None,
            "none",
            "console",
            *org.API_KEYS,
            *(name for name, _ in org.API_KEYS.values()),
            "apikey_nobody",
            "no such key",
        ],
        "account_id": [None, *org.USERS, *org.USERS.values(), "user_nobody", "Nobody At All"],
        "service_account_id": [None, "svac_nobody", "robot"],
        "model": [org.OPUS, org.SONNET, org.OLD_SONNET, "claude-sonnet-4.6", "opus", None],
        "service_tier": ["standard", "batch", "priority", "gold"],
        "context_window": ["0-200k", "200k-1M"],
        "inference_geo": ["us", "global", "not_available"],
        "speed": ["standard", "fast", "slow"],
        "cost_type": ["tokens", "web_search", "session_usage", None],
        "token_type": ["output_tokens", "uncached_input_tokens"],
        "description": ["Code Execution Usage", "Claude Haiku 4.5 Usage - Output Tokens", "Something Else"],
    }
    return values[dimension]


def _filters(pick: Pick, dimensions: Sequence[str], workspaces: Workspaces) -> dict[str, Any]:
    named = _some(pick, dimensions, 1)
    return {"filter_by": {each: [pick(values_for(each, workspaces))] for each in named}} if named else {}


def a_call(pick: Pick, workspaces: Workspaces) -> tuple[str, dict[str, Any]]:
    """Any tool with any arguments to which a cut organization gives the same answer."""
    tool = pick(TOOLS)
    period = {"period": pick(PERIODS)}
    match tool:
        case "get_spend":
            dimensions = [*BILLED, "api_key_id"]
            arguments = {"group_by": _some(pick, dimensions), **_filters(pick, dimensions, workspaces)}
        case "get_token_usage":
            dimensions = [*BASE, *BY_KEY]
            arguments = {"group_by": _some(pick, dimensions, 3), **_filters(pick, dimensions, workspaces)}
            if pick([False, False, True]):
                # By key: rows per hour that could answer other questions too would round their savings otherwise.
                arguments["group_by"] = ["api_key_id", *arguments["group_by"][:2]]
                arguments |= {"granularity": "hour", "timezone": pick(["UTC", "Europe/Berlin"])}
                period = {"period": pick(["yesterday", "last_2_days"])}
        case "cache_hit_ratio":
            arguments = {"group_by": _some(pick, BASE), **_filters(pick, BASE, workspaces)}
        case "compare_spend":
            arguments = {"group_by": _some(pick, BILLED), **_filters(pick, BILLED, workspaces)}
        case "forecast_spend":
            period, arguments = {}, {"budget": 5000, **_filters(pick, BILLED, workspaces)}
        case "find_spend_anomalies":
            arguments = {"group_by": _some(pick, BILLED, 1), **_filters(pick, BASE, workspaces)}
        case "get_effective_prices":
            arguments = _filters(pick, [*BASE, "token_type"], workspaces)
        case "list_dimension_values":
            arguments = {"dimension": pick([*BILLED, *BY_KEY])}
        case _:
            period, arguments = {}, {}
    return tool, {**period, **arguments}


def as_key(tool: str, arguments: Mapping[str, Any]) -> str:
    return json.dumps([tool, arguments], sort_keys=True)
