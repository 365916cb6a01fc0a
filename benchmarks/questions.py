"""The questions: a conversation of ten follow-ups, and ten standard questions whose answers are measured."""

import json
from datetime import date
from typing import Any, NamedTuple

from mcp import Client
from mcp.types import CallToolResult


class Question(NamedTuple):
    """A tool call."""

    tool: str
    arguments: dict[str, Any]


class FollowUp(NamedTuple):
    """A question of the conversation, with the data that it needs.

    Attributes:
        report: The report that has the answer.
        days: First and last day of the question, at the fixed time of the demo.
        names: Whether it needs workspace names.
    """

    query: Question
    report: str
    days: tuple[date, date]
    names: bool = False


_OCTOBER = (date(2026, 10, 1), date(2026, 10, 31))

CONVERSATION = (
    FollowUp(Question("get_spend", {"period": "last_month", "group_by": ["model"]}), "spend", _OCTOBER),
    FollowUp(
        Question("get_spend", {"period": "last_month", "group_by": ["workspace_id"]}), "spend", _OCTOBER, names=True
    ),
    FollowUp(
        Question(
            "get_spend",
            {"period": "last_month", "group_by": ["model"], "filter_by": {"workspace_id": ["Production"]}},
        ),
        "spend",
        _OCTOBER,
        names=True,
    ),
    FollowUp(Question("get_token_usage", {"period": "last_month", "group_by": ["model"]}), "usage", _OCTOBER),
    FollowUp(Question("cache_hit_ratio", {"period": "last_month"}), "usage", _OCTOBER),
    FollowUp(
        Question("get_spend", {"period": "last_14_days", "group_by": ["model"]}),
        "spend",
        (date(2026, 11, 8), date(2026, 11, 21)),
    ),
    FollowUp(
        Question("get_spend", {"period": "last_month", "group_by": ["model"], "granularity": "week"}),
        "spend",
        _OCTOBER,
    ),
    FollowUp(
        Question("get_spend", {"period": "2026-10-21", "group_by": ["model"]}),
        "spend",
        (date(2026, 10, 21), date(2026, 10, 21)),
    ),
    FollowUp(Question("get_token_usage", {"period": "last_month", "group_by": ["service_tier"]}), "usage", _OCTOBER),
    FollowUp(
        Question("get_spend", {"period": "2026-09", "group_by": ["model"]}),
        "spend",
        (date(2026, 9, 1), date(2026, 9, 30)),
    ),
)

STANDARD = (
    Question("get_spend", {}),
    Question("get_spend", {"period": "last_month", "group_by": ["model"]}),
    Question("get_spend", {"period": "this_month"}),
    Question("compare_spend", {}),
    Question("forecast_spend", {"budget": 8000}),
    Question("find_spend_anomalies", {}),
    Question("get_token_usage", {"period": "last_month", "group_by": ["model"]}),
    Question("cache_hit_ratio", {"period": "this_quarter", "group_by": ["workspace_id"], "granularity": "month"}),
    Question("list_dimension_values", {"dimension": "workspace_id"}),
    Question("get_status", {}),
)


async def ask(client: Client, query: Question) -> CallToolResult:
    """The result of a tool call.

    Raises:
        RuntimeError: If the call fails: errors are quick and short, and would distort the figures.
    """
    result = await client.call_tool(query.tool, query.arguments)
    if result.is_error:
        raise RuntimeError(text_of(result))
    return result


def text_of(result: CallToolResult) -> str:
    """The text half of a result."""
    return "\n".join(block.text for block in result.content if block.type == "text")


def compact(value: object) -> str:
    """A value as compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
