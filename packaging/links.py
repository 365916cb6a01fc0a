"""Print the links that add the server to Cursor and VS Code, from a given clone or from this one.

.venv/bin/python packaging/links.py
"""

import json
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "claude_desktop_config.json"
CLONE_IN_EXAMPLE = "/path/to/usage-cost-mcp"


def configuration(clone: str) -> tuple[str, dict[str, Any]]:
    """The name and the configuration of the server in the example, with the path of the clone."""
    [(name, server)] = json.loads(EXAMPLE.read_text(encoding="utf-8"))["mcpServers"].items()
    return name, server | {"command": server["command"].replace(CLONE_IN_EXAMPLE, clone)}


def cursor_link(name: str, server: dict[str, Any]) -> str:
    """A link for Cursor, which shows the configuration first; the user enters the key there."""
    config = b64encode(_json(server).encode()).decode()
    return f"cursor://anysphere.cursor-deeplink/mcp/install?{urlencode({'name': name, 'config': config})}"


def vscode_link(name: str, server: dict[str, Any]) -> str:
    """A link for VS Code, which asks for the key and stores it."""
    inputs = [{"id": each, "type": "promptString", "description": each, "password": True} for each in server["env"]]
    env = {each: f"${{input:{each}}}" for each in server["env"]}
    return "vscode:mcp/install?" + quote(_json({"name": name, **server, "env": env, "inputs": inputs}), safe="")


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    server = configuration(sys.argv[1] if sys.argv[1:] else str(ROOT.resolve()))
    print(cursor_link(*server), vscode_link(*server), sep="\n\n")
