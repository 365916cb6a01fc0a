"""Resolves filter values: from IDs, names, labels and words for null to the values that rows hold."""

from contextlib import suppress

from usage_cost_mcp.analysis.allocation import UNALLOCATED
from usage_cost_mcp.cache import CacheResult
from usage_cost_mcp.errors import InvalidQueryError, UnavailableError, short_repr, unknown_value_error
from usage_cost_mcp.model.dimensions import API_KEY, CONSOLE, KNOWN_VALUES, NAMED_DIMENSIONS, NULL_WORDS, Filters
from usage_cost_mcp.model.names import Name, NamesById
from usage_cost_mcp.model.query_schema import QuerySchema
from usage_cost_mcp.model.series import values_of
from usage_cost_mcp.runtime.call_context import CallContext

from .context import ReportContext
from .labels import NULL_LABELS, UNALLOCATED_LABELS, Labels
from .query import RawFilters

_ID_PREFIXES = {
    "workspace_id": "wrkspc_",
    "api_key_id": "apikey_",
    "account_id": "user_",
    "service_account_id": "svac_",
}


class FilterResolver:
    """Resolves the filter values of one call. Values that the principal may not see are unknown."""

    def __init__(self, context: ReportContext, schema: QuerySchema, call: CallContext) -> None:
        self._context = context
        self._schema = schema
        self._call = call

    async def resolve(self, filter_by: RawFilters) -> Filters:
        """The values that rows hold, by dimension.

        Raises:
            InvalidQueryError: For an unknown or ambiguous value.
            UnavailableError: For a name when names cannot be looked up.
        """
        return {
            dimension: frozenset(
                [value for given in dict.fromkeys(values) for value in await self._expand(dimension, given)]
            )
            for dimension, values in filter_by.items()
        }

    async def _expand(self, dimension: str, given: str | None) -> list[str | None]:
        """The values of one argument: one, or several for a comma-separated list. A name may contain commas."""
        if given is None or "," not in given:
            return [await self._resolve(dimension, given)]
        if not await self._is_unknown_name(dimension, given):
            with suppress(InvalidQueryError):
                return [await self._resolve(dimension, given)]
        parts = dict.fromkeys(part.strip() for part in given.split(",") if part.strip())
        return [await self._resolve(dimension, part) for part in parts]

    async def _is_unknown_name(self, dimension: str, given: str) -> bool:
        """Whether no value has this name: cheaper to check than the error, which searches for similar names."""
        if dimension not in NAMED_DIMENSIONS or _is_id(dimension, given):
            return False
        names = await self._names(dimension)
        return names is not None and not self._matches(dimension, given, names)

    async def _resolve(self, dimension: str, given: str | None) -> str | None:
        value = await self._lookup(dimension, given)
        if self._context.can_see(dimension, value):
            return value
        names = await self._names(dimension) or {each: Name(each) for each in self._context.workspaces or () if each}
        raise self._unknown_name_error(dimension, given or NULL_WORDS[dimension], names)

    async def _lookup(self, dimension: str, given: str | None) -> str | None:
        if given is None:
            return None
        if dimension in self._schema.allocatable and _is_unallocated(dimension, given):
            return UNALLOCATED
        if dimension in NAMED_DIMENSIONS and not _is_id(dimension, given):
            return await self._lookup_name(dimension, given)
        if given.casefold() == NULL_LABELS[dimension].casefold():
            return None
        return self._checked(dimension, given)

    async def _lookup_name(self, dimension: str, given: str) -> str | None:
        """The ID of a name or label; None for a word that stands for null."""
        names = await self._names(dimension)
        if names is None:
            if self._is_null(dimension, given):
                return None
            raise UnavailableError(
                f"The names of {dimension} values cannot be looked up at the moment, so {short_repr(given)} cannot be "
                f"resolved. Use an ID ({_ID_PREFIXES[dimension]}...)."
            )
        matches = self._matches(dimension, given, names)
        if not matches:
            raise self._unknown_name_error(dimension, given, names)
        if len(matches) > 1:
            ids = ", ".join(value or "null" for value in matches)
            raise InvalidQueryError(
                f"filter_by {dimension}: {len(matches)} values are named {short_repr(given)}. Use an ID: {ids}."
            )
        return matches[0]

    def _matches(self, dimension: str, given: str, names: NamesById) -> list[str | None]:
        """All values with this ID, name or label, and null if the word stands for it."""
        wanted, labels = given.casefold(), Labels({dimension: names})
        null: list[str | None] = [None] if self._is_null(dimension, given) else []
        return null + [
            value
            for value, name in names.items()
            if wanted in {value.casefold(), name.display.casefold(), labels.of(dimension, value).casefold()}
        ]

    def _is_null(self, dimension: str, given: str) -> bool:
        words = {NULL_WORDS.get(dimension), NULL_LABELS[dimension].casefold()}
        if dimension == API_KEY:
            words.add(CONSOLE)  # parse_query has added the filters that exclude accounts
        return given.casefold() in words and self._context.can_see(dimension, None)

    def _checked(self, dimension: str, given: str) -> str:
        """The value as given, unless it cannot be one of the dimension's values."""
        if dimension in KNOWN_VALUES:
            # Upstream may have added values since these were documented.
            cached = sorted(self._context.cache.values(self._schema.report, dimension))
            accepted = dict.fromkeys([*KNOWN_VALUES[dimension], *cached])
            spelled = {value.casefold(): value for value in accepted} | {value: value for value in accepted}
            value = spelled.get(given) or spelled.get(given.casefold())
            if value is None:
                raise unknown_value_error(f"filter_by {dimension}", given, accepted)
            return value
        if dimension == "service_account_id" and not _is_id(dimension, given):
            raise InvalidQueryError(f"filter_by {dimension} takes IDs that start with svac_, not {short_repr(given)}.")
        if dimension == "model" and "," in given:
            raise InvalidQueryError(f"filter_by model: {short_repr(given)} is not a single model.")
        return given

    def _unknown_name_error(self, dimension: str, given: str, names: NamesById) -> InvalidQueryError:
        words = [NULL_WORDS[dimension]] if dimension in NULL_WORDS and self._context.can_see(dimension, None) else []
        accepted = [*words, *sorted({name.display for name in names.values()})]
        return unknown_value_error(f"filter_by {dimension}", given, accepted)

    async def _names(self, dimension: str) -> NamesById | None:
        return await self._context.directory.names(dimension, self._call)


def _is_id(dimension: str, given: str) -> bool:
    return given.startswith(_ID_PREFIXES[dimension])


def _is_unallocated(dimension: str, given: str) -> bool:
    return given.casefold() in {UNALLOCATED, UNALLOCATED_LABELS[dimension].casefold()}


def normalize_values(filters: Filters, held: CacheResult) -> Filters:
    """The filters with models and descriptions spelled as in the rows, ignoring case and dots versus dashes."""
    normalized: dict[str, frozenset[str | None]] = {}
    for dimension, values in filters.items():
        occurring = values_of(held.days, dimension) if dimension in {"model", "description"} else set[str | None]()
        spellings = {_spelling_key(value): value for value in occurring if value}
        normalized[dimension] = frozenset(value and spellings.get(_spelling_key(value), value) for value in values)
    return normalized


def _spelling_key(value: str) -> str:
    return value.casefold().replace(".", "-")
