"""The command line in a process of its own, or in the process of the test."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from typing import Any
from unittest.mock import patch

from tests.support.canary import KEY, keeps_silent
from usage_cost_mcp.cli.main import main


def environment(**settings: str) -> dict[str, str]:
    """This process's environment without settings of ours, and with the given ones."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "USAGE_COST_"))
    }
    return inherited | settings


def run(*words: str, env: Mapping[str, str] | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "usage_cost_mcp", *words],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env=env or environment(),
    )
    assert keeps_silent(done.stdout, done.stderr)
    return done


def run_here(*words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The same in this process, for tables: starting one takes a hundred times as long as most commands."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, env or environment(), clear=True),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        try:
            status = main(words)
        except SystemExit as ended:  # as argparse refuses
            status = int(ended.code or 0)
    assert keeps_silent(stdout.getvalue(), stderr.getvalue())
    return subprocess.CompletedProcess(words, status, stdout.getvalue(), stderr.getvalue())


def connected_to(url: str) -> dict[str, str]:
    return environment(ANTHROPIC_ADMIN_API_KEY=KEY, USAGE_COST_MCP_BASE_URL=url)


def message(identity: int | None, method: str, **params: Any) -> str:
    """A line of the protocol; a notification when it has no id."""
    body = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(body if identity is None else {**body, "id": identity}) + "\n"


HANDSHAKE = message(
    1,
    "initialize",
    protocolVersion="2025-11-25",
    capabilities={},
    clientInfo={"name": "a test", "version": "1"},
) + message(None, "notifications/initialized")
