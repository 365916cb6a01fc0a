"""The documented response bodies of the Admin API: strict about what a number needs, lenient about additions.

Unknown fields are ignored and unknown enum values are kept as text, as the API's versioning policy asks.
Source: https://platform.claude.com/docs/en/api/versioning
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import AwareDatetime, StrictBool, StrictStr, TypeAdapter, ValidationError
from pydantic_core import from_json

from usage_cost_mcp.errors import ContractError

R = TypeVar("R")
T = TypeVar("T")


@dataclass(slots=True)
class Bucket:
    """The rows of [starting_at, ending_at), parsed by `row_parsing`."""

    starting_at: AwareDatetime
    ending_at: AwareDatetime
    results: list[Any]


@dataclass(slots=True)
class ReportPage:
    data: list[Bucket]
    has_more: StrictBool
    next_page: StrictStr | None = None


@dataclass(slots=True)
class ListPage(Generic[R]):
    data: list[R]
    has_more: StrictBool
    last_id: StrictStr | None = None


@dataclass(slots=True)
class Organization:
    """The organization that the key belongs to."""

    id: StrictStr
    name: StrictStr


@dataclass(slots=True)
class Workspace:
    """A workspace. The list does not contain the default workspace."""

    id: StrictStr
    name: StrictStr
    archived_at: StrictStr | None = None


@dataclass(slots=True)
class ApiKey:
    """An API key, never the secret itself.

    Attributes:
        workspace_id: None for the default workspace; empty when the list leaves it out.
    """

    id: StrictStr
    name: StrictStr
    status: StrictStr = "active"
    workspace_id: StrictStr | None = ""


@dataclass(slots=True)
class User:
    id: StrictStr
    name: StrictStr | None = None
    email: StrictStr | None = None


REPORT_PAGE: TypeAdapter[ReportPage] = TypeAdapter(ReportPage)
WORKSPACES: TypeAdapter[ListPage[Workspace]] = TypeAdapter(ListPage[Workspace])
API_KEYS: TypeAdapter[ListPage[ApiKey]] = TypeAdapter(ListPage[ApiKey])
USERS: TypeAdapter[ListPage[User]] = TypeAdapter(ListPage[User])
ORGANIZATION: TypeAdapter[Organization] = TypeAdapter(Organization)


def read(adapter: TypeAdapter[T], body: bytes | bytearray, path: str) -> T:
    """Parse a body.

    Raises:
        ContractError: A documented field is missing or has another type. Names the field, never the content.
    """
    try:
        return adapter.validate_python(_parsed(body))
    except ValidationError as error:
        place, kind = first_error(error)
        raise contract_error(path, place or "the body", kind) from None
    except ValueError:
        raise contract_error(path, "the body", "json_invalid") from None


def first_error(error: ValidationError) -> tuple[str, str]:
    """The location and kind of the first error, without the offending input."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return ".".join(str(part) for part in first["loc"]), first["type"]


def contract_error(path: str, place: str, kind: str) -> ContractError:
    return ContractError(
        f"{path} answered in an unexpected format: {place} is not as documented ({kind}). "
        "No total is reported, because it would be a guess."
    )


def _parsed(body: bytes | bytearray) -> Any:
    """The parsed JSON. Lone surrogates in strings are replaced: the fast parser rejects them as invalid JSON."""
    try:
        return from_json(body)
    except ValueError:
        if not _LONE_SURROGATE.search(body):
            raise
        try:
            repaired = json.dumps(json.loads(body.decode()), ensure_ascii=False)
        except RecursionError:
            raise ValueError from None
        return from_json(repaired.encode(errors="replace"))


_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
