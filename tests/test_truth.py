"""What the product says of organizations whose truth is known: kind, place, sign and size of the causes of a change."""

from decimal import Decimal
from fractions import Fraction

import pytest

from tests.support.random_agents import CHANGES, SEEDS, tally
from tests.support.truth_page import PAGE, cause_answer, cause_row, random_row, statement_answer, statement_row
from tests.support.truth_stories import CAUSES_AND_MIRROR_IMAGES, STATEMENTS, CauseStory, Statement

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


@pytest.mark.parametrize("name", CHANGES)
def test_random_changes_of_an_agent_are_neither_inflated_nor_reversed(name: str) -> None:
    result = tally(CHANGES[name])
    assert result.inflated <= len(SEEDS) * 0.05
    assert result.reversed <= len(SEEDS) * 0.01
    assert result.inflated_sum <= len(SEEDS) * 0.05
    row = random_row(name, result)
    assert row in PAGE.read_text(encoding="utf-8"), outdated(row)
