"""The cache of report days: what was fetched, for as long as it is worth keeping."""

from .cache_result import CacheResult, CacheStatus, combine_statuses
from .report_cache import ReportCache
from .views import View
from .windows import STEP, Window

__all__ = [
    "STEP",
    "CacheResult",
    "CacheStatus",
    "ReportCache",
    "View",
    "Window",
    "combine_statuses",
]
