"""Every page is read once and in order, or there is an error."""

from collections.abc import Callable

import pytest

from usage_cost_mcp.admin_api.paging import MAX_PAGES, next_page_token, walk
from usage_cost_mcp.errors import ContractError

pytestmark = pytest.mark.anyio

PATH = "/v1/organizations/cost_report"


async def walked(token_after: Callable[[str | None], str | None]) -> tuple[list[str | None], str]:
    """The tokens of the pages that were requested, and the error of the read, if any."""
    pages: list[str | None] = []
    asked: list[str | None] = []

    async def fetch(token: str | None) -> str | None:
        asked.append(token)
        return token

    try:
        pages.extend([page async for page in walk(fetch, token_after, PATH)])
    except ContractError as error:
        return asked, str(error)
    assert pages == asked
    return asked, ""


@pytest.mark.parametrize(
    ("after", "asked"),
    [
        ({None: None}, [None]),
        ({None: "b", "b": None}, [None, "b"]),
        ({None: "b", "b": "a", "a": "c", "c": None}, [None, "b", "a", "c"]),
        ({None: "", "": None}, [None, ""]),
    ],
)
async def test_pages_come_in_order_until_there_is_no_token(
    after: dict[str | None, str | None], asked: list[str | None]
) -> None:
    assert await walked(after.__getitem__) == (asked, "")


@pytest.mark.parametrize(
    ("after", "asked"),
    [
        ({None: "a", "a": "a"}, [None, "a"]),
        ({None: "a", "a": "b", "b": "a"}, [None, "a", "b"]),
        ({None: "a", "a": "b", "b": "c", "c": "b"}, [None, "a", "b", "c"]),
    ],
)
async def test_a_repeated_token_is_an_error(after: dict[str | None, str | None], asked: list[str | None]) -> None:
    refusal = f"{PATH} sent the same page token twice; no total is reported."
    assert await walked(after.__getitem__) == (asked, refusal)


async def test_endless_pages_are_an_error() -> None:
    asked, refusal = await walked(lambda page: str(int(page or 0) + 1))
    assert len(asked) == MAX_PAGES == 200
    assert refusal == f"{PATH} has more than 200 pages. Ask for a shorter period."


async def test_the_maximum_number_of_pages_is_read() -> None:
    asked, refusal = await walked(lambda page: None if page == "199" else str(int(page or 0) + 1))
    assert (len(asked), refusal) == (200, "")


@pytest.mark.parametrize(
    ("token", "has_more", "next_token"),
    [("abc", True, "abc"), ("abc", False, None), ("", False, None), (None, False, None)],
)
def test_a_token_counts_only_with_has_more(token: str | None, next_token: str | None, *, has_more: bool) -> None:
    assert next_page_token(token, PATH, has_more=has_more) == next_token


@pytest.mark.parametrize("token", [None, ""])
def test_has_more_without_a_token_is_an_error(token: str | None) -> None:
    with pytest.raises(ContractError) as refused:
        next_page_token(token, PATH, has_more=True)
    assert str(refused.value) == f"{PATH} sent has_more=true without a page token; no total is reported."
