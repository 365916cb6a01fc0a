"""What the product says of organizations whose truth is known: kind, place, sign and size of the causes of a change."""

import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import partial

import pytest

from tests.support.planted_orgs import CACHE_READ, OPUS, OUTPUT, PRODUCTION, UNCACHED, WRITE_5M, Workload
from tests.support.truth_page import PAGE, cause_answer, cause_row, statement_answer, statement_row
from tests.support.truth_stories import CAUSES_AND_MIRROR_IMAGES, LATER, STATEMENTS, CauseStory, Statement
from usage_cost_mcp.analysis.cost_usage_join import PriceCell, PricedCells, WorkspacePriceKey
from usage_cost_mcp.analysis.price_volume_mix import Driver, decompose_periods

pytestmark = pytest.mark.anyio


def outdated(row: str) -> str:
    return f"docs/truth.md lacks this row; run python -m tests.update_docs:\n{row}"


@pytest.mark.parametrize("story", CAUSES_AND_MIRROR_IMAGES, ids=lambda story: story.name)
async def test_the_causes_are_those_that_were_planted(story: CauseStory) -> None:
    answer = await cause_answer(story)
    largest, truth = answer["drivers"][0], story.events[0]
    assert (largest["effect"], largest["label"]) == (truth.effect, truth.says[0])
    assert abs(Decimal(largest["change"]) - truth.change) <= abs(truth.change) / 10
    told = sum(abs(Decimal(each["change"])) for each in answer["drivers"])
    assert told <= Decimal("1.5") * sum(abs(event.change) for event in story.events)
    assert sum(Fraction(each["change"]) for each in answer["drivers"]) == Fraction(answer["change"])
    row = cause_row(story, answer)
    assert row in PAGE.read_text(encoding="utf-8"), outdated(row)


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.name)
async def test_a_comparison_states_what_an_analyst_would(statement: Statement) -> None:
    said, answer = await statement_answer(statement)
    for words in statement.says:
        assert words in said
    for words in statement.forbidden:
        assert words not in said
    if statement.fields is None:
        assert answer is None
    else:
        assert answer is not None
        assert {name: answer[name] for name in statement.fields} == statement.fields
    row = statement_row(statement, said)
    assert row in PAGE.read_text(encoding="utf-8"), outdated(row)


# --- random changes of what an agent uses

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


SEEDS = range(300)


@pytest.mark.parametrize(
    "make",
    [*(partial(independent_changes, spread=spread) for spread in (0.1, 0.3, 0.6)), changes_of_behaviour],
    ids=["by 10%", "by 30%", "by 60%", "of behaviour"],
)
def test_random_changes_of_an_agent_are_neither_inflated_nor_reversed(
    make: Callable[[int], tuple[Tokens, Tokens, Sequence[Decimal]]], record_property: Callable[[str, object], None]
) -> None:
    inflated = reversed_sign = doubled = 0
    for seed in SEEDS:
        before, after, effects = make(seed)
        drivers = decompose_periods(cells(before), cells(after), 30, 30)
        largest, truth = max(drivers, key=size, default=None), max(effects, key=abs)
        if largest is None or not truth:
            continue
        inflated += abs(largest.change) > Decimal("1.5") * abs(truth)
        reversed_sign += (largest.change > 0) != (truth > 0)
        doubled += sum(map(size, drivers)) > Decimal("1.5") * sum(map(abs, effects))
    record_property("result", f"{inflated} inflated, {reversed_sign} reversed, {doubled} with an inflated sum")
    assert inflated <= len(SEEDS) * 0.05
    assert reversed_sign <= len(SEEDS) * 0.01
    assert doubled <= len(SEEDS) * 0.05


def size(driver: Driver) -> Decimal:
    return abs(driver.change)
