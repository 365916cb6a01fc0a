"""The bodies of the Admin API, as documented: strict about what a number needs, deaf to everything new.

Unknown fields are ignored and unknown enum values are kept as text; the API's versioning promises to need both.
Source: https://platform.claude.com/docs/en/api/versioning
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import Annotated, Any, Generic, TypeVar, cast

from pydantic import AwareDatetime, Field, StrictBool, StrictStr, TypeAdapter, ValidationError

from usage_cost_mcp.errors import ContractError
from usage_cost_mcp.money import dollars_from_cents
from usage_cost_mcp.rows import Key, Row

from .sanitise import sanitised

R = TypeVar("R")
T = TypeVar("T")

Count = Annotated[int, Field(strict=True, ge=0)]
Value = StrictStr | None


class _Absence(Enum):
    ABSENT = "a dimension that the row does not have, unlike one that it has as null"


_ABSENT = cast("Any", _Absence.ABSENT)


@dataclass(slots=True)
class CacheCreation:
    """Tokens written to the cache, by how long they live there."""

    ephemeral_5m_input_tokens: Count
    ephemeral_1h_input_tokens: Count


@dataclass(slots=True)
class ServerToolUse:
    """Uses of the tools that run on Anthropic's side."""

    web_search_requests: Count


@dataclass(slots=True)
class UsageResult:
    """One row of the usage report; a dimension is null when it is not grouped by, or for its own reason."""

    uncached_input_tokens: Count
    cache_read_input_tokens: Count
    cache_creation: CacheCreation
    output_tokens: Count
    server_tool_use: ServerToolUse
    workspace_id: Value = _ABSENT
    api_key_id: Value = _ABSENT
    account_id: Value = _ABSENT
    service_account_id: Value = _ABSENT
    model: Value = _ABSENT
    service_tier: Value = _ABSENT
    context_window: Value = _ABSENT
    inference_geo: Value = _ABSENT
    speed: Value = _ABSENT


@dataclass(slots=True)
class CostResult:
    """One row of the cost report; `amount` is in cents. Older answers do not have `inference_geo`."""

    amount: StrictStr
    currency: StrictStr
    workspace_id: Value
    description: Value
    model: Value
    cost_type: Value
    token_type: Value
    service_tier: Value
    context_window: Value
    inference_geo: Value = None


@dataclass(slots=True)
class Bucket(Generic[R]):
    """The rows of one stretch of time: `starting_at` included, `ending_at` not."""

    starting_at: AwareDatetime
    ending_at: AwareDatetime
    results: list[R]


@dataclass(slots=True)
class ReportPage(Generic[R]):
    """One page of a report."""

    data: list[Bucket[R]]
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
    """An API key, never the secret itself."""

    id: StrictStr
    name: StrictStr
    status: StrictStr = "active"


@dataclass(slots=True)
class User:
    """A member of the organization."""

    id: StrictStr
    name: StrictStr | None = None
    email: StrictStr | None = None


USAGE_PAGE: TypeAdapter[ReportPage[UsageResult]] = TypeAdapter(ReportPage[UsageResult])
COST_PAGE: TypeAdapter[ReportPage[CostResult]] = TypeAdapter(ReportPage[CostResult])
WORKSPACES: TypeAdapter[ListPage[Workspace]] = TypeAdapter(ListPage[Workspace])
API_KEYS: TypeAdapter[ListPage[ApiKey]] = TypeAdapter(ListPage[ApiKey])
USERS: TypeAdapter[ListPage[User]] = TypeAdapter(ListPage[User])
ORGANIZATION: TypeAdapter[Organization] = TypeAdapter(Organization)


def read(adapter: TypeAdapter[T], body: bytes, path: str) -> T:
    """Parse a body.

    Raises:
        ContractError: When a documented field is missing or of another type; names the place, never the content.
    """
    try:
        return _validated(adapter, body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        raise ContractError(
            f"{path} answered with something that cannot be read: {place} is not as documented "
            f"({first['type']}). No number is given, because it would be a guess."
        ) from None


def _validated(adapter: TypeAdapter[T], body: bytes) -> T:
    """The body, also when a text in it holds half a character: the fast parser takes it for broken JSON."""
    try:
        return adapter.validate_json(body)
    except ValidationError:
        if not _HALF_A_CHARACTER.search(body):
            raise
        try:
            mended = json.dumps(json.loads(body.decode()), ensure_ascii=False)
        except (ValueError, RecursionError):
            mended = ""
        return adapter.validate_json(mended.encode(errors="replace"))


_HALF_A_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")


def usage_rows(results: Iterable[UsageResult], dimensions: Sequence[str]) -> list[Row]:
    """The rows of a usage bucket, keyed by the dimensions that were asked for."""
    key_of = _key_reader(dimensions)
    return [
        (
            key_of(result),
            (
                result.uncached_input_tokens,
                result.cache_read_input_tokens,
                result.cache_creation.ephemeral_5m_input_tokens,
                result.cache_creation.ephemeral_1h_input_tokens,
                result.output_tokens,
                result.server_tool_use.web_search_requests,
            ),
        )
        for result in results
    ]


def cost_rows(results: Iterable[CostResult], dimensions: Sequence[str]) -> list[Row]:
    """The rows of a cost bucket, in dollars."""
    key_of = _key_reader(dimensions)
    return [(key_of(result), (dollars_from_cents(_in_usd(result).amount),)) for result in results]


def _in_usd(result: CostResult) -> CostResult:
    if result.currency != "USD":
        raise ContractError(
            "The cost report holds an amount in a currency other than USD. No total is given, because amounts "
            "in different currencies cannot be added."
        )
    return result


def _key_reader(dimensions: Sequence[str]) -> Callable[[UsageResult | CostResult], Key]:
    readers = [attrgetter(dimension) for dimension in dimensions]

    def key_of(result: UsageResult | CostResult) -> Key:
        return tuple(_clean(reader(result)) for reader in readers)

    return key_of


def _clean(value: str | None) -> str | None:
    if value is _ABSENT:
        raise ContractError(
            "The usage report leaves out a dimension that it was asked to group by. No number is given, because "
            "the groups would be mixed up."
        )
    return value if value is None else sanitised(value)
