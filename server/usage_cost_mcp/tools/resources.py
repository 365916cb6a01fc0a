"""MCP resources: the glossary and the server status."""

import json
from collections.abc import Sequence

from mcp.server.mcpserver.exceptions import ResourceError
from mcp.server.mcpserver.resources import FunctionResource, Resource

from usage_cost_mcp.errors import UsageCostError

from .execution import execute, status_runner
from .service import ServiceGetter

GLOSSARY = "usage-cost://glossary"
STATUS = "usage-cost://status"


def all_resources(get_service: ServiceGetter) -> Sequence[Resource]:
    """Every resource of the server, in listing order. The contents are built when they are read."""

    async def glossary() -> str:
        from .glossary import as_markdown

        return as_markdown()

    async def status() -> str:
        service = get_service()
        try:
            async with service.access.guard_call(STATUS, {}) as record:
                result = await execute(service, status_runner(service))
                record.rows, record.cache = result.rows, result.cache_status
        except UsageCostError as error:
            raise ResourceError(str(error)) from error
        return json.dumps(result.structured_content, ensure_ascii=False)

    return [
        FunctionResource(
            uri=GLOSSARY,
            name="glossary",
            title="Glossary",
            description="Every dimension and measure: what it means, which tools have it, and what it leaves out.",
            mime_type="text/markdown",
            fn=glossary,
        ),
        FunctionResource(
            uri=STATUS,
            name="status",
            title="Status",
            description="The answer of get_status: the connected organization, the newest data, its limits.",
            mime_type="application/json",
            fn=status,
        ),
    ]
