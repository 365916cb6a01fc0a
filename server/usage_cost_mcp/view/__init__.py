"""The chart that hosts with MCP Apps show in the conversation: one page that draws an answer's structured half.

Why a page of our own: the official `App` class with a charting library is a megabyte, and a view may load nothing from
elsewhere. The page speaks the few messages that it needs itself.

Source: https://github.com/modelcontextprotocol/ext-apps/blob/main/specification/2026-01-26/apps.mdx
"""

from pathlib import Path

from mcp.server.apps import Apps, ResourcePermissions
from mcp.server.mcpserver.resources import FileResource

CHART_URI = "ui://usage-cost/chart.html"
"""What the tools that have something to draw point at."""


def chart_app() -> Apps:
    """The extension that serves the chart; the page is read when a host asks for it."""
    permissions = ResourcePermissions(clipboard_write={})
    apps = Apps()
    apps.add_resource(
        FileResource(
            uri=CHART_URI,
            name="chart",
            title="Chart of an answer",
            description="What hosts with MCP Apps draw answers with.",
            path=Path(__file__).with_name("chart.html"),
            encoding="utf-8",
            meta={"ui": {"permissions": permissions.model_dump(by_alias=True, exclude_none=True)}},
        )
    )
    return apps
