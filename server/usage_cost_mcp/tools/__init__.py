"""The MCP tools: thin functions over the reports, and the form in which their answers leave."""
