"""What a model has to read: the list of the tools, and the two halves of ten standard answers."""

import asyncio
from collections.abc import Iterable, Sequence
from statistics import median

from . import demo
from .figures import Figure, counted
from .questions import STANDARD, ask, compact, text_of

MOST_OF_THE_LIST = 16_000
MOST_OF_HALF_THE_ANSWERS = 2_500
MOST_OF_AN_ANSWER = 6_000


def counts() -> Iterable[Figure]:
    """Characters; structured halves as compact JSON."""
    listed, texts, structured = asyncio.run(_weigh())
    yield counted("the list of the tools", listed, "characters", MOST_OF_THE_LIST)
    for half, lengths in (("text", texts), ("structured", structured)):
        yield counted(f"ten answers, {half} half, median", median(lengths), "characters", MOST_OF_HALF_THE_ANSWERS)
        yield counted(f"ten answers, {half} half, longest", max(lengths), "characters", MOST_OF_AN_ANSWER)
    for query, text, other in zip(STANDARD, texts, structured, strict=True):
        words = " ".join([query.tool, *(f"{name}={value}" for name, value in query.arguments.items())])
        yield counted(words, text + other, f"characters: {text} text, {other} structured")


async def _weigh() -> tuple[int, Sequence[int], Sequence[int]]:
    with demo.upstream() as api:
        async with demo.client_of(api) as client:
            tools = await client.list_tools()
            answers = [await ask(client, query) for query in STANDARD]
    listed = compact(tools.model_dump(mode="json", by_alias=True, exclude_none=True))
    structured = [len(compact(answer.structured_content)) for answer in answers]
    return len(listed), [len(text_of(answer)) for answer in answers], structured
