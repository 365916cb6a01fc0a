"""Ask a model every question, run the calls that it wants on the demo organization, and score what comes of it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from mcp import Client

from benchmarks import demo
from benchmarks.questions import text_of

from .cases import Case
from .endpoints import APIS, Conversation, Wanted, headers
from .scoring import Called, Score, score

MOST_TURNS = 6
SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a model made of a question.

    Attributes:
        failed: Why the endpoint gave no answer; such a question counts as not asked.
    """

    case: Case
    score: Score
    calls: Sequence[Called]
    reply: str
    failed: str = ""


async def run(api: str, model: str, base_url: str, key: str, cases: Sequence[Case]) -> AsyncGenerator[Result]:
    """Every question in turn, each in a conversation of its own."""
    async with (
        server() as client,
        httpx.AsyncClient(base_url=base_url.rstrip("/") + "/", headers=headers(api, key), timeout=SECONDS) as http,
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
    """A client on the server, with the demo organization behind it and the clock at its usual moment."""
    with demo.upstream() as api:
        async with demo.client_of(api) as client:
            yield client


async def _answer(conversation: Conversation, client: Client) -> tuple[Sequence[Called], str]:
    """The calls and the last words; none, when it never stops calling."""
    calls: list[Called] = []
    for _ in range(MOST_TURNS):
        turn = await conversation.next()
        if not turn.calls:
            return calls, turn.text
        called = [await call(client, wanted) for wanted in turn.calls]
        conversation.tell(
            [(wanted, each.text, each.answer is None) for wanted, each in zip(turn.calls, called, strict=True)]
        )
        calls += called
    return calls, ""


async def call(client: Client, wanted: Wanted) -> Called:
    """Run a call as a host would."""
    result = await client.call_tool(wanted.tool, dict(wanted.arguments))
    answer = None if result.is_error else result.structured_content
    return Called(wanted.tool, wanted.arguments, answer, text_of(result))
