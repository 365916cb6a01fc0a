"""The limits of a call and of the requests that it sends."""

from dataclasses import dataclass

MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that keep calls short and the load on the Admin API small.

    Attributes:
        call_seconds: Of a tool call, wall-clock time. Some hosts give up after 60.
        request_seconds: Of one request, body included; grouped months can be slow.
        connect_seconds: Of establishing a connection.
        max_body_bytes: Of a response, decoded: a small gzip body can inflate to a huge one.
        attempts: How often one request is sent at most.
        retry_budget: How many retries are sent while no request succeeds.
        max_concurrent_requests: Requests in progress at the same time.
        requests_per_minute: Requests of all processes that share a Redis.
    """

    call_seconds: float = 50
    request_seconds: float = 30
    connect_seconds: float = 5
    max_body_bytes: int = 64 * MEBIBYTE
    attempts: int = 4
    retry_budget: int = 10
    max_concurrent_requests: int = 4
    requests_per_minute: int = 50
