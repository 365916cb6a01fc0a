"""Runs the evaluation: asks every question, runs the tool calls on the demo organization, and scores the replies."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from mcp import Client

from benchmarks import demo
from benchmarks.questions import text_of

from .cases import Case
from .endpoints import APIS, Conversation, ToolCall, headers
from .scoring import Called, Score, score

MAX_TURNS = 6
TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Result:
    """A model's result for a question.

    Attributes:
        failed: The endpoint's error; the question is then not counted.
    """

    case: Case
    score: Score
    calls: Sequence[Called]
    reply: str
    failed: str = ""


async def run(api: str, model: str, base_url: str, key: str, cases: Sequence[Case]) -> AsyncGenerator[Result]:
    """Ask every question, each in a new conversation."""
    async with (
        server() as client,
        httpx.AsyncClient(
            base_url=base_url.rstrip("/") + "/", headers=headers(api, key), timeout=TIMEOUT_SECONDS
        ) as http,
    ):
        tools = (await client.list_tools()).tools
        system = f"{client.instructions}\nIt is {demo.NOW:%A, %Y-%m-%d %H:%M} UTC."
        for case in cases:
            conversation = APIS[api](http, model, system, tools, case.question)
            try:
                calls, reply = await _answer(conversation, client)
            except (httpx.HTTPError, LookupError, TypeError, ValueError) as error:
                yield Result(case, Score(0, 0, 0), [], "", f"{type(error).__name__}: {error}")
            else:
                yield Result(case, score(case, calls, reply), calls, reply)


@asynccontextmanager
async def server() -> AsyncGenerator[Client]:
    """A client of a server with the demo organization, at the fixed time of the demo."""
    with demo.upstream() as api:
        async with demo.client_of(api) as client:
            yield client


async def _answer(conversation: Conversation, client: Client) -> tuple[Sequence[Called], str]:
    """The calls and the final reply; an empty one if the model does not stop calling tools."""
    calls: list[Called] = []
    for _ in range(MAX_TURNS):
        turn = await conversation.next()
        if not turn.calls:
            return calls, turn.text
        called = [await call(client, requested) for requested in turn.calls]
        conversation.add_results(
            [(requested, each.text, each.answer is None) for requested, each in zip(turn.calls, called, strict=True)]
        )
        calls += called
    return calls, ""


async def call(client: Client, requested: ToolCall) -> Called:
    """Run a tool call as a host would."""
    result = await client.call_tool(requested.tool, dict(requested.arguments))
    answer = None if result.is_error else result.structured_content
    return Called(requested.tool, requested.arguments, answer, text_of(result))
