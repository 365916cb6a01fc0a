"""The MCP server: unknown tools and prompts get an error that lists the valid names."""

from typing import Any

from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import INVALID_PARAMS, CallToolResult, GetPromptResult, InputRequiredResult

from usage_cost_mcp.errors import UsageCostError, unknown_value_error

from .service import Service


class StrictServer(MCPServer[Service]):
    """Answers an unknown tool or prompt name with the valid names. Calls of unknown tools are rate limited and audited.

    Why: the SDK repeats the unknown name, which may be a secret, or reports an internal error.
    """

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Service, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        if context is None or self._tool_manager.get_tool(name) is not None:
            return await super().call_tool(name, arguments, context)
        tools = [tool.name for tool in await self.list_tools()]
        try:
            async with context.request_context.lifespan_context.access.guard_call("unknown", {"name": name}):
                raise unknown_value_error("tool", name, tools)
        except UsageCostError as error:
            raise ToolError(str(error)) from error

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Service, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        prompts = [prompt.name for prompt in await self.list_prompts()]
        if name not in prompts:
            raise MCPError(INVALID_PARAMS, str(unknown_value_error("prompt", name, prompts)))
        return await super().get_prompt(name, arguments, context)
