"""Random changes of what one agent uses, and how the causes that are stated compare with the true effects."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from tests.support.planted_orgs import CACHE_READ, OPUS, OUTPUT, PRODUCTION, UNCACHED, WRITE_5M, Workload
from tests.support.truth_stories import LATER
from usage_cost_mcp.analysis.cost_usage_join import PriceCell, PricedCells, WorkspacePriceKey
from usage_cost_mcp.analysis.price_volume_mix import decompose_periods

AGENT = WorkspacePriceKey(PRODUCTION, OPUS, "standard", "0-200k", "global")
PRICES = {name: Workload({}).price(name, LATER[0]) / 10**6 for name in (UNCACHED, CACHE_READ, WRITE_5M, OUTPUT)}
Tokens = Mapping[str, int]


def cells(tokens: Tokens) -> PricedCells:
    """Both reports of what one agent used."""
    cost = {PriceCell(AGENT, name): count * PRICES[name] for name, count in tokens.items()}
    return PricedCells(cost, {PriceCell(AGENT, name): count for name, count in tokens.items()}, {})


def random_agent(chance: random.Random) -> dict[str, int]:
    """The tokens of a month, in millions: mostly cache reads."""
    sizes = {UNCACHED: (10, 600), CACHE_READ: (2000, 15000), WRITE_5M: (50, 1000), OUTPUT: (20, 300)}
    return {name: chance.randint(*size) * 10**6 for name, size in sizes.items()}


def independent_changes(seed: int, spread: float) -> tuple[Tokens, Tokens, Sequence[Decimal]]:
    """Tokens before and after, where each type changed by a factor of its own or not at all, and the true effects."""
    chance = random.Random(seed)  # noqa: S311
    before = random_agent(chance)
    factors = {name: 1 if chance.random() < 0.3 else chance.lognormvariate(0, spread) for name in before}
    after = {name: round(count * factors[name]) for name, count in before.items()}
    return before, after, [(after[name] - before[name]) * PRICES[name] for name in before]


def changes_of_behaviour(seed: int) -> tuple[Tokens, Tokens, Sequence[Decimal]]:
    """Tokens before and after, where use grew, the cache was used differently or answers became longer."""
    chance = random.Random(seed)  # noqa: S311
    before = random_agent(chance)
    growth = chance.choice([1, 1, chance.lognormvariate(0, 0.4)])
    longer = chance.choice([1, 1, chance.lognormvariate(0, 0.4)]) if growth == 1 else 1
    limits = -before[UNCACHED], before[CACHE_READ]
    uncached = chance.choice([0, round(chance.uniform(*limits) / 2)])
    shifted = {**before, UNCACHED: before[UNCACHED] + uncached, CACHE_READ: before[CACHE_READ] - uncached}
    after = {name: round(count * growth * (longer if name == OUTPUT else 1)) for name, count in shifted.items()}
    dollars = {name: count * PRICES[name] for name, count in before.items()}
    effects = [
        Decimal(growth - 1) * sum(dollars.values(), Decimal(0)),
        Decimal(growth * uncached) * (PRICES[UNCACHED] - PRICES[CACHE_READ]),
        Decimal(longer - 1) * dollars[OUTPUT],
    ]
    return before, after, effects


Change = Callable[[int], tuple[Tokens, Tokens, Sequence[Decimal]]]
"""Makes, of a seed, the tokens before and after and the true effects."""

CHANGES: Mapping[str, Change] = {
    **{
        f"each token type on its own, by about {spread:.0%}": partial(independent_changes, spread=spread)
        for spread in (0.1, 0.3, 0.6)
    },
    "use, caching or the length of answers": changes_of_behaviour,
}
SEEDS = range(300)


@dataclass
class Tally:
    """How many of the changes have a largest stated cause that is wrong, or stated causes that are too large together.

    Attributes:
        inflated: The largest stated cause is more than 1.5 times the largest true one.
        reversed: It has the other sign.
        inflated_sum: All stated causes are together more than 1.5 times the true ones, in absolute amounts.
    """

    inflated: int = 0
    reversed: int = 0
    inflated_sum: int = 0


def tally(change: Change) -> Tally:
    """The result of 300 changes."""
    result = Tally()
    for seed in SEEDS:
        before, after, effects = change(seed)
        stated = [driver.change for driver in decompose_periods(cells(before), cells(after), 30, 30)]
        largest, truth = max(stated, key=abs, default=Decimal(0)), max(effects, key=abs)
        result.inflated += abs(largest) > _MOST * abs(truth)
        result.reversed += largest * truth < 0
        result.inflated_sum += sum(map(abs, stated)) > _MOST * sum(map(abs, effects))
    return result


_MOST = Decimal("1.5")
