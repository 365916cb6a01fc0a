"""How far anything may go, in one place."""

from dataclasses import dataclass

MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that keep a call short and its load small.

    Attributes:
        call_seconds: The longest that a tool call may take, by the wall clock; some hosts give up at 60.
        request_seconds: The longest that one request may take, body included; grouped months can be slow.
        connect_seconds: The longest that a connection may take to stand.
        body_bytes: The most bytes that a response may have, decoded: a small gzip body can hold a large one.
        attempts: How often one request is sent at most.
        retries_in_reserve: How many requests may be sent again while nothing succeeds.
        requests_at_once: How many requests are under way at most.
        requests_per_minute: How many requests are sent at most, by all processes that share a Redis.
    """

    call_seconds: float = 50
    request_seconds: float = 30
    connect_seconds: float = 5
    max_body_bytes: int = 64 * MEBIBYTE
    attempts: int = 4
    retry_budget: int = 10
    max_concurrent_requests: int = 4
    requests_per_minute: int = 50
