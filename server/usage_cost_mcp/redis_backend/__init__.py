"""What several processes share over Redis or Valkey: the days that were read, who reads which, how much may be asked.

All of it can be lost at any time. Then each process goes on with its own memory, and nothing else is different.
"""

from .connection import Away, Line, written_to
from .rate_limit import SharedAllowance
from .tenant import Membership

__all__ = ["Away", "Line", "Membership", "SharedAllowance", "written_to"]
