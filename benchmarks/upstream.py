"""The Admin API of `world` in a separate process, so that its time and memory are not counted as ours."""

import json
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from . import world
from .processes import child

COST, USAGE = "/v1/organizations/cost_report", "/v1/organizations/usage_report/messages"
LATENCY_SECONDS = 0.1

_ASKED = "/asked"
_POLL_SECONDS = 0.02
_BUCKETS = {COST: world.cost_bucket, USAGE: world.usage_bucket}


@dataclass(frozen=True, slots=True)
class Upstream:
    """A client of the Admin API process."""

    port: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def asked(self) -> list[str]:
        """Paths requested since the last call."""
        return json.loads(self.get(_ASKED))

    def get(self, target: str) -> bytes:
        """The body of a response."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", target)
            return connection.getresponse().read()
        finally:
            connection.close()


@contextmanager
def upstream(rows_a_day: int, latency: float = 0.0) -> Generator[Upstream]:
    """An Admin API with this many rows per day and report, and a delay in seconds before each response."""
    with child("-m", f"{__package__}.upstream", str(rows_a_day), str(latency)) as process:
        if process.stdout is None:
            raise RuntimeError("the upstream has no stdout")
        yield Upstream(int(process.stdout.readline()))


@cache
def _page(path: str, first: str, end: str, limit: int, rows_a_day: int) -> bytes:
    """One page of a report, cached. The token of the next page is its first day."""
    start = date.fromisoformat(first[:10])
    days = (date.fromisoformat(end[:10]) - start).days
    shown = min(days, limit)
    buckets = b",".join(_BUCKETS[path](start + timedelta(days=n), rows_a_day) for n in range(shown))
    following = world.midnight(start + timedelta(days=shown)) if shown < days else None
    closing = json.dumps({"has_more": shown < days, "next_page": following}).encode()
    return b'{"data":[' + buckets + b"]," + closing.lstrip(b"{")


def _serve(rows_a_day: int, latency: float) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == _ASKED:
                body = json.dumps(asked).encode()
                asked.clear()
            else:
                asked.append(url.path)
                time.sleep(latency)
                body = respond(url.path, dict(parse_qsl(url.query)))
            self.send_response_only(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def respond(path: str, query: Mapping[str, str]) -> bytes:
        if path in _BUCKETS:
            first = query.get("page", query["starting_at"])
            return _page(path, first, query["ending_at"], int(query["limit"]), rows_a_day)
        if path.endswith("/me"):
            return b'{"id": "benchmark", "name": "Benchmark", "type": "organization"}'
        return world.workspace_list()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[_POLL_SECONDS], daemon=True).start()
        print(server.server_port, flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), float(sys.argv[2]))
