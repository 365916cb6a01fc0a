"""The commands `token create` and `token list`, for the tokens file."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from usage_cost_mcp.errors import ConfigurationError
from usage_cost_mcp.settings import TOKENS_FILE


def add_token_commands(commands: Any) -> None:
    """Add `token` and its subcommands to the parser."""
    token = commands.add_parser("token", help="create and list tokens for serve --http")
    subcommands = token.add_subparsers(title="commands", metavar="command", required=True)
    create = subcommands.add_parser(
        "create",
        aliases=["new"],
        help="create a token and print it once",
        description="Creates a token and prints it on stdout, once. Appends its record, which holds only a hash of it, "
        f"to the tokens file ({TOKENS_FILE}); if that is not set, prints the record on stderr instead.",
    )
    create.add_argument("name", metavar="NAME", help="the person or agent who will use it")
    create.add_argument("--days", type=int, help="number of days until it expires; by default it does not expire")
    create.add_argument(
        "--workspaces",
        metavar="IDS",
        help="ids of the only workspaces that it gives access to, such as wrkspc_01AbC,default; by default all",
    )
    create.set_defaults(run=_create)
    listing = subcommands.add_parser(
        "list",
        help="list the tokens: name, expiry, workspaces",
        description=f"Lists the tokens file ({TOKENS_FILE}): name, expiry and workspaces of each token, never a hash.",
    )
    listing.set_defaults(run=_list)


def _create(arguments: argparse.Namespace) -> int:
    from usage_cost_mcp.auth.tokens_file import create_token
    from usage_cost_mcp.runtime.clock import SystemClock

    path = _path()
    workspaces = None if arguments.workspaces is None else [each.strip() for each in arguments.workspaces.split(",")]
    token, record = create_token(arguments.name, workspaces, arguments.days, path, SystemClock())
    if path is None:
        print(f"{TOKENS_FILE} is not set. Add this line to your tokens file:\n{record}", file=sys.stderr)
    else:
        print(f"The record was added to the tokens file ({TOKENS_FILE}).", file=sys.stderr)
    print(f"Token for {arguments.name}, which is not stored and cannot be shown again:", file=sys.stderr)
    print(token, flush=True)
    return 0


def _list(_arguments: argparse.Namespace) -> int:
    from usage_cost_mcp.auth.tokens_file import read_records

    path = _path()
    if path is None:
        raise ConfigurationError(f"{TOKENS_FILE} is not set, so there is no tokens file to list.")
    rows = [(each.name, _expiry(each.expires), _workspaces(each.workspaces)) for each in read_records(path)]
    print("\n".join(_aligned([("NAME", "EXPIRES", "WORKSPACES"), *rows])))
    return 0


def _path() -> Path | None:
    text = os.environ.get(TOKENS_FILE, "").strip()
    return Path(text) if text else None


def _expiry(expires: datetime | None) -> str:
    if expires is None:
        return "never"
    text = f"{expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"{text} (expired)" if expires <= datetime.now(UTC) else text


def _workspaces(ids: frozenset[str | None] | None) -> str:
    return "all" if ids is None else ",".join(sorted(each or "default" for each in ids))


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
