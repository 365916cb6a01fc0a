"""The key appears in no log, answer, error or representation of an object, whatever upstream sends back."""

import base64
import gzip
import html
import io
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import traceback
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx
import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from tests.support.canary import KEY, judged, keeps_silent, leaks_in
from tests.support.harness import FrozenClock, Upstream
from usage_cost_mcp.admin_api import AdminApi, ApiDirectory, ReportReader
from usage_cost_mcp.admin_api.auth import AdminKeyAuth
from usage_cost_mcp.cache import ReportCache
from usage_cost_mcp.demo import DemoApi, serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.errors import UpstreamError
from usage_cost_mcp.redact import redacted
from usage_cost_mcp.reports.context import ReportContext
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import CorrectedClock
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.settings import Settings
from usage_cost_mcp.tools.service import Service

NAME = "ANTHROPIC_ADMIN_API_KEY"

# --- the scan ------------------------------------------------------------------------------------------------------


class _Open(BaseModel):
    """Settings that do not mask the key."""

    admin_key: str
    top: int = 10


def in_a_log_line() -> str:
    stream = io.StringIO()
    logger = logging.Logger("leaky")  # noqa: LOG001 - without the handlers of other loggers
    logger.addHandler(logging.StreamHandler(stream))
    logger.warning("asking with %s", KEY)
    return stream.getvalue()


def in_a_validation_error() -> str:
    with pytest.raises(ValidationError) as refused:
        _Open.model_validate({"admin_key": "", "top": KEY})
    return repr(refused.value.errors())


def in_a_traceback_with_locals() -> str:
    def ask(key: str) -> None:
        raise LookupError(len(key))

    with pytest.raises(LookupError) as failed:
        ask(KEY)
    return "".join(traceback.TracebackException.from_exception(failed.value, capture_locals=True).format())


def in_a_refused_header() -> str:
    with serve_on_loopback(lambda _: Response({})) as url, pytest.raises(httpx.LocalProtocolError) as refused:
        httpx.get(url, headers={"x-api-key": f"{KEY}\n"}, trust_env=False)
    return str(refused.value)


def in_the_arguments_of_a_process() -> str:
    return subprocess.run(
        [sys.executable, "-c", "import sys; print(sys.argv)", KEY], capture_output=True, encoding="utf-8", check=True
    ).stdout


LEAKS: dict[str, Callable[[], str | bytes]] = {
    "a log line": in_a_log_line,
    "the message of an exception": lambda: repr(ValueError(f"{KEY} is not accepted")),
    "a traceback with locals": in_a_traceback_with_locals,
    "a validation error with its input": in_a_validation_error,
    "an error of the HTTP library about a header": in_a_refused_header,
    "the repr of a client's headers": lambda: repr(httpx.Client(headers={"x-api-key": KEY}, trust_env=False).headers),
    "the repr of a request's headers": lambda: repr(
        httpx.Request("GET", "http://a", headers={"x-api-key": KEY}).headers
    ),
    "the arguments of a process": in_the_arguments_of_a_process,
    "a URL": lambda: str(httpx.URL("http://a/b", params={"key": KEY})),
    "settings with an unmasked key": lambda: repr(_Open(admin_key=KEY)),
    "pickled settings": lambda: pickle.dumps(_Open(admin_key=KEY)),
    "an environment": lambda: repr({"PATH": "/bin", NAME: KEY}),
    "structured content": lambda: json.dumps({"totals": {"cost": "1.5"}, "series": [{"label": KEY}]}),
    "Markdown": lambda: f"| {KEY} | $1.50 |",
    "escaped Markdown": lambda: "| " + re.sub(r"([-_])", r"\\\1", KEY) + " | $1.50 |",
    "twelve characters of it": lambda: f"ends in ...{KEY[20:32]}",
    "all but its ends": lambda: KEY[25:-25],
    "capitals": KEY.upper,
    "two lines": lambda: f"{KEY[:30]}\n    {KEY[30:]}",
    "two lines of source": lambda: f'"{KEY[:33]}"\n    "{KEY[33:]}"',
    "a narrow log column": lambda: "\n".join(f"{KEY[at : at + 9]}" for at in range(0, len(KEY), 9)),
    "a character a line": lambda: "\n".join(KEY),
    "reverse": lambda: KEY[::-1],
    "utf-16": lambda: KEY.encode("utf-16"),
    "utf-32, big end first": lambda: KEY.encode("utf-32-be"),
    "hex": lambda: KEY.encode().hex(),
    "hex in capitals, with colons": lambda: KEY.encode().hex(":").upper(),
    "a hex dump": lambda: "\n".join(
        f"{at:08x}  {KEY[at : at + 16].encode().hex(' ')}" for at in range(0, len(KEY), 16)
    ),
    "base64": lambda: base64.b64encode(KEY.encode()),
    "base64 behind one byte": lambda: base64.b64encode(f":{KEY}".encode()),
    "base64 behind two bytes": lambda: base64.b64encode(f"x:{KEY}:y".encode()),
    "base64 for addresses": lambda: base64.urlsafe_b64encode(f"\xff\xfe{KEY}".encode("latin-1")).rstrip(b"="),
    "base64 in short lines": lambda: b"\n".join(re.findall(b".{1,20}", base64.b64encode(KEY.encode()))),
    "percent signs": lambda: "".join(f"%{ord(character):02x}" for character in KEY),
    "a few percent signs": lambda: KEY.replace("K", "%4B").replace("-", "%2D").replace("w", "%77"),
    "percent signs, twice": lambda: quote(KEY.replace("w", "%77").replace("n", "%6e")),
    "JSON escapes": lambda: "".join(f"\\u{ord(character):04x}" for character in KEY),
    "JSON in JSON": lambda: json.dumps(json.dumps({"key": "".join(f"\\u{ord(each):04X}" for each in KEY)})),
    "repr escapes": lambda: "".join(f"\\x{ord(character):02x}" for character in KEY),
    "HTML, by numbers": lambda: "".join(f"&#{ord(character)};" for character in KEY),
    "HTML, by hex numbers": lambda: html.escape(f"<b>{KEY}</b>").replace("w", "&#x77;").replace("n", "&#x6E;"),
    "gzip": lambda: gzip.compress(f"{{'x-api-key': '{KEY}'}}".encode(), mtime=0),
    "gzip, cut, behind other bytes": lambda: b"\r\n\r\n" + gzip.compress(KEY.encode() + bytes(999))[:-8],
    "zlib": lambda: zlib.compress(base64.b64encode(KEY.encode())),
}


@pytest.mark.parametrize("where", LEAKS)
def test_the_scan_finds_a_leak_in(where: str) -> None:
    text = LEAKS[where]()
    assert leaks_in(text)
    padded = text.encode() if isinstance(text, str) else text
    assert leaks_in(b"42 tokens; " * 999 + padded + b" ; request-id req_1" * 99)


@pytest.mark.parametrize(
    "text",
    [
        *("", "sk-ant-admin", "sk-ant-admin01-...", KEY[:24], "-not-a-real-key", KEY[15:26]),
        *("sk-ant-admin01-demo", "sk-ant-admin01-Unmistakable_42", "sk-ant-api03-not-a-real-key"),
        *("admin_key=SecretStr('**********')", "x-api-key", '{"output_tokens": 123456789012345678901234567890}'),
        *("wrkspc_01JwQWgYVjRfUz", "req_011CSHoEeqs5C35K2UUqR7Fy", "2026-11-22T14:30:00Z", "%", "\\u00", "&#;", "x^"),
        *(
            base64.b64encode(bytes(range(256))),
            bytes(range(256)).hex(),
            gzip.compress(b"tokens " * 99, mtime=0),
            b"\x1f\x8b\x08",
        ),
    ],
)
def test_the_scan_ignores_text_without_the_key(text: str | bytes) -> None:
    assert leaks_in(text) == set()
    assert leaks_in(gzip.compress(text if isinstance(text, bytes) else text.encode())) == set()


@pytest.mark.parametrize(("printed", "outcome"), [("all is well", "passed"), (f"x-api-key: {KEY}", "failed")])
def test_a_test_that_prints_the_key_fails(printed: str, outcome: str) -> None:
    sections = [("Captured stderr call", "nothing here"), ("Captured log call", printed)]
    report = pytest.TestReport("a test", ("", 0, ""), {}, "passed", None, "call", sections)
    assert judged(report).outcome == outcome


# --- real processes ------------------------------------------------------------------------------------------------


def environment(url: str, **settings: str) -> dict[str, str]:
    """An environment with the key, at log level DEBUG."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "USAGE_COST_"))
    }
    defaults = {NAME: KEY, "USAGE_COST_MCP_BASE_URL": url, "USAGE_COST_MCP_LOG_LEVEL": "DEBUG", "COLUMNS": "200"}
    return inherited | defaults | settings


def run(*words: str, env: Mapping[str, str], stdin: str = "") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "usage_cost_mcp", *words]
    return subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=60, check=False, env=env)


Echo = Callable[[Request, Response], Response]
"""Makes a response that contains the key from the request and the correct response."""


def refusing(status: int, kind: str = "api_error") -> Echo:
    """An error with the key in every field."""

    def echo(request: Request, _: Response) -> Response:
        key = request.headers["x-api-key"]
        error = {"type": kind, "message": f"invalid x-api-key: {key}", key: key, "details": {"error_code": key}}
        headers = {"request-id": key, "retry-after": key, "x-should-retry": "false", "location": f"/{key}?{key}"}
        return Response({"type": "error", "error": error, "request_id": key}, status, headers)

    return echo


def with_header(request: Request, answer: Response) -> Response:
    return replace(answer, headers={**answer.headers, "x-you-sent": request.headers["x-api-key"]})


def garbage(request: Request, _: Response) -> Response:
    return Response(f"<html>{dict(request.headers)}</html>")


def of_another_shape(request: Request, _: Response) -> Response:
    key = request.headers["x-api-key"]
    return Response({key: key, "data": {key: [key]}, "has_more": key, "next_page": {key: key}, "id": [key]})


def with_next_page(request: Request, answer: Response) -> Response:
    """A second page after every first one, with the key as its token."""
    paged = any(name in {"page", "after_id"} for name, _ in request.query)
    key = request.headers["x-api-key"]
    more: dict[str, Any] = {} if paged else {"has_more": True, "next_page": key, "last_id": key}
    return replace(answer, body={**answer.body, **more}) if "data" in answer.body else answer


def edited(path: str, edit: Callable[[dict[str, Any], str], object]) -> Echo:
    """The responses from one path with edited rows."""

    def echo(request: Request, answer: Response) -> Response:
        if not request.path.endswith(path):
            return answer
        body = json.loads(json.dumps(answer.body))
        for item in body.get("data", [body]):
            for row in item.get("results", [item]):
                edit(row, request.headers["x-api-key"])
        return replace(answer, body=body)

    return echo


def put(**fields: str) -> Callable[[dict[str, Any], str], object]:
    """Set fields of a row; `{}` is replaced by the key."""
    return lambda row, key: row.update({name: text.format(key) for name, text in fields.items()})


ECHOES: dict[str, Echo] = {
    "401": refusing(401, "authentication_error"),
    "403": refusing(403, "permission_error"),
    "400": refusing(400, "invalid_request_error"),
    "404": refusing(404, "not_found_error"),
    "429": refusing(429, "rate_limit_error"),
    "500": refusing(500),
    "a redirect": refusing(307),
    "garbage": garbage,
    "another shape": of_another_shape,
    "a currency": edited("cost_report", put(currency="{}")),
    "an amount": edited("cost_report", put(amount="{}")),
    "a header": with_header,
    "a page token": with_next_page,
    "the organization's name": edited("/me", put(name="{}", id="{}")),
    "a workspace's name": edited("/workspaces", put(name="{}")),
    "a broken workspace name": edited("/workspaces", put(name="*\u202e{}\u0000*")),
    "a member's address": edited("/users", put(name="", email="{}@demo.example")),
    "an API key's name": edited("/api_keys", put(name="the key is {}")),
    "a description": edited("cost_report", put(description="{}")),
    "a model": edited("/messages", put(model="{}")),
}


@contextmanager
def echoing(echo: Echo) -> Generator[tuple[str, list[str]]]:
    """An Admin API that echoes the key: its URL, and the keys that it received."""
    api = DemoApi(lambda: datetime.now(UTC))
    sent: list[str] = []

    def respond(request: Request) -> Response:
        sent.append(request.headers.get("x-api-key", ""))
        return echo(request, api.respond(request))

    with serve_on_loopback(respond) as url:
        yield url, sent


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("get_status", {}),
    ("get_spend", {"period": "yesterday", "group_by": ["workspace_id", "description"]}),
    ("get_token_usage", {"period": "yesterday", "group_by": ["api_key_id", "model"]}),
    ("cache_hit_ratio", {"period": "yesterday", "group_by": ["account_id"]}),
    ("get_effective_prices", {"period": "yesterday"}),
    ("list_dimension_values", {"dimension": "workspace_id"}),
    ("get_spend", {"group_by": ["team"]}),
    ("get_spend", {"filter_by": {"workspace_id": ["No such workspace"]}}),
    ("get_costs", {}),
]


def converse(env: Mapping[str, str]) -> tuple[list[dict[str, Any]], bytes]:
    """Send all calls over stdio, one after the other: the results, and every byte of stdout and stderr."""
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a test", "version": "1"}}
    requests = [("initialize", hello), *(("tools/call", {"name": tool, "arguments": given}) for tool, given in CALLS)]
    lines: list[bytes] = []
    with (
        tempfile.TemporaryFile() as errors,  # a pipe without a reader would fill up
        subprocess.Popen(
            [sys.executable, "-m", "usage_cost_mcp", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=env,
        ) as server,
    ):
        stdin, stdout = cast("io.BufferedWriter", server.stdin), cast("io.BufferedReader", server.stdout)
        watchdog = threading.Timer(60, server.kill)
        watchdog.start()
        for identity, (method, params) in enumerate(requests):
            stdin.write(json.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params}).encode())
            stdin.write(b'\n{"jsonrpc": "2.0", "method": "notifications/initialized"}\n' if not identity else b"\n")
            stdin.flush()
            lines.append(stdout.readline())
        stdin.close()
        rest = stdout.read()
        assert server.wait() == 0
        watchdog.cancel()
        errors.seek(0)
        return [json.loads(line) for line in lines], b"".join([*lines, rest, errors.read()])


_SAMPLE = {"401", "400", "garbage", "a currency", "a page token", "a broken workspace name", "a description"}
"""The echoes of the default run: an answer of each kind."""


@pytest.mark.parametrize(
    "where", [each if each in _SAMPLE else pytest.param(each, marks=pytest.mark.slow) for each in ECHOES]
)
def test_the_server_does_not_print_a_key_echoed_by_upstream_in(where: str) -> None:
    with echoing(ECHOES[where]) as (url, sent):
        answers, printed = converse(environment(url))
    assert set(sent) == {KEY}
    assert [answer["id"] for answer in answers] == [0, *range(1, len(CALLS) + 1)]
    assert b"get_costs" in printed
    assert leaks_in(printed) == set()


@pytest.mark.parametrize("where", ["401", "garbage", "a workspace's name"])
def test_the_command_line_does_not_print_a_key_echoed_by_upstream_in(where: str) -> None:
    with echoing(ECHOES[where]) as (url, sent):
        done = [
            run("doctor", env=environment(url)),
            run("call", "list_dimension_values", "dimension=workspace_id", "--json", env=environment(url)),
        ]
    assert set(sent) == {KEY}
    assert all(each.stdout + each.stderr for each in done)
    assert [leaks_in(each.stdout + each.stderr) for each in done] == [set(), set()]


def test_a_refused_connection_does_not_show_the_key() -> None:
    done = run("doctor", env=environment("http://127.0.0.1:9"))
    assert b"No connection to 127.0.0.1:9" in done.stdout
    assert keeps_silent(done.stdout, done.stderr)


@pytest.mark.parametrize(
    "words", [["--key", KEY], [KEY], ["call", KEY, "--demo"], ["call", "get_spend", KEY, "--demo"]]
)
def test_a_key_passed_as_an_argument_is_not_printed(words: list[str]) -> None:
    done = run(*words, env=environment("http://127.0.0.1:9"))
    assert done.returncode in {1, 2}
    assert leaks_in(done.stdout + done.stderr) == set()


JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbmEifQ.Zx7Zx7"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"Bearer {JWT}!", "Bearer [key removed]!"),
        (f"token-{JWT} {JWT}", "token-[key removed] [key removed]"),
        (f"a.b.{JWT}", "a.b.[key removed]"),
        (f"x{KEY}_{JWT}", "x[key removed]"),
        ("eyJhbGciOiJFUzI1NiJ9.eyJzdWIi", "eyJhbGciOiJFUzI1NiJ9.eyJzdWIi"),
        ("eyJ.a.b", "eyJ.a.b"),
        ("a.b.c", "a.b.c"),
    ],
)
def test_text_that_looks_like_a_token_is_redacted_wherever_it_begins(text: str, left: str) -> None:
    assert redacted(text).replace("[key removed][key removed]", "[key removed]") == left


MALFORMED = {
    "embedded newline": f"{KEY[:30]}\n{KEY[30:]}",
    "two keys": f"{KEY}\n{KEY}",
    "embedded tab": f"{KEY[:30]}\t{KEY[30:]}",
    "accent": f"{KEY}\u00e9",
    "zero width": f"{KEY[:30]}\u200b{KEY[30:]}",
    "quotes": f'"{KEY}"',
    "name": f"{NAME}={KEY}",
    "ordinary": KEY.replace("admin01", "api03"),
    "NUL": f"{KEY[:30]}\0{KEY[30:]}",
    "not text": f"{KEY}\udcff",
}


@pytest.mark.parametrize("flaw", MALFORMED)
def test_a_malformed_key_is_rejected_without_being_shown(flaw: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(MALFORMED[flaw], encoding="utf-8", errors="surrogateescape", newline="")
    url = "http://127.0.0.1:9"
    ways = [{NAME: "", f"{NAME}_FILE": str(file)}]
    if "\0" not in MALFORMED[flaw]:  # an environment cannot hold NUL
        ways.append({NAME: MALFORMED[flaw]})
    for way in ways:
        done = run("doctor", env=environment(url, **way))
        assert (done.returncode, done.stdout) == (2, b"")
        assert NAME.encode() in done.stderr
        assert leaks_in(done.stderr) == set()


@pytest.mark.parametrize(
    "name",
    [
        f"{NAME}_FILE",
        "USAGE_COST_MCP_BASE_URL",
        "USAGE_COST_MCP_MAX_ANSWER_CHARACTERS",
        "USAGE_COST_MCP_LOG_LEVEL",
    ],
)
def test_a_key_in_the_wrong_variable_is_not_shown(name: str) -> None:
    inline = {NAME: ""} if name.endswith("_FILE") else {}
    done = run(env=environment("http://127.0.0.1:9", **{name: KEY}, **inline))
    assert (done.returncode, done.stdout) == (2, b"")
    assert name.encode() in done.stderr
    assert leaks_in(done.stderr) == set()


def test_whitespace_around_the_key_does_not_reveal_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f" {KEY}\r\n", newline="")
    with echoing(lambda _, answer: answer) as (url, sent):
        for way in ({NAME: f"{KEY}\n"}, {NAME: "", f"{NAME}_FILE": str(file)}):
            done = run("call", "get_status", env=environment(url, **way))
            assert done.returncode == 0
            assert leaks_in(done.stdout + done.stderr) == set()
    assert set(sent) == {KEY}


# --- objects -------------------------------------------------------------------------------------------------------


def inside(value: object) -> list[object]:
    """The objects that an object refers to."""
    slots = [slot for kind in type(value).__mro__ for slot in getattr(kind, "__slots__", ())]
    found: list[object] = [getattr(value, slot) for slot in slots if hasattr(value, slot)]
    found += getattr(value, "__dict__", {}).values()
    if isinstance(value, Mapping):
        found += cast("Mapping[object, object]", value).items()
    elif isinstance(value, list | tuple | set | frozenset):
        found += cast("list[object]", value)
    return found


def reachable(root: object) -> Iterator[object]:
    """All objects reachable from the root, without the content of masked values."""
    seen: dict[int, object] = {}
    left = [root]
    while left:
        each = left.pop()
        if id(each) not in seen and not isinstance(each, type | SecretStr) and not callable(each):
            seen[id(each)] = each
            yield each
            left += inside(each)


def representations(value: object) -> str:
    """The printable representations of an object."""
    return f"{value!r} {value!s} {getattr(value, '__dict__', '')!r}"


@pytest.fixture
def settings(upstream: Upstream) -> Settings:
    return Settings.from_environ({NAME: KEY, "USAGE_COST_MCP_BASE_URL": upstream.url})


def test_no_form_of_the_settings_shows_the_key(settings: Settings) -> None:
    assert keeps_silent(
        representations(settings), f"{settings}", f"{settings:}", str(settings.admin_key), repr(settings.admin_key)
    )
    assert keeps_silent(repr(asdict(settings)), repr(astuple(settings)), repr(replace(settings, demo=True)))


def test_the_object_scan_finds_an_unmasked_key(settings: Settings) -> None:
    auth = AdminKeyAuth(cast("SecretStr", KEY), settings.base_url)
    assert any(leaks_in(representations(each)) for each in reachable([{"auth": auth}]))
    assert any(
        leaks_in(representations(each)) for each in reachable(httpx.Client(headers={"x-api-key": KEY}, trust_env=False))
    )


@pytest.mark.anyio
async def test_no_object_reachable_from_the_service_shows_the_key(
    settings: Settings, upstream: Upstream, clock: FrozenClock
) -> None:
    corrected = CorrectedClock(clock)
    api = AdminApi(settings, corrected, Limits())
    context = ReportContext(
        ReportCache(ReportReader(api, corrected), corrected), ApiDirectory(api, corrected), corrected, demo=False
    )
    service = Service(lambda: context, "1", settings.key_source, 50, None)
    assert service.caller_context is context
    call = CallContext(corrected.monotonic() + 50)
    await context.directory.names("workspace_id", call)
    upstream.override = lambda request: refusing(500)(request, Response({}))
    with pytest.raises(UpstreamError):
        await api.get("/v1/organizations/me", [], call)
    objects = list(reachable(service))
    await api.aclose()
    kinds = {type(each) for each in objects}
    assert {Service, AdminApi, AdminKeyAuth, httpx.AsyncClient, httpx.AsyncHTTPTransport, httpx.Headers} <= kinds
    assert [type(each) for each in objects if leaks_in(representations(each))] == []
    assert {each.headers["x-api-key"] for each in upstream.requests} == {KEY}


@pytest.mark.anyio
@pytest.mark.parametrize("where", ["connection refused", "401", "500"])
async def test_no_error_shows_the_key_even_with_the_locals_of_its_traceback(
    where: str, settings: Settings, upstream: Upstream, clock: FrozenClock
) -> None:
    upstream.override = lambda request: ECHOES[where](request, Response({}))
    address = "http://127.0.0.1:9" if where == "connection refused" else settings.base_url
    corrected = CorrectedClock(clock)
    api = AdminApi(replace(settings, base_url=address), corrected, Limits())
    with pytest.raises(UpstreamError) as failed:
        await ApiDirectory(api, corrected).organization(CallContext(corrected.monotonic() + 50))
    await api.aclose()
    formatted = traceback.TracebackException(
        type(failed.value),
        failed.value,
        failed.tb.tb_next,
        capture_locals=True,  # this test's own locals hold the key
    )
    assert leaks_in("".join(formatted.format())) == set()
    assert [type(each) for each in reachable(failed.value) if leaks_in(representations(each))] == []


def test_a_request_to_a_forbidden_url_is_refused_without_the_key(settings: Settings) -> None:
    request = httpx.Request("GET", "https://elsewhere.example/v1/organizations/me")
    with pytest.raises(PermissionError) as refused:
        next(AdminKeyAuth(settings.admin_key, settings.base_url).auth_flow(request))
    formatted = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
    assert keeps_silent("".join(formatted.format()), representations(request), repr(request.headers))
