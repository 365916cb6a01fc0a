"""What the product says of a company in which several things happen at once, and whose truth is known."""

from decimal import Decimal
from fractions import Fraction

import pytest

from tests.support.truth_company import QUESTIONS, STORIES, CompanyStory, Question
from tests.support.truth_page import PAGE, company_answer, company_row, question_answer, question_row

pytestmark = pytest.mark.anyio

MINOR = Decimal("0.25")


def outdated(row: str) -> str:
    return f"docs/truth.md lacks this row; run python -m tests.update_docs:\n{row}"


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_the_causes_in_a_company_are_those_that_were_planted(story: CompanyStory) -> None:
    answer = await company_answer(story)
    drivers, (largest, *others) = answer["drivers"], story.causes
    assert (drivers[0]["effect"], drivers[0]["label"]) == (largest.effect, largest.label)
    told = {(each["effect"], each["label"]): Decimal(each["change"]) for each in drivers}
    for cause, tolerance in [(largest, Decimal("0.1")), *((each, MINOR) for each in others)]:
        assert abs(told[cause.effect, cause.label] - cause.change) <= abs(cause.change) * tolerance
    assert sum(map(abs, told.values())) <= Decimal("1.5") * story.absolute
    assert sum(Fraction(each["change"]) for each in drivers) == Fraction(answer["change"])
    row = company_row(story, answer)
    assert row in PAGE.read_text(encoding="utf-8"), outdated(row)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
async def test_an_answer_about_a_company_is_true(question: Question) -> None:
    answer = await question_answer(question)
    for words in question.says:
        assert words in answer["summary"]
    assert [name for name, holds in question.holds(answer).items() if not holds] == []
    row = question_row(question, answer)
    assert row in PAGE.read_text(encoding="utf-8"), outdated(row)
