"""What several processes share through Redis or Valkey: cached days, fetch leases, rate limits.

All of it can be lost at any time. Each process then continues with its own memory and its own limits.
"""

from .connection import RedisConnection, RedisUnavailable, check_writable
from .day_store import RedisDayStore
from .leases import RedisFetchCoordinator
from .rate_limit import RedisRateLimiter

__all__ = [
    "RedisConnection",
    "RedisDayStore",
    "RedisFetchCoordinator",
    "RedisRateLimiter",
    "RedisUnavailable",
    "check_writable",
]
