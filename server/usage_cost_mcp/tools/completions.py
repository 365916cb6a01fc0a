"""What a host offers while a person fills in a prompt: names, ids, models, months.

A completion is a convenience. It reads a list of names, or the models of the last 30 days, at most once while they are
kept, and is empty when they cannot be had.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from mcp.types import Completion, CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference

from usage_cost_mcp.errors import UsageCostError
from usage_cost_mcp.model.dimensions import NULL_WORDS
from usage_cost_mcp.model.names import ACTIVE
from usage_cost_mcp.model.periods import PERIODS_BEFORE, parse_period
from usage_cost_mcp.model.series import values_of
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT
from usage_cost_mcp.reports.context import ReportContext
from usage_cost_mcp.reports.labels import NULL_LABELS, fetch_labels
from usage_cost_mcp.reports.query import DEFAULT_PERIOD
from usage_cost_mcp.runtime.call_context import CallContext

from .prompts import AUDIENCES, all_prompts
from .service import ServiceGetter

MAX_VALUES = 100
"""How many values one completion may have, by the protocol."""

SECONDS = 5.0
"""How long a completion may take: a person is typing."""

_MONTHS = 12

Candidates = tuple[str, ...]
"""One value under all that it may be typed as; what matches first is offered."""

Complete = Callable[
    [PromptReference | ResourceTemplateReference, CompletionArgument, CompletionContext | None], Awaitable[Completion]
]


def completer(get_service: ServiceGetter) -> Complete:
    """Completes the arguments of the prompts."""
    completed = {prompt.name: {argument.name for argument in prompt.arguments or ()} for prompt in all_prompts()}

    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        _context: CompletionContext | None,
    ) -> Completion:
        values: Sequence[Candidates] = ()
        if isinstance(ref, PromptReference) and argument.name in completed.get(ref.name, ()):
            values = await _values(argument.name, get_service().caller_context)
        matching = _matching(argument.value, values)
        return Completion(values=matching[:MAX_VALUES], total=len(matching), has_more=len(matching) > MAX_VALUES)

    return complete


def _matching(typed: str, values: Sequence[Candidates]) -> list[str]:
    """What contains the typed letters, what begins with them first."""
    wanted = typed.strip().casefold()
    found = [next((word for word in words if wanted in word.casefold()), None) for words in values]
    return sorted(
        dict.fromkeys(word for word in found if word), key=lambda word: not word.casefold().startswith(wanted)
    )


async def _values(argument: str, context: ReportContext) -> Sequence[Candidates]:
    """All values of an argument; none where they are free, or cannot be had in time."""
    find = _SOURCES.get(argument)
    if find is None:
        return ()
    try:
        async with asyncio.timeout(SECONDS):
            return await find(context, CallContext(context.clock.monotonic() + SECONDS))
    except (UsageCostError, TimeoutError):
        return ()


async def _months(context: ReportContext, _call: CallContext) -> list[Candidates]:
    """In words, then the last ones by name, the newest first."""
    day = context.today()
    months = ["last_month", "this_month"]
    for _ in range(_MONTHS):
        months.append(f"{day:%Y-%m}")
        day = day.replace(day=1) - timedelta(days=1)
    return [(month,) for month in months]


def _fixed(*values: str) -> Callable[[ReportContext, CallContext], Awaitable[Sequence[Candidates]]]:
    async def find(_desk: ReportContext, _call: CallContext) -> Sequence[Candidates]:
        return [(value,) for value in values]

    return find


async def _models(context: ReportContext, call: CallContext) -> list[Candidates]:
    """The models in the cached days, else in the spend of the last 30 days."""
    models = context.cache.values(COST_REPORT, "model") or context.cache.values(USAGE_REPORT, "model")
    if not models:
        recent = parse_period(DEFAULT_PERIOD, context.today())
        held = await context.cache.days(COST_REPORT, [COST_REPORT.base_view], "1d", recent, call)
        models = {model for model in values_of(held.days, "model") if model}
    return [(model,) for model in sorted(models)]


def _named(dimension: str) -> Callable[[ReportContext, CallContext], Awaitable[Sequence[Candidates]]]:
    """The values of a dimension by label and id, those no longer in use last; by id alone where names are not had."""

    async def find(context: ReportContext, call: CallContext) -> Sequence[Candidates]:
        labels = await fetch_labels(context.directory, [dimension], call)
        names = labels.names.get(dimension)
        null = [(NULL_LABELS[dimension], NULL_WORDS[dimension])] if context.can_see(dimension, None) else []
        if names is None:
            return [*null, *((value,) for value in sorted(context.cache.values(USAGE_REPORT, dimension)))]
        order = sorted(names, key=lambda value: (names[value].status != ACTIVE, names[value].display.casefold()))
        return [*((labels.of(dimension, value), value) for value in order), *null]

    return find


_PERIODS = ("last_30_days", "last_7_days", "last_month", "this_month", "last_quarter", "this_quarter", "last_year")

_SOURCES: dict[str, Callable[[ReportContext, CallContext], Awaitable[Sequence[Candidates]]]] = {
    "month": _months,
    "period": _fixed(*_PERIODS),
    "against": _fixed(*PERIODS_BEFORE, *_PERIODS),
    "workspace": _named("workspace_id"),
    "model": _models,
    "api_key": _named("api_key_id"),
    "audience": _fixed(*AUDIENCES),
}
