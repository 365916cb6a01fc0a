"""Model endpoints: OpenAI's chat completions and Anthropic's messages."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import httpx
from mcp.types import Tool

MAX_TOKENS = 4096
"""Maximum output tokens of one reply."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call requested by the model."""

    id: str
    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """A reply of the model and its tool calls; without calls it has finished."""

    text: str
    calls: Sequence[ToolCall]


class Conversation(Protocol):
    """A conversation about one question."""

    async def next(self) -> Turn:
        """Get the model's next turn."""
        ...

    def add_results(self, results: Sequence[tuple[ToolCall, str, bool]]) -> None:
        """Add the results of its calls: each with its text and whether it is an error."""
        ...


@dataclass
class OpenAi:
    """`POST {base_url}/chat/completions`."""

    http: httpx.AsyncClient
    model: str
    system: str
    tools: Sequence[Tool]
    question: str
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def __post_init__(self) -> None:
        self.messages += [{"role": "system", "content": self.system}, {"role": "user", "content": self.question}]

    async def next(self) -> Turn:
        tools = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.input_schema},
            }
            for tool in self.tools
        ]
        body = {"model": self.model, "messages": self.messages, "tools": tools}
        message = (await _post(self.http, "chat/completions", body))["choices"][0]["message"]
        self.messages.append(message)
        calls = [
            ToolCall(call["id"], call["function"]["name"], _arguments(call["function"]["arguments"]))
            for call in message.get("tool_calls") or ()
        ]
        return Turn(message.get("content") or "", calls)

    def add_results(self, results: Sequence[tuple[ToolCall, str, bool]]) -> None:
        self.messages += [{"role": "tool", "tool_call_id": call.id, "content": text} for call, text, _ in results]


@dataclass
class Anthropic:
    """`POST {base_url}/v1/messages`."""

    http: httpx.AsyncClient
    model: str
    system: str
    tools: Sequence[Tool]
    question: str
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def __post_init__(self) -> None:
        self.messages.append({"role": "user", "content": self.question})

    async def next(self) -> Turn:
        tools = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
            for tool in self.tools
        ]
        body = {
            "model": self.model,
            "max_tokens": MAX_TOKENS,
            "system": self.system,
            "messages": self.messages,
            "tools": tools,
        }
        content = (await _post(self.http, "v1/messages", body))["content"]
        self.messages.append({"role": "assistant", "content": content})
        calls = [ToolCall(part["id"], part["name"], part["input"]) for part in content if part["type"] == "tool_use"]
        return Turn("\n".join(part["text"] for part in content if part["type"] == "text"), calls)

    def add_results(self, results: Sequence[tuple[ToolCall, str, bool]]) -> None:
        content = [
            {"type": "tool_result", "tool_use_id": call.id, "content": text, "is_error": is_error}
            for call, text, is_error in results
        ]
        self.messages.append({"role": "user", "content": content})


APIS: Mapping[str, type[OpenAi | Anthropic]] = {"openai": OpenAi, "anthropic": Anthropic}


def headers(api: str, key: str) -> dict[str, str]:
    """The authentication headers of each API."""
    if not key:
        return {}
    if api == "anthropic":
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}
    return {"authorization": f"Bearer {key}"}


async def _post(http: httpx.AsyncClient, path: str, body: Mapping[str, Any]) -> Any:
    response = await http.post(path, json=body)
    response.raise_for_status()
    return response.json()


def _arguments(given: str) -> Mapping[str, Any]:
    """Arguments arrive as JSON text; anything else is passed on as an unknown argument."""
    try:
        arguments = json.loads(given or "{}")
    except ValueError:
        arguments = given
    return cast("dict[str, Any]", arguments) if isinstance(arguments, dict) else {"arguments": arguments}
