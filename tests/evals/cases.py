"""The questions and their accepted answers, validated when loaded."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict


class Accepted(BaseModel):
    """One accepted way to answer.

    Attributes:
        tool: None for an answer without a tool call.
        arguments: The best arguments; any that lead to the same facts are accepted.
        facts: Values in the structured answer, by path: "series > Production > totals > cost".
        refused: Text of the error, if the right call is rejected.
        says: Required in the reply: numbers within half a percent, words in any case, one of a|b, (no) for a denial.
        says_not: Words that the reply must not contain.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tool: str | None = None
    arguments: Mapping[str, Any] = {}
    facts: Mapping[str, Any] = {}
    refused: str | None = None
    says: Sequence[str]
    says_not: Sequence[str] = ()


class Case(BaseModel):
    """A question in a user's words.

    Attributes:
        hard: What makes it difficult.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    question: str
    hard: str
    accepted: Sequence[Accepted]


@cache
def all_cases() -> Sequence[Case]:
    """All questions."""
    text = (Path(__file__).parent / "cases.json").read_text(encoding="utf-8")
    return [Case.model_validate(each) for each in json.loads(text)]


def found(answer: Mapping[str, Any], path: str) -> Any:
    """The value at a path. In a list, a step is the label, value or code of an element, a bucket, or an index.

    Raises:
        LookupError: If the path does not exist.
    """
    here: Any = answer
    for step in path.split(" > "):
        match here:
            case dict():
                here = cast("dict[str, Any]", here)[step]
            case list():
                here = _element(cast("list[Any]", here), step, answer)
            case _:
                raise LookupError(step)
    return here


def _element(elements: list[Any], step: str, answer: Mapping[str, Any]) -> Any:
    for each in elements:
        if isinstance(each, dict):
            element = cast("dict[str, Any]", each)
            if step in {element.get(name) for name in _NAMED_BY}:
                return element
    buckets: list[str] = answer.get("buckets", [])
    if step in buckets:
        return elements[buckets.index(step)]
    if step.isdecimal():
        return elements[int(step)]
    raise LookupError(step)


_NAMED_BY = ("label", "value", "code")
