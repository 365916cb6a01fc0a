"""A fictional organization of any size, as Admin API response bodies with all documented fields.

Deterministic for a day and number of rows. Values repeat realistically: 12 models, 100 workspaces.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import product
from random import Random

MODELS = tuple(
    f"claude-{family}-{release}" for family in ("opus", "sonnet", "haiku") for release in ("4-0", "4-1", "4-5", "4-6")
)
WORKSPACES = tuple(f"wrkspc_01BenchmarkNever{number:08}" for number in range(100))

_MANNERS = tuple(product(("standard", "batch"), ("0-200k", "200k-1M"), ("global", "us", "not_available")))
_TOKENS = {
    "uncached_input_tokens": "Input Tokens",
    "output_tokens": "Output Tokens",
    "cache_read_input_tokens": "Input Tokens, Cache Hit",
    "cache_creation.ephemeral_5m_input_tokens": "Input Tokens, Cache Write",
    "cache_creation.ephemeral_1h_input_tokens": "Input Tokens, Cache Write 1h",
}
_LARGEST_COUNTS = (10**6, 10**9, 10**5, 10**4, 10**7)


@cache
def usage_bucket(day: date, rows: int) -> bytes:
    """One day of the usage report under the five base dimensions."""
    random = Random(day.toordinal())  # noqa: S311 - not security-relevant
    return _bucket(day, [_usage_row(number, random) for number in range(rows)])


def _usage_row(number: int, random: Random) -> Mapping[str, object]:
    rest, model = divmod(number, len(MODELS))
    rest, workspace = divmod(rest, len(WORKSPACES))
    tier, context, geo = _MANNERS[(rest + model + workspace) % len(_MANNERS)]
    uncached, read, short, long, output = (random.randrange(100, most) for most in _LARGEST_COUNTS)
    return {
        "uncached_input_tokens": uncached,
        "cache_creation": {"ephemeral_1h_input_tokens": long, "ephemeral_5m_input_tokens": short},
        "cache_read_input_tokens": read,
        "output_tokens": output,
        "server_tool_use": {"web_search_requests": random.randrange(10)},
        "account_id": None,
        "api_key_id": None,
        "workspace_id": WORKSPACES[workspace],
        "service_account_id": None,
        "model": MODELS[model],
        "service_tier": tier,
        "context_window": context,
        "inference_geo": geo,
    }


@cache
def cost_bucket(day: date, rows: int) -> bytes:
    """One day of the cost report under both of its groupings."""
    random = Random(day.toordinal())  # noqa: S311 - not security-relevant
    return _bucket(day, [_cost_row(number, random) for number in range(rows)])


def _cost_row(number: int, random: Random) -> Mapping[str, object]:
    rest, model = divmod(number, len(MODELS))
    workspace, token = divmod(rest, len(_TOKENS))
    token_type, label = list(_TOKENS.items())[token]
    name = MODELS[model].replace("-", " ").title()
    return {
        "currency": "USD",
        "amount": f"{random.randrange(10**9)}.{random.randrange(10**6):06}",
        "workspace_id": WORKSPACES[workspace],
        "description": f"{name} Usage - {label}",
        "cost_type": "tokens",
        "token_type": token_type,
        "model": MODELS[model],
        "service_tier": "standard",
        "context_window": "0-200k",
        "inference_geo": "global",
    }


def _bucket(day: date, results: Sequence[Mapping[str, object]]) -> bytes:
    start, end = midnight(day), midnight(day + timedelta(days=1))
    return json.dumps({"starting_at": start, "ending_at": end, "results": results}, separators=(",", ":")).encode()


def midnight(day: date) -> str:
    """The start of a day in the API's format."""
    return f"{day}T00:00:00Z"


def workspace_list() -> bytes:
    """All workspaces in one page."""
    data = [{"id": workspace, "name": f"Team {number}"} for number, workspace in enumerate(WORKSPACES)]
    return json.dumps({"data": data, "has_more": False, "first_id": WORKSPACES[0], "last_id": WORKSPACES[-1]}).encode()


def last_days(count: int) -> list[date]:
    """The last complete UTC days, oldest first."""
    today = datetime.now(UTC).date()
    return [today - timedelta(days=age) for age in range(count, 0, -1)]
