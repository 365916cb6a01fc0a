"""An Admin API that speaks raw bytes over real sockets, so that it can do to a client whatever a network can do."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from usage_cost_mcp.demo.http import Request, Response

_REAL_TOKEN = 20
"""The characters that a token of the healthy API has at least."""


class Act(Enum):
    """What a connection can do besides sending bytes."""

    CLOSE = "end the connection"
    RESET = "break the connection"
    HANG = "say nothing more, for as long as the client bears it"


Piece = bytes | float | Act
"""Bytes to send, seconds to wait, or something else to do."""

Fault = Callable[[Response], Iterator[Piece]]
"""Turns the healthy response to a request into what is sent instead."""


def http(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A response as bytes."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase if status in set(HTTPStatus) else 'Odd'}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def healthy(response: Response) -> bytes:
    """A response as it should be."""
    body = json.dumps(response.body).encode()
    return http(response.status, body, response.headers)


@dataclass
class FaultServer:
    """The healthy API, and what to send instead of its next answers.

    Attributes:
        asked: Set by the first request.
        hung_up: Set when a client has left a hanging request.
        faults: For the next requests to the faulty paths, in order; the last one for ever when `forever`.
        day: The first day of the windows that fail; empty for every window. Where cases share a server, each has a day
            of its own, so that a late request of a call that was given up takes no fault of the next case.
        sent: How many faults were sent since the last `fail`.
    """

    respond: Callable[[Request], Response]
    url: str = ""
    faulty: tuple[str, ...] = ("cost_report", "messages")
    faults: Sequence[Fault] = ()
    left: dict[str, list[Fault]] = field(default_factory=dict[str, list[Fault]])
    forever: bool = False
    day: str = ""
    sent: int = 0
    requests: list[Request] = field(default_factory=list[Request])
    asked: threading.Event = field(default_factory=threading.Event)
    hung_up: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)

    def fail(
        self,
        faults: Sequence[Fault],
        *,
        forever: bool = False,
        faulty: tuple[str, ...] | None = None,
        day: str = "",
    ) -> None:
        self.faults, self.forever, self.day, self.sent = faults, forever, day, 0
        self.left.clear()
        self.faulty = faulty or ("cost_report", "messages")
        self.requests.clear()

    def heal(self) -> None:
        self.fail([])

    def pieces(self, request: Request) -> Iterator[Piece]:
        self.requests.append(request)
        self.asked.set()
        # The pages of a fault's own making are the healthy answer, over and over.
        query = [(name, value) for name, value in request.query if not (name == "page" and len(value) < _REAL_TOKEN)]
        response = self.respond(Request(request.path, query, request.headers))
        left = self.left.setdefault(request.path, list(self.faults))
        if not left or not self._is_faulty(request):
            yield healthy(response)
            return
        fault = left[0] if self.forever and len(left) == 1 else left.pop(0)
        self.sent += 1
        yield from fault(response)

    def _is_faulty(self, request: Request) -> bool:
        return request.path.endswith(self.faulty) and dict(request.query).get("starting_at", "").startswith(self.day)

    def serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while head := self._head(connection):
                for piece in self.pieces(_request(head)):
                    match piece:
                        case bytes():
                            connection.sendall(piece)
                        case int() | float():
                            self.closing.wait(piece)
                        case Act.HANG:
                            if not connection.recv(1):
                                self.hung_up.set()
                        case Act.RESET:
                            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                            return
                        case Act.CLOSE:
                            return
                    if self.closing.is_set():
                        return

    @staticmethod
    def _head(connection: socket.socket) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (received := connection.recv(65_536)):
                return b""
            head += received
        return head


def _request(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    url = urlsplit(first.split(" ")[1])
    headers = dict(line.split(": ", 1) for line in lines if line)
    return Request(
        url.path, parse_qsl(url.query, keep_blank_values=True), {name.lower(): each for name, each in headers.items()}
    )


@contextmanager
def fault_server(respond: Callable[[Request], Response]) -> Generator[FaultServer]:
    """A server on loopback for as long as the block lasts."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = FaultServer(respond, f"http://127.0.0.1:{listener.getsockname()[1]}")

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=server.serve, args=[connection], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        server.closing.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
