"""What a host offers while a person fills in a prompt: names, ids, models, months.

A completion is a convenience. It reads a list of names, or the models of the last 30 days, at most once while they are
kept, and is empty when they cannot be had.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from mcp.types import Completion, CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference

from usage_cost_mcp.errors import UsageCostError
from usage_cost_mcp.model.dimensions import NULL_WORDS, SPEND, USAGE
from usage_cost_mcp.model.periods import PERIODS_BEFORE, parse_period
from usage_cost_mcp.model.series import values_of
from usage_cost_mcp.reports.context import Desk
from usage_cost_mcp.reports.labels import NULL_LABELS, look_up
from usage_cost_mcp.reports.query import DEFAULT_PERIOD
from usage_cost_mcp.runtime.call_context import Call

from .prompts import AUDIENCES, all_prompts
from .service import AtHand

MOST_VALUES = 100
"""How many values one completion may have, by the protocol."""

SECONDS = 5.0
"""How long a completion may take: a person is typing."""

_MONTHS = 12

Words = tuple[str, ...]
"""One value under all that it may be typed as; what matches first is offered."""

Complete = Callable[
    [PromptReference | ResourceTemplateReference, CompletionArgument, CompletionContext | None], Awaitable[Completion]
]


def completer(at_hand: AtHand) -> Complete:
    """Completes the arguments of the prompts."""
    completed = {prompt.name: {argument.name for argument in prompt.arguments or ()} for prompt in all_prompts()}

    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        _context: CompletionContext | None,
    ) -> Completion:
        values: Sequence[Words] = ()
        if isinstance(ref, PromptReference) and argument.name in completed.get(ref.name, ()):
            values = await _values(argument.name, at_hand().desk)
        matching = _matching(argument.value, values)
        return Completion(values=matching[:MOST_VALUES], total=len(matching), has_more=len(matching) > MOST_VALUES)

    return complete


def _matching(typed: str, values: Sequence[Words]) -> list[str]:
    """What contains the typed letters, what begins with them first."""
    wanted = typed.strip().casefold()
    found = [next((word for word in words if wanted in word.casefold()), None) for words in values]
    return sorted(
        dict.fromkeys(word for word in found if word), key=lambda word: not word.casefold().startswith(wanted)
    )


async def _values(argument: str, desk: Desk) -> Sequence[Words]:
    """All values of an argument; none where they are free, or cannot be had in time."""
    find = _SOURCES.get(argument)
    if find is None:
        return ()
    try:
        async with asyncio.timeout(SECONDS):
            return await find(desk, Call(desk.clock.monotonic() + SECONDS))
    except (UsageCostError, TimeoutError):
        return ()


async def _months(desk: Desk, _call: Call) -> list[Words]:
    """In words, then the last ones by name, the newest first."""
    day = desk.today()
    months = ["last_month", "this_month"]
    for _ in range(_MONTHS):
        months.append(f"{day:%Y-%m}")
        day = day.replace(day=1) - timedelta(days=1)
    return [(month,) for month in months]


def _fixed(*values: str) -> Callable[[Desk, Call], Awaitable[Sequence[Words]]]:
    async def find(_desk: Desk, _call: Call) -> Sequence[Words]:
        return [(value,) for value in values]

    return find


async def _models(desk: Desk, call: Call) -> list[Words]:
    """The models in what is held, else in the spend of the last 30 days."""
    models = desk.ledger.values(SPEND, "model") or desk.ledger.values(USAGE, "model")
    if not models:
        recent = parse_period(DEFAULT_PERIOD, desk.today())
        held = await desk.ledger.days(SPEND, [SPEND.base], "1d", recent, call)
        models = {model for model in values_of(held.days, "model") if model}
    return [(model,) for model in sorted(models)]


def _named(dimension: str) -> Callable[[Desk, Call], Awaitable[Sequence[Words]]]:
    """The values of a dimension by label and id, those no longer in use last; by id alone where names are not had."""

    async def find(desk: Desk, call: Call) -> Sequence[Words]:
        labels = await look_up(desk.directory, [dimension], call)
        names = labels.names.get(dimension)
        null = [(NULL_LABELS[dimension], NULL_WORDS[dimension])] if desk.shows(dimension, None) else []
        if names is None:
            return [*null, *((value,) for value in sorted(desk.ledger.values(USAGE, dimension)))]
        order = sorted(names, key=lambda value: (names[value].archived, names[value].text.casefold()))
        return [*((labels.of(dimension, value), value) for value in order), *null]

    return find


_PERIODS = ("last_30_days", "last_7_days", "last_month", "this_month", "last_quarter", "this_quarter", "last_year")

_SOURCES: dict[str, Callable[[Desk, Call], Awaitable[Sequence[Words]]]] = {
    "month": _months,
    "period": _fixed(*_PERIODS),
    "against": _fixed(*PERIODS_BEFORE, *_PERIODS),
    "workspace": _named("workspace_id"),
    "model": _models,
    "api_key": _named("api_key_id"),
    "audience": _fixed(*AUDIENCES),
}
