"""An MCP server that answers questions about an organization's Claude API spend and usage."""
