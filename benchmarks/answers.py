"""Characters that a model reads: the tool list, and both halves of ten standard answers."""

import asyncio
from collections.abc import Iterable, Sequence
from statistics import median

from . import demo
from .figures import Figure, counted
from .questions import STANDARD, ask, compact, text_of

MAX_TOOL_LIST = 16_000
MAX_MEDIAN_ANSWER = 2_500
MAX_ANSWER = 6_000


def counts() -> Iterable[Figure]:
    """Sizes in characters; the structured half is measured as compact JSON."""
    listed, texts, structured = asyncio.run(_weigh())
    yield counted("tool list", listed, "characters", MAX_TOOL_LIST)
    for half, lengths in (("text", texts), ("structured", structured)):
        yield counted(f"ten answers, {half} half, median", median(lengths), "characters", MAX_MEDIAN_ANSWER)
        yield counted(f"ten answers, {half} half, longest", max(lengths), "characters", MAX_ANSWER)
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
