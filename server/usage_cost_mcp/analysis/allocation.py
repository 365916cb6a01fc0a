"""Allocates spend to API keys, accounts or service accounts, which the cost report lacks.

A cost belongs to one cell: one workspace, model, service tier, context window and geo, in which a token type has one
price. Each cost is allocated in proportion to the tokens of its type in its cell; the parts add up to it exactly.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from usage_cost_mcp.model.dimensions import API_KEY, USAGE_MEASURES, WORKSPACE
from usage_cost_mcp.model.rows import DayRows, Key, Row
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT

from .apportionment import apportion, apportion_whole

UNALLOCATED = "unallocated"
"""The value of costs without tokens: code execution, sessions, credits."""

PRICE_DIMENSIONS = ("model", "service_tier", "context_window", "inference_geo")

_SEARCHES = "web_search_requests"


@dataclass(frozen=True, slots=True)
class AllocationRule:
    """How spend is allocated.

    Attributes:
        dimension: The dimension that spend is allocated to.
        cell: The dimensions that a cost and the tokens it is allocated by have in common.
    """

    dimension: str
    cell: tuple[str, ...]

    @property
    def view(self) -> tuple[str, ...]:
        """The dimensions of the usage report. The workspace of an API key comes from the list of keys."""
        from_list = {"workspace_id"} if self.dimension == API_KEY else set[str]()
        return USAGE_REPORT.views_for({self.dimension, *self.cell} - from_list)[-1]

    def cells_of(self, cost: Mapping[str, str | None]) -> Iterator[Key]:
        """The cells by whose tokens a cost may be allocated, the finest first; a web search has no model."""
        cell = tuple(cost[dimension] for dimension in self.cell)
        if cost["cost_type"] == "web_search":
            yield cell[: self.cell.index("model")]
        else:
            # The usage report may name geo or context window differently: fall back to coarser cells.
            for length in range(len(cell), self.cell.index("service_tier"), -1):
                yield cell[:length]


Counts = Mapping[tuple[Key, str], Counter[str | None]]
"""Usage by cell and measure, of each key or account."""


class Usage:
    """Usage of a day by key or account, in cells and in coarser cells."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._pooled: dict[int, Counts] = {}

    def of(self, cell: Key, measure: str) -> Counter[str | None]:
        """Usage by key or account in a cell, which may be a prefix of the full cell."""
        if len(cell) not in self._pooled:
            self._pooled[len(cell)] = self._in_cells_of(len(cell))
        return self._pooled[len(cell)].get((cell, measure), Counter())

    def _in_cells_of(self, length: int) -> Counts:
        pooled: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
        for (cell, measure), counts in self._counts.items():
            pooled[cell[:length], measure].update(counts)
        return pooled


def usage_by(rule: AllocationRule, used: DayRows) -> Usage:
    """A day's usage by the rule's dimension."""
    counts: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
    for (value, *cell), measure, count in _counted(used, (rule.dimension, *rule.cell)):
        counts[tuple(cell), measure][value] += count
    return Usage(counts)


WORKSPACE_KEY_VIEW = (WORKSPACE, API_KEY, *PRICE_DIMENSIONS[:-1])
"""Usage by workspace, key and as much of the cell as one request can be grouped by."""


def usage_by_key(
    used: DayRows,
    everything: DayRows,
    workspaces: Mapping[str | None, str | None],
    of_workspaces: DayRows | None = None,
) -> Usage:
    """A day's usage by API key in each workspace.

    The usage of a cell that is not that of the workspace's known keys was without a key, or by keys whose workspace is
    unknown. These split it in proportion to their usage in the same cell of all workspaces, or with `of_workspaces` in
    the same cell without the geo.

    Args:
        used: Usage by key and cell, without the workspace.
        everything: Usage by cell.
        workspaces: The workspace of each key, where it is known.
        of_workspaces: Usage by key and cell, without the geo; given if `used` has only keys of known workspaces.
    """
    whole: Counter[tuple[Key, str]] = Counter()
    for cell, measure, count in _counted(everything, ("workspace_id", *PRICE_DIMENSIONS)):
        whole[cell, measure] += count
    counts: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
    elsewhere: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
    for (key, *priced_by), measure, count in _counted(used, (API_KEY, *PRICE_DIMENSIONS)):
        cell = (workspaces.get(key), *priced_by)
        if key in workspaces and (cell, measure) in whole:
            counts[cell, measure][key] += count
        else:
            elsewhere[tuple(priced_by), measure][key] += count
    if of_workspaces is not None:
        elsewhere = _unlisted(of_workspaces, workspaces)
    shared_in = slice(1, None) if of_workspaces is None else slice(-1)
    for (cell, measure), count in whole.items():
        others = elsewhere.get((cell[shared_in], measure))
        left = count - counts[cell, measure].total()
        if others and left > 0:
            counts[cell, measure].update(apportion_whole(left, others))
    return Usage(counts)


def _unlisted(
    day: DayRows, workspaces: Mapping[str | None, str | None]
) -> defaultdict[tuple[Key, str], Counter[str | None]]:
    """Usage without a key, or by keys whose workspace is unknown."""
    counts: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
    for (key, *cell), measure, count in _counted(day, (API_KEY, WORKSPACE, *PRICE_DIMENSIONS[:-1])):
        if key not in workspaces:
            counts[tuple(cell), measure][key] += count
    return counts


def _counted(day: DayRows, dimensions: tuple[str, ...]) -> Iterator[tuple[Key, str, int]]:
    """Every non-zero count of a day, with the values of some dimensions."""
    places = [day.dimensions.index(dimension) for dimension in dimensions]
    for rows in day.rows.values():
        for key, sums in rows:
            values = tuple(key[place] for place in places)
            yield from (
                (values, measure, int(count))
                for measure, count in zip(USAGE_REPORT.measure_names, sums, strict=True)
                if count
            )


def allocate_spend(spend: DayRows, rule: AllocationRule, usage: Usage) -> DayRows:
    """A day's spend with the rule's dimension added. The total is unchanged, whatever the usage."""
    dimensions = (*spend.dimensions, rule.dimension)
    return replace(
        spend,
        dimensions=dimensions,
        rows={
            minute: [part for row in rows for part in _parts(row, spend.dimensions, rule, usage)]
            for minute, rows in spend.rows.items()
        },
    )


def _parts(row: Row, dimensions: tuple[str, ...], rule: AllocationRule, usage: Usage) -> list[Row]:
    key, (cost,) = row
    weights = _weights(dict(zip(dimensions, key, strict=True)), rule, usage)
    if not weights:
        return [((*key, UNALLOCATED), row[1])]
    return [((*key, value), (part,)) for value, part in apportion(Decimal(cost), weights).items()]


def _weights(cost: Mapping[str, str | None], rule: AllocationRule, usage: Usage) -> Counter[str | None]:
    """The weights by which a cost is allocated: tokens of its type, or searches; empty if there are none."""
    measure = _SEARCHES if cost["cost_type"] == "web_search" else USAGE_MEASURES.get(cost["token_type"] or "")
    if measure is None:
        return Counter()
    shares = (usage.of(cell, measure) for cell in rule.cells_of(cost))
    return next(filter(None, shares), Counter[str | None]())
