"""Reads all pages of a response, or fails: never stops early without an error, never loops."""

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
        fetch: Returns the page of a token; None is the first page.
        next_token: Returns the token of the page that follows; None after the last.
        path: For error messages.

    Raises:
        ContractError: A token is repeated, or there are more than `MAX_PAGES` pages.
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
            raise ContractError(f"{path} sent the same page token twice; no total is reported.")
        seen.add(token)
    raise ContractError(f"{path} has more than {MAX_PAGES} pages. Ask for a shorter period.")


def next_page_token(token: str | None, path: str, *, has_more: bool) -> str | None:
    """The token of the next page; None after the last.

    Raises:
        ContractError: There is another page, but no token.
    """
    if has_more and not token:
        raise ContractError(f"{path} sent has_more=true without a page token; no total is reported.")
    return token if has_more else None
