"""The chart that hosts with MCP Apps show in the conversation: a page that draws the structured half of an answer.

Why our own page: the official `App` class with a charting library is a megabyte, and a view may not load anything from
the network. The page implements the few messages that it needs.

Source: https://github.com/modelcontextprotocol/ext-apps/blob/main/specification/2026-01-26/apps.mdx
"""

from pathlib import Path

from mcp.server.apps import Apps, ResourcePermissions
from mcp.server.mcpserver.resources import FileResource

CHART_URI = "ui://usage-cost/chart.html"
"""URI of the chart, referenced by the tools that have one."""


def chart_app() -> Apps:
    """The MCP extension that serves the chart. The page is read on request."""
    permissions = ResourcePermissions(clipboard_write={})
    apps = Apps()
    apps.add_resource(
        FileResource(
            uri=CHART_URI,
            name="chart",
            title="Chart of an answer",
            description="Interactive chart of an answer, for hosts with MCP Apps.",
            path=Path(__file__).with_name("chart.html"),
            encoding="utf-8",
            meta={"ui": {"permissions": permissions.model_dump(by_alias=True, exclude_none=True)}},
        )
    )
    return apps
