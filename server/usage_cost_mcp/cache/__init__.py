"""What we already know: the rows of every day that was read, for as long as they are worth keeping."""

from .memory_store import View
from .report_cache import CacheStatus, Held, Ledger, RowSource, Shared, together
from .windows import STEP, Window

__all__ = ["STEP", "CacheStatus", "Held", "Ledger", "RowSource", "Shared", "View", "Window", "together"]
