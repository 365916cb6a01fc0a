"""One call of a tool, as it travels down to the wire: how long it may take, what it cost, how far it is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Progress = Callable[[float, float], Awaitable[None]]


async def no_progress(_done: float, _total: float) -> None:
    """The progress of a call that nobody watches."""


@dataclass(slots=True)
class CallContext:
    """What a tool call hands down.

    Attributes:
        deadline: When it must be over, in seconds of the monotonic clock.
        progress: Told how many of how many windows have arrived.
        requests: How many requests were sent upstream for this call so far.
        rows: How many rows of reports stand behind its answer so far.
    """

    deadline: float
    progress: Progress = field(default=no_progress)
    requests: int = 0
    rows: int = 0
