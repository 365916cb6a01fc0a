"""Price-volume-mix analysis: splits a change of spend into causes that add up to it exactly.

All is computed in dollars per price cell: a workspace, everything that sets a price, and a token type.

* price: the current tokens times the difference between the two prices;
* quantity: the difference in tokens times the earlier price, or the later one of what is new. Tokens that moved from
  one cell to another (`token_moves`) count with the difference between the prices of both; the rest is volume.

Credits, costs that are not for tokens, and costs whose tokens are not reported are causes of their own.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple, get_args

from usage_cost_mcp.model.dimensions import CACHE_READ, CACHE_WRITE_1H, CACHE_WRITE_5M, OUTPUT
from usage_cost_mcp.model.money import exact

from .cost_usage_join import NonTokenCost, PriceCell, PricedCells, WorkspacePriceKey
from .token_moves import Move, Stream, token_moves

Effect = Literal["days", "volume", "price", "model_mix", "tier_mix", "cache_mix", "no_tokens", "credits", "unmatched"]
EFFECTS: tuple[Effect, ...] = get_args(Effect)

Status = Literal["new", "ended", "without_usage", "without_cost", "average"]
"""Of a charge or a credit: only the later or only the earlier period has it. Of `unmatched`: the rows that lack. Of a
price: the average of several, so that it also changes with their mix."""

Group = Mapping[str, str | None]
GroupKey = tuple[tuple[str, str | None], ...]
"""A group as a hashable key: pairs of dimension and value."""


@dataclass(frozen=True, slots=True)
class Driver:
    """One effect in one group.

    Attributes:
        group: Dimensions and values of the group; none for `days`.
        change: Dollars, positive for an increase.
        shift: Of a mix: what tokens moved from and to, as models, variants of a model, or token types. Of `days`: the
            numbers of days.
        hit_rate: Of `cache_mix`: by how much the cache hit rate of the group rose.
    """

    effect: Effect
    group: Group
    change: Decimal
    shift: tuple[str, str] | None = None
    status: Status | None = None
    hit_rate: float | None = None


class _Part(NamedTuple):
    effect: Effect
    group: GroupKey
    change: Fraction
    shift: tuple[str, str] | None = None
    status: Status | None = None
    hit_rate: float | None = None


_ZERO = Fraction(0)


def decompose(
    before: PricedCells, after: PricedCells, change: Decimal, *, per: tuple[Fraction | int, Fraction | int] = (1, 1)
) -> list[Driver]:
    """The drivers of a change, the largest first.

    Args:
        before: The previous period.
        after: The current period.
        change: Dollars; the drivers add up to it exactly.
        per: Divisors of the costs of `before` and `after`, such as their days.
    """
    scale = 1 / Fraction(per[0]), 1 / Fraction(per[1])
    return _drivers(change, _parts(before, after, scale, scale))


def decompose_periods(before: PricedCells, after: PricedCells, days: int, previous_days: int) -> list[Driver]:
    """The drivers of the change of the total between two periods, the largest first.

    If their lengths differ, the driver `days` is the cost of an average day of the previous period, without one-time
    charges and credits, times the difference in days. The other drivers then compare with the previous period as if
    it had the length of the current one.
    """
    with exact():
        change = after.total - before.total
        recurring = sum((cost for kind, cost in before.other.items() if not _one_time(kind, before, after)), Decimal(0))
        recurring += sum(before.cost.values(), Decimal(0))
    scale = Fraction(days, previous_days)
    parts = _parts(before, after, (scale, Fraction(1)), (Fraction(1), Fraction(1)))
    longer = _Part("days", (), (scale - 1) * Fraction(recurring), (str(previous_days), str(days)))
    return _drivers(change, [longer, *parts])


def with_average_prices(drivers: Iterable[Driver], models: Collection[str]) -> list[Driver]:
    """The drivers, with the prices of some models marked as averages: the bill mixes prices that it does not tell."""
    return [
        replace(driver, status="average")
        if driver.effect == "price" and driver.group.get("model") in models
        else driver
        for driver in drivers
    ]


def _drivers(change: Decimal, parts: Iterable[_Part]) -> list[Driver]:
    effects = [part for part in parts if part.change]
    amounts = apportioned(change, [part.change for part in effects])
    drivers = [
        Driver(part.effect, dict(part.group), amount, part.shift, part.status, part.hit_rate)
        for part, amount in zip(effects, amounts, strict=True)
        if amount
    ]
    return sorted(drivers, key=lambda driver: (-abs(driver.change), EFFECTS.index(driver.effect), str(driver.group)))


def apportioned(total: Decimal, parts: Sequence[Fraction]) -> list[Decimal]:
    """The parts as decimals that add up to the total exactly, which the given parts do approximately.

    Each is rounded down; the remainder goes, one unit each, to the parts that rounding reduced most.
    """
    finest = min(_FINEST, int(total.as_tuple().exponent))
    units = [part * 10**-finest for part in parts]
    whole = [unit.numerator // unit.denominator for unit in units]
    missing = int(Fraction(total) * 10**-finest) - sum(whole)
    if parts:
        each, rest = divmod(missing, len(parts))
        for n, place in enumerate(sorted(range(len(parts)), key=lambda place: whole[place] - units[place])):
            whole[place] += each + (n < rest)
    with exact():
        return [Decimal(each).scaleb(finest) for each in whole]


_FINEST = -6
"""Exponent of the unit: a millionth of a dollar, or the last digit of the total if that is finer."""

_Scale = tuple[Fraction, Fraction]
"""What the amounts of the previous and of the current period are multiplied by."""


def _parts(before: PricedCells, after: PricedCells, scale: _Scale, one_time_scale: _Scale) -> Iterator[_Part]:
    yield from _other_costs(before, after, scale, one_time_scale)
    cells, unmatched = _cells(before, after, scale)
    yield from unmatched
    yield from _price_parts(cells)
    streams = _streams(cells, before, after, scale)
    hit_rates = _hit_rates(streams)
    yield from _move_parts(list(token_moves(streams)), hit_rates)
    yield from _volume_parts(streams)


# --- costs that are not for tokens


def _one_time(kind: NonTokenCost, before: PricedCells, after: PricedCells) -> bool:
    """Whether a cost does not grow with the number of days: a credit or a correction."""
    return kind.cost_type is None or any(cells.other.get(kind, 0) < 0 for cells in (before, after))


def _other_costs(before: PricedCells, after: PricedCells, scale: _Scale, one_time_scale: _Scale) -> Iterator[_Part]:
    for kind in sorted(before.other.keys() | after.other.keys(), key=str):
        costs = before.other.get(kind, Decimal(0)), after.other.get(kind, Decimal(0))
        scales = one_time_scale if _one_time(kind, before, after) else scale
        old, new = (Fraction(cost) * each for cost, each in zip(costs, scales, strict=True))
        group = tuple(zip(NonTokenCost._fields, kind, strict=True))
        status: Status | None = "new" if not old else "ended" if not new else None
        yield _Part("credits" if min(costs) < 0 else "no_tokens", group, new - old, status=status)


# --- cells of both periods, and prices


class _Cell(NamedTuple):
    """The tokens and the dollars of a cell before and after; either both or neither are zero."""

    key: PriceCell
    tokens: tuple[Fraction, Fraction]
    cost: tuple[Fraction, Fraction]

    @property
    def price(self) -> tuple[Fraction | None, Fraction | None]:
        """Dollars per token, rounded far below what could change a cost: exact ones would have huge denominators."""
        first, second = (
            Fraction(round(cost / tokens * _UNITS), _UNITS) if tokens else None
            for cost, tokens in zip(self.cost, self.tokens, strict=True)
        )
        return first, second


_UNITS = 10**24


_NEGLIGIBLE = Fraction(1, 100)


def _cells(before: PricedCells, after: PricedCells, scale: _Scale) -> tuple[list[_Cell], list[_Part]]:
    """The cells that have a price, and the cost of all others.

    A period has no price of a cell if it has tokens and no cost, cost and no tokens, or a negative cost. Then the
    change of the cell's cost is unmatched; but if the amount is tiny, the period is treated as without the cell.
    """
    cells: list[_Cell] = []
    unmatched: dict[tuple[GroupKey, Status], Fraction] = {}
    for key in sorted({*before.cost, *before.tokens, *after.cost, *after.tokens}, key=str):
        tokens = [each.tokens.get(key, 0) * factor for each, factor in zip((before, after), scale, strict=True)]
        cost = [Fraction(each.cost.get(key, 0)) * factor for each, factor in zip((before, after), scale, strict=True)]
        unpriced = [n for n in (0, 1) if (tokens[n] or cost[n]) and not (tokens[n] and cost[n] > 0)]
        if unpriced:
            status: Status = "without_cost" if all(tokens[n] for n in unpriced) else "without_usage"
            group = _same_model(key.stream), status
            tiny = [
                n
                for n in unpriced
                if tokens[n] <= tokens[1 - n] * _NEGLIGIBLE and abs(cost[n]) <= cost[1 - n] * _NEGLIGIBLE
            ]
            if tiny != unpriced:
                unmatched[group] = unmatched.get(group, _ZERO) + cost[1] - cost[0]
                continue
            for n in tiny:
                unmatched[group] = unmatched.get(group, _ZERO) + (cost[n] if n else -cost[n])
                tokens[n] = cost[n] = _ZERO
        cells.append(_Cell(key, (tokens[0], tokens[1]), (cost[0], cost[1])))
    parts = [_Part("unmatched", group, change, status=status) for (group, status), change in unmatched.items()]
    return cells, parts


def _price_parts(cells: Iterable[_Cell]) -> Iterator[_Part]:
    """By model; where its prices changed in different directions or for one token type only, in more detail."""
    models: defaultdict[GroupKey, dict[PriceCell, Fraction]] = defaultdict(dict)
    for cell in cells:
        old, new = cell.price
        if old is not None and new is not None:
            models[("model", cell.key.stream.model),][cell.key] = cell.tokens[1] * (new - old)
    for model, changes in models.items():
        by_type: defaultdict[GroupKey, dict[PriceCell, Fraction]] = defaultdict(dict)
        for key, change in changes.items():
            by_type[(*model, ("token_type", key.token_type))][key] = change
        if _one_direction(changes.values()) and not _concentrated(by_type):
            yield _Part("price", model, sum(changes.values(), _ZERO))
            continue
        for group, inner in by_type.items():
            if _one_direction(inner.values()):
                yield _Part("price", group, sum(inner.values(), _ZERO))
                continue
            for key, change in inner.items():
                yield _Part("price", (*group, *key.stream._asdict().items()), change)


_MINOR = Fraction(1, 50)
"""The share of an effect up to which a part of it is not worth a mention."""


def _one_direction(changes: Iterable[Fraction]) -> bool:
    """Whether all but a minor part of the changes have one sign."""
    more, less = _more_and_less(changes)
    return min(more, less) <= max(more, less) * _MINOR


def _more_and_less(changes: Iterable[Fraction]) -> tuple[Fraction, Fraction]:
    more = less = _ZERO
    for change in changes:
        more, less = (more + change, less) if change > 0 else (more, less - change)
    return more, less


def _concentrated(by_type: Mapping[GroupKey, Mapping[PriceCell, Fraction]]) -> bool:
    """Whether one of several token types has almost all of the change."""
    sizes = [sum(map(abs, changes.values())) for changes in by_type.values()]
    return len(sizes) > 1 and max(sizes) >= sum(sizes) * (1 - _MINOR)


# --- moves


def _streams(cells: Iterable[_Cell], before: PricedCells, after: PricedCells, scale: _Scale) -> list[Stream]:
    """All streams, with those of the Priority Tier, which have tokens and no cost."""
    found: dict[WorkspacePriceKey, tuple[dict[str, Fraction], dict[str, Fraction], dict[str, Fraction]]] = {}
    for cell in cells:
        old, new, value = found.setdefault(cell.key.stream, ({}, {}, {}))
        price = cell.price[0] if cell.tokens[0] else cell.price[1]
        if price is None:
            continue
        value[cell.key.token_type] = price
        for tokens, count in zip((old, new), cell.tokens, strict=True):
            if count:
                tokens[cell.key.token_type] = count
    for place, (counts, factor) in enumerate(zip((before.priority, after.priority), scale, strict=True)):
        for cell, count in counts.items():
            found.setdefault(cell.stream, ({}, {}, {}))[place][cell.token_type] = count * factor
    return [Stream(key, *each) for key, each in found.items()]


def _hit_rates(streams: Iterable[Stream]) -> Mapping[GroupKey, float]:
    """By how much the cache hit rate rose, by workspace and model."""
    counts: defaultdict[GroupKey, list[Fraction]] = defaultdict(lambda: [_ZERO] * 4)
    for stream in streams:
        count = counts[_same_model(stream.key)]
        for place, tokens in ((0, stream.before), (2, stream.after)):
            count[place] += tokens.get(CACHE_READ, _ZERO)
            count[place + 1] += sum(tokens.values(), _ZERO) - tokens.get(OUTPUT, _ZERO)
    return {group: float(c[2] / c[3] - c[0] / c[1]) for group, c in counts.items() if c[1] and c[3]}


def _move_parts(moves: Iterable[Move], hit_rates: Mapping[GroupKey, float]) -> Iterator[_Part]:
    shifts: defaultdict[tuple[Effect, GroupKey, tuple[str, str]], Fraction] = defaultdict(Fraction)
    cached: defaultdict[tuple[WorkspacePriceKey, bool], list[Move]] = defaultdict(list)
    for move in moves:
        source, target = move.source.stream, move.target.stream
        match move.effect:
            case "model_mix":
                group = (("workspace_id", target.workspace_id),)
                shifts["model_mix", group, (str(source.model), str(target.model))] += move.dollars
            case "tier_mix":
                shifts["tier_mix", _same_model(target), _variants(source, target)] += move.dollars
            case "cache_mix":
                lifetimes = {move.source.token_type, move.target.token_type} == {CACHE_WRITE_5M, CACHE_WRITE_1H}
                cached[target, lifetimes].append(move)
    for (effect, group, shift), dollars in shifts.items():
        yield _Part(effect, group, dollars, shift)
    yield from _cache_parts(cached, hit_rates)


def _cache_parts(
    cached: Mapping[tuple[WorkspacePriceKey, bool], Sequence[Move]], hit_rates: Mapping[GroupKey, float]
) -> Iterator[_Part]:
    """Lifetimes of cache writes and other input apart, by workspace and model, dearer and cheaper apart."""
    merged: defaultdict[tuple[GroupKey, bool, bool], list[Move]] = defaultdict(list)
    for (stream, lifetimes), moves in cached.items():
        merged[_same_model(stream), lifetimes, sum(move.dollars for move in moves) > 0].extend(moves)
    for (group, lifetimes, _), moves in merged.items():
        largest = max(moves, key=lambda move: abs(move.dollars))
        shift = largest.source.token_type, largest.target.token_type
        hit_rate = None if lifetimes else hit_rates.get(group)
        yield _Part("cache_mix", group, sum((move.dollars for move in moves), _ZERO), shift, hit_rate=hit_rate)


def _variants(source: WorkspacePriceKey, target: WorkspacePriceKey) -> tuple[str, str]:
    """The values in which two keys of a model differ, such as standard and batch."""
    names = [name for name in source._fields if getattr(source, name) != getattr(target, name)]
    first, second = (", ".join(variant_label(name, getattr(key, name)) for name in names) for key in (source, target))
    return first, second


def variant_label(dimension: str, value: str | None) -> str:
    """A value with the word that tells its dimension, except of tiers."""
    match dimension:
        case "service_tier":
            return value or "no tier"
        case "context_window":
            return f"{value or 'unknown'} context"
        case "inference_geo":
            return f"{value or 'unknown'} geo"
        case _:
            return f"{value or 'unknown'} {dimension}"


def _same_model(stream: WorkspacePriceKey) -> GroupKey:
    return (("workspace_id", stream.workspace_id), ("model", stream.model))


# --- volume: what is left


def _volume_parts(streams: Iterable[Stream]) -> Iterator[_Part]:
    """By workspace and model, as one if its token types changed together; otherwise by token type.

    Variants of a model, such as its tiers, are apart if one has more of a token type and another less.
    """
    models: defaultdict[GroupKey, list[_Volume]] = defaultdict(list)
    for stream in streams:
        value = stream.value
        change = {name: stream.change(name) * value.get(name, _ZERO) for name in stream.token_types}
        cost = {name: count * value.get(name, _ZERO) for name, count in stream.base.items()}
        if stream.began and sum(cost.values()) < sum(map(abs, change.values())):
            cost = {}  # mostly new use: what little moved here says nothing of it
        if any(change.values()):
            models[_same_model(stream.key)].append(_Volume(stream.key, change, cost, stream.grew))
    for group, variants in models.items():
        types = sorted({name for each in variants for name in each.change})
        grew = {each.grew for each in variants}
        if len(grew) == 1 and all(_one_direction(each.change.get(name, _ZERO) for each in variants) for name in types):
            change = {name: sum((each.change.get(name, _ZERO) for each in variants), _ZERO) for name in types}
            cost = {name: sum((each.cost.get(name, _ZERO) for each in variants), _ZERO) for name in types}
            yield from _volume_of(group, _Volume(variants[0].key, change, cost, variants[0].grew))
            continue
        differing = [name for name in WorkspacePriceKey._fields if len({getattr(v.key, name) for v in variants}) > 1]
        for each in variants:
            yield from _volume_of((*group, *((name, getattr(each.key, name)) for name in differing)), each)


class _Volume(NamedTuple):
    """What a stream's volume changed in dollars, and what its `base` cost, by token type."""

    key: WorkspacePriceKey
    change: Mapping[str, Fraction]
    cost: Mapping[str, Fraction]
    grew: bool


def _volume_of(group: GroupKey, volume: _Volume) -> Iterator[_Part]:
    together = _changed_together(volume)
    if together:
        yield _Part("volume", group, sum((volume.change[name] for name in together), _ZERO))
    for name, change in volume.change.items():
        if name not in together:
            yield _Part("volume", (*group, ("token_type", name)), change)


def _changed_together(volume: _Volume) -> set[str]:
    """The token types that changed in the same direction and by similar ratios; none, if any that matters did not."""
    change = volume.change
    total = sum(map(abs, change.values()))
    more = sum(change.values()) > 0
    along = {name for name, dollars in change.items() if dollars and (dollars > 0) == more}
    cost = {name: volume.cost.get(name, _ZERO) for name in change.keys() | volume.cost.keys()}
    if volume.grew or not any(cost.values()):
        return along
    all_cost = sum(cost.values())
    material = [name for name in cost if max(abs(change.get(name, _ZERO)) / total, cost[name] / all_cost) > _MATERIAL]
    if len(material) == 1 or not all(name in along and cost[name] for name in material):
        return set()
    ratios = [float(change[name] / cost[name]) for name in material]
    similar = max(ratios) - min(ratios) <= _SIMILAR[0] + _SIMILAR[1] * max(map(abs, ratios))
    return along if similar else set()


_MATERIAL = Fraction(1, 20)
_SIMILAR = (0.005, 0.4)
"""How far the ratios of token types that change together may be apart: absolutely, and in relation to the largest."""
