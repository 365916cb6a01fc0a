"""The context of one tool call, passed down to the requests: deadline, progress, counters."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Progress = Callable[[float, float], Awaitable[None]]
"""Reports progress: the number of windows fetched, and of windows in total."""


async def no_progress(_done: float, _total: float) -> None:
    """For a caller that did not ask for progress."""


@dataclass(slots=True)
class CallContext:
    """What a tool call passes down.

    Attributes:
        deadline: When the call must be finished, in seconds of the monotonic clock.
        requests: How many requests to the Admin API were sent for this call so far.
        rows: How many report rows its answer is based on so far.
    """

    deadline: float
    progress: Progress = field(default=no_progress)
    requests: int = 0
    rows: int = 0
