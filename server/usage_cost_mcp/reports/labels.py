"""Between ids and what a person calls them, in both directions."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from usage_cost_mcp.analysis.allocation import NOT_ATTRIBUTABLE
from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.cache.ports import Directory
from usage_cost_mcp.errors import InvalidQueryError, UnavailableError, short_repr, unknown_value_error
from usage_cost_mcp.model.dimensions import KNOWN_VALUES, NAMED_DIMENSIONS, NULL_WORDS, Filters
from usage_cost_mcp.model.names import Name, NamesById
from usage_cost_mcp.model.query_schema import QuerySchema
from usage_cost_mcp.model.rows import Key
from usage_cost_mcp.model.series import values_of
from usage_cost_mcp.runtime.call_context import CallContext

from .context import ReportContext
from .query import Query

NULL_LABELS = {
    "workspace_id": "Default workspace",
    "api_key_id": "Console (no API key)",
    "account_id": "No user account",
    "service_account_id": "No service account",
    "model": "Not a model cost",
    "cost_type": "Other (no cost type)",
    "token_type": "Not a token cost",
    "service_tier": "No service tier",
    "context_window": "No context window",
    "inference_geo": "No inference geo",
    "speed": "No speed",
    "description": "No description",
}

NOT_ATTRIBUTABLE_LABELS = {
    "api_key_id": "Not attributable to a key",
    "account_id": "Not attributable to an account",
    "service_account_id": "Not attributable to a service account",
}

_ID_PREFIXES = {
    "workspace_id": "wrkspc_",
    "api_key_id": "apikey_",
    "account_id": "user_",
    "service_account_id": "svac_",
}


@dataclass(frozen=True)
class Labels:
    """What the values of the dimensions are called.

    Attributes:
        names: By dimension; a dimension is missing here when its names were not needed or not to be had.
        refused: The dimensions whose names were needed but not to be had.
    """

    names: Mapping[str, NamesById] = field(default_factory=dict[str, NamesById])
    refused: Sequence[str] = ()

    def of(self, dimension: str, value: str | None) -> str:
        """The label of one value; the id follows where the name alone would be ambiguous."""
        if value is None:
            return NULL_LABELS[dimension]
        if value == NOT_ATTRIBUTABLE:
            return NOT_ATTRIBUTABLE_LABELS.get(dimension, value)
        names = self.names.get(dimension, {})
        if value not in names:
            return value
        name = names[value]
        text = f"{name.display} (archived)" if name.archived else name.display
        return f"{text} ({value})" if self._namesakes[dimension][name.display] > 1 else text

    @cached_property
    def _namesakes(self) -> dict[str, Counter[str]]:
        """How many things have a name."""
        return {
            dimension: Counter([NULL_LABELS[dimension], *(name.display for name in names.values())])
            for dimension, names in self.names.items()
        }

    def of_group(self, dimensions: Sequence[str], key: Key) -> str:
        """The label of a group; "Total" for the one group of an answer without a grouping."""
        if not dimensions:
            return "Total"
        return " / ".join(self.of(dimension, value) for dimension, value in zip(dimensions, key, strict=True))


async def fetch_labels(directory: Directory, dimensions: Iterable[str], call: CallContext) -> Labels:
    """The labels of all values of the given dimensions."""
    wanted = [dimension for dimension in NAMED_DIMENSIONS if dimension in set(dimensions)]
    found = {dimension: await directory.names(dimension, call) for dimension in wanted}
    return Labels(
        {dimension: names for dimension, names in found.items() if names is not None},
        [dimension for dimension, names in found.items() if names is None],
    )


async def resolve_filters(query: Query, context: ReportContext, call: CallContext) -> Filters:
    """Turn the values that a person gave into the values that rows hold.

    Raises:
        InvalidQueryError: For a name that nothing has, or that several things have.
        UnavailableError: For a name when names cannot be looked up.
    """
    return {
        dimension: frozenset(
            [
                found
                for value in dict.fromkeys(values)
                for found in await _meant(dimension, value, query.schema, context, call)
            ]
        )
        for dimension, values in query.filter_by.items()
    }


async def _meant(
    dimension: str, given: str | None, schema: QuerySchema, context: ReportContext, call: CallContext
) -> list[str | None]:
    """What one given value stands for; several values when it is a comma list. Names may hold commas themselves."""
    parts = list(dict.fromkeys(part.strip() for part in (given or "").split(",") if part.strip()))
    if len(parts) > 1 and await _is_no_name(dimension, given or "", context, call):
        return [await _resolve_one(dimension, part, schema, context, call) for part in parts]
    try:
        return [await _resolve_one(dimension, given, schema, context, call)]
    except InvalidQueryError:
        if "," not in (given or ""):
            raise
        return [await _resolve_one(dimension, part, schema, context, call) for part in parts]


async def _is_no_name(dimension: str, given: str, context: ReportContext, call: CallContext) -> bool:
    """Whether nothing is called so; a refusal would say the same, at the price of looking for the nearest names."""
    if dimension not in NAMED_DIMENSIONS or given.startswith(_ID_PREFIXES[dimension]):
        return False
    names = await context.directory.names(dimension, call)
    return names is not None and not _called(dimension, given, names, context)


async def _resolve_one(
    dimension: str, given: str | None, schema: QuerySchema, context: ReportContext, call: CallContext
) -> str | None:
    found = await _found(dimension, given, schema, context, call)
    if context.can_see(dimension, found):
        return found
    names = await context.directory.names(dimension, call) or {
        each: Name(each) for each in context.workspaces or () if each
    }
    raise _not_known(dimension, given or NULL_WORDS[dimension], names, context)


async def _found(
    dimension: str, given: str | None, schema: QuerySchema, context: ReportContext, call: CallContext
) -> str | None:
    if dimension in schema.allocatable and given:
        nobody = {NOT_ATTRIBUTABLE, NOT_ATTRIBUTABLE_LABELS[dimension].casefold()}
        if given.casefold() in nobody:
            return NOT_ATTRIBUTABLE
    if dimension in NAMED_DIMENSIONS and given is not None and not given.startswith(_ID_PREFIXES[dimension]):
        return await _by_name(dimension, given, context, call)
    if given is None or given.casefold() == NULL_LABELS[dimension].casefold():
        return None
    if dimension in KNOWN_VALUES:
        return _one_of(
            dimension, given, [*KNOWN_VALUES[dimension], *sorted(context.cache.values(schema.report, dimension))]
        )
    if dimension == "service_account_id" and not given.startswith(_ID_PREFIXES[dimension]):
        raise InvalidQueryError(f"filter_by {dimension} takes ids that start with svac_, not {short_repr(given)}.")
    if dimension == "model" and "," in given:
        raise InvalidQueryError(f"filter_by model: {short_repr(given)} is not one model.")
    return given


def normalize_values(filters: Filters, held: CacheResult) -> Filters:
    """The filters with models and descriptions in the letters that the rows use: case, dots and dashes are forgiven."""
    spelled: dict[str, frozenset[str | None]] = {}
    for dimension, values in filters.items():
        occurring = values_of(held.days, dimension) if dimension in {"model", "description"} else set[str | None]()
        spelling = {_letters(value): value for value in occurring if value}
        spelled[dimension] = frozenset(value and spelling.get(_letters(value), value) for value in values)
    return spelled


def _letters(value: str) -> str:
    return value.casefold().replace(".", "-")


def _one_of(dimension: str, given: str, accepted: Sequence[str]) -> str:
    """A value of a closed dimension: a documented one, or one that upstream has used since."""
    if given not in accepted:
        raise unknown_value_error(f"filter_by {dimension}", given, dict.fromkeys(accepted))
    return given


async def _by_name(dimension: str, given: str, context: ReportContext, call: CallContext) -> str | None:
    """The id behind a name, a label of ours or an id; None for the words that stand for the null."""
    names = await context.directory.names(dimension, call)
    if names is None:
        if _is_null(dimension, given, context):
            return None
        raise UnavailableError(
            f"The names of {dimension} values cannot be looked up at the moment, so {short_repr(given)} cannot be "
            f"found. Give the id ({_ID_PREFIXES[dimension]}...)."
        )
    matches = _called(dimension, given, names, context)
    if len(matches) == 1:
        return matches[0]
    if matches:
        ids = ", ".join(found or "null" for found in matches)
        raise InvalidQueryError(
            f"filter_by {dimension}: {len(matches)} are called {short_repr(given)}. Give an id: {ids}."
        )
    raise _not_known(dimension, given, names, context)


def _called(dimension: str, given: str, names: NamesById, context: ReportContext) -> list[str | None]:
    """All that are called so: by id, name or label, or the null by a word that stands for it."""
    wanted, labels = given.casefold(), Labels({dimension: names})
    null: list[str | None] = [None] if _is_null(dimension, given, context) else []
    return null + [
        found
        for found, name in names.items()
        if wanted in {found.casefold(), name.display.casefold(), labels.of(dimension, found).casefold()}
    ]


def _is_null(dimension: str, given: str, context: ReportContext) -> bool:
    return given.casefold() in {NULL_WORDS.get(dimension), NULL_LABELS[dimension].casefold()} and context.can_see(
        dimension, None
    )


def _not_known(dimension: str, given: str, names: NamesById, context: ReportContext) -> InvalidQueryError:
    """The refusal of a name that nothing has, as far as whoever asks may see."""
    words = [NULL_WORDS[dimension]] if dimension in NULL_WORDS and context.can_see(dimension, None) else []
    return unknown_value_error(
        f"filter_by {dimension}", given, [*words, *sorted({name.display for name in names.values()})]
    )
