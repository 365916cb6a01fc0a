"""Both reports of some days, whole, side by side: what answers that neither report gives alone are made from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from usage_cost_mcp.analysis.cost_usage_join import Cells, Stream, join
from usage_cost_mcp.cache import CacheStatus, Held, together
from usage_cost_mcp.model.dimensions import SPEND, USAGE, Filters
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.runtime.call_context import Call
from usage_cost_mcp.runtime.concurrency import both

from . import notes
from .answers import Note
from .context import Desk


@dataclass(frozen=True, slots=True)
class Cubes:
    """Spend and usage of a period."""

    period: Period
    spend: Held
    usage: Held

    @property
    def fetched_at(self) -> datetime:
        """When the oldest of it was read."""
        return min(self.spend.fetched_at, self.usage.fetched_at)

    @property
    def status(self) -> CacheStatus:
        """How it was come by."""
        return together([self.spend.status, self.usage.status])

    @property
    def rows(self) -> int:
        """How many rows both have."""
        return self.spend.rows + self.usage.rows

    def within(self, period: Period) -> "Cubes":
        """A part of the days."""
        spend, usage = (replace(held, days=held.of(period.days)) for held in (self.spend, self.usage))
        return Cubes(period, spend, usage)

    def cells(self, now: datetime, filters: Filters) -> Cells:
        """Both reports cell by cell."""
        return join(self.spend.days, self.usage.days, self.period, now, filters)

    def notes(self, now: datetime) -> Iterator[Note]:
        """What should be known of the days."""
        for held in (self.spend, self.usage):
            yield from notes.about_age(held, now)
        yield from notes.about_rows(self.spend, self.period)


async def read_cubes(desk: Desk, period: Period, call: Call) -> Cubes:
    """Both reports of a period, each in the view that answers most.

    Raises:
        UpstreamError: When either cannot be had, whole.
    """
    spend, usage = await both(
        desk.ledger.days(SPEND, [SPEND.base], "1d", period, call),
        desk.ledger.days(USAGE, [USAGE.base], "1d", period, call),
    )
    return Cubes(period, spend, usage)


IN_BOTH = frozenset(Stream._fields)
"""The dimensions that both reports have."""
