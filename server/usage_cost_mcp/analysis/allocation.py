"""Spend by API key, account or service account, which the cost report does not have: shared by tokens.

A cost is of one cell: one workspace, model, service tier, context window and geo, in which a token of a type has one
price. So each cost is shared in proportion to the tokens of that type in that cell, and the parts add up to it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from usage_cost_mcp.errors import InvalidQueryError
from usage_cost_mcp.model.dimensions import API_KEY, USAGE_MEASURES, WORKSPACE
from usage_cost_mcp.model.query_schema import QuerySchema
from usage_cost_mcp.model.rows import DayRows, Key, Row
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT

from .apportionment import apportion, apportion_whole

NOT_ATTRIBUTABLE = "not_attributable"
"""Whose the costs are that have no tokens: code execution, sessions, credits."""

_PRICED_BY = ("model", "service_tier", "context_window", "inference_geo")

_SEARCHES = "web_search_requests"


@dataclass(frozen=True, slots=True)
class AllocationRule:
    """How spend is shared out.

    Attributes:
        dimension: By what.
        cell: The dimensions in which a cost and the tokens that it is shared by agree.
    """

    dimension: str
    cell: tuple[str, ...]

    @property
    def view(self) -> tuple[str, ...]:
        """What the usage report is grouped by. A key has one workspace, which the list of keys tells."""
        told = {"workspace_id"} if self.dimension == API_KEY else set[str]()
        return USAGE_REPORT.views_for({self.dimension, *self.cell} - told)[-1]

    def cells_of(self, cost: Mapping[str, str | None]) -> Iterator[Key]:
        """The cells whose tokens a cost may be shared by, the best one first; a search has no model."""
        cell = tuple(cost[dimension] for dimension in self.cell)
        if cost["cost_type"] == "web_search":
            yield cell[: self.cell.index("model")]
        else:
            # A geo or context window that the usage report does not tell in the same way is looked past.
            for length in range(len(cell), self.cell.index("service_tier"), -1):
                yield cell[:length]


def allocation_rule_for(schema: QuerySchema, named: Iterable[str]) -> AllocationRule | None:
    """How to share out what is asked of a report, where it names a dimension that the report itself lacks.

    Raises:
        InvalidQueryError: When that would take more dimensions of usage than can be fetched together.
    """
    asked = set(named)
    wanted = [dimension for dimension in schema.allocatable if dimension in asked]
    if not wanted:
        return None
    if len(wanted) > 1:
        raise InvalidQueryError(
            f"Spend is estimated by one of {', '.join(schema.allocatable)} at a time, not by {' and '.join(wanted)}: "
            f"with those that make a price ({', '.join(_PRICED_BY)}) they are more than the "
            f"{USAGE_REPORT.max_groupings} dimensions that Anthropic's usage report takes together. Ask one question "
            "for each."
        )
    dimension = wanted[0]
    if dimension == API_KEY:
        return AllocationRule(dimension, ("workspace_id", *_PRICED_BY))
    if "workspace_id" not in asked:
        return AllocationRule(dimension, _PRICED_BY)
    if "inference_geo" in asked:
        raise InvalidQueryError(
            f"Spend by {dimension}, workspace_id and inference_geo cannot be estimated: with model, service_tier and "
            f"context_window they are more than the {USAGE_REPORT.max_groupings} dimensions that Anthropic's "
            "usage report takes together. Drop workspace_id or inference_geo."
        )
    return AllocationRule(dimension, ("workspace_id", *_PRICED_BY[:-1]))


Counts = Mapping[tuple[Key, str], Counter[str | None]]
"""How much each key or account used, by cell and measure."""


class Usage:
    """Who used how much in a day, in cells and in the larger cells that these make together."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._pooled: dict[int, Counts] = {}

    def of(self, cell: Key, measure: str) -> Counter[str | None]:
        """Whose it was, in a cell that names as many dimensions as are known, from the first one on."""
        if len(cell) not in self._pooled:
            self._pooled[len(cell)] = self._in_cells_of(len(cell))
        return self._pooled[len(cell)].get((cell, measure), Counter())

    def _in_cells_of(self, length: int) -> Counts:
        pooled: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
        for (cell, measure), counts in self._counts.items():
            pooled[cell[:length], measure].update(counts)
        return pooled


def usage_by(attribution: AllocationRule, used: DayRows) -> Usage:
    """A day's usage as the report has it."""
    counts: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
    for (who, *cell), measure, count in _counted(used, (attribution.dimension, *attribution.cell)):
        counts[tuple(cell), measure][who] += count
    return Usage(counts)


WORKSPACE_KEY_VIEW = (WORKSPACE, API_KEY, *_PRICED_BY[:-1])
"""Usage by key and as much of a cell as there is room for."""


def usage_by_key(
    used: DayRows,
    everything: DayRows,
    workspaces: Mapping[str | None, str | None],
    of_workspaces: DayRows | None = None,
) -> Usage:
    """A day's usage of keys in their workspaces.

    What everything in a cell is beyond the keys of its workspace was used without a key or by keys whose workspace is
    not known; they share it by what each used of such cells in all workspaces, or of nearly such cells in this one.

    Args:
        used: By key and all of a cell but the workspace.
        everything: By cell.
        workspaces: The workspace of each key that is known to belong to one.
        of_workspaces: By key and all of a cell but the geo, where only keys of known workspaces may be seen in `used`.
    """
    whole: Counter[tuple[Key, str]] = Counter()
    for cell, measure, count in _counted(everything, ("workspace_id", *_PRICED_BY)):
        whole[cell, measure] += count
    counts: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
    elsewhere: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
    for (key, *priced_by), measure, count in _counted(used, (API_KEY, *_PRICED_BY)):
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
    """What was used without a key, or by keys whose workspace is not known."""
    counts: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
    for (key, *cell), measure, count in _counted(day, (API_KEY, WORKSPACE, *_PRICED_BY[:-1])):
        if key not in workspaces:
            counts[tuple(cell), measure][key] += count
    return counts


def _counted(day: DayRows, dimensions: tuple[str, ...]) -> Iterator[tuple[Key, str, int]]:
    """Every count of a day that is not zero, with the values of some dimensions."""
    places = [day.dimensions.index(dimension) for dimension in dimensions]
    for rows in day.rows.values():
        for key, sums in rows:
            values = tuple(key[place] for place in places)
            yield from (
                (values, measure, int(count))
                for measure, count in zip(USAGE_REPORT.measure_names, sums, strict=True)
                if count
            )


def allocate_spend(spend: DayRows, attribution: AllocationRule, usage: Usage) -> DayRows:
    """A day's spend with one more dimension. Whatever the usage, it is the same spend."""
    dimensions = (*spend.dimensions, attribution.dimension)
    return replace(
        spend,
        dimensions=dimensions,
        rows={
            minute: [part for row in rows for part in _parts(row, spend.dimensions, attribution, usage)]
            for minute, rows in spend.rows.items()
        },
    )


def _parts(row: Row, dimensions: tuple[str, ...], attribution: AllocationRule, usage: Usage) -> list[Row]:
    key, (cost,) = row
    weights = _weights(dict(zip(dimensions, key, strict=True)), attribution, usage)
    if not weights:
        return [((*key, NOT_ATTRIBUTABLE), row[1])]
    return [((*key, who), (part,)) for who, part in apportion(Decimal(cost), weights).items()]


def _weights(cost: Mapping[str, str | None], attribution: AllocationRule, usage: Usage) -> Counter[str | None]:
    """Who shares a cost, by tokens of its type or by searches; nobody where there are none."""
    measure = _SEARCHES if cost["cost_type"] == "web_search" else USAGE_MEASURES.get(cost["token_type"] or "")
    if measure is None:
        return Counter()
    shares = (usage.of(cell, measure) for cell in attribution.cells_of(cost))
    return next(filter(None, shares), Counter[str | None]())
