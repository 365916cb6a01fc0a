"""What several processes share over Redis or Valkey: the days that were read, who reads which, how much may be asked.

All of it can be lost at any time. Then each process goes on with its own memory, and nothing else is different.
"""

from .connection import RedisConnection, RedisUnavailable, check_writable
from .rate_limit import RedisRateLimiter
from .tenant import TenantGuard

__all__ = ["RedisConnection", "RedisRateLimiter", "RedisUnavailable", "TenantGuard", "check_writable"]
