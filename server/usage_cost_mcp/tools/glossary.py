"""The words of the answers: every dimension and measure, what it means, and what it leaves out.

Which names there are, what their values are and which tool accepts them is taken from where that is decided; here are
the sentences alone. A name without one is an error when the glossary is made.
"""

from collections.abc import Iterable, Sequence

from usage_cost_mcp.analysis.price_volume_mix import EFFECTS
from usage_cost_mcp.model.dimensions import KNOWN_VALUES, NULL_WORDS
from usage_cost_mcp.model.query_schema import SPEND_QUERY
from usage_cost_mcp.model.upstream_reports import ALL_DIMENSIONS, COST_REPORT, USAGE_REPORT
from usage_cost_mcp.reports.cache_efficiency import CACHE_HIT_RATIO, CACHE_SAVINGS
from usage_cost_mcp.reports.labels import NULL_LABELS
from usage_cost_mcp.reports.series_report import Measure
from usage_cost_mcp.reports.spend import COST
from usage_cost_mcp.reports.status import LIMITS
from usage_cost_mcp.reports.token_usage import MEASURES

_INTRODUCTION = """\
# Glossary

Anthropic has two reports. The **cost report** is the bill, in US dollars per UTC day: billed cost, as FinOps calls it.
The **usage report** counts tokens and web searches. Names of dimensions and of their values are Anthropic's own."""

_DIMENSIONS = {
    "workspace_id": "The workspace that was used. Its name can be given too; archived ones stay in past days.",
    "api_key_id": "The API key that was used. The cost report does not have it: spend by key is an estimate.",
    "account_id": "The user account of a request that was signed in with OAuth. Spend by account is an estimate.",
    "service_account_id": "The service account of a request with a federated identity, by id alone. Spend by it is an "
    "estimate.",
    "model": "The model, as it is billed. Search, code execution, session time and credits have none.",
    "cost_type": "What kind of cost. session_usage is the session time of managed agents. Credits fit none.",
    "token_type": "Which price of a model. Costs that are not for tokens have none.",
    "service_tier": "How requests are served, which sets the price. The Priority Tier is in usage only: its cost is "
    "in no report.",
    "context_window": "How long the context of a request was; a long one may have its own price.",
    "inference_geo": "Where inference ran; us may have its own price. not_available: the model cannot choose.",
    "speed": "Fast mode or not. It is in usage only, so no cost can be told by it.",
    "description": "How Anthropic words a line of the bill: a label for people, which may change.",
}

_MEASURES = {
    "cost": "Billed cost, exact. Credits are in it, below zero. It leaves out the Priority Tier, seats, subscriptions, "
    "taxes, the balance and what is used through other clouds, and is not the invoice.",
    "input_tokens": "All input: the sum of the four counts below.",
    "uncached_input_tokens": "Input that was neither read from the prompt cache nor written to it.",
    "cache_read_input_tokens": "Input that was read from the prompt cache.",
    "cache_creation_5m_input_tokens": "Input that was written to the prompt cache for five minutes.",
    "cache_creation_1h_input_tokens": "Input that was written to the prompt cache for an hour.",
    "output_tokens": "Tokens that the model wrote.",
    "web_search_requests": "Searches of the web search tool. Not a count of requests: there is none.",
    "cache_hit_ratio": "cache_read_input_tokens / input_tokens, from summed counts. Null where there was no input.",
    "cache_savings": "What the input would have cost without the cache, less what it did cost, the premium for writes "
    "included, by effective prices. It leaves out tokens without a price, above all those of the Priority Tier.",
}
_TOKENS = (
    "Token counts hold every tier, the Priority Tier too, and may hold requests that were blocked. They leave out code "
    "execution and session time."
)

_EFFECTS = {
    "volume": "more or fewer tokens, at the price that they had",
    "price": "the same tokens at another effective price",
    "model_mix": "tokens that moved from one model to another",
    "tier_mix": "tokens that moved to another tier, context window or geo",
    "cache_mix": "another share of the input from the cache",
    "output_mix": "more or less output for the same input",
    "no_tokens": "costs that are not for tokens: search, code execution, sessions, credits",
}

_WORDS = """\
## Words that are made from these

- **Effective price** (`get_effective_prices`): billed cost divided by the tokens of the same cell, in dollars per
  million. It is no list price; where only one of both reports has a cell, there is none.
- **Allocated cost**: spend by API key, account or service account. Each cost is shared by tokens of the same cell, and
  the parts add up to the bill. What has no tokens is not attributable. Showback and chargeback by key are estimates.
- **Forecast** (`forecast_spend`): exact spend so far, and an estimate of the rest with an 80% interval.
- **Anomaly** (`find_spend_anomalies`): a day that is out of line with its group's own weekdays. Today is left out.
- **Partial**: a bucket that is not over yet. **Provisional**: a day that may still be revised.
- **Other**: all groups beyond the largest, as one exact line.

No cost is amortized: what was billed for a day is on that day. There is no cost per request, hour or local day."""


def as_markdown() -> str:
    """The whole glossary."""
    return "\n\n".join(
        [
            _INTRODUCTION,
            "## Dimensions",
            _table([["dimension", "meaning", "spend", "usage", "values", "null is"], *map(_dimension, ALL_DIMENSIONS)]),
            "## Measures",
            _table([["measure", "unit", "tool", "meaning"], *_measures()]),
            _TOKENS,
            "## Causes of a change (`compare_spend`)",
            _list(f"**{effect}**: {_EFFECTS[effect]}" for effect in EFFECTS),
            _WORDS,
            "## What the numbers never hold",
            _list(LIMITS),
        ]
    )


def _dimension(name: str) -> Sequence[str]:
    spend = "billed" if name in COST_REPORT.dimensions else "estimated" if name in SPEND_QUERY.allocatable else "-"
    usage = "counted" if name in USAGE_REPORT.dimensions else "-"
    word = f' (say "{NULL_WORDS[name]}")' if name in NULL_WORDS else ""
    values = ", ".join(KNOWN_VALUES.get(name, ["any"]))
    return [name, _DIMENSIONS[name], spend, usage, values, f"{NULL_LABELS[name]}{word}"]


def _measures() -> Iterable[Sequence[str]]:
    by_tool: dict[str, Iterable[Measure]] = {
        "get_spend": [COST],
        "get_token_usage": MEASURES.values(),
        "cache_hit_ratio": [CACHE_HIT_RATIO, CACHE_SAVINGS],
    }
    for tool, measures in by_tool.items():
        for measure in measures:
            yield [measure.name, measure.unit, tool, _MEASURES[measure.name]]


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
