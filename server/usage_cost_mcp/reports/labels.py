"""Labels: what answers call the values of dimensions."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from usage_cost_mcp.analysis.allocation import UNALLOCATED
from usage_cost_mcp.cache.ports import Directory
from usage_cost_mcp.model.dimensions import API_KEY, CHARGE_CATEGORY, IDENTITIES, NAMED_DIMENSIONS
from usage_cost_mcp.model.names import ACTIVE, NamesById
from usage_cost_mcp.model.rows import Key
from usage_cost_mcp.runtime.call_context import CallContext

NULL_LABELS = {
    "workspace_id": "Default workspace",
    API_KEY: "No API key (Console, sign-in or service account)",
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
    CHARGE_CATEGORY: "No charge category",
}

UNALLOCATED_LABELS = {
    "api_key_id": "Not allocated to a key",
    "account_id": "Not allocated to an account",
    "service_account_id": "Not allocated to a service account",
}


@dataclass(frozen=True)
class Labels:
    """Labels of the values of dimensions.

    Attributes:
        names: By dimension, for the dimensions whose names were requested and are available.
        unavailable: The dimensions whose names were requested but could not be looked up.
    """

    names: Mapping[str, NamesById] = field(default_factory=dict[str, NamesById])
    unavailable: Sequence[str] = ()

    def of(self, dimension: str, value: str | None) -> str:
        """The label of one value; the ID is appended where several values have the same name."""
        if value is None:
            return NULL_LABELS[dimension]
        if value == UNALLOCATED:
            return UNALLOCATED_LABELS.get(dimension, value)
        names = self.names.get(dimension, {})
        if value not in names:
            return value
        name = names[value]
        text = name.display if name.status == ACTIVE else f"{name.display} ({name.status})"
        return f"{text} ({value})" if self._name_counts[dimension][name.display] > 1 else text

    @cached_property
    def _name_counts(self) -> dict[str, Counter[str]]:
        """How many values of each dimension have a name."""
        return {
            dimension: Counter([NULL_LABELS[dimension], *(name.display for name in names.values())])
            for dimension, names in self.names.items()
        }

    def of_group(self, dimensions: Sequence[str], key: Key) -> str:
        """The label of a group; "Total" for the only group of an answer without a grouping."""
        if not dimensions:
            return "Total"
        group = dict(zip(dimensions, key, strict=True))
        return " / ".join(
            _keyless_label(group) if dimension == API_KEY and value is None else self.of(dimension, value)
            for dimension, value in group.items()
        )


def _keyless_label(group: Mapping[str, str | None]) -> str:
    """What use without an API key was, as far as the other dimensions of its group tell."""
    _, account, service_account = IDENTITIES
    if group.get(account):
        return "Sign-in (no API key)"
    if group.get(service_account):
        return "Service account (no API key)"
    return "Console (no API key)" if group.keys() >= set(IDENTITIES) else NULL_LABELS[API_KEY]


async def fetch_labels(directory: Directory, dimensions: Iterable[str], call: CallContext) -> Labels:
    """The labels of all values of the given dimensions; names are fetched where a dimension has them."""
    requested = [dimension for dimension in NAMED_DIMENSIONS if dimension in set(dimensions)]
    fetched = {dimension: await directory.names(dimension, call) for dimension in requested}
    return Labels(
        {dimension: names for dimension, names in fetched.items() if names is not None},
        [dimension for dimension, names in fetched.items() if names is None],
    )
