"""The real server over stdio or HTTP, with the short limits and the frozen clock of the fault table."""

import sys

from tests.support.harness import FrozenClock
from usage_cost_mcp.app import build_http_server, build_server
from usage_cost_mcp.http.server import bind, serve
from usage_cost_mcp.http.settings import HttpSettings
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.settings import Settings

LIMITS = Limits(max_body_bytes=2**20, retry_budget=1000, request_seconds=1.5)
"""Short for the faults that hang, long enough for those that send much."""


def main(transport: str, url: str) -> None:
    settings, clock = Settings.for_demo({}, url), FrozenClock()
    if transport == "stdio":
        build_server(settings, clock, LIMITS).run("stdio")
    else:
        http = HttpSettings(port=0, calls_per_minute=100_000)
        server, access = build_http_server(settings, http, clock, LIMITS)
        with bind(http) as listener:
            serve(server, access, http, listener)


if __name__ == "__main__":
    main(*sys.argv[1:])
