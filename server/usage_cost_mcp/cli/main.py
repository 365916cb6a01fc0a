"""The command line: environment in, exit status out.

Exit status: 0 when all went well, 1 when a tool or a check failed, 2 when the settings or the arguments are wrong.
"""

import argparse
import asyncio
import gc
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import Any, NoReturn

from usage_cost_mcp.errors import ConfigurationError, unknown_value_error
from usage_cost_mcp.redact import redacted
from usage_cost_mcp.settings import Settings

from .tokens import add_token_commands

DEMO_HELP = "use the embedded demo organization; needs no key and no network"

FORMATS = ("table", "json", "csv")

_CALL_HELP = """\
values: separate the items of a list with commas, group_by=model,workspace_id; write an object as JSON,
  filter_by='{{"model": ["claude-opus-4-6"]}}'
example: usage-cost-mcp call get_spend period=last_month group_by=model --format csv

arguments of each tool (chart=true is for MCP clients: it adds a picture, which a terminal cannot show):
{tools}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command."""
    arguments = _parsed(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may have no block characters
            stream.reconfigure(errors="replace")
    try:
        return arguments.run(arguments)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone, as in `| head`. What is left in the buffer has nowhere to go either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, where name=value words may also stand behind an option, which argparse alone does not take."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if any(word.startswith("-") or arguments.run is not _call for word in rest):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.arguments += rest
    return arguments


class _Parser(argparse.ArgumentParser):
    epilog_factory: Callable[[], str] | None = None
    """Makes the epilog when help is printed: loading the tools takes longer than everything else here."""

    def format_help(self) -> str:
        if self.epilog_factory is not None:
            self.epilog = self.epilog_factory()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Refuse, without repeating a key that was given in error."""
        super().error(redacted(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="usage-cost-mcp", description="Ask where your Claude API spend goes.")
    parser.add_argument("--version", action="version", version=version("usage-cost-mcp"))
    parser.add_argument("--demo", action="store_true", help=DEMO_HELP)
    parser.set_defaults(run=_serve, http=False, host=None, port=None)
    commands = parser.add_subparsers(title="commands", metavar="command")

    serve = commands.add_parser("serve", help="run the MCP server, over stdio for MCP hosts (the default) or over HTTP")
    serve.add_argument("--http", action="store_true", help="serve over HTTP, for a team")
    serve.add_argument("--host", help="with --http: the address to bind; default 127.0.0.1, this machine only")
    serve.add_argument("--port", help="with --http: the port to bind; default 8000")
    serve.set_defaults(run=_serve)
    demo = commands.add_parser("demo", help="answer the main questions for an embedded demo organization; needs no key")
    demo.set_defaults(run=_demo)
    call = commands.add_parser(
        "call",
        help="call one tool from the shell",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    call.epilog_factory = _call_help
    call.add_argument("tool", help="name of the tool, such as get_spend")
    call.add_argument("arguments", nargs="*", metavar="name=value", help="the tool's arguments")
    call.add_argument(
        "--format",
        dest="formats",
        action="append",
        choices=FORMATS,
        help="table: for people (the default); json: the structured answer; csv: its numbers as a flat table",
    )
    call.add_argument("--json", dest="formats", action="append_const", const="json", help="the same as --format json")
    call.set_defaults(run=_call)
    doctor = commands.add_parser("doctor", help="check key, connection, permissions, clock and data")
    doctor.set_defaults(run=_doctor)
    add_token_commands(commands)
    for command in (serve, demo, call, doctor):
        command.add_argument("--demo", action="store_true", default=argparse.SUPPRESS, help=DEMO_HELP)
    return parser


def _call_help() -> str:
    from usage_cost_mcp.tools.catalogue import all_tools

    tools = {tool.name: ", ".join(tool.parameters.get("properties", {})) or "none" for tool in all_tools()}
    return _CALL_HELP.format(tools="\n".join(f"  {name}: {arguments}" for name, arguments in tools.items()))


@contextmanager
def _settings(*, demo: bool) -> Generator[Settings]:
    """The settings from the environment, or those of a demo organization that lives as long as the block."""
    if not demo:
        yield Settings.from_environ(os.environ)
        return
    from datetime import UTC, datetime

    from usage_cost_mcp.demo import DemoApi, serve_on_loopback

    with serve_on_loopback(DemoApi(lambda: datetime.now(UTC)).respond) as base_url:
        yield Settings.for_demo(os.environ, base_url)


def _serve(arguments: argparse.Namespace) -> int:
    if arguments.http:
        return _serve_http(arguments)
    if arguments.host is not None or arguments.port is not None:
        raise ConfigurationError("--host and --port need serve --http; stdio has no address.")
    with _settings(demo=arguments.demo) as settings:
        with _loading():
            from usage_cost_mcp.app import build_server

            server = build_server(settings)
        # The transport waits for input in a thread that no KeyboardInterrupt reaches; Ctrl-C ends the process itself.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        server.run("stdio")
    return 0


def _serve_http(arguments: argparse.Namespace) -> int:
    with _loading():
        from usage_cost_mcp.http.settings import HttpSettings

        http = HttpSettings.from_environ(os.environ, arguments.host, arguments.port)
    with _settings(demo=arguments.demo) as settings:
        with _loading():
            from usage_cost_mcp.app import build_http_server
            from usage_cost_mcp.http.server import bind, serve

            server, access = build_http_server(settings, http)
        with bind(http) as listener:
            serve(server, access, http, listener)
    return 0


@contextmanager
def _loading() -> Generator[None]:
    """What is loaded now stays; looking through it again and again is a tenth of the start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _call(arguments: argparse.Namespace) -> int:
    given, form = _given(arguments.arguments), _one_format(arguments.formats or FORMATS[:1])
    with _settings(demo=arguments.demo) as settings:
        unbounded = replace(settings, max_answer_characters=None)
        return asyncio.run(_call_tool(unbounded, arguments.tool, given, form))


def _one_format(formats: Sequence[str]) -> str:
    if len(set(formats)) > 1:
        raise ConfigurationError(f"An answer is printed in one format, not as {' and '.join(formats)}.")
    return formats[0]


def _given(words: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in _pairs(words):
        if name in given:
            raise ConfigurationError(f"{name} is given twice.")
        given[name] = value
    return given


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ConfigurationError(f"{word!r} does not have the form name=value, such as period=last_month.")
        try:
            yield name, json.loads(value) if value.startswith(("{", "[")) else value
        except ValueError:
            raise ConfigurationError(f"{name} is not valid JSON: {value}") from None


async def _call_tool(settings: Settings, tool: str, given: dict[str, Any], form: str) -> int:
    from mcp import Client

    from usage_cost_mcp.app import build_server

    async with Client(build_server(settings)) as client:
        tools = [each.name for each in (await client.list_tools()).tools]
        result = await client.call_tool(tool, given) if tool in tools else None
    if result is None:
        print(unknown_value_error("tool", tool, tools), file=sys.stderr)
        return 1
    text = "\n".join(block.text for block in result.content if block.type == "text")
    if result.is_error:
        print(text, file=sys.stderr)
        return 1
    structured: dict[str, Any] = result.structured_content or {}
    print(_printed(structured, form), flush=True)
    if form != "table":  # which begins with them
        for warning in _warnings(structured):
            print(warning, file=sys.stderr)
    return 0


def _warnings(structured: dict[str, Any]) -> Iterator[str]:
    """The notes without which the numbers are misread: CSV has none, and programs that read JSON often skip them."""
    from usage_cost_mcp.reports.notes import WARNINGS

    yield from (f"Warning: {note['message']}" for note in structured["notes"] if note["code"] in WARNINGS)


def _printed(structured: dict[str, Any], form: str) -> str:
    """An answer in one of the FORMATS."""
    from usage_cost_mcp.reports.registry import parse_answer

    match form:
        case "json":
            return json.dumps(structured, ensure_ascii=False)
        case "csv":
            from usage_cost_mcp.render.csv_export import as_csv

            return as_csv(parse_answer(structured).csv_rows()).removesuffix("\n")
        case _:
            from usage_cost_mcp.render.terminal import render

            return render(parse_answer(structured))


def _doctor(arguments: argparse.Namespace) -> int:
    with _settings(demo=arguments.demo) as settings:
        return asyncio.run(_run_checks(settings))


async def _run_checks(settings: Settings) -> int:
    from .doctor import checks

    all_passed = True
    async for check in checks(settings):
        print(check, flush=True)
        all_passed &= check.passed
    return 0 if all_passed else 1


def _demo(_arguments: argparse.Namespace) -> int:
    from .demo import run_tour

    asyncio.run(run_tour())
    return 0
