"""The official MCP inspector, if it is on the PATH: `npm install @modelcontextprotocol/inspector`."""

import json
import shutil
import subprocess
import sys

import pytest

INSPECTOR = shutil.which("mcp-inspector")


@pytest.mark.external
@pytest.mark.skipif(INSPECTOR is None, reason="mcp-inspector is not on the PATH")
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_accepts_the_tool_list_in_strict_mode(era: str) -> None:
    server = [sys.executable, "-m", "usage_cost_mcp", "serve", "--demo"]
    done = subprocess.run(
        [str(INSPECTOR), "--cli", "-q", *server, "--method", "tools/list", "--strict", "--protocol-era", era],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["tools"]) == 9
