"""The questions, and what is right: tables of data, checked when they are read."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict


class Accepted(BaseModel):
    """One right way to answer.

    Attributes:
        tool: None for an answer in words alone.
        arguments: As they are best given; whatever leads to the same facts is as good.
        facts: What the structured answer says, by path: "series > Production > totals > cost".
        refused: Words of the refusal, where the right call is refused.
        says: What the reply must hold: numbers to half a percent, words in any case, one of a|b; (no) for a denial.
        says_not: Words that the reply must not hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tool: str | None = None
    arguments: Mapping[str, Any] = {}
    facts: Mapping[str, Any] = {}
    refused: str | None = None
    says: Sequence[str]
    says_not: Sequence[str] = ()


class Case(BaseModel):
    """A question as a person asks it.

    Attributes:
        hard: Why it is not as easy as it looks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    question: str
    hard: str
    accepted: Sequence[Accepted]


@cache
def all_cases() -> Sequence[Case]:
    """Every question."""
    text = (Path(__file__).parent / "cases.json").read_text(encoding="utf-8")
    return [Case.model_validate(each) for each in json.loads(text)]


def found(answer: Mapping[str, Any], path: str) -> Any:
    """What stands at a path; in a list a step is the label, value or code of an element, a bucket, or a place.

    Raises:
        LookupError: When there is nothing.
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
