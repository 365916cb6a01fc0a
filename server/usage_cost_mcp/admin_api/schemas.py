"""The bodies of the Admin API, as documented: strict about what a number needs, deaf to everything new.

Unknown fields are ignored and unknown enum values are kept as text; the API's versioning promises to need both.
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
    """The rows of one stretch of time: `starting_at` included, `ending_at` not. Its rows are read by `columns`."""

    starting_at: AwareDatetime
    ending_at: AwareDatetime
    results: list[Any]


@dataclass(slots=True)
class ReportPage:
    """One page of a report."""

    data: list[Bucket]
    has_more: StrictBool
    next_page: StrictStr | None = None


@dataclass(slots=True)
class ListPage(Generic[R]):
    """One page of a list."""

    data: list[R]
    has_more: StrictBool
    last_id: StrictStr | None = None


@dataclass(slots=True)
class Organization:
    """Whom the key belongs to."""

    id: StrictStr
    name: StrictStr


@dataclass(slots=True)
class Workspace:
    """A workspace; the default one is not in the list."""

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
    """A member of the organization."""

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
        ContractError: When a documented field is missing or of another type; names the place, never the content.
    """
    try:
        return adapter.validate_python(_parsed(body))
    except ValidationError as error:
        place, kind = first_error(error)
        raise contract_error(path, place or "the body", kind) from None
    except ValueError:
        raise contract_error(path, "the body", "json_invalid") from None


def first_error(error: ValidationError) -> tuple[str, str]:
    """Where it is and of what kind, without what was found there."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return ".".join(str(part) for part in first["loc"]), first["type"]


def contract_error(path: str, place: str, kind: str) -> ContractError:
    """The error of a body that is not as documented."""
    return ContractError(
        f"{path} answered with something that cannot be read: {place} is not as documented "
        f"({kind}). No number is given, because it would be a guess."
    )


def _parsed(body: bytes | bytearray) -> Any:
    """The body, also when a text in it holds half a character: the fast parser takes it for broken JSON."""
    try:
        return from_json(body)
    except ValueError:
        if not _LONE_SURROGATE.search(body):
            raise
        try:
            mended = json.dumps(json.loads(body.decode()), ensure_ascii=False)
        except RecursionError:
            raise ValueError from None
        return from_json(mended.encode(errors="replace"))


_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
