"""Allocates spend to API keys, accounts or service accounts, which the cost report lacks.

A cost belongs to one cell: one workspace, model, service tier, context window, geo and speed, in which a token type has
one price. Each cost is allocated in proportion to the tokens of its type in its cell; the parts add up to it exactly.
Where the reports do not have every dimension together, the part of a cost that rests on an assumption is counted.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from usage_cost_mcp.model.dimensions import API_KEY, STANDARD_SPEED, WORKSPACE, measure_of_cost
from usage_cost_mcp.model.money import round_half_even
from usage_cost_mcp.model.rows import DayRows, Key, Row
from usage_cost_mcp.model.upstream_reports import USAGE_REPORT

from .apportionment import apportion, apportion_whole

UNALLOCATED = "unallocated"
"""The value of costs without tokens: code execution, sessions, credits."""

PRICE_DIMENSIONS = ("model", "service_tier", "context_window", "inference_geo")
"""The dimensions that determine a price and that usage is grouped by. The speed is added where there is fast use."""

_PLACES = 6
"""Decimal places of assumed dollars."""


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
        added = {"speed", WORKSPACE} if self.dimension == API_KEY else {"speed"}
        return USAGE_REPORT.views_for({self.dimension, *self.cell} - added)[-1]

    def cell_of(self, cost: Mapping[str, str | None]) -> Key:
        """The cell of a cost; a speed that is not reported counts as standard."""
        return tuple(
            cost[dimension] or STANDARD_SPEED if dimension == "speed" else cost[dimension] for dimension in self.cell
        )

    def cells_of(self, cost: Mapping[str, str | None]) -> Iterator[Key]:
        """The cells by whose tokens a cost may be allocated, the finest first; a web search has no model."""
        cell = self.cell_of(cost)
        if cost["cost_type"] == "web_search":
            yield cell[: self.cell.index("model")]
        else:
            # The usage report may name geo or context window differently: fall back to coarser cells.
            for length in range(len(cell), self.cell.index("service_tier"), -1):
                yield cell[:length]


Counts = Mapping[tuple[Key, str], Counter[str | None]]
"""Usage by cell and measure, of each key or account."""


class Usage:
    """Usage of a day by key or account, in cells and in coarser cells.

    Args:
        counts: All usage.
        assumed: The part of it whose cell is assumed.
    """

    def __init__(self, counts: Counts, assumed: Counts | None = None) -> None:
        self._counts = _Pools(counts)
        self._assumed = _Pools(assumed or {})

    def of(self, cell: Key, measure: str) -> Counter[str | None]:
        """Usage by key or account in a cell, which may be a prefix of the full cell."""
        return self._counts.of(cell, measure)

    def assumed_in(self, cell: Key, measure: str) -> Counter[str | None]:
        """The part of it whose cell is assumed."""
        return self._assumed.of(cell, measure)


class _Pools:
    """Counts in cells, and in the coarser cells that are asked for."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._pooled: dict[int, Counts] = {}

    def of(self, cell: Key, measure: str) -> Counter[str | None]:
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
"""Usage by workspace, key and as much of the cell as one request can be grouped by: all but the geo."""

KEY_CELL = (WORKSPACE, *PRICE_DIMENSIONS, "speed")
"""The cell of usage by API key."""

_GEO = KEY_CELL.index("inference_geo")


class KeyUsage:
    """A day's usage by API key, put together from views that lack the workspace or the geo.

    What a cell has beyond the workspace's listed keys was used without a key, or by keys that the list does not have:
    deleted ones.

    Args:
        used: Usage by key and cell, without the workspace.
        everything: Usage by cell.
        workspaces: The workspace of each listed key.
    """

    def __init__(self, used: DayRows, everything: DayRows, workspaces: Mapping[str | None, str | None]) -> None:
        self._workspaces = workspaces
        self._left: Counter[tuple[Key, str]] = Counter()
        for cell, measure, count in _counted(everything, KEY_CELL):
            self._left[cell, measure] += count
        self._counts: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
        self._assumed: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
        self._unlisted: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
        for (key, *priced_by), measure, count in _counted(used, (API_KEY, *KEY_CELL[1:])):
            cell = (workspaces.get(key), *priced_by)
            if key in workspaces and (cell, measure) in self._left:
                self._add(cell, measure, key, count)
            else:
                self._unlisted[tuple(priced_by), measure][key] += count

    def _add(self, cell: Key, measure: str, key: str | None, count: int) -> None:
        if count:
            self._counts[cell, measure][key] += count
            self._left[cell, measure] -= count

    @property
    def is_ambiguous(self) -> bool:
        """Whether several unlisted keys may have used several workspaces in the same way."""
        shared = Counter((cell[1:], measure) for (cell, measure), left in self._left.items() if left > 0)
        return any(len(keys) > 1 and shared[place] > 1 for place, keys in self._unlisted.items())

    def usage(self, of_workspaces: DayRows | None = None) -> Usage:
        """The usage by key and cell.

        Args:
            of_workspaces: Usage by workspace and key, without the geo; needed if `is_ambiguous`, and if `used` has only
                listed keys.
        """
        if of_workspaces is not None:
            self._place_by_workspace(of_workspaces)
        for cell, measure in list(self._left):
            keys = self._unlisted.get((cell[1:], measure), Counter[str | None]())
            self._share_out(cell, measure, keys, assumed=of_workspaces is not None)
        return Usage(self._counts, self._assumed)

    def _share_out(self, cell: Key, measure: str, keys: Counter[str | None], *, assumed: bool) -> None:
        """Place what is left of a cell in proportion to the use of some keys."""
        left = self._left[cell, measure]
        if not keys or left <= 0:
            return
        for key, count in apportion_whole(left, keys).items():
            self._add(cell, measure, key, count)
            if assumed and len(keys) > 1:
                self._assumed[cell, measure][key] += count

    def _place_by_workspace(self, of_workspaces: DayRows) -> None:
        """Place what unlisted keys used in each workspace in the cells of its geos."""
        by_slot: defaultdict[tuple[Key, str], Counter[str | None]] = defaultdict(Counter)
        homes: defaultdict[tuple[str | None, Key, str], set[str | None]] = defaultdict(set)
        for (key, *slot), measure, count in _counted(of_workspaces, (API_KEY, *_WITHOUT_GEO)):
            if key not in self._workspaces:
                by_slot[tuple(slot), measure][key] += count
                homes[key, tuple(slot[1:]), measure].add(slot[0])
        cells: defaultdict[tuple[Key, str], list[Key]] = defaultdict(list)
        for (cell, measure), left in self._left.items():
            if left > 0:
                cells[_without_geo(cell), measure].append(cell)
        for (slot, measure), keys in by_slot.items():
            open_cells = cells.get((slot, measure), [])
            for key in list(keys):
                if len(open_cells) > 1 and len(keys) > 1:
                    only_here = homes[key, slot[1:], measure] == {slot[0]}
                    keys[key] -= self._place_exactly(key, measure, open_cells, keys[key], only_here=only_here)
            remaining = +keys
            for cell in open_cells:
                self._share_out(cell, measure, remaining, assumed=len(open_cells) > 1)

    def _place_exactly(self, key: str | None, measure: str, cells: list[Key], count: int, *, only_here: bool) -> int:
        """Place a key's use where its geo is certain: it used only one, or only this workspace."""
        by_cell = {cell: self._unlisted.get((cell[1:], measure), Counter())[key] for cell in cells}
        used = {cell: tokens for cell, tokens in by_cell.items() if tokens}
        if only_here and sum(used.values()) == count:
            placed = used
        elif len(used) == 1 and min(used.values()) >= count:
            placed = dict.fromkeys(used, count)
        else:
            return 0
        if any(self._left[cell, measure] < tokens for cell, tokens in placed.items()):
            return 0
        for cell, tokens in placed.items():
            self._add(cell, measure, key, tokens)
        return sum(placed.values())


_WITHOUT_GEO = KEY_CELL[:_GEO] + KEY_CELL[_GEO + 1 :]


def _without_geo(cell: Key) -> Key:
    return cell[:_GEO] + cell[_GEO + 1 :]


def _counted(day: DayRows, dimensions: tuple[str, ...]) -> Iterator[tuple[Key, str, int]]:
    """Every non-zero count of a day, with the values of some dimensions. Usage that has no speed is standard."""
    absent = () if "speed" in day.dimensions else (STANDARD_SPEED,)
    columns = (*day.dimensions, "speed")
    measures = (*USAGE_REPORT.measure_names, *day.more_inputs)
    places = [columns.index(dimension) for dimension in dimensions]
    for rows in day.rows.values():
        for key, sums in rows:
            whole = key + absent
            values = tuple(whole[place] for place in places)
            yield from ((values, measure, int(count)) for measure, count in zip(measures, sums, strict=True) if count)


class AllocatedDay(NamedTuple):
    """A day's spend with the dimension of a rule, and the part of it that rests on an assumption."""

    spend: DayRows
    assumed: DayRows


def allocate_spend(spend: DayRows, rule: AllocationRule, usage: Usage) -> AllocatedDay:
    """A day's spend with the rule's dimension added. The total is unchanged, whatever the usage."""
    named = [
        (key, cost, dict(zip(spend.dimensions, key, strict=True)))
        for rows in spend.rows.values()
        for key, (cost,) in rows
    ]
    geos: defaultdict[tuple[Key, str | None], set[str | None]] = defaultdict(set)
    for _, _, values in named:
        geos[rule.cell_of(values), values["token_type"]].add(values["inference_geo"])
    parts: list[Row] = []
    assumed: list[Row] = []
    for key, cost, values in named:
        weights = _weights(values, rule, usage)
        several_prices = len(geos[rule.cell_of(values), values["token_type"]]) > 1
        shares = apportion(Decimal(cost), weights.counts) if weights.counts else {UNALLOCATED: Decimal(cost)}
        for value, part in shares.items():
            parts.append(((*key, value), (part,)))
            if len(shares) > 1 and (weights.coarse or several_prices):
                assumed.append(((*key, value), (part,)))
            elif uncertain := weights.assumed[value]:
                share = Fraction(part) * uncertain / weights.counts[value]
                assumed.append(((*key, value), (round_half_even(share, _PLACES),)))
    dimensions = (*spend.dimensions, rule.dimension)
    return AllocatedDay(
        replace(spend, dimensions=dimensions, rows={0: parts} if spend.rows else {}),
        replace(spend, dimensions=dimensions, rows={0: assumed}),
    )


class _Weights(NamedTuple):
    """The tokens of a cost's type, or searches, by which it is allocated; without any it is not.

    Attributes:
        assumed: The part of the counts whose cell is assumed.
        coarse: Whether they are those of a coarser cell than that of the cost.
    """

    counts: Counter[str | None]
    assumed: Counter[str | None]
    coarse: bool


def _weights(cost: Mapping[str, str | None], rule: AllocationRule, usage: Usage) -> _Weights:
    if measure := measure_of_cost(cost["cost_type"], cost["token_type"]):
        for n, cell in enumerate(rule.cells_of(cost)):
            if counts := usage.of(cell, measure):
                return _Weights(counts, usage.assumed_in(cell, measure), coarse=n > 0)
    return _Weights(Counter(), Counter(), coarse=False)
