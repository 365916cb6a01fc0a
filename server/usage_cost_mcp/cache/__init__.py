"""What we already know: the rows of every day that was read, for as long as they are worth keeping."""

from .memory_store import View
from .report_cache import CacheResult, CacheStatus, ReportCache, RowSource, Shared, combine_statuses
from .windows import STEP, Window

__all__ = [
    "STEP",
    "CacheResult",
    "CacheStatus",
    "ReportCache",
    "RowSource",
    "Shared",
    "View",
    "Window",
    "combine_statuses",
]
