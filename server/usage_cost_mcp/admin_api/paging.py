"""Walking through pages, without ever stopping short in silence or going round in circles."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from usage_cost_mcp.errors import ContractError

MAX_PAGES = 200

Page = TypeVar("Page")


async def walk(
    fetch: Callable[[str | None], Awaitable[Page]], next_token: Callable[[Page], str | None], path: str
) -> AsyncIterator[Page]:
    """Every page, in order.

    Args:
        fetch: Brings the page that a token stands for; None stands for the first.
        next_token: The token of the page after this one, None after the last.
        path: For messages.

    Raises:
        ContractError: When a token comes again, or the pages do not end.
    """
    token: str | None = None
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        page = await fetch(token)
        yield page
        token = next_token(page)
        if token is None:
            return
        if token in seen:
            raise ContractError(f"{path} sends the same page again and again. No number is given.")
        seen.add(token)
    raise ContractError(f"{path} does not end after {MAX_PAGES} pages. Ask for a shorter period.")


def next_page_token(token: str | None, path: str, *, has_more: bool) -> str | None:
    """The token to go on with, if there is more.

    Raises:
        ContractError: When there is more, but no token to get it with.
    """
    if has_more and not token:
        raise ContractError(f"{path} says that there is more, but not how to get it. No number is given.")
    return token if has_more else None
