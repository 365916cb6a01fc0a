"""The table of faults: what upstream does, and the required outcome. Numbered as the rows of its subject.

A: statuses and headers. B: the network. C: bodies. D: buckets and pages.
"""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.support.fault_server import Act, Fault, Piece, healthy, http
from usage_cost_mcp.demo.http import Response

Outcome = Literal["exact", "outage", "refused"]
"""exact: the complete answer. outage: stale with its age if cached, else an error. refused: an error, cached or not."""

Report = Literal["spend", "usage"]

ENOUGH = 10_000


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        faults: For the first requests to the reports, in order; the last one for ever when `forever`.
        said: Words of the error, where there is one.
        most_requests: How many report requests one call may make for each report that it reads; what is too much
            for four days at once is asked for again in two halves.
        only: The report that the fault is about, when it makes no sense in the other.
        hangs: Whether only a time limit ends it.
    """

    number: str
    title: str
    outcome: Outcome
    faults: Sequence[Fault]
    forever: bool = False
    said: str = ""
    most_requests: int = 4
    only: Report | None = None
    hangs: bool = False

    def __str__(self) -> str:
        return f"{self.number} {self.title}"


def sends(*pieces: Piece) -> Fault:
    return lambda _: iter(pieces)


def status(code: int, body: bytes = b"{}", **headers: str) -> Fault:
    return sends(http(code, body, {name.replace("_", "-"): value for name, value in headers.items()}))


def edited(edit: Callable[[dict[str, Any]], object]) -> Fault:
    """The healthy answer with a changed body."""

    def fault(response: Response) -> Iterator[Piece]:
        body = json.loads(json.dumps(response.body))
        edit(body)
        yield healthy(Response(body, response.status, response.headers))

    return fault


def rows(edit: Callable[[dict[str, Any]], object]) -> Fault:
    """The healthy answer with its first row changed."""
    return edited(lambda body: edit(body["data"][0]["results"][0]))


def raw(text: str) -> Fault:
    """A 200 with this body."""
    return status(200, text.encode())


def drips(response: Response) -> Iterator[Piece]:
    """A body that arrives byte by byte and never ends."""
    yield healthy(response)[:-40]
    yield from [piece for _ in range(60) for piece in (0.2, b" ")]


def drips_headers(_: Response) -> Iterator[Piece]:
    yield b"HTTP/1.1 200 OK\r\n"
    yield from [piece for n in range(60) for piece in (0.2, f"x-{n}: y\r\n".encode())]


def cut(response: Response) -> Iterator[Piece]:
    """A body that is shorter than promised."""
    yield from (healthy(response)[:-30], Act.CLOSE)


def cut_chunks(response: Response) -> Iterator[Piece]:
    body = json.dumps(response.body).encode()[:-30]
    yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + f"{len(body):x}\r\n".encode() + body + b"\r\n"
    yield Act.CLOSE


def cut_by_closing(response: Response) -> Iterator[Piece]:
    """Without a length, the end of the connection is the end of the body."""
    yield b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + json.dumps(response.body).encode()[:-30]
    yield Act.CLOSE


def zipped(response: Response, *, keep: int = ENOUGH) -> Iterator[Piece]:
    body = gzip.compress(json.dumps(response.body).encode())
    yield http(200, body[:keep], {"content-encoding": "gzip"})


def resets_in_the_body(response: Response) -> Iterator[Piece]:
    yield from (healthy(response)[:-30], 0.01, Act.RESET)


def more(token: str | None) -> Fault:
    return edited(lambda body: body.update(has_more=True, next_page=token))


def endless() -> Fault:
    """Pages without end."""
    tokens = iter(range(ENOUGH))

    def fault(response: Response) -> Iterator[Piece]:
        body: dict[str, Any] = {**response.body, "data": [], "has_more": True, "next_page": f"page_{next(tokens)}"}
        yield healthy(Response(body, 200))

    return fault


def twice(edit: Callable[[dict[str, Any]], object]) -> Fault:
    """The first bucket again, changed."""

    def again(body: dict[str, Any]) -> None:
        copy = json.loads(json.dumps(body["data"][0]))
        edit(copy)
        body["data"].append(copy)

    return edited(again)


def shifted(body: dict[str, Any], hours: str, *, start: bool = True, end: bool = True) -> None:
    bucket = body["data"][0]
    if start:
        bucket["starting_at"] = bucket["starting_at"].replace("T00", f"T{hours}")
    if end:
        bucket["ending_at"] = bucket["ending_at"].replace("T00", f"T{hours}")


LIMIT = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}'
CAP = (
    b'{"type":"error","error":{"type":"rate_limit_error","message":"You will regain access on 2026-12-01",'
    b'"details":{"error_code":"enforced_spend_limit_reached"}}}'
)
RESET = "anthropic_ratelimit_requests_reset"
WAIT = "rate limit for report requests is reached"
TROUBLE = "the API is unavailable at the moment"
NOT_IN_TIME = "did not answer in time"
BROKE = "broke. Ask again"
UNREADABLE = "in an unexpected format"

AMOUNTS = ["", "12abc", "1e3", "NaN", "1_000", "+1", " 1 ", "\uff11\uff12", "0x10", "--1", "1.", ".5", "1,5"]
COUNTS: list[object] = [-1, "12", 1.5, True, None, [], {}]
ODD_WAITS = {
    "minus one": "-1",
    "not a number": "nan",
    "infinite": "inf",
    "thirty years": "1e9",
    "the year 2099": "Sun, 01 Jan 2099 00:00:00 GMT",
    "garbage": "soon",
    "two values": "3, 5",
}

CASES = [
    Case("A1.1", "429 without a word, once", "exact", [status(429, LIMIT)]),
    Case("A1.2", "429 with the reset moment, once", "exact", [status(429, LIMIT, **{RESET: "2026-11-22T14:30:20Z"})]),
    Case("A1.3", "429 for ever", "outage", [status(429, LIMIT)], forever=True, said=WAIT),
    Case("A2.1", "429 with Retry-After in seconds", "exact", [status(429, LIMIT, retry_after="4")]),
    Case("A2.2", "429 with Retry-After in milliseconds", "exact", [status(429, LIMIT, retry_after_ms="250")]),
    Case(
        "A2.3",
        "429 that outlasts the call",
        "outage",
        [status(429, LIMIT, retry_after="300")],
        forever=True,
        said="Ask again in 300 seconds",
        most_requests=1,
    ),
    *(
        Case(f"A3.{n}", f"Retry-After is {what}", "exact", [status(429, LIMIT, retry_after=value)])
        for n, (what, value) in enumerate(ODD_WAITS.items(), 1)
    ),
    Case("A5.1", "the spend cap", "outage", [status(429, CAP)], forever=True, said="until 2026-12-01", most_requests=1),
    *(
        Case(f"A6.{code}.1", f"{code}, once", "exact", [status(code, b"<h1>oops</h1>")])
        for code in (408, 409, 500, 502, 503, 529)
    ),
    *(
        Case(f"A6.{code}.2", f"{code} for ever", "outage", [status(code, b"<h1>oops</h1>")], forever=True, said=TROUBLE)
        for code in (408, 409, 500, 502, 503, 529)
    ),
    # The cost report is read a second time, without its beta header.
    Case("A7.1", "400", "refused", [status(400)], forever=True, said="rejected the server's request", most_requests=2),
    Case("A8.1", "401", "refused", [status(401)], forever=True, said="does not accept the Admin key", most_requests=1),
    Case("A8.2", "401 in the middle of a walk", "refused", [more("page_2"), status(401)], said="401", most_requests=2),
    Case("A9.1", "403", "refused", [status(403)], forever=True, said="may not read", most_requests=1),
    Case("A10.1", "410 for a page, once", "exact", [more("page_2"), status(410)]),
    Case("A10.2", "400 for a page, once", "exact", [more("page_2"), status(400)]),
    Case(
        "A10.3",
        "410 for a page, again",
        "refused",
        [more("page_2"), status(410), more("page_2"), status(410)],
        said="in the middle of its pages",
    ),
    *(
        Case(
            f"A12.{code}",
            f"a redirect ({code})",
            "refused",
            [status(code, location="http://127.0.0.1:9/")],
            forever=True,
            said=f"answered {code}",
            most_requests=1,
        )
        for code in (301, 302, 303, 307, 308)
    ),
    Case("A13.1", "200 with an error", "refused", [status(200, LIMIT)], said=UNREADABLE, most_requests=1),
    Case("A13.2", "204", "refused", [status(204, b"")], said="answered 204", most_requests=1),
    Case("A13.3", "an empty 200", "refused", [status(200, b"")], said=UNREADABLE, most_requests=1),
    Case("A13.4", "a 200 with an empty object", "refused", [raw("{}")], said=UNREADABLE, most_requests=1),
    Case("A13.5", "a 200 with null", "refused", [raw("null")], said=UNREADABLE, most_requests=1),
    Case(
        "A14.1",
        "500 that forbids to retry",
        "outage",
        [status(500, x_should_retry="false")],
        said=TROUBLE,
        most_requests=1,
    ),
    Case("A14.2", "404 that asks to retry", "exact", [status(404, x_should_retry="true")]),
    Case("A15.1", "413", "outage", [status(413)], forever=True, said="too much data for one request", most_requests=3),
    Case("A15.2", "504", "outage", [status(504)], forever=True, said="too much data for one request", most_requests=3),
    Case("A16.1", "418", "refused", [status(418)], forever=True, said="answered 418", most_requests=1),
    Case("B2.1", "a reset before the headers, once", "exact", [sends(Act.RESET)]),
    Case("B2.2", "a reset in the body, once", "exact", [resets_in_the_body]),
    Case("B2.3", "resets for ever", "outage", [sends(Act.RESET)], forever=True, said=BROKE),
    Case("B2.4", "closed without a word, once", "exact", [sends(Act.CLOSE)]),
    Case("B3.1", "a hang", "outage", [sends(Act.HANG)], forever=True, said=NOT_IN_TIME, most_requests=3, hangs=True),
    Case(
        "B3.2",
        "dripping headers",
        "outage",
        [drips_headers],
        forever=True,
        said=NOT_IN_TIME,
        most_requests=3,
        hangs=True,
    ),
    Case("B3.3", "a dripping body", "outage", [drips], forever=True, said=NOT_IN_TIME, most_requests=3, hangs=True),
    Case("B4.1", "a body shorter than its length, once", "exact", [cut]),
    Case("B4.2", "cut chunks, once", "exact", [cut_chunks]),
    Case("B4.3", "a cut body without a length", "refused", [cut_by_closing], said=UNREADABLE, most_requests=1),
    Case("B4.4", "cut gzip, once", "exact", [lambda response: zipped(response, keep=-9)]),
    Case("B4.5", "garbled gzip, once", "exact", [status(200, b"nonsense", content_encoding="gzip")]),
    Case("B4.6", "whole gzip", "exact", [zipped]),
    Case(
        "B4.7",
        "garbage instead of HTTP",
        "outage",
        [sends(b"\x00\x01\x02\r\n\r\n", Act.CLOSE)],
        forever=True,
        said=BROKE,
    ),
    Case(
        "B4.8",
        "another encoding",
        "refused",
        [status(200, b"x", content_encoding="br")],
        said="unexpected content encoding",
        most_requests=1,
    ),
    Case(
        "B5.1",
        "a gzip bomb",
        "outage",
        [status(200, gzip.compress(bytes(50_000_000)), content_encoding="gzip")],
        forever=True,
        said="more than",
        most_requests=3,
    ),
    Case("B5.2", "a header of 200 KB", "outage", [status(200, x_large="y" * 200_000)], forever=True, said=BROKE),
    Case(
        "B5.3",
        "a body that is too large",
        "outage",
        [raw(" " * 1_500_000)],
        forever=True,
        said="more than",
        most_requests=3,
    ),
    *(
        Case(f"C1.{n}", what, "refused", [raw(text)], forever=True, said=UNREADABLE, most_requests=1)
        for n, (what, text) in enumerate(
            {
                "invalid JSON": '{"data": [',
                "HTML": "<html><body>Sign in</body></html>",
                "deep nesting": "[" * 5_000 + "]" * 5_000,
                "a list": "[]",
                "a number": "0",
                "data is an object": '{"data": {}, "has_more": false, "next_page": null}',
            }.items(),
            1,
        )
    ),
    Case("C1.7", "an amount of NaN", "refused", [raw('{"data": NaN, "has_more": false}')], said=UNREADABLE),
    Case(
        "C1.8",
        "an amount as a number",
        "refused",
        [rows(lambda r: r.update(amount=1.5))],
        said=UNREADABLE,
        only="spend",
    ),
    *(
        Case(f"C2.{n}", f"no {name}", "refused", [edited(lambda body, name=name: body.pop(name))], said=UNREADABLE)
        for n, name in enumerate(("data", "has_more"), 1)
    ),
    *(
        Case(
            f"C2.{n}",
            f"no {name}",
            "refused",
            [edited(lambda body, name=name: body["data"][0].pop(name))],
            said=UNREADABLE,
        )
        for n, name in enumerate(("results", "starting_at", "ending_at"), 3)
    ),
    *(
        Case(
            f"C2.{n}", f"no {name}", "refused", [rows(lambda r, name=name: r.pop(name))], said=UNREADABLE, only="spend"
        )
        for n, name in enumerate(("amount", "currency", "workspace_id", "description"), 6)
    ),
    *(
        Case(
            f"C2.{n}", f"no {name}", "refused", [rows(lambda r, name=name: r.pop(name))], said=UNREADABLE, only="usage"
        )
        for n, name in enumerate(
            ("uncached_input_tokens", "cache_read_input_tokens", "cache_creation", "output_tokens", "server_tool_use"),
            10,
        )
    ),
    *(
        Case(
            f"C3.{n}",
            f"the amount {amount!r}",
            "refused",
            [rows(lambda r, amount=amount: r.update(amount=amount))],
            said="not a plain decimal number",
            only="spend",
        )
        for n, amount in enumerate(AMOUNTS, 1)
    ),
    Case(
        "C6.1",
        "another currency",
        "refused",
        [rows(lambda r: r.update(currency="EUR"))],
        said="other than USD",
        only="spend",
    ),
    Case("C8.1", "new fields everywhere", "exact", [edited(lambda body: body.update(news={"x": [1]}))]),
    Case("C8.2", "a new field in a row", "exact", [rows(lambda r: r.update(news=1e400))]),
    *(
        Case(
            f"C10.{n}",
            f"{count!r} tokens",
            "refused",
            [rows(lambda r, count=count: r.update(output_tokens=count))],
            said=UNREADABLE,
            only="usage",
        )
        for n, count in enumerate(COUNTS, 1)
    ),
    Case(
        "D1.1",
        "more, but no token",
        "refused",
        [more(None)],
        said="has_more=true without a page token",
        most_requests=1,
    ),
    Case(
        "D1.2",
        "more, but an empty token",
        "refused",
        [more("")],
        said="has_more=true without a page token",
        most_requests=1,
    ),
    Case("D2.1", "the same page for ever", "refused", [more("page_1")], forever=True, said="same page token twice"),
    Case(
        "D2.2",
        "pages in a circle",
        "refused",
        [more("page_1"), more("page_2"), more("page_1")],
        said="same page token twice",
    ),
    Case(
        "D2.3", "pages without end", "refused", [endless()], forever=True, said="more than 200 pages", most_requests=200
    ),
    Case("D3.1", "a bucket twice, the same", "exact", [twice(lambda _: None)]),
    Case("D3.2", "a bucket twice, differing, once", "exact", [twice(lambda bucket: bucket.update(results=[]))]),
    Case(
        "D3.3",
        "a bucket twice, differing, again",
        "refused",
        [twice(lambda bucket: bucket.update(results=[]))],
        forever=True,
        said="sent a bucket twice",
    ),
    Case(
        "D3.4",
        "a wider bucket",
        "refused",
        [edited(lambda b: shifted(b, "12", start=False))],
        said="a bucket of the wrong width",
    ),
    Case(
        "D3.5",
        "a bucket that overlaps",
        "refused",
        [edited(lambda body: shifted(body, "06"))],
        said="a bucket of the wrong width",
    ),
    Case(
        "D3.6",
        "a bucket of another day",
        "refused",
        [
            edited(
                lambda body: body["data"][0].update(
                    starting_at="2020-01-01T00:00:00Z", ending_at="2020-01-02T00:00:00Z"
                )
            )
        ],
        said="outside the requested days",
    ),
]
