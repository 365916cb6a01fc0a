"""Between ids and what a person calls them, in both directions."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from usage_cost_mcp.calls import Call
from usage_cost_mcp.dimensions import NAMED, NULL_WORDS, Filters
from usage_cost_mcp.errors import AccessError, QuestionError, unknown
from usage_cost_mcp.names import Directory, Names
from usage_cost_mcp.rows import Key

from .question import GivenFilters

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

_ID_PREFIXES = {
    "workspace_id": "wrkspc_",
    "api_key_id": "apikey_",
    "account_id": "user_",
    "service_account_id": "svac_",
}


@dataclass(frozen=True, slots=True)
class Labels:
    """What the values of the dimensions are called.

    Attributes:
        names: By dimension; a dimension is missing here when its names were not needed or not to be had.
        refused: The dimensions whose names were needed but not to be had.
    """

    names: Mapping[str, Names] = field(default_factory=dict[str, Names])
    refused: Sequence[str] = ()

    def of(self, dimension: str, value: str | None) -> str:
        """The label of one value; the id follows where the name alone would be ambiguous."""
        if value is None:
            return NULL_LABELS[dimension]
        names = self.names.get(dimension, {})
        if value not in names:
            return value
        name = names[value]
        text = f"{name.text} (archived)" if name.archived else name.text
        same = Counter(each.text for each in names.values())[name.text]
        return f"{text} ({value})" if same > 1 else text

    def of_group(self, dimensions: Sequence[str], key: Key) -> str:
        """The label of a group; "Total" for the one group of an answer without a grouping."""
        if not dimensions:
            return "Total"
        return " / ".join(self.of(dimension, value) for dimension, value in zip(dimensions, key, strict=True))


async def look_up(directory: Directory, dimensions: Iterable[str], call: Call) -> Labels:
    """The labels of all values of the given dimensions."""
    wanted = [dimension for dimension in NAMED if dimension in set(dimensions)]
    found = {dimension: await directory.names(dimension, call) for dimension in wanted}
    return Labels(
        {dimension: names for dimension, names in found.items() if names is not None},
        [dimension for dimension, names in found.items() if names is None],
    )


async def resolve(directory: Directory, given: GivenFilters, call: Call) -> Filters:
    """Turn the values that a person gave into the values that rows hold.

    Raises:
        QuestionError: For a name that nothing has, or that several things have.
        AccessError: For a name when names cannot be looked up.
    """
    return {
        dimension: frozenset([await _resolve_one(directory, dimension, value, call) for value in values])
        for dimension, values in given.items()
    }


async def _resolve_one(directory: Directory, dimension: str, value: str | None, call: Call) -> str | None:
    if value is None or value.casefold() in {NULL_WORDS.get(dimension), NULL_LABELS[dimension].casefold()}:
        return None
    prefix = _ID_PREFIXES.get(dimension)
    if prefix is None or value.startswith(prefix):
        return value
    if dimension not in NAMED:
        raise QuestionError(f"filter_by {dimension} takes ids that start with {prefix}, not {value!r}.")
    names = await directory.names(dimension, call)
    if names is None:
        raise AccessError(
            f"The names of {dimension} values cannot be looked up at the moment, so {value!r} cannot be found. "
            f"Give the id ({prefix}...)."
        )
    return _by_name(dimension, value, names)


def _by_name(dimension: str, value: str, names: Names) -> str:
    if value in names:
        return value
    matches = [found for found, name in names.items() if name.text.casefold() == value.casefold()]
    match matches:
        case [only]:
            return only
        case []:
            words = [NULL_WORDS[dimension]] if dimension in NULL_WORDS else []
            raise unknown(f"filter_by {dimension}", value, [*words, *sorted({name.text for name in names.values()})])
        case _:
            raise QuestionError(
                f"filter_by {dimension}: {len(matches)} are called {value!r}. Give an id: {', '.join(matches)}."
            )
