"""The HTTP transport: one MCP server for a team, with any number of replicas behind one address."""
