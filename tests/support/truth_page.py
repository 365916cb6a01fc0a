"""docs/truth.md: stories with a known truth, what a good analyst says of each, and what the product says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.planted_orgs import client_of
from tests.support.random_agents import CHANGES, SEEDS, Tally, tally
from tests.support.truth_company import QUESTIONS, STORIES, CompanyStory, Question
from tests.support.truth_stories import CAUSES_AND_MIRROR_IMAGES, STATEMENTS, CauseStory, Statement
from usage_cost_mcp.model.money import format_signed

PAGE = Path(__file__).parents[2] / "docs" / "truth.md"
_START = "<!-- written by python -m tests.update_docs -->"


async def cause_answer(story: CauseStory) -> Mapping[str, Any]:
    """The comparison of the later with the earlier period of a story."""
    async with client_of(story.organization) as client:
        arguments = {"period": "2026-10", "against": "2026-08", "top": 1}
        return (await client.call_tool("compare_spend", arguments)).structured_content or {}


async def statement_answer(statement: Statement) -> tuple[str, Mapping[str, Any] | None]:
    """The summary and the answer, or the error and None."""
    async with client_of(statement.organization) as client:
        result = await client.call_tool(statement.tool, dict(statement.arguments))
    answer = None if result.is_error else result.structured_content
    return answer["summary"] if answer else "".join(getattr(block, "text", "") for block in result.content), answer


async def company_answer(story: CompanyStory) -> Mapping[str, Any]:
    """The comparison of the later with the earlier period of a story."""
    async with client_of(story.organization) as client:
        return (await client.call_tool("compare_spend", {**story.arguments, "top": 1})).structured_content or {}


async def question_answer(question: Question) -> Mapping[str, Any]:
    async with client_of(question.organization) as client:
        return (await client.call_tool(question.tool, dict(question.arguments))).structured_content or {}


def cause_row(story: CauseStory, answer: Mapping[str, Any]) -> str:
    """The planted events, and what the answer says, without causes below a thousandth of the largest."""
    planted = "; ".join(f"{event.says[0]} {format_signed(event.change)}" for event in story.events)
    told = [(each["label"], float(each["change"])) for each in answer["drivers"]]
    largest = max((abs(change) for _, change in told), default=0)
    return _row(
        story.name,
        planted,
        "; ".join(f"{label} {_signed(change)}" for label, change in told if abs(change) > largest / 1000),
    )


def _signed(change: float) -> str:
    return f"{'+' if change > 0 else '-'}${abs(change):,.2f}"


def company_row(story: CompanyStory, answer: Mapping[str, Any]) -> str:
    """What happened, and the causes of the answer that are at least a fifth of the largest."""
    told = [(each["label"], float(each["change"])) for each in answer["drivers"]]
    largest = max(abs(change) for _, change in told)
    return _row(
        story.name,
        "; ".join(f"{cause.label} {format_signed(cause.change)}" for cause in story.causes),
        "; ".join(f"{label} {_signed(change)}" for label, change in told if abs(change) >= largest / 5),
    )


def question_row(question: Question, answer: Mapping[str, Any]) -> str:
    return _row(question.name, question.analyst, answer["summary"])


def statement_row(statement: Statement, said: str) -> str:
    return _row(statement.name, statement.analyst, said)


def random_row(name: str, result: Tally) -> str:
    return _row(name, str(result.inflated), str(result.reversed), str(result.inflated_sum))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


async def page() -> str:
    """The page with its tables as of now."""
    head, _, _ = PAGE.read_text(encoding="utf-8").partition(_START)
    causes = [cause_row(story, await cause_answer(story)) for story in CAUSES_AND_MIRROR_IMAGES]
    company = [company_row(story, await company_answer(story)) for story in STORIES]
    questions = [question_row(each, await question_answer(each)) for each in QUESTIONS]
    statements = [statement_row(each, (await statement_answer(each))[0]) for each in STATEMENTS]
    random_changes = [random_row(name, tally(change)) for name, change in CHANGES.items()]
    return "\n".join(
        [
            head + _START,
            "",
            "## Causes of a change",
            "",
            *_table(["what happens", "planted, the largest first", "the product says"], causes),
            "",
            "## Comparisons",
            "",
            *_table(["situation", "a good analyst says", "the product says"], statements),
            "",
            "## Random changes of an agent",
            "",
            f"{len(SEEDS)} changes each. In how many is the largest cause more than 1.5 times the largest true one, or",
            "has the other sign? In how many are all causes, in absolute amounts, more than 1.5 times the true ones?",
            "",
            *_table(["what changes", "largest > 1.5 x", "other sign", "sum > 1.5 x"], random_changes),
            "",
            "## A company",
            "",
            *_table(
                [
                    "what happens",
                    "planted, the largest first",
                    "the product says, of causes from a fifth of the largest",
                ],
                company,
            ),
            "",
            *_table(["question", "a good analyst says", "the product says"], questions),
            "",
        ]
    )


def _table(head: Sequence[str], rows: Sequence[str]) -> Sequence[str]:
    return [_row(*head), "|---" * len(head) + "|", *rows]
