"""Housekeeping findings: unused API keys, workspaces without keys, a dominant model, the usage mix."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction

from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.model.dimensions import PRIORITY_TIERS, Filters
from usage_cost_mcp.model.names import ACTIVE, UNKNOWN_WORKSPACE, NamesById
from usage_cost_mcp.model.periods import Period
from usage_cost_mcp.model.rows import Number
from usage_cost_mcp.model.series import matching

from .answers import AnswerModel, Note
from .labels import Labels
from .token_usage import all_tokens
from .wording import whole_percent


class UsageMix(AnswerModel):
    """Shares of tokens and spend, from 0 to 1; null if there are none."""

    start: date
    end: date
    tokens: int
    long_context_share: float | None
    batch_share: float | None
    priority_share: float | None
    largest_model: str | None
    largest_model_cost_share: float | None


def usage_mix(charged: Mapping[str | None, Number], usage: CacheResult, period: Period) -> UsageMix:
    """The mix of a period, from its cost before credits by model and its usage rows."""
    tokens = _tokens(usage, {})

    def share(**filters: frozenset[str | None]) -> float | None:
        return round(_tokens(usage, filters) / tokens, _DIGITS) if tokens else None

    model, cost_share = largest_share(charged)
    return UsageMix(
        start=period.start,
        end=period.end,
        tokens=tokens,
        long_context_share=share(context_window=frozenset({"200k-1M"})),
        batch_share=share(service_tier=frozenset({"batch"})),
        priority_share=share(service_tier=PRIORITY_TIERS),
        largest_model=model,
        largest_model_cost_share=round(float(cost_share), _DIGITS) if model else None,
    )


_DIGITS = 4


def _tokens(usage: CacheResult, filters: Filters) -> int:
    return sum(map(all_tokens, matching(usage.days, filters)))


def keys_without_use(labels: Labels, used: Collection[str | None]) -> Iterator[Note]:
    """A note on active API keys without use."""
    active = _active(labels.names.get("api_key_id", {}))
    idle = [key for key in active if key not in used]
    if idle:
        named = _named(idle, "api_key_id", labels)
        yield Note(
            code="keys_without_use",
            message=f"{len(idle)} of {len(active)} active API keys had no use in this period: {named}.",
        )


def workspaces_without_keys(labels: Labels, keys: NamesById | None) -> Iterator[Note]:
    """A note on active workspaces without an active API key."""
    if keys is None or any(key.workspace_id is UNKNOWN_WORKSPACE for key in keys.values()):
        yield Note(
            code="keys_unavailable",
            message="Workspaces without an API key cannot be determined: the list of keys is unavailable or does not "
            "name the workspace of each key.",
        )
        return
    with_keys = {keys[key].workspace_id for key in _active(keys)}
    without = [each for each in _active(labels.names.get("workspace_id", {})) if each not in with_keys]
    if without:
        named = _named(without, "workspace_id", labels)
        message = f"Workspaces without an active API key: {named}."
        yield Note(code="workspaces_without_keys", message=message)


def dominant_model(charged: Mapping[str | None, Number], *, has_credits: bool) -> Iterator[Note]:
    """A note on a model that accounts for more than half of the spend before credits."""
    model, share = largest_share(charged)
    if share > _DOMINANT:
        spend = "the spend before credits" if has_credits else "the spend"
        yield Note(code="dominant_model", message=f"{model} alone accounts for {whole_percent(share)} of {spend}.")


_DOMINANT = Fraction(1, 2)


def largest_share(charged: Mapping[str | None, Number]) -> tuple[str | None, Fraction]:
    """The model with the highest cost before credits and its share of it all; None and 0 without any."""
    total = sum(map(Fraction, charged.values()))
    model = max((each for each in charged if each), key=lambda each: charged[each], default=None)
    return (model, Fraction(charged[model]) / total) if model and charged[model] else (None, Fraction(0))


def _active(names: NamesById) -> list[str]:
    return [each for each, name in names.items() if name.status == ACTIVE]


def _named(values: Sequence[str], dimension: str, labels: Labels, limit: int = 3) -> str:
    named = sorted(labels.of(dimension, value) for value in values)
    more = f" and {len(named) - limit} more" if len(named) > limit else ""
    return ", ".join(named[:limit]) + more
