"""Arguments that are almost right, and bodies that are almost right: an exact answer or an error of ours, nothing else.

Always the same cases; `FUZZ_TIMES=4` makes four times as many.
"""

import asyncio
import codecs
import json
import os
import random
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import pytest
from mcp import Client
from mcp.types import CallToolResult

from tests.support.generated_orgs import (
    COUNTS,
    SPEND,
    USAGE,
    VALUES,
    Body,
    GeneratedOrg,
    Row,
    TinyApi,
    measured,
    midnight,
)
from tests.support.harness import FrozenClock, text_of
from usage_cost_mcp.admin_api.directory import ORGANIZATION_TTL_SECONDS
from usage_cost_mcp.app import build_server
from usage_cost_mcp.demo.http import Request
from usage_cost_mcp.settings import Settings

pytestmark = pytest.mark.anyio

SEED = "2026-11-22"
TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
MOST_SECONDS = 10
"""What one call may take on a slow machine; they take a few milliseconds."""
MOST_CHARACTERS = 40_000

Serve = Callable[[str, Sequence[tuple[str, str]]], bytes | None]
"""The body for a path and a query; None is a 400."""


@contextmanager
def serve_bytes(serve: Serve) -> Generator[str]:
    """An HTTP server on loopback whose bodies need not be JSON."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body = serve(url.path.removeprefix("/v1/organizations/"), parse_qsl(url.query))
            self.send_response_only(400 if body is None else 200)
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@asynccontextmanager
async def connected(serve: Serve, clock: FrozenClock) -> AsyncGenerator[Client]:
    with serve_bytes(serve) as url:
        async with Client(build_server(Settings.for_demo({}, url), clock)) as client:
            yield client


@contextmanager
def named(case: str, what: object) -> Generator[random.Random]:
    """The chance of one case, by which it can be repeated alone."""
    try:
        yield random.Random(f"{SEED} {case}")  # noqa: S311 - no secret
    except Exception as error:
        error.add_note(f"seed {SEED!r}, case {case!r}: {what!r:.2000}")
        raise


async def call(client: Client, tool: str, arguments: dict[str, Any]) -> CallToolResult:
    """The result of a call, which is one or the other: an answer that fits, or an error in our own words."""
    async with asyncio.timeout(MOST_SECONDS):
        result = await client.call_tool(tool, arguments)
    said = text_of(result)
    if result.is_error:
        assert not re.search(r"Error executing|Traceback|pydantic|Input should|object at 0x|Error\b.*:\s*$", said)
        assert said.endswith(".")
        assert len(said) < 3000
    else:
        written = json.dumps(result.structured_content, ensure_ascii=False, separators=(",", ":"))
        assert max(len(said), len(written)) <= MOST_CHARACTERS
    return result


def told(result: CallToolResult) -> dict[str, Any]:
    assert result.structured_content is not None
    return result.structured_content


# Arguments


def _fixed_rows(tool: str) -> list[Row]:
    chance = random.Random(SEED)  # noqa: S311 - no secret
    return [
        Row(
            midnight(date(2026, 8, 1)) + timedelta(minutes=chance.randrange(160_000)),
            {dimension: chance.choice(known) for dimension, known in VALUES[tool].items()},
            (f"{chance.randint(-(10**6), 10**9)}.{chance.randrange(10**9):09}",)
            if tool == SPEND
            else tuple(chance.randrange(2**60) for _ in COUNTS),
        )
        for _ in range(60)
    ]


PERIOD = (date(2026, 8, 1), date(2026, 11, 22))
WORLDS = {tool: GeneratedOrg(tool, PERIOD, _fixed_rows(tool)) for tool in (SPEND, USAGE)}
NAMES = {"workspaces": {"wrkspc_one": "Production", "wrkspc_two": "S\u00e3o Paulo, prod"}, "api_keys": {}, "users": {}}
ME = {"id": "org_1", "name": "Fuzz"}


def listed(names: Mapping[str, str]) -> Body:
    data = [{"id": each, "name": name} for each, name in names.items()]
    return {"data": data, "has_more": False, "last_id": None}


def sound(path: str, query: Sequence[tuple[str, str]]) -> bytes:
    """What the API says when all is well."""
    if path == "me":
        return json.dumps(ME).encode()
    if path in NAMES:
        return json.dumps(listed(NAMES[path])).encode()
    world = WORLDS[SPEND if path == "cost_report" else USAGE]
    return json.dumps(TinyApi(world)(Request(f"/v1/organizations/{path}", query, {})).body).encode()


_ANY: list[dict[str, Any]] = [
    {},
    {"period": "last_7_days", "granularity": "day", "top": 5},
    {"period": "2026-10", "group_by": ["model"], "granularity": "week"},
    {"period": "2026-09-03..2026-10-15", "group_by": ["workspace_id", "model"], "top": 2},
    {"period": "this_quarter", "filter_by": {"workspace_id": ["Production", "default"]}, "granularity": "month"},
    {"period": "last month", "filter_by": {"model": ["claude-opus-4-6"], "service_tier": ["batch"]}, "top": 100},
]
_TOKENS = [
    *_ANY,
    {"period": "2026-10-05", "granularity": "hour", "group_by": ["api_key_id"]},
    {"period": "2026-10-05..2026-10-06", "granularity": "hour", "filter_by": {"api_key_id": ["console"]}},
    {"period": "2026-10", "timezone": "Europe/Berlin", "group_by": ["model"]},
]
_MEASURED = [{"period": "2026-Q4", "measures": ["output_tokens"]}, {"measures": "all", "group_by": "speed"}]
VALID: dict[str, list[dict[str, Any]]] = {
    "get_spend": [*_ANY, {"group_by": ["description", "cost_type"], "filter_by": {"token_type": ["output_tokens"]}}],
    "get_token_usage": [*_TOKENS, *_MEASURED],
    "cache_hit_ratio": _TOKENS,
    "get_effective_prices": [
        {},
        {"period": "2026-10", "filter_by": {"model": ["claude-opus-4-6"]}, "top": 3},
        {"period": "this_quarter", "filter_by": {"workspace_id": ["Production", "default"]}},
    ],
    "list_dimension_values": [
        {"dimension": "workspace_id"},
        {"dimension": "model", "period": "2026-10", "top": 3},
        {"dimension": "api_key_id", "period": "this_month"},
    ],
    "get_status": [{}],
}
ODD: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        3,
        101,
        2**70,
        1.5,
        2.0,
        1e308,
        "",
        " ",
        ",",
        "null",
        "all",
        "\x00",
        "\ud800",
        "\u202e",
        "\U0001f4b8",
    ),
    *("x" * 20_000, "\u0663", "last_\u0663_days", "2026-02-30", "2026-W10", "9999", "2000..2099", "last_9999_days"),
    *(
        "today..yesterday",
        "2026-10-05..2026-10-01",
        "20260-1",
        "\uff12\uff10\uff12\uff16",
        "2026-10-05T00:00:00Z",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        [""],
        [1],
        {"": []},
        {"model": None},
        {"model": [None]},
        {"model": {}},
        {"a": {"b": {"c": []}}},
    ),
    *(["model"] * 500, ["model", "workspace_id"], list("abcdefgh"), {"model": ["x"] * 3000}, {"x" * 999: ["y"]}),
    *(
        ["workspace_id", "api_key_id", "account_id", "model", "speed", "service_tier"],
        "model,workspace_id",
        '["model"]',
    ),
    *(
        '{"model": ["claude-opus-4-6"]}',
        "__class__",
        "{0}",
        "%s",
        "`|[a](b)",
        "' OR 1=1 --",
        "\n\n# Title",
        "total",
        "minute",
    ),
]


async def test_a_period_that_starts_before_the_year_1_is_refused() -> None:
    async with connected(sound, FrozenClock()) as client:
        assert (await call(client, "get_spend", {"period": "last_9999_years"})).is_error


def mutated(value: object, chance: random.Random) -> object:
    """The value with one thing changed somewhere inside."""
    if isinstance(value, (dict, list)) and value and chance.random() < 0.75:
        return _mutated_inside(cast("Any", value), chance)
    if isinstance(value, str) and chance.random() < 0.7:
        return _misspelled(value, chance)
    given: object = cast("Any", value)
    changes: list[Callable[[], Any]] = [
        lambda: chance.choice(ODD),
        lambda: chance.choice(ODD),
        lambda: [given],
        lambda: repr(given),
        lambda: json.dumps(given),
        lambda: {"value": given},
    ]
    return chance.choice(changes)()


def _mutated_inside(value: Any, chance: random.Random) -> object:
    is_object = isinstance(value, dict)
    changed: Any = value.copy()
    place: Any = chance.choice(list(changed) if is_object else range(len(changed)))
    part = changed[place]
    match chance.randrange(6):
        case 0:
            del changed[place]
        case 1 if is_object:
            changed[_misspelled(str(place), chance)] = changed.pop(place)
        case 1:
            changed.append(part)
        case _:
            changed[place] = mutated(part, chance)
    return changed


def _misspelled(text: str, chance: random.Random) -> str:
    at = chance.randint(0, len(text))
    odd = chance.choice("\u200b\u0130\u00df \t,.-_x9\x1b|`*")
    return chance.choice(
        [
            text[:at] + odd + text[at:],
            text[:at] + text[at + 1 :],
            text.upper(),
            f" {text} ",
            text.replace("_", " "),
            text[::-1],
        ]
    )


def picked(tool: str, answer: Mapping[str, Any]) -> list[Row]:
    """The rows that an answer says it is about."""
    first, last = (date.fromisoformat(answer["period"][end]) for end in ("start", "end"))
    zone = ZoneInfo(answer["period"]["timezone"])
    filters = answer.get("filter_by", {})
    return [
        row
        for row in WORLDS[tool].rows
        if first <= row.moment.astimezone(zone).date() <= last
        and all(row.group[dimension] in values for dimension, values in filters.items())
    ]


def total(tool: str, rows: Sequence[Row]) -> dict[str, Fraction]:
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for row in rows:
        for name, value in measured(tool, row).items():
            sums[name] += value
    return sums


def hold_against(sums: Mapping[str, Fraction], totals: Mapping[str, Any]) -> None:
    """Every number of the totals is the exact one."""
    for name, value in totals.items():
        if name not in {"cache_hit_ratio", "cache_savings"}:
            assert Fraction(value) == sums.get(name, 0)
    if "cache_hit_ratio" in totals:
        tokens = sums.get("input_tokens", Fraction())
        ratio = sums.get("cache_read_input_tokens", 0) / tokens if tokens else None
        assert totals["cache_hit_ratio"] == (None if ratio is None else pytest.approx(float(ratio), abs=1e-9))


def check_series(tool: str, answer: Mapping[str, Any]) -> None:
    groups: dict[tuple[str | None, ...], list[Row]] = defaultdict(list)
    for row in picked(tool, answer):
        groups[row.key(answer["group_by"])].append(row)
    hold_against(total(tool, picked(tool, answer)), answer["totals"])
    for series in answer["series"]:
        if series["group"] is not None:
            hold_against(total(tool, groups.pop(tuple(series["group"].values()), [])), series["totals"])
    if groups:
        (other,) = (series for series in answer["series"] if series["group"] is None)
        assert other["other_groups"] == len(groups)
        hold_against(total(tool, [row for rows in groups.values() for row in rows]), other["totals"])


def check_values(answer: Mapping[str, Any]) -> None:
    dimension = answer["dimension"]
    for value in answer["values"]:
        for tool, name in ((SPEND, "cost"), (USAGE, "tokens")):
            assert (name in value) == (dimension in VALUES[tool])
            if name in value:
                rows = [row for row in picked(tool, answer) if row.group[dimension] == value["value"]]
                sums = total(tool, rows)
                assert Fraction(value[name]) == (
                    sums["cost"] if tool == SPEND else sums["input_tokens"] + sums["output_tokens"]
                )


def check_prices(answer: Mapping[str, Any]) -> None:
    """What is listed, whole, is the bill of tokens and the use of them."""
    if answer["omitted"]:
        return
    listed = [*answer["prices"], *answer["unpriced"]]
    billed = [row for row in picked(SPEND, answer) if row.group["token_type"] is not None]
    assert sum(Fraction(row["cost"]) for row in listed) == total(SPEND, billed).get("cost", 0)
    used = total(USAGE, picked(USAGE, answer)) if "token_type" not in answer["filter_by"] else {}
    if used:
        assert sum(row["tokens"] for row in listed) == used["input_tokens"] + used["output_tokens"]


def check(tool: str, answer: Mapping[str, Any]) -> None:
    if tool == "get_status":
        assert answer["organization"] == ME
    elif tool == "list_dimension_values":
        check_values(answer)
    elif tool == "get_effective_prices":
        check_prices(answer)
    else:
        check_series(SPEND if tool == "get_spend" else USAGE, answer)


@pytest.mark.parametrize("tool", VALID)
async def test_arguments_that_are_almost_right_are_answered_exactly_or_refused(tool: str) -> None:
    cases, answered = 500 * TIMES, 0
    async with connected(sound, FrozenClock()) as client:
        usual = [(valid, await client.call_tool(tool, valid)) for valid in VALID[tool]]
        assert not [text_of(result) for _, result in usual if result.is_error]
        for n in range(cases):
            arguments: Any = {}
            with named(f"{tool} {n}", arguments) as chance:
                valid, result = chance.choice(usual)
                before: Any = valid or {chance.choice(["period", "top", "verbose"]): chance.choice(ODD)}
                for _ in range(chance.choice([1, 1, 1, 2, 3])):
                    after = mutated(before, chance)
                    before = cast("Any", after) if isinstance(after, dict) else before
                arguments |= before
                given = await call(client, tool, arguments)
                if given.is_error:
                    continue
                answered += 1
                answer = told(given)
                check(tool, answer)
                # What was not touched is understood as before.
                for name in ("period", "group_by", "filter_by", "dimension"):
                    if name in answer and all(arguments.get(each) == valid.get(each) for each in (name, "timezone")):
                        assert answer[name] == told(result)[name]
    assert answered >= (0.01 if tool == "get_status" else 0.15) * cases
    assert answered <= 0.85 * cases


# Bodies

RAW: list[str] = [
    *(
        "null",
        "true",
        "false",
        "0",
        "-1",
        "7",
        "1.5",
        "2.0",
        "NaN",
        "-Infinity",
        "1e400",
        "1e3",
        "-0",
        "9007199254740993",
    ),
    *(
        "123456789012345678901234567890",
        "9" * 300,
        "9" * 5000,
        "{}",
        "[]",
        "[[]]",
        '{"a": 1}',
        "[null]",
        "[" * 300 + "]" * 300,
    ),
    *(
        '""',
        '" "',
        '"12abc"',
        '"1e3"',
        '"NaN"',
        '"+1"',
        '" 1 "',
        '"1_000"',
        '"\u0661\u0662"',
        '"0.1"',
        '"-5"',
        '"007"',
        '"1."',
    ),
    *(
        '"0.123456789012345678901234567890"',
        '"12345678901234567890"',
        '"EUR"',
        '"usd"',
        '"USD"',
        '"\\ud800"',
        '"\\u202ex"',
    ),
    *(
        '"\u0000"',
        '"2026-10-05"',
        '"2026-10-05T00:00:00Z"',
        '"1970-01-01T00:00:00+00:00"',
        '"page_1"',
        '"page_9"',
        '"hyperspeed"',
    ),
    *(json.dumps("x" * 500), json.dumps("<script>|[a](b)"), "tru", "'a'", "{", "]", "1 2"),
]
DAY = timedelta(days=1)
LATE = datetime(2099, 12, 31, 12, tzinfo=UTC)
"""Each case asks about two days of its own since 2000, so that none is answered from memory."""


def broken(body: Body, chance: random.Random) -> bytes:
    """The body with something wrong with it, or something that looks so."""
    text = _rewritten(body, chance) if chance.random() < 0.8 else json.dumps(body)
    if chance.random() < 0.8:
        return text.encode("utf-8", "surrogatepass")
    changes: list[Callable[[], bytes]] = [
        text[: chance.randrange(len(text))].encode,
        lambda: text.encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + text.encode(),
        lambda: text.encode().replace(b'"', b"\xff", 1),
        lambda: text.replace("model", "mod\u00e9l").encode("latin-1", "replace"),
        lambda: b"<html><body>502 Bad Gateway</body></html>",
        lambda: b"",
        f"[{text}]".encode,
        f'{{"data": {text}}}'.encode,
        lambda: text.encode() + chance.choice([b"\n", b" ", b"x", b"{}", b"\x00", b","]),
        f'{{"deep": {"[" * 50_000}{"]" * 50_000}, {text[1:]}'.encode,
        lambda: json.dumps({"type": "error", "error": {"type": "api_error", "message": "no"}}).encode(),
    ]
    return chance.choice(changes)()


def _rewritten(body: Body, chance: random.Random) -> str:
    """The body as JSON, one to three of its nodes dropped, doubled, renamed or replaced by raw text."""
    tree: Any = json.loads(json.dumps(body))
    raw: dict[str, str] = {}
    for n in range(chance.choice([1, 1, 1, 2, 3])):
        places = list(_places(tree))
        holder, place = chance.choice(places)
        mark, is_object = f"@{n}@", isinstance(holder, dict)
        match chance.randrange(8):
            case 0:
                del holder[place]
            case 1 if is_object:
                holder[f"{place}s"] = holder.pop(place)
            case 1 | 2 if not is_object:
                holder.append(holder[place])
            case 2:
                raw[f'"{mark}": null'] = f"{json.dumps(place)}: {chance.choice([json.dumps(holder[place]), *RAW])}"
                holder[mark] = None
            case 3:
                holder_too, place_too = chance.choice(places)
                holder[place] = json.loads(json.dumps(holder_too[place_too]))
            case _:
                raw[f'"{mark}"'] = chance.choice(RAW)
                holder[place] = mark
    text = json.dumps(tree)
    for mark, instead in raw.items():
        text = text.replace(mark, instead)
    return text


def _places(tree: Any) -> Generator[tuple[Any, Any]]:
    """Every node below the root, as its holder and its place there."""
    places: Any = (
        list(cast("Body", tree))
        if isinstance(tree, dict)
        else range(len(cast("list[Any]", tree)))
        if isinstance(tree, list)
        else ()
    )
    for place in places:
        yield cast("Any", tree), place
        yield from _places(cast("Any", tree)[place])


class UnreadableError(Exception):
    """No number can be made of it."""


def need(condition: object) -> None:
    if not condition:
        raise UnreadableError


NEEDED_COST = ("workspace_id", "description")
COUNTED = {
    "uncached_input_tokens": None,
    "cache_read_input_tokens": None,
    "ephemeral_5m_input_tokens": "cache_creation",
    "ephemeral_1h_input_tokens": "cache_creation",
    "output_tokens": None,
    "web_search_requests": "server_tool_use",
}
"""The six counts, and the part of a row that each is in."""


@dataclass
class Reading:
    """A second reader of bodies, which knows the documentation and fractions and nothing else.

    Attributes:
        doubtful: There is something of which it may be said either way whether it can be read.
    """

    doubtful: bool = False

    def parse(self, body: bytes | None) -> Body:
        try:
            text = (body or b"").decode("utf-8-sig")
            self.doubtful |= (body or b"").startswith(codecs.BOM_UTF8)
            self.doubtful |= "[" * 100 in text or re.search(r"\\ud[89a-f]", text) is not None
            found = json.loads(
                text,
                parse_constant=self._odd,
                parse_int=self._whole,
                parse_float=self._fraction,
                object_pairs_hook=self._object,
            )
        except (ValueError, RecursionError):
            raise UnreadableError from None
        need(isinstance(found, dict))
        return cast("Body", found)

    def _odd(self, _: str) -> object:
        self.doubtful = True
        return object()

    def _whole(self, digits: str) -> object:
        return self._odd(digits) if len(digits) > 4000 else int(digits)

    def _fraction(self, digits: str) -> object:
        return self._odd(digits) if float(digits) == float("inf") else float(digits)

    def _object(self, pairs: list[tuple[str, Any]]) -> Body:
        self.doubtful |= len(dict(pairs)) < len(pairs)
        return dict(pairs)

    def text(self, part: Body, name: str, *, needed: bool = False) -> str | None:
        """A string or null. What is missing may be taken for null, unless it is needed."""
        need(name in part or not needed)
        self.doubtful |= name not in part
        need(part.get(name) is None or isinstance(part[name], str))
        return part.get(name)


def moment(part: Body, name: str) -> datetime:
    written = part.get(name)
    need(isinstance(written, str))
    try:
        found = datetime.fromisoformat(str(written))
    except ValueError:
        raise UnreadableError from None
    need(found.tzinfo)
    return found


@dataclass
class Report(Reading):
    """A report, walked through."""

    tool: str = SPEND
    needed: Sequence[str] = NEEDED_COST
    days: Sequence[datetime] = ()
    rows: dict[datetime, list[Row]] = field(default_factory=dict[datetime, list[Row]])

    def walk(self, fetch: Callable[[str], bytes | None]) -> None:
        seen = [""]
        while True:
            body = fetch(seen[-1])
            need(body is not None)
            page = self.parse(body)
            need(isinstance(page.get("data"), list) and isinstance(page.get("has_more"), bool))
            following = self.text(page, "next_page", needed=page["has_more"])
            for bucket in page["data"]:
                self._take(bucket)
            if not page["has_more"]:
                self.doubtful |= following is not None
                return
            need(following and following not in seen)
            seen.append(str(following))

    def _take(self, bucket: Any) -> None:
        need(isinstance(bucket, dict))
        start = moment(bucket, "starting_at")
        need(start in self.days and moment(bucket, "ending_at") - start == DAY)
        need(isinstance(bucket.get("results"), list))
        rows = [self._row(row) for row in bucket["results"]]
        self.doubtful |= start in self.rows
        need(self.rows.setdefault(start, rows) == rows)

    def _row(self, row: Any) -> Row:
        need(isinstance(row, dict))
        asked = [name for name in VALUES[self.tool] if self.tool == SPEND or name in self.needed]
        group = {name: self.text(row, name, needed=name in self.needed) for name in asked}
        return Row(LATE, group, self._amount(row) if self.tool == SPEND else _six(row))

    def _amount(self, row: Body) -> tuple[str]:
        amount = row.get("amount")
        need(row.get("currency") == "USD" and isinstance(amount, str))
        need(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", str(amount)))
        self.doubtful |= not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,30})?", str(amount))
        return (str(amount),)

    def groups(self, dimensions: Sequence[str]) -> dict[tuple[str | None, ...], list[Row]]:
        found: dict[tuple[str | None, ...], list[Row]] = defaultdict(list)
        for rows in self.rows.values():
            for row in rows:
                found[row.key(dimensions)].append(row)
        return found


def _six(row: Body) -> tuple[int, ...]:
    counts: list[int] = []
    for name, inside in COUNTED.items():
        part: Any = row.get(inside) if inside else row
        need(isinstance(part, dict))
        count: Any = part.get(name)
        need(type(count) is int and count >= 0)
        counts.append(count)
    return tuple(counts)


PATHS = {SPEND: "cost_report", USAGE: "usage_report/messages"}


class Case:
    """Two days of their own, a day a page, with something wrong with one of the pages of one report."""

    def __init__(self, tool: str, nth: int, chance: random.Random) -> None:
        self.chance = chance
        first = date(2000, 1, 1) + nth * 2 * DAY
        self.period = (first, first + DAY)
        self.worlds = {each: GeneratedOrg(each, self.period, self._rows(each), page_size=1) for each in PATHS}
        self.report = Report(tool=tool, days=[midnight(day) for day in self.period])
        self.bad = chance.choice(["", "page_1"])
        self.bodies: dict[str, bytes | None] = {}

    def _rows(self, tool: str) -> list[Row]:
        return [
            Row(
                midnight(self.period[0]) + timedelta(minutes=self.chance.randrange(2880)),
                {dimension: self.chance.choice(known) for dimension, known in VALUES[tool].items()},
                (f"{self.chance.randint(-(10**6), 10**9)}.{self.chance.randrange(10**9):09}",)
                if tool == SPEND
                else tuple(self.chance.randrange(2**60) for _ in COUNTS),
            )
            for _ in range(4)
        ]

    def serve(self, path: str, query: Sequence[tuple[str, str]]) -> bytes | None:
        tool = next((each for each, known in PATHS.items() if known == path), None)
        token = dict(query).get("page", "")
        if tool is None:
            return sound(path, query)
        if token not in {"", "page_1"}:
            return None
        if tool == self.report.tool and token in self.bodies:
            return self.bodies[token]
        body = TinyApi(self.worlds[tool])(Request(f"/v1/organizations/{path}", query, {})).body
        if tool != self.report.tool:
            return json.dumps(body).encode()
        if tool == USAGE:
            self.report.needed = [value for name, value in query if name == "group_by[]"]
        self.bodies[token] = broken(body, self.chance) if token == self.bad else json.dumps(body).encode()
        return self.bodies[token]

    def read(self) -> bool:
        """Whether the report can be read."""
        try:
            self.report.walk(self.bodies.get)
        except UnreadableError:
            return False
        return True


def clean(value: str | None) -> bool:
    return value is None or (value.isprintable() and value == value.strip() and 0 < len(value) <= 200)


def same_groups(report: Report, answer: Mapping[str, Any]) -> None:
    groups = report.groups(answer["group_by"])
    hold_against(total(report.tool, [row for rows in groups.values() for row in rows]), answer["totals"])
    if all(clean(value) for key in groups for value in key):
        told = {tuple(series["group"].values()): series["totals"] for series in answer["series"]}
        assert told.keys() == (groups.keys() if answer["group_by"] else {()})
        for key, totals in told.items():
            hold_against(total(report.tool, groups.get(key, [])), totals)


def same_values(report: Report, answer: Mapping[str, Any]) -> None:
    groups = report.groups([answer["dimension"]])
    used = [value for value in answer["values"] if value["used"]]
    if report.tool == SPEND:
        sums = {key: total(SPEND, rows)["cost"] for key, rows in groups.items()}
        told = {(value["value"],): Fraction(value["cost"]) for value in used}
    else:
        each = {key: total(USAGE, rows) for key, rows in groups.items()}
        sums = {key: sums["input_tokens"] + sums["output_tokens"] for key, sums in each.items()}
        told = {(value["value"],): Fraction(value["tokens"]) for value in used}
    assert sum(sums.values()) == sum(told.values())
    if all(clean(value) for (value,) in groups):
        assert {key: value for key, value in told.items() if value} == {
            key: value for key, value in sums.items() if value
        }


ASKED: dict[str, list[tuple[str, dict[str, Any]]]] = {
    SPEND: [
        ("get_spend", {}),
        ("get_spend", {"group_by": ["model"]}),
        ("get_spend", {"group_by": ["workspace_id", "token_type"], "granularity": "total"}),
        ("list_dimension_values", {"dimension": "cost_type"}),
        ("list_dimension_values", {"dimension": "workspace_id"}),
    ],
    USAGE: [
        ("get_token_usage", {"measures": "all"}),
        ("get_token_usage", {"group_by": ["workspace_id", "model"]}),
        ("get_token_usage", {"group_by": ["api_key_id"]}),
        ("cache_hit_ratio", {"group_by": ["service_tier"]}),
        ("list_dimension_values", {"dimension": "api_key_id"}),
        ("list_dimension_values", {"dimension": "model"}),
    ],
}


@pytest.mark.parametrize("report", PATHS)
async def test_a_report_that_is_almost_right_is_read_exactly_or_refused(report: str) -> None:
    cases, readable, doubtful = 400 * TIMES, 0, 0
    current: list[Case] = []

    def serve(path: str, query: Sequence[tuple[str, str]]) -> bytes | None:
        return current[-1].serve(path, query)

    async with connected(serve, FrozenClock(LATE)) as client:
        for n in range(cases):
            seen: list[object] = []
            with named(f"{report} {n}", seen) as chance:
                case = Case(report, n, chance)
                current[:] = [case]
                tool, query = chance.choice(ASKED[report])
                seen += [tool, query, case.bodies]
                result = await call(client, tool, {"period": "..".join(map(str, case.period)), **query})
                can_be_read = case.read()
                readable += can_be_read
                doubtful += case.report.doubtful
                if not can_be_read or result.is_error:
                    assert result.is_error
                    assert case.report.doubtful or not can_be_read
                    continue
                answer = told(result)
                (same_values if tool == "list_dimension_values" else same_groups)(case.report, answer)
                if len(case.report.rows) < len(case.period) and "totals" in answer:
                    assert "days_not_reported" in [note["code"] for note in answer["notes"]]
    assert 0.2 * cases < readable < 0.8 * cases
    assert doubtful < 0.3 * cases


async def test_a_count_that_no_float_can_hold_is_exact_or_refused() -> None:
    def serve(path: str, query: Sequence[tuple[str, str]]) -> bytes:
        body = sound(path, query)
        return re.sub(rb'("output_tokens": )[0-9]+', rb"\g<1>" + b"9" * 400, body)

    async with connected(serve, FrozenClock()) as client:
        await call(client, "list_dimension_values", {"dimension": "model", "period": "2026-10"})


LISTS = {"workspaces": ("workspace_id", SPEND), "api_keys": ("api_key_id", USAGE), "users": ("account_id", USAGE)}
LISTED: dict[str, list[Body]] = {
    "workspaces": [
        {"id": "wrkspc_one", "name": "Production", "archived_at": None},
        {"id": "wrkspc_two", "name": "Research", "archived_at": "2026-01-05T00:00:00Z"},
    ],
    "api_keys": [
        {"id": "apikey_one", "name": "web", "status": "active"},
        {"id": "apikey_two", "name": "night", "status": "archived"},
    ],
    "users": [{"id": "user_one", "name": "Demo Analyst", "email": "a@demo.example"}],
}


ARCHIVED: dict[str, tuple[str, tuple[str | None, ...]]] = {
    "workspaces": ("archived_at", (None, "2026-01-05T00:00:00Z")),
    "api_keys": ("status", ("active", "archived")),
}


def read_names(reading: Reading, path: str, body: bytes) -> dict[str, str] | None:
    """The names in a list by id; None when it cannot be read."""
    try:
        page = reading.parse(body)
        need(isinstance(page.get("data"), list) and page.get("has_more") is False)
        reading.text(page, "last_id")
        names: dict[str, str] = {}
        items: list[Any] = page["data"]
        for each in items:
            need(isinstance(each, dict))
            item = cast("Body", each)
            need(isinstance(item.get("id"), str))
            if path == "users":
                reading.text(item, "name")
                reading.text(item, "email")
            else:
                need(isinstance(item.get("name"), str))
                # Whether it is archived may be read in more forms than these, and changes no name.
                reading.doubtful |= item.get(ARCHIVED[path][0]) not in ARCHIVED[path][1]
            names[item["id"]] = item.get("name") or item.get("email") or item["id"]
    except UnreadableError:
        return None
    return names


@pytest.mark.parametrize("path", LISTS)
async def test_names_that_are_almost_right_never_touch_the_numbers(path: str) -> None:
    cases, readable = 120 * TIMES, 0
    dimension, tool = LISTS[path]
    bodies = [b""]
    clock = FrozenClock()

    def serve(asked: str, query: Sequence[tuple[str, str]]) -> bytes | None:
        if asked != path:
            return sound(asked, query)
        return None if "after_id" in dict(query) else bodies[-1]

    query = {"period": "2026-08..2026-10", "group_by": [dimension], "granularity": "total"}
    async with connected(serve, clock) as client:
        for n in range(cases):
            with named(f"{path} {n}", bodies) as chance:
                bodies[:] = [broken({"data": LISTED[path], "has_more": False, "last_id": None}, chance)]
                clock.advance(601)
                result = await call(client, tool, query)
                assert not result.is_error
                answer = told(result)
                check(tool, answer)
                reading = Reading()
                names = read_names(reading, path, bodies[-1])
                readable += names is not None
                refused = "names_unavailable" in [note["code"] for note in answer["notes"]]
                assert reading.doubtful or refused == (names is None)
                for series in answer["series"]:
                    value = series["group"][dimension]
                    name = value if refused else (names or {}).get(value, value)
                    if value is not None and clean(name):
                        assert series["label"].startswith((name, value) if reading.doubtful else name)
    assert 0.1 * cases < readable < 0.9 * cases


async def test_an_organization_that_is_almost_right_is_named_as_it_is_or_refused() -> None:
    cases, readable = 120 * TIMES, 0
    bodies, clock = [b""], FrozenClock()
    async with connected(lambda path, query: bodies[-1] if path == "me" else sound(path, query), clock) as client:
        for n in range(cases):
            clock.advance(ORGANIZATION_TTL_SECONDS)
            with named(f"me {n}", bodies) as chance:
                bodies[:] = [broken({**ME, "type": "organization"}, chance)]
                result = await call(client, "get_status", {})
                reading = Reading()
                try:
                    found = reading.parse(bodies[-1])
                    need(isinstance(found.get("id"), str) and isinstance(found.get("name"), str))
                except UnreadableError:
                    assert result.is_error
                    continue
                readable += 1
                assert reading.doubtful or not result.is_error
                if not result.is_error and clean(found["id"]) and clean(found["name"]):
                    organization = told(result)["organization"]
                    assert organization == {"id": found["id"], "name": found["name"]}
    assert 0.1 * cases < readable < 0.9 * cases
