"""Scores an answer: the tool, the arguments, and the reply."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .cases import Accepted, Case, found


@dataclass(frozen=True, slots=True)
class Called:
    """A tool call of the model with its result.

    Attributes:
        answer: The structured half; None for an error.
        text: The text half.
    """

    tool: str
    arguments: Mapping[str, Any]
    answer: Mapping[str, Any] | None
    text: str


@dataclass(frozen=True, slots=True)
class Score:
    """One point each: an accepted tool was called, it returned the right facts, the reply states them."""

    tool: int
    arguments: int
    answer: int

    @property
    def total(self) -> int:
        """From 0 to 3."""
        return self.tool + self.arguments + self.answer


def score(case: Case, calls: Sequence[Called], reply: str) -> Score:
    """The best score among the accepted answers."""
    return max((_score(way, calls, reply) for way in case.accepted), key=lambda each: each.total)


def _score(way: Accepted, calls: Sequence[Called], reply: str) -> Score:
    if way.tool is None:
        tool = arguments = int(not calls)
    else:
        tool = int(any(call.tool == way.tool for call in calls))
        arguments = int(any(is_right(way, call) for call in calls))
    return Score(tool, arguments, int(bool(arguments) and states_facts(way, reply)))


def is_right(way: Accepted, call: Called) -> bool:
    """Whether a call returned the expected facts or error, whatever its arguments."""
    if call.tool != way.tool:
        return False
    if call.answer is None or way.refused is not None:
        return call.answer is None and way.refused is not None and way.refused in call.text
    return all(_is_there(call.answer, path, value) for path, value in way.facts.items())


def _is_there(answer: Mapping[str, Any], path: str, value: object) -> bool:
    try:
        return found(answer, path) == value
    except LookupError:
        return False


def states_facts(way: Accepted, reply: str) -> bool:
    """Whether the reply contains everything required and nothing excluded."""
    text = reply.casefold().replace("\u2019", "'")
    return all(_contains(text, fact) for fact in way.says) and not any(word.casefold() in text for word in way.says_not)


def alternatives(fact: str) -> Sequence[str]:
    """Alternative wordings of a fact; one is enough."""
    return (_DENIAL if fact == "(no)" else fact).split("|")


_DENIAL = "no |no,|no.|not |not,|not.|n't |cannot|nothing|never|none|neither|unable"
"""Words of a reply that denies something."""


def _contains(reply: str, fact: str) -> bool:
    return any(_contains_one(reply, each) for each in alternatives(fact))


def _contains_one(reply: str, fact: str) -> bool:
    if not _NUMBER.fullmatch(fact):
        return fact.casefold() in reply
    (wanted,) = numbers(fact)
    return any(abs(number - wanted) <= _TOLERANCE * wanted for number in numbers(reply))


_TOLERANCE = 0.005
"""Half a percent: "$7,310" and "7.31k" for $7,309.88, but not "$7,400"."""

_NUMBER = re.compile(
    r"\$?(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)\s?(%|k\b|m\b|b\b|thousand\b|million\b|billion\b)?",
    re.IGNORECASE,
)
"""A comma separates thousands: "in 2026, 12" and "7309,88" are two numbers."""

_TIMES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "b": 1e9, "billion": 1e9, "%": 0.01}


def numbers(text: str) -> Iterator[float]:
    """All numbers of a text, without sign: people write "a credit of $450" for -450."""
    for digits, unit in _NUMBER.findall(text):
        yield float(digits.replace(",", "")) * _TIMES.get(unit.lower(), 1)
