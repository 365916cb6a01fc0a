"""The dimensions of Anthropic's usage and cost reports, their values, and the words for them.

Source: https://platform.claude.com/docs/en/manage-claude/usage-cost-api
"""

from collections.abc import Mapping

Filters = Mapping[str, frozenset[str | None]]
"""The accepted values by dimension; None is the null of the reports: the default workspace, no key, ..."""

WORKSPACE = "workspace_id"
API_KEY = "api_key_id"
CHARGE_CATEGORY = "charge_category"
"""Not in the report, but derived from each of its rows; the name and the values are those of FOCUS."""

USAGE, CREDIT, ADJUSTMENT = "Usage", "Credit", "Adjustment"

NAMED_DIMENSIONS = (WORKSPACE, API_KEY, "account_id")
"""The dimensions whose values have names that can be looked up."""

NULL_WORDS = {WORKSPACE: "default", API_KEY: "none"}
"""The word that a person writes for the null of a dimension: the default workspace, use without a key."""

CONSOLE = "console"
"""The word for use in the Console, which has neither a key nor an account: a part of the use without a key."""

IDENTITIES = (API_KEY, "account_id", "service_account_id")
"""Whose use it is: a key's, a signed-in user's, a service account's; the Console's if all are null."""

STANDARD_SPEED, FAST_SPEED = SPEEDS = ("standard", "fast")

PRIORITY_TIERS = frozenset[str | None]({"priority", "priority_on_demand"})
"""The service tiers whose tokens are in the usage report, and whose cost is in no report."""

USAGE_MEASURES: Mapping[str, str] = {
    "uncached_input_tokens": "uncached_input_tokens",
    "cache_read_input_tokens": "cache_read_input_tokens",
    "cache_creation.ephemeral_5m_input_tokens": "cache_creation_5m_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens": "cache_creation_1h_input_tokens",
    "output_tokens": "output_tokens",
}
"""The measure of the usage report by token type of the cost report."""

TOKEN_TYPES = tuple(USAGE_MEASURES)
UNCACHED, CACHE_READ, CACHE_WRITE_5M, CACHE_WRITE_1H, OUTPUT = TOKEN_TYPES


MORE_INPUTS_PREFIX = "cache_creation."
"""What the token types, and measures, of cache writes that are not documented begin with."""


SEARCHES = "web_search_requests"
"""The measure of the usage report that counts web searches."""


def measure_of_cost(cost_type: str | None, token_type: str | None) -> str | None:
    """The measure of the usage report that a cost is charged for; None if the report does not have it."""
    if cost_type == "web_search":
        return SEARCHES
    return token_type and measure_of(token_type)


def measure_of(token_type: str) -> str:
    """The measure of the usage report for a token type; one that is not documented has the same name in both."""
    return USAGE_MEASURES.get(token_type, token_type)


KNOWN_VALUES: Mapping[str, tuple[str, ...]] = {
    "cost_type": ("tokens", "web_search", "code_execution", "session_usage"),
    "token_type": TOKEN_TYPES,
    "service_tier": ("standard", "batch", "priority", "priority_on_demand", "flex", "flex_discount"),
    "context_window": ("0-200k", "200k-1M"),
    "inference_geo": ("global", "us", "not_available"),
    "speed": SPEEDS,
    CHARGE_CATEGORY: (USAGE, CREDIT, ADJUSTMENT),
}
"""The documented values of the closed dimensions; upstream may add some at any time."""
