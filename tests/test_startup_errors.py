"""Startup errors of `serve --http`: exit status 2 and one line that says what to set, never what was set."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.canary import KEY
from tests.support.processes import environment, run, run_here
from usage_cost_mcp.http import server

TOKENS = "USAGE_COST_MCP_TOKENS_FILE"
HOSTS = "USAGE_COST_MCP_ALLOWED_HOSTS"
ISSUER = "USAGE_COST_MCP_OAUTH_ISSUER"
AUDIENCE = "USAGE_COST_MCP_OAUTH_AUDIENCE"
CALLS = "USAGE_COST_MCP_CALLS_PER_MINUTE"

OAUTH = {ISSUER: "https://login.unmistakable.example", AUDIENCE: "https://spend.unmistakable.example/mcp"}
NAMES = {HOSTS: "spend.unmistakable.example"}


class StartupError(NamedTuple):
    """A command line and environment, and the words that the error must contain."""

    words: str
    environ: Mapping[str, str]
    expected: tuple[str, ...]


def demo(words: str, *expected: str, **environ: str) -> StartupError:
    return StartupError(f"serve --demo {words}", environ, expected)


def http(words: str, *expected: str, **environ: str) -> StartupError:
    return demo(f"--http {words}", *expected, **environ)


def names(text: str) -> StartupError:
    return http("", HOSTS, "comma-separated list", "no scheme, no path, no wildcard", **{HOSTS: text})


def issuer(text: str) -> StartupError:
    return http("", ISSUER, "https URL", **{**OAUTH, ISSUER: text})


STARTUP_ERRORS = {
    "an address without HTTP": demo("--host 127.0.0.1", "--host and --port need serve --http"),
    "a port without HTTP": demo("--port 8000", "--host and --port need serve --http"),
    "all addresses without anything": http("--host 0.0.0.0", TOKENS, ISSUER, AUDIENCE),
    "all addresses of IPv6 without anything": http("--host ::", TOKENS, ISSUER, AUDIENCE),
    "an address in the network without a list of people": http("--host 10.1.2.3", TOKENS, ISSUER, **NAMES),
    "all addresses without names": http("--host 0.0.0.0", HOSTS, "spend.example.com", **OAUTH),
    "all addresses without people, with a key": StartupError(
        "serve --http --host 0.0.0.0", {"ANTHROPIC_ADMIN_API_KEY": KEY, **NAMES}, (TOKENS, ISSUER, AUDIENCE)
    ),
    "all addresses without names, with a key": StartupError(
        "serve --http --host 0.0.0.0", {"ANTHROPIC_ADMIN_API_KEY": KEY, **OAUTH}, (HOSTS,)
    ),
    "no key": StartupError("serve --http", {}, ("ANTHROPIC_ADMIN_API_KEY", "usage-cost-mcp demo")),
    "an ordinary key": StartupError(
        "serve --http", {"ANTHROPIC_ADMIN_API_KEY": "sk-ant-api03-unmistakable"}, ("ordinary API key",)
    ),
    "an address that is a name": http("--host unmistakable.example", "--host must be an IP address"),
    "an address that is none": http("--host 999.999.999.999", "--host must be an IP address"),
    "an address with a port": http("--host 127.0.0.1:8765", "--host must be an IP address"),
    "an empty address": http("--host=", "--host must be an IP address"),
    "a port that is a word": http("--port unmistakable", "--port must be a whole number"),
    "a port that is too high": http("--port 65536", "--port must be a whole number"),
    "a port below zero": http("--port=-1", "--port must be a whole number"),
    "an empty port": http("--port=", "--port must be a whole number"),
    "a name with a scheme": names("https://spend.unmistakable.example"),
    "a name with a path": names("spend.unmistakable.example/mcp"),
    "a name with a wildcard": names("*.unmistakable.example"),
    "a wildcard alone": names("*"),
    "a name with a port that is none": names("spend.unmistakable.example:99999"),
    "an empty name among others": names("spend.unmistakable.example,,"),
    "a name with a space": names("spend unmistakable.example"),
    "a name with a user": names("someone@unmistakable.example"),
    "an address in IPv6 without brackets": names("2001:db8::77"),
    "a key among the names": names(KEY + "_" * 64),
    "a tokens file that is not there": http("", TOKENS, "cannot be read", **{TOKENS: "/nowhere/unmistakable.json"}),
    "a tokens file that is a directory": http(
        "", TOKENS, "is not a regular file", **{TOKENS: str(Path(__file__).parent)}
    ),
    "a tokens file that is a key": http("", TOKENS, "cannot be read", **{TOKENS: KEY}),
    "an issuer without an audience": http("", f"{ISSUER} is set without {AUDIENCE}", **{ISSUER: OAUTH[ISSUER]}),
    "an audience without an issuer": http("", f"{AUDIENCE} is set without {ISSUER}", **{AUDIENCE: OAUTH[AUDIENCE]}),
    "an issuer without TLS": issuer("http://login.unmistakable.example"),
    "an issuer without a scheme": issuer("login.unmistakable.example"),
    "an issuer with a password": issuer("https://someone:unmistakable@login.example"),
    "an issuer whose address in IPv6 is not closed": issuer("https://[unmistakable"),
    "an issuer with a query": issuer("https://login.example?tenant=unmistakable"),
    "an issuer with a fragment": issuer("https://login.example#unmistakable"),
    "an issuer with a space": issuer("https://login.example/unmistakable place"),
    "an audience with a space": http("", AUDIENCE, "public https URL", **{**OAUTH, AUDIENCE: "unmistakable place"}),
    "an audience that is no address": http("", AUDIENCE, **{**OAUTH, AUDIENCE: "api://unmistakable"}),
    "an audience without TLS": http("", AUDIENCE, **{**OAUTH, AUDIENCE: "http://unmistakable.example/mcp"}),
    "an audience with a query": http("", AUDIENCE, **{**OAUTH, AUDIENCE: "https://unmistakable.example/mcp?a=b"}),
    "no calls at all": http("", CALLS, "whole number from 1", **{CALLS: "000"}),
    "calls below zero": http("", CALLS, "whole number from 1", **{CALLS: "-77"}),
    "calls that are a word": http("", CALLS, "whole number from 1", **{CALLS: "unmistakable"}),
    "a malformed setting of all servers": http("", "USAGE_COST_MCP_LOG_LEVEL", USAGE_COST_MCP_LOG_LEVEL="unmistakable"),
}


@pytest.mark.parametrize("error", STARTUP_ERRORS.values(), ids=STARTUP_ERRORS.keys())
def test_the_server_does_not_start_with(error: StartupError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "serve", pytest.fail)  # a server that does start must not block the test
    done = run_here(*error.words.split(), env=environment(**error.environ))
    check(done.returncode, done.stdout, done.stderr, error.expected)
    given = [*error.environ.values(), *(word for word in error.words.split() if not word.startswith("-"))]
    assert [value for value in given if len(value) > len("127.0.0.1") and value in done.stderr] == []


def check(status: int, stdout: str, stderr: str, expected: tuple[str, ...]) -> None:
    assert (status, stdout) == (2, "")
    assert stderr.count("\n") == 1
    assert all(words in stderr for words in expected)
    assert "unmistakable" not in stderr.lower()


def test_the_server_does_not_start_on_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = run("serve", "--http", "--demo", "--port", str(other.getsockname()[1]))
    check(done.returncode, done.stdout, done.stderr, ("Cannot bind 127.0.0.1:", "already in use.", "--port"))


def test_the_error_of_a_failed_bind_names_the_address() -> None:
    done = run_here("serve", "--http", "--demo", "--host", "192.0.2.77", env=environment(**OAUTH, **NAMES))
    expected = ("Cannot bind 192.0.2.77:8000: ", "Choose another --port or --host.")
    check(done.returncode, done.stdout, done.stderr, expected)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name here")
def test_a_tokens_file_that_is_a_pipe_does_not_block_the_start(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "tokens")
    done = run("serve", "--http", "--demo", env=environment(**{TOKENS: str(pipe)}))
    check(done.returncode, done.stdout, done.stderr, (TOKENS, "is not a regular file"))
