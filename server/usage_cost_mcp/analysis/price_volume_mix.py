"""Price-volume-mix analysis: splits a change of spend into effects that add up to it exactly.

The cost of a price key in a workspace is its tokens times its cost per token. A change has these effects:

* volume: more or fewer tokens, at the previous cost per token (a new key at its current one);
* price: the current tokens, at a different price per token of the same type;
* cache mix and output mix: the current tokens, with other shares of cached in all input, and of output to input;
* tier mix and model mix: tokens that moved between tiers of the same model, or between models of the same workspace;
* no tokens: web search, code execution, sessions, credits.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal, get_args

from usage_cost_mcp.model.dimensions import OUTPUT, TOKEN_TYPES
from usage_cost_mcp.model.money import exact

from .cost_usage_join import NonTokenCost, PriceCell, PricedCells, WorkspacePriceKey

Effect = Literal["volume", "price", "model_mix", "tier_mix", "cache_mix", "output_mix", "no_tokens"]
EFFECTS: tuple[Effect, ...] = get_args(Effect)

Group = Mapping[str, str | None]
GroupKey = tuple[tuple[str, str | None], ...]
"""A group as a hashable key: pairs of dimension and value."""


@dataclass(frozen=True, slots=True)
class Driver:
    """One effect in one group.

    Attributes:
        group: Dimensions and values of the group.
        change: Dollars, positive for an increase.
        shift: For a mix of models or tiers, what lost most and what gained most.
    """

    effect: Effect
    group: Group
    change: Decimal
    shift: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Normalization:
    """Puts the costs of two periods on one scale: unchanged if the periods are equally long, per day otherwise.

    Attributes:
        days: Length of the current period.
        previous_days: Length of the period that it is compared with.
    """

    days: int
    previous_days: int

    @property
    def per_day(self) -> bool:
        """Whether costs are divided by days."""
        return self.days != self.previous_days

    @property
    def divisors(self) -> tuple[int, int]:
        """What the costs of the current and the previous period are divided by."""
        return (self.days, self.previous_days) if self.per_day else (1, 1)

    def exact_change(self, cost: Decimal, previous_cost: Decimal) -> Fraction:
        """The change in dollars, or in dollars per day."""
        current, previous = self.divisors
        return Fraction(cost) / current - Fraction(previous_cost) / previous

    def change(self, cost: Decimal, previous_cost: Decimal) -> Decimal:
        """The change as a decimal: exact for equal lengths, rounded to a millionth of a dollar per day otherwise."""
        with exact():
            if not self.per_day:
                return cost - previous_cost
            return Decimal(round(self.exact_change(cost, previous_cost) * _MILLIONTHS)).scaleb(-6).normalize()

    def change_ratio(self, cost: Decimal, previous_cost: Decimal) -> float | None:
        """The change as a share of the previous cost, to four digits; None if that is zero or a credit."""
        if previous_cost <= 0:
            return None
        _, days = self.divisors
        return round(float(self.exact_change(cost, previous_cost) / (Fraction(previous_cost) / days)), 4)


_MILLIONTHS = 10**6


@dataclass(frozen=True, slots=True)
class _Part:
    effect: Effect
    group: GroupKey
    change: Fraction
    shift: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Use:
    """Tokens and dollars by token type, of one key in one period; only types with tokens."""

    tokens: Mapping[str, Fraction]
    cost: Mapping[str, Fraction]

    @property
    def all_tokens(self) -> Fraction:
        return sum(self.tokens.values(), Fraction(0))

    @property
    def all_cost(self) -> Fraction:
        return sum(self.cost.values(), Fraction(0))

    def price(self, token_type: str) -> Fraction | None:
        return self.cost[token_type] / self.tokens[token_type] if token_type in self.tokens else None

    @property
    def input_tokens(self) -> Fraction:
        return self.all_tokens - self.tokens.get(OUTPUT, Fraction(0))


@dataclass(frozen=True, slots=True)
class _Change:
    """A stream before and after. `quantity` is how many tokens more it has, `value` what one of them is worth."""

    stream: WorkspacePriceKey
    before: _Use
    after: _Use

    @property
    def quantity(self) -> Fraction:
        return self.after.all_tokens - self.before.all_tokens

    @property
    def value(self) -> Fraction:
        use = self.before if self.before.tokens else self.after
        return use.all_cost / use.all_tokens


def decompose(
    before: PricedCells, after: PricedCells, change: Decimal, *, per: tuple[int, int] = (1, 1)
) -> list[Driver]:
    """The drivers of a change, the largest first.

    Args:
        before: The previous period.
        after: The current period.
        change: Dollars; the drivers add up to it exactly.
        per: Divisors of the costs of `before` and `after`, such as their days.
    """
    shares = Fraction(1, per[0]), Fraction(1, per[1])
    changes = _changes(before, after, shares)
    parts = [*_rates(changes), *_quantities(changes), *_without_tokens(before, after, shares)]
    merged: dict[tuple[Effect, GroupKey], _Part] = {}
    for part in parts:
        known = merged.get((part.effect, part.group))
        total = part.change + known.change if known else part.change
        merged[part.effect, part.group] = _Part(part.effect, part.group, total, part.shift)
    effects = [part for part in merged.values() if part.change]
    amounts = apportioned(change, [part.change for part in effects])
    drivers = [
        Driver(part.effect, dict(part.group), amount, part.shift) for part, amount in zip(effects, amounts, strict=True)
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
    by_loss = sorted(range(len(parts)), key=lambda place: whole[place] - units[place])
    for n in range(abs(missing) if parts else 0):
        whole[by_loss[n % len(parts)]] += 1 if missing > 0 else -1
    with exact():
        return [Decimal(each).scaleb(finest) for each in whole]


_FINEST = -6
"""Exponent of the unit: a millionth of a dollar, or the last digit of the total if that is finer."""


def _changes(before: PricedCells, after: PricedCells, shares: tuple[Fraction, Fraction]) -> list[_Change]:
    """Both periods of every key that has cost and tokens in either."""
    billed = {cell.stream for cells in (before, after) for cell in cells.cost if cell in cells.tokens}
    return [
        _Change(stream, _use(before, stream, shares[0]), _use(after, stream, shares[1]))
        for stream in sorted(billed, key=str)
    ]


def _use(cells: PricedCells, stream: WorkspacePriceKey, share: Fraction) -> _Use:
    found = [PriceCell(stream, token_type) for token_type in TOKEN_TYPES]
    used = [cell for cell in found if cells.tokens.get(cell)]
    return _Use(
        {cell.token_type: cells.tokens[cell] * share for cell in used},
        {cell.token_type: Fraction(cells.cost.get(cell, Decimal(0))) * share for cell in used},
    )


def _rates(changes: Iterable[_Change]) -> Iterator[_Part]:
    """Price, cache mix and output mix, for keys with tokens in both periods."""
    for each in changes:
        before, after = each.before, each.after
        if not (before.tokens and after.tokens):
            continue
        at_old_prices = {
            token_type: (after.price(token_type) or 0 if (old := before.price(token_type)) is None else old) * tokens
            for token_type, tokens in after.tokens.items()
        }
        price = after.all_cost - sum(at_old_prices.values(), Fraction(0))
        mix = sum(at_old_prices.values(), Fraction(0)) - each.value * after.all_tokens
        cache = _cache_mix(before, after, at_old_prices)
        workspace, model = ("workspace_id", each.stream.workspace_id), ("model", each.stream.model)
        yield _Part("price", (model,), price)
        yield _Part("cache_mix", (workspace,), cache)
        yield _Part("output_mix", (workspace,), mix - cache)


def _cache_mix(before: _Use, after: _Use, at_old_prices: Mapping[str, Fraction]) -> Fraction:
    """The cost of the current input at previous prices, minus its cost at the previous mix."""
    if not (before.input_tokens and after.input_tokens):
        return Fraction(0)
    old_average = (before.all_cost - before.cost.get(OUTPUT, Fraction(0))) / before.input_tokens
    now = sum((cost for token_type, cost in at_old_prices.items() if token_type != OUTPUT), Fraction(0))
    return now - old_average * after.input_tokens


def _quantities(changes: Sequence[_Change]) -> Iterator[_Part]:
    """Tier mix and model mix, and as volume the tokens that did not just move."""
    left = {each.stream: each.quantity for each in changes}
    value = {each.stream: each.value for each in changes}
    for effect, who, name in _SHIFT_LEVELS:
        neighbours: defaultdict[GroupKey, list[WorkspacePriceKey]] = defaultdict(list)
        for each in changes:
            neighbours[who(each.stream)].append(each.stream)
        for shared, streams in neighbours.items():
            moved = _shifts({stream: left[stream] for stream in streams})
            if moved:
                worth = sum((tokens * value[stream] for stream, tokens in moved.items()), Fraction(0))
                ends = min(moved, key=lambda stream: moved[stream]), max(moved, key=lambda stream: moved[stream])
                yield _Part(effect, shared, worth, (name(ends[0]), name(ends[1])))
                for stream, tokens in moved.items():
                    left[stream] -= tokens
    for stream, tokens in left.items():
        yield _Part("volume", _same_model(stream), tokens * value[stream])


def _shifts(quantities: Mapping[WorkspacePriceKey, Fraction]) -> dict[WorkspacePriceKey, Fraction]:
    """The tokens that moved between keys: those both lost and gained, split in proportion to each loss and gain."""
    gained = sum((quantity for quantity in quantities.values() if quantity > 0), Fraction(0))
    lost = -sum((quantity for quantity in quantities.values() if quantity < 0), Fraction(0))
    both = min(gained, lost)
    if not both:
        return {}
    return {
        stream: quantity * both / (gained if quantity > 0 else lost)
        for stream, quantity in quantities.items()
        if quantity
    }


def _same_model(stream: WorkspacePriceKey) -> GroupKey:
    return (("workspace_id", stream.workspace_id), ("model", stream.model))


def _same_workspace(stream: WorkspacePriceKey) -> GroupKey:
    return (("workspace_id", stream.workspace_id),)


def _variant_label(stream: WorkspacePriceKey) -> str:
    return "/".join(part for part in stream[2:] if part)


_SHIFT_LEVELS: Sequence[tuple[Effect, Callable[[WorkspacePriceKey], GroupKey], Callable[[WorkspacePriceKey], str]]] = (
    ("tier_mix", _same_model, _variant_label),
    ("model_mix", _same_workspace, lambda stream: str(stream.model)),
)
"""Levels at which tokens may move, the closest first: effect, group, and label of a key within the group."""


def _without_tokens(before: PricedCells, after: PricedCells, shares: tuple[Fraction, Fraction]) -> Iterator[_Part]:
    """Costs that are not for tokens, and token costs without reported tokens."""
    for cells, sign in ((before, -shares[0]), (after, shares[1])):
        for kind, dollars in [*cells.other.items(), *_unmatched(cells)]:
            yield _Part("no_tokens", tuple(zip(NonTokenCost._fields, kind, strict=True)), Fraction(dollars) * sign)


def _unmatched(cells: PricedCells) -> Iterator[tuple[NonTokenCost, Decimal]]:
    for cell, dollars in cells.cost.items():
        if not cells.tokens.get(cell):
            yield NonTokenCost(cell.stream.workspace_id, "tokens", cell.stream.model), dollars
