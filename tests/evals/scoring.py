"""How good an answer was: the tool, the arguments, and what was said in the end."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .cases import Accepted, Case, found


@dataclass(frozen=True, slots=True)
class Called:
    """A tool call of the model, with what came of it.

    Attributes:
        answer: The structured half; None for a refusal.
        text: The text half.
    """

    tool: str
    arguments: Mapping[str, Any]
    answer: Mapping[str, Any] | None
    text: str


@dataclass(frozen=True, slots=True)
class Score:
    """One point each: a right tool was called, it gave the right facts, the reply tells them."""

    tool: int
    arguments: int
    answer: int

    @property
    def total(self) -> int:
        """From 0 to 3."""
        return self.tool + self.arguments + self.answer


def score(case: Case, calls: Sequence[Called], reply: str) -> Score:
    """The best score among the right ways to answer."""
    return max((_score(way, calls, reply) for way in case.accepted), key=lambda each: each.total)


def _score(way: Accepted, calls: Sequence[Called], reply: str) -> Score:
    if way.tool is None:
        tool = arguments = int(not calls)
    else:
        tool = int(any(call.tool == way.tool for call in calls))
        arguments = int(any(is_right(way, call) for call in calls))
    return Score(tool, arguments, int(bool(arguments) and tells(way, reply)))


def is_right(way: Accepted, call: Called) -> bool:
    """Whether a call came to the facts, or to the refusal, that are wanted; its arguments may be spelled otherwise."""
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


def tells(way: Accepted, reply: str) -> bool:
    """Whether the reply holds all that it must and nothing that it must not."""
    told = reply.casefold().replace("\u2019", "'")
    return all(_holds(told, fact) for fact in way.says) and not any(word.casefold() in told for word in way.says_not)


def alternatives(fact: str) -> Sequence[str]:
    """The ways to say a fact, of which one is enough."""
    return (_DENIAL if fact == "(no)" else fact).split("|")


_DENIAL = "no |no,|no.|not |not,|not.|n't |cannot|nothing|never|none|neither|unable"
"""What is in a reply that says that something is not so, or not to be had."""


def _holds(reply: str, fact: str) -> bool:
    return any(_holds_one(reply, each) for each in alternatives(fact))


def _holds_one(reply: str, fact: str) -> bool:
    if not _NUMBER.fullmatch(fact):
        return fact.casefold() in reply
    (wanted,) = numbers(fact)
    return any(abs(number - wanted) <= _TOLERANCE * wanted for number in numbers(reply))


_TOLERANCE = 0.005
"""Half a percent: "$7,310" and "7.31k" for $7,309.88, but not "$7,400"."""

_NUMBER = re.compile(r"\$?(\d[\d,]*(?:\.\d+)?)\s?(%|k\b|m\b|b\b|thousand\b|million\b|billion\b)?", re.IGNORECASE)
_TIMES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "b": 1e9, "billion": 1e9, "%": 0.01}


def numbers(text: str) -> Iterator[float]:
    """Every number of a text, without its sign: people write "a credit of $450" for -450."""
    for digits, unit in _NUMBER.findall(text):
        yield float(digits.replace(",", "")) * _TIMES.get(unit.lower(), 1)
