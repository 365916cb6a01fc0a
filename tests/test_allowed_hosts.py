"""The allow-list for the Host and Origin headers, on every route."""

import json
import socket
from collections.abc import Generator
from typing import NamedTuple

import pytest

from tests.support.subprocess_http_server import HttpServer, started
from usage_cost_mcp.http.allowed_hosts import AllowedHosts
from usage_cost_mcp.http.settings import HttpSettings

ALLOWED = "spend.example.com, costs.example.com:8443, 10.0.0.5, [2001:db8::5]:8443, spend_1, tls.example.com:443"

PING = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
LONGEST_NAME = ".".join(["a" * 63] * 4)
PORT = "PORT"
"""Placeholder for the port of the server."""


class Case(NamedTuple):
    """The headers of a request, and the status of a rejection."""

    headers: list[bytes]
    status: int | None
    """None when the request is answered."""


def host(value: str, status: int | None = None) -> Case:
    return Case([f"Host: {value}".encode("latin-1")], status)


def origin(value: str, status: int | None = None) -> Case:
    return Case([b"Host: spend.example.com", f"Origin: {value}".encode("latin-1")], status)


HOSTS = {
    "this machine by its address": host("127.0.0.1"),
    "this machine by its address and port": host(f"127.0.0.1:{PORT}"),
    "this machine behind a forwarded port": host("127.0.0.1:1"),
    "the highest port there is": host("127.0.0.1:65535"),
    "this machine by its name": host(f"localhost:{PORT}"),
    "a name in capitals": host(f"LOCALHOST:{PORT}"),
    "this machine in IPv6": host(f"[::1]:{PORT}"),
    "this machine in IPv6, at length": host("[0:0:0:0:0:0:0:1]"),
    "a listed name": host("spend.example.com"),
    "a listed name in mixed case": host("Spend.Example.COM"),
    "a listed name with any port": host("spend.example.com:12345"),
    "a listed name with its port": host("costs.example.com:8443"),
    "a listed name whose port is the usual one": host("tls.example.com"),
    "a listed address": host("10.0.0.5:8000"),
    "a listed address in IPv6, at length": host("[2001:0DB8:0::0005]:8443"),
    "a listed name with an underscore": host("spend_1:8000"),
    "spaces around, which are not part of it": host("  spend.example.com  "),
    "a stranger": host("evil.example", 421),
    "a stranger with our port": host(f"evil.example:{PORT}", 421),
    "a listed name with another port": host("costs.example.com:8444", 421),
    "a listed name without its unusual port": host("costs.example.com", 421),
    "a listed address in IPv6 with another port": host("[2001:db8::5]:8444", 421),
    "a name below a listed one": host("evil.spend.example.com", 421),
    "a name above a listed one": host("example.com", 421),
    "a name that ends like a listed one": host("evilspend.example.com", 421),
    "a name that begins like a listed one": host("spend.example.com.evil.example", 421),
    "a name that begins like this machine's": host("localhost.evil.example", 421),
    "an address that begins like this machine's": host("127.0.0.1.evil.example", 421),
    "a listed name with a dot behind": host("spend.example.com.", 421),
    "this machine with a dot behind": host("localhost.", 421),
    "another address of this machine": host("127.0.0.2", 421),
    "no address at all": host("0.0.0.0", 421),  # noqa: S104
    "this machine's address as a number": host("2130706433", 421),
    "this machine's address in short": host("127.1", 421),
    "this machine's address in octal": host("0177.0.0.1", 421),
    "this machine's address in hexadecimal": host("0x7f.0.0.1", 421),
    "this machine's address within IPv6": host("[::ffff:127.0.0.1]", 421),
    "IPv6 without brackets": host("::1", 421),
    "IPv6 with a zone": host("[::1%eth0]", 421),
    "IPv6 that is not closed": host("[::1", 421),
    "IPv6 that is none": host("[::1::1]", 421),
    "brackets around a name": host("[localhost]", 421),
    "a user in front": host("localhost@evil.example", 421),
    "a listed name behind a user": host("evil.example@localhost", 421),
    "a user and a password in front": host("evil.example:80@localhost", 421),
    "a path behind": host("localhost/evil.example", 421),
    "a fragment behind": host("localhost#evil.example", 421),
    "a query behind": host("localhost?evil.example", 421),
    "a backslash behind": host("localhost\\evil.example", 421),
    "a scheme in front": host("http://localhost", 421),
    "a space within": host("localhost evil.example", 421),
    "a tab within": host("localhost\tevil.example", 421),
    "two names in one": host("localhost, evil.example", 421),
    "two names with a semicolon": host("localhost;evil.example", 421),
    "percent encoding": host("%6cocalhost", 421),
    "letters of another alphabet": host("l\xf6calhost", 421),
    "a wildcard": host("*", 421),
    "nothing": host("", 421),
    "a port alone": host(":8000", 421),
    "a colon without a port": host("localhost:", 421),
    "port zero": host("localhost:0", 421),
    "a port that is too high": host("localhost:65536", 421),
    "a port with a zero in front": host("localhost:080", 421),
    "a port with a sign": host("localhost:+80", 421),
    "a port that is a word": host("localhost:http", 421),
    "two ports": host("localhost:80:80", 421),
    "a name of 255 characters": host(LONGEST_NAME, 421),
    "a name longer than any": host(f"{LONGEST_NAME}.{LONGEST_NAME}", 421),
    "a label longer than any": host("a" * 64, 421),
    "a listed name a thousand times": host(".".join(["localhost"] * 1000), 421),
    "the same header twice": Case([b"Host: localhost", b"Host: localhost"], 400),
    "a stranger in a second header": Case([b"Host: localhost", b"Host: evil.example"], 400),
    "no header at all": Case([], 400),
    "a zero byte": host("localhost\x00", 400),
    "a header that goes on in the next line": Case([b"Host: localhost", b" evil.example"], 421),
    "a stranger whom a proxy's header excuses": Case([b"Host: evil.example", b"X-Forwarded-Host: localhost"], 421),
    "a stranger whom the newer header excuses": Case([b"Host: evil.example", b"Forwarded: host=localhost"], 421),
    "our name that a proxy's header denies": Case([b"Host: localhost", b"X-Forwarded-Host: evil.example"], None),
}

ORIGINS = {
    "a page of our own": origin("https://spend.example.com"),
    "a page of our own in capitals": origin("HTTPS://SPEND.EXAMPLE.COM"),
    "a page of our own with a port": origin("https://spend.example.com:8443"),
    "a page without TLS": origin("http://spend.example.com"),
    "a page with its listed port": origin("https://costs.example.com:8443"),
    "a page whose listed port is the usual one": origin("https://tls.example.com"),
    "a page of this machine": origin("http://localhost:6274"),
    "a page of this machine by its address": origin("http://127.0.0.1"),
    "a page of this machine in IPv6": origin("http://[::1]:6274"),
    "a stranger's page": origin("https://evil.example", 403),
    "a page below ours": origin("https://evil.spend.example.com", 403),
    "a page whose name begins like ours": origin("https://spend.example.com.evil.example", 403),
    "a page whose name ends like ours": origin("https://evilspend.example.com", 403),
    "a page with another port than the listed one": origin("https://costs.example.com", 403),
    "a page whose usual port is another": origin("http://tls.example.com", 403),
    "a page in a sandbox, or of a file": origin("null", 403),
    "an empty origin": origin("", 403),
    "any page": origin("*", 403),
    "a name without a scheme": origin("spend.example.com", 403),
    "a name with half a scheme": origin("//spend.example.com", 403),
    "a file": origin("file://localhost", 403),
    "an extension": origin("chrome-extension://localhost", 403),
    "a web socket": origin("wss://spend.example.com", 403),
    "a script": origin("javascript://localhost", 403),
    "a page with a slash behind": origin("https://spend.example.com/", 403),
    "a page with a path": origin("https://spend.example.com/evil.example", 403),
    "a page with a user": origin("https://spend.example.com@evil.example", 403),
    "a page of ours behind a user": origin("https://evil.example@spend.example.com", 403),
    "a page with a dot behind": origin("https://spend.example.com.", 403),
    "a page at port zero": origin("https://spend.example.com:0", 403),
    "a colon without a port behind a page": origin("https://spend.example.com:", 403),
    "two pages in one": origin("https://spend.example.com https://evil.example", 403),
    "two pages with a comma": origin("https://spend.example.com, https://evil.example", 403),
    "two schemes": origin("https://https://spend.example.com", 403),
    "the same page twice": Case([*origin("http://localhost").headers, b"Origin: http://localhost"], 403),
    "a stranger behind our page": Case([*origin("http://localhost").headers, b"Origin: https://evil.example"], 403),
    "our page at a stranger's name": Case([b"Host: evil.example", b"Origin: http://localhost"], 421),
}


@pytest.fixture(scope="module")
def server() -> Generator[HttpServer]:
    """One server for all cases. No request makes it log a line."""
    with started("--demo", environ={"USAGE_COST_MCP_ALLOWED_HOSTS": ALLOWED}) as server:
        yield server
        assert server.log_lines() == [f"Listening on {server.url}"]


ROUTES = [(b"POST /mcp", 200), (b"GET /healthz", 200), (b"GET /unknown", 404)]


def answer(server: HttpServer, request: bytes, headers: list[bytes], version: bytes = b"HTTP/1.1") -> tuple[int, str]:
    """The status and the body of a response over a new connection."""
    body = PING if request.startswith(b"POST") else b""
    rest = [
        b"Accept: application/json",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        b"Connection: close",
    ]
    lines = [header.replace(PORT.encode(), str(server.port).encode()) for header in headers]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"\r\n".join([request + b" " + version, *lines, *rest, b"", body]))
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, text = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), text.decode()


@pytest.mark.parametrize("case", HOSTS.values(), ids=HOSTS.keys())
def test_the_host_header_is_checked_on_every_route(server: HttpServer, case: Case) -> None:
    check(server, case)


@pytest.mark.parametrize("case", ORIGINS.values(), ids=ORIGINS.keys())
def test_the_origin_header_is_checked_on_every_route(server: HttpServer, case: Case) -> None:
    check(server, case)


def check(server: HttpServer, case: Case) -> None:
    for request, answered in ROUTES:
        status, text = answer(server, request, case.headers)
        assert status == (case.status or answered)
        if case.status:
            assert "evil" not in text


@pytest.mark.parametrize("request_line", [line for line, _ in ROUTES])
def test_an_http_1_0_request_without_a_host_is_rejected(server: HttpServer, request_line: bytes) -> None:
    assert answer(server, request_line, [], b"HTTP/1.0")[0] == 421


def test_an_absolute_url_in_the_request_line_does_not_replace_the_host_header(server: HttpServer) -> None:
    assert answer(server, b"GET http://localhost/healthz", [b"Host: evil.example"])[0] == 421
    assert answer(server, b"GET http://evil.example/healthz", [b"Host: localhost"])[0] == 404


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1:8000", "[::1]"])
def test_loopback_names_are_not_allowed_on_a_non_loopback_address(name: str) -> None:
    allowed = AllowedHosts(HttpSettings(host="0.0.0.0", allowed_hosts=("spend.example.com",)).hostnames)  # noqa: S104
    assert allowed.allows_host("spend.example.com")
    assert not allowed.allows_host(name)
    assert not allowed.allows_origin(f"http://{name}")


def test_the_bound_loopback_address_is_allowed() -> None:
    allowed = AllowedHosts(HttpSettings(host="127.0.0.5").hostnames)
    assert allowed.allows_host("127.0.0.5:8000")
    assert not allowed.allows_host("127.0.0.6:8000")
