"""Tokens that moved: tokens that left one price cell while comparable ones of the same workspace entered another.

Matches are made from the most to the least plausible. First a loss and a gain that are alike in every token type: of
two price keys of one model (another tier, speed, context window or geo), then of two models. Then types of input
within a price key. Last, losses and gains that are less alike, or alike only in all input and in the output.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from math import log
from typing import Literal

from usage_cost_mcp.model.dimensions import CACHE_WRITE_1H, CACHE_WRITE_5M, OUTPUT

from .cost_usage_join import PriceCell, WorkspacePriceKey

MoveEffect = Literal["model_mix", "tier_mix", "cache_mix"]
Tokens = dict[str, Fraction]
"""Tokens by token type."""

_ALIKE, _COMPARABLE = 0.75, 0.4
"""Similarity of a loss and a gain, from 0 to 1: strong evidence of a move, and just enough for one."""
_CONTAINED = 0.8
"""The share of the smaller one of a loss and a gain that matches, if a price key ended or began with it."""
_NOISE = 0.1
"""The share of a stream up to which only a loss and a gain that are alike count as a move."""
_MAX_STREAMS, _MAX_PASSES = 40, 6
"""How many losses and gains are matched at a time, the largest, and how often: bounds the time."""
_ZERO = Fraction(0)


@dataclass(slots=True)
class Stream:
    """The tokens of a price key in two periods.

    Attributes:
        before: Tokens of the earlier period, less those that are known to have moved away.
        after: Tokens of the later period, less those that are known to have moved here.
        base: Tokens of the earlier period, those that moved from another stream counted here.
        value: Dollars per token: the earlier price, or the later one of what is new. Empty for the Priority Tier.
        grew: Whether what is left is growth, or decline, of all its token types, some of which also moved.
        weights: `value` as floats.
    """

    key: WorkspacePriceKey
    before: Tokens
    after: Tokens
    value: Mapping[str, Fraction]
    base: Tokens = field(init=False)
    began: bool = field(init=False)
    ended: bool = field(init=False)
    grew: bool = field(default=False, init=False)
    weights: Mapping[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.base = dict(self.before)
        self.began, self.ended = not self.before, not self.after
        self.weights = {token_type: float(price) for token_type, price in self.value.items()}

    @property
    def token_types(self) -> set[str]:
        return self.before.keys() | self.after.keys()

    def change(self, token_type: str) -> Fraction:
        return self.after.get(token_type, _ZERO) - self.before.get(token_type, _ZERO)

    def move(self, token_type: str, target: "Stream", target_type: str, count: Fraction) -> None:
        """Takes tokens that moved out of both sides, so that they are neither lost nor gained any more."""
        self.before[token_type] = self.before.get(token_type, _ZERO) - count
        target.after[target_type] = target.after.get(target_type, _ZERO) - count
        if target is not self:
            self.base[token_type] = self.base.get(token_type, _ZERO) - count
            target.base[target_type] = target.base.get(target_type, _ZERO) + count


@dataclass(frozen=True, slots=True)
class Move:
    """Tokens that left one cell and entered another; `dollars` is their number times the difference in value."""

    effect: MoveEffect
    source: PriceCell
    target: PriceCell
    tokens: Fraction
    dollars: Fraction


def token_moves(streams: Iterable[Stream]) -> Iterator[Move]:
    """The moves within each workspace. Takes the tokens that moved out of the streams."""
    workspaces: defaultdict[str | None, list[Stream]] = defaultdict(list)
    for stream in streams:
        workspaces[stream.key.workspace_id].append(stream)
    for neighbours in workspaces.values():
        yield from _moves_between(neighbours, _ALIKE)
        for stream in neighbours:
            yield from _moves_within(stream)
        yield from _moves_between(neighbours, _COMPARABLE)
        yield from _moves_between(neighbours, _ALIKE, by_type=False)


# --- from one price key to another


def _moves_between(streams: Sequence[Stream], threshold: float, *, by_type: bool = True) -> Iterator[Move]:
    measure = _similarity if by_type else _similarity_of_totals
    models: defaultdict[str | None, list[Stream]] = defaultdict(list)
    for stream in streams:
        models[stream.key.model].append(stream)
    for variants in models.values():
        yield from _match("tier_mix", variants, measure, threshold, lambda a, b: a.key != b.key)
    if len(models) > 1:
        priced = [stream for stream in streams if stream.value]
        yield from _match("model_mix", priced, measure, threshold, lambda a, b: a.key.model != b.key.model)


_Changes = Mapping[WorkspacePriceKey, Mapping[str, float]]
"""The changes of each stream by token type, as floats: they decide what matches, not how much it costs."""


def _match(
    effect: MoveEffect,
    streams: Sequence[Stream],
    measure: Callable[[Stream, Stream, "_Changes"], float],
    threshold: float,
    may_match: Callable[[Stream, Stream], bool],
) -> Iterator[Move]:
    """Matches losses with gains, the most similar ones first, as long as any are similar enough."""
    for _ in range(_MAX_PASSES if len(streams) > 1 else 0):
        changes = {each.key: {name: float(each.change(name)) for name in each.token_types} for each in streams}
        lost = _largest([each for each in streams if any(n < 0 for n in changes[each.key].values())], changes)
        gained = _largest([each for each in streams if any(n > 0 for n in changes[each.key].values())], changes)
        pairs = [
            (_rank(source, target, similarity), source, target)
            for source, target in product(lost, gained)
            if may_match(source, target) and (similarity := measure(source, target, changes)) >= threshold
        ]
        matched = set[WorkspacePriceKey]()
        for _, source, target in sorted(pairs, key=lambda pair: pair[0]):
            if matched.isdisjoint((source.key, target.key)):
                matched |= {source.key, target.key}
                yield from _moves_of(effect, source, target)
        if not pairs:
            return


def _largest(streams: Sequence[Stream], changes: _Changes) -> Sequence[Stream]:
    if len(streams) <= _MAX_STREAMS:
        return streams
    return sorted(streams, key=lambda each: -_size(each.weights, changes[each.key]))[:_MAX_STREAMS]


def _size(weights: Mapping[str, float], changes: Mapping[str, float]) -> float:
    return sum([abs(change) * weights.get(token_type, 0.0) for token_type, change in changes.items()])


def _similarity(source: Stream, target: Stream, changes: _Changes) -> float:
    """The share of what changed in either stream that the one lost and the other gained, in dollars at one price."""
    lost, gained = changes[source.key], changes[target.key]
    both = {name: min(-count, gained[name]) for name, count in lost.items() if count < 0 < gained.get(name, 0.0)}
    if not both:
        return 0.0
    weights = {**target.weights, **source.weights}
    matched, smaller, larger = _size(weights, both), *sorted((_size(weights, lost), _size(weights, gained)))
    if not matched:
        return 0.0
    similarity, contained = matched / larger, matched >= _CONTAINED * smaller
    if contained and source.ended and target.began:
        return max(similarity, _ALIKE)
    if similarity < _ALIKE and (
        (not source.ended and _is_noise(source, weights, lost))
        or (not target.began and _is_noise(target, weights, gained))
    ):
        return 0.0
    if contained and (source.ended or target.began):
        return max(similarity, _COMPARABLE)
    return similarity


def _is_noise(stream: Stream, weights: Mapping[str, float], change: Mapping[str, float]) -> bool:
    """Whether a stream changed no more than use does from month to month."""
    size = sum([float(count) * weights.get(token_type, 0.0) for token_type, count in stream.base.items()])
    return _size(weights, change) < _NOISE * size


def _similarity_of_totals(source: Stream, target: Stream, changes: _Changes) -> float:
    """The lower of two shares: of all input that the one lost and the other gained, and of the output.

    It tells a switch to another price key that also changed the use of the cache; so all of a key must have moved.
    """
    if not (source.value and target.value and (source.ended or target.began)):
        return 0.0
    shares: list[float] = []
    for names in (source.token_types | target.token_types) - {OUTPUT}, {OUTPUT}:
        lost, gained = (sum(changes[each.key].get(name, 0.0) for name in names) for each in (source, target))
        if lost or gained:
            shares.append(max(min(-lost, gained), 0.0) / max(abs(lost), abs(gained)))
    return min(shares, default=0.0)


def _rank(source: Stream, target: Stream, similarity: float) -> tuple[object, ...]:
    """Similar pairs first; of equally similar ones those of one family of models, then those with closer keys."""
    families = {_family(source.key.model), _family(target.key.model)}
    differences = sum(a != b for a, b in zip(source.key, target.key, strict=True))
    return -round(similarity, 1), len(families), differences, -similarity, str((source.key, target.key))


def _family(model: str | None) -> str | None:
    """The opus of claude-opus-4-6."""
    return next((word for word in (model or "").split("-") if word.isalpha() and word != "claude"), model)


def _moves_of(effect: MoveEffect, source: Stream, target: Stream) -> Iterator[Move]:
    """Tokens that stayed of their type, then input that also changed its type, such as to uncached."""
    types = sorted(source.token_types | target.token_types)
    for token_type in types:
        yield from _moved(effect, source, token_type, target, token_type)
    if source.value and target.value:
        inputs = [each for each in types if each != OUTPUT]
        for lost, gained in product(inputs, inputs):
            yield from _moved(effect, source, lost, target, gained)


def _moved(effect: MoveEffect, source: Stream, lost: str, target: Stream, gained: str) -> Iterator[Move]:
    count = min(-source.change(lost), target.change(gained))
    if count <= 0:
        return
    source.move(lost, target, gained, count)
    start, end = PriceCell(source.key, lost), PriceCell(target.key, gained)
    first, last = source.value.get(lost, _ZERO), target.value.get(gained, _ZERO)
    if lost == gained:
        yield Move(effect, start, end, count, count * (last - first))
    elif (between := target.value.get(lost)) is not None:
        middle = PriceCell(target.key, lost)
        yield Move(effect, start, middle, count, count * (between - first))
        yield Move("cache_mix", middle, end, count, count * (last - between))
    elif (between := source.value.get(gained)) is not None:
        middle = PriceCell(source.key, gained)
        yield Move("cache_mix", start, middle, count, count * (between - first))
        yield Move(effect, middle, end, count, count * (last - between))
    else:
        yield Move(effect, start, end, count, count * (last - first))


# --- from one type of input to another


def _moves_within(stream: Stream) -> Sequence[Move]:
    """Input of a price key that is read from, written to or kept out of the cache where it was not before.

    If all input and the output grew alike, the types of input are compared with their growth taken out. Otherwise
    only losses and gains of a comparable number of tokens match.
    """
    inputs = sorted(stream.token_types - {OUTPUT})
    growth = _growth(stream, inputs)
    if growth is not None:
        change = {name: stream.after.get(name, _ZERO) - growth * stream.before.get(name, _ZERO) for name in inputs}
    else:
        change = {name: stream.change(name) for name in inputs}
    moves: list[Move] = []
    for lost, gained in ((CACHE_WRITE_5M, CACHE_WRITE_1H), (CACHE_WRITE_1H, CACHE_WRITE_5M)):
        moves += _exchange(stream, change, [lost], [gained])
    lost, gained = [name for name in inputs if change[name] < 0], [name for name in inputs if change[name] > 0]
    moves += _exchange(stream, change, lost, gained)
    stream.grew = growth is not None and bool(moves)
    return moves


def _growth(stream: Stream, inputs: Sequence[str]) -> Fraction | None:
    """The factor by which both the input and the output grew; None if these differ."""
    before, after = (sum((each.get(name, _ZERO) for name in inputs), _ZERO) for each in (stream.before, stream.after))
    out_before, out_after = stream.before.get(OUTPUT, _ZERO), stream.after.get(OUTPUT, _ZERO)
    if min(before, after, out_before, out_after) <= 0:
        return None
    growth = after / before
    rate, out_rate = log(growth), log(out_after / out_before)
    if abs(rate) < _LEAST_GROWTH or rate * out_rate <= 0:
        return None
    tolerance = min(_SAME_GROWTH * abs(rate), _MOST_DIFFERENCE)
    ratios = [stream.after[name] / stream.before[name] for name in inputs if _is_used(stream, name)]
    if len(ratios) > 1 and (spread := log(max(ratios) / min(ratios))) > _OTHER_USE_OF_CACHE:
        tolerance = max(tolerance, min(abs(rate) / 2, _SHARE_OF_SPREAD * spread))
    return growth if abs(rate - out_rate) <= tolerance else None


def _is_used(stream: Stream, token_type: str) -> bool:
    return stream.before.get(token_type, _ZERO) > 0 and stream.after.get(token_type, _ZERO) > 0


_LEAST_GROWTH, _SAME_GROWTH, _MOST_DIFFERENCE = 0.02, 0.25, 0.03
"""As logarithms: growth from which it is taken out, and how far that of input and output may be apart, as a share of it
and at most."""

_OTHER_USE_OF_CACHE, _SHARE_OF_SPREAD = 0.7, 0.08
"""If one type of input grew by twice as much as another, the use of the cache changed, and growth may be less alike."""


def _exchange(stream: Stream, change: Tokens, lost: Sequence[str], gained: Sequence[str]) -> Iterator[Move]:
    """Matches the losses of some types with the gains of others in proportion, if they are comparable."""
    losses, gains = (
        {name: max(sign * change.get(name, _ZERO), _ZERO) for name in names}
        for names, sign in ((lost, -1), (gained, 1))
    )
    all_lost, all_gained = sum(losses.values(), _ZERO), sum(gains.values(), _ZERO)
    smaller, larger = sorted((all_lost, all_gained))
    if not smaller or smaller < larger / 2:
        return
    for source, target in product(lost, gained):
        count = losses[source] * gains[target] * smaller / (all_lost * all_gained)
        if count:
            change[source] += count
            change[target] -= count
            stream.move(source, stream, target, count)
            value = stream.value.get(target, _ZERO) - stream.value.get(source, _ZERO)
            yield Move("cache_mix", PriceCell(stream.key, source), PriceCell(stream.key, target), count, count * value)
