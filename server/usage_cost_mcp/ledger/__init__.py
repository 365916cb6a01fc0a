"""What we already know: the rows of every day that was read, for as long as they are worth keeping."""

from .ledger import CacheStatus, Held, Ledger, RowSource, together
from .plan import STEP, Window

__all__ = ["STEP", "CacheStatus", "Held", "Ledger", "RowSource", "Window", "together"]
