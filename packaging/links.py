"""Print the links that add the server of a clone, by default of this one, to Cursor and to VS Code.

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
    """The name of the server in the example, and how a host starts it from a clone."""
    [(name, server)] = json.loads(EXAMPLE.read_text(encoding="utf-8"))["mcpServers"].items()
    return name, server | {"command": server["command"].replace(CLONE_IN_EXAMPLE, clone)}


def for_cursor(name: str, server: dict[str, Any]) -> str:
    """A link to Cursor, which shows the configuration before it adds it: the key is put in there."""
    config = b64encode(_json(server).encode()).decode()
    return f"cursor://anysphere.cursor-deeplink/mcp/install?{urlencode({'name': name, 'config': config})}"


def for_vscode(name: str, server: dict[str, Any]) -> str:
    """A link to VS Code, which asks for the key and keeps it."""
    inputs = [{"id": each, "type": "promptString", "description": each, "password": True} for each in server["env"]]
    asked = {each: f"${{input:{each}}}" for each in server["env"]}
    return "vscode:mcp/install?" + quote(_json({"name": name, **server, "env": asked, "inputs": inputs}), safe="")


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    added = configuration(sys.argv[1] if sys.argv[1:] else str(ROOT.resolve()))
    print(for_cursor(*added), for_vscode(*added), sep="\n\n")
