"""What we already know: the rows of every day that was read, for as long as they are worth keeping."""

from .ledger import CacheStatus, Held, Ledger, RowSource, Shared, together
from .plan import STEP, Window
from .store import View

__all__ = ["STEP", "CacheStatus", "Held", "Ledger", "RowSource", "Shared", "View", "Window", "together"]
