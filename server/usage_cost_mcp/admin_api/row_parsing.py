"""Parses the rows of a report, column by column.

Why by column: a large organization has thousands of rows a day, and pydantic validates one list of a field in a
fraction of the time that it takes for as many objects.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter, methodcaller
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

from pydantic import Field, StrictStr, TypeAdapter, ValidationError

from usage_cost_mcp.errors import ContractError
from usage_cost_mcp.model.dimensions import (
    ADJUSTMENT,
    CHARGE_CATEGORY,
    CREDIT,
    MORE_INPUTS_PREFIX,
    STANDARD_SPEED,
    USAGE,
)
from usage_cost_mcp.model.money import dollars_from_cents
from usage_cost_mcp.model.rows import Key, Row, Sums
from usage_cost_mcp.model.upstream_reports import COST_REPORT, USAGE_REPORT, UpstreamReport

from .sanitise import sanitised
from .schemas import contract_error, first_error

T = TypeVar("T")


class ParsedRows(NamedTuple):
    """The rows of a bucket; `more_inputs` as in `DayRows`."""

    rows: list[Row]
    more_inputs: tuple[str, ...] = ()


RowParser = Callable[[Sequence[Any]], ParsedRows]
"""Parses the results of a bucket, or raises a ContractError where they differ from the documentation."""


@dataclass(frozen=True, slots=True)
class _Column(Generic[T]):
    """One field of every row; `field` may be a path, as in "cache_creation.ephemeral_5m_input_tokens"."""

    field: str
    values: TypeAdapter[list[T]]
    optional: bool = False

    def of(self, results: Iterable[Any], path: str) -> list[T]:
        try:
            for name in self.field.split("."):
                results = map(methodcaller("get", name) if self.optional else itemgetter(name), results)
            return self.values.validate_python(list(results))
        except ValidationError as error:
            raise contract_error(path, f"{self.field} of a row", first_error(error)[1]) from None
        except (KeyError, TypeError, AttributeError):
            raise contract_error(path, f"{self.field} of a row", "missing") from None


_COUNTS = TypeAdapter(list[Annotated[int, Field(strict=True, ge=0)]])
_TEXTS = TypeAdapter(list[StrictStr])
_VALUES = TypeAdapter(list[StrictStr | None])

_MEASURES = [
    _Column(field, _COUNTS)
    for field in (
        "uncached_input_tokens",
        "cache_read_input_tokens",
        "cache_creation.ephemeral_5m_input_tokens",
        "cache_creation.ephemeral_1h_input_tokens",
        "output_tokens",
        "server_tool_use.web_search_requests",
    )
]
_COST_TYPE = _Column("cost_type", _VALUES, optional=True)
_KNOWN_WRITES = frozenset(
    column.field.removeprefix(MORE_INPUTS_PREFIX) for column in _MEASURES if column.field.startswith(MORE_INPUTS_PREFIX)
)
_AMOUNT, _CURRENCY = _Column("amount", _TEXTS), _Column("currency", _TEXTS)

_OPTIONAL = frozenset({"inference_geo", "speed"})
"""Dimensions that responses of the cost report may lack: older ones, and for the speed those without the header."""


def _usage_parser(dimensions: Sequence[str], path: str) -> RowParser:
    keys = _KeyParser([_Column(dimension, _VALUES) for dimension in dimensions], path)

    def rows(results: Sequence[Any]) -> ParsedRows:
        columns = [measure.of(results, path) for measure in _MEASURES]
        more = _more_inputs(results, path)
        counts = zip(*columns, *more.values(), strict=True)
        return ParsedRows(list(zip(keys.of(results), counts, strict=True)), tuple(more))

    return rows


class _ChargeCategory:
    """The category of every row, which the report does not name: a negative row is a credit."""

    def of(self, results: Iterable[Any], path: str) -> list[str | None]:
        rows = list(results)
        return list(map(self._category, _AMOUNT.of(rows, path), _COST_TYPE.of(rows, path)))

    @staticmethod
    def _category(amount: str, cost_type: str | None) -> str:
        if not amount.strip("-0."):
            return USAGE
        return CREDIT if amount.startswith("-") else USAGE if cost_type else ADJUSTMENT


def _more_inputs(results: Sequence[Any], path: str) -> dict[str, list[int]]:
    """The counts of cache writes that are not documented, by name; only those that are not always zero.

    The members of `cache_creation` are the parts of one sum. One that is left out would make all input too small.
    """
    writes = list(map(itemgetter("cache_creation"), results))
    if set(map(len, writes)) <= {len(_KNOWN_WRITES)}:  # they have all known members, so they have no others
        return {}
    names = sorted(set[str]().union(*writes) - _KNOWN_WRITES)
    counts = {name: _count_of(writes, name, path) for name in names}
    return {f"{MORE_INPUTS_PREFIX}{name}": column for name, column in counts.items() if any(column)}


def _count_of(writes: Sequence[Any], name: str, path: str) -> list[int]:
    """A member that not all rows have; zero if it is no number."""
    if not re.fullmatch(r"\w{1,100}", name, re.ASCII):
        raise contract_error(path, "cache_creation of a row", "unknown member")
    values = [value if isinstance(value, (int, float)) else 0 for value in map(methodcaller("get", name), writes)]
    try:
        return _COUNTS.validate_python(values)
    except ValidationError as error:
        raise contract_error(path, f"{MORE_INPUTS_PREFIX}{name} of a row", first_error(error)[1]) from None


def _cost_parser(dimensions: Sequence[str], path: str) -> RowParser:
    columns = [
        _ChargeCategory() if dimension == CHARGE_CATEGORY else _Column(dimension, _VALUES, dimension in _OPTIONAL)
        for dimension in dimensions
    ]
    keys = _KeyParser(columns, path)

    def rows(results: Sequence[Any]) -> ParsedRows:
        if set(_CURRENCY.of(results, path)) - {"USD"}:
            raise ContractError(
                "The cost report contains an amount in a currency other than USD. No total is reported, because "
                "amounts in different currencies cannot be added."
            )
        dollars: list[Sums] = [(dollars_from_cents(amount),) for amount in _AMOUNT.of(results, path)]
        return ParsedRows(list(zip(_with_standard_speed(keys.of(results), dimensions), dollars, strict=True)))

    return rows


def _with_standard_speed(keys: Sequence[Key], dimensions: Sequence[str]) -> Sequence[Key]:
    """The keys of a day, with `standard` for the null speed of a token cost if the day has any speed.

    If it has none, upstream does not report speeds, and the nulls stay.
    """
    if not {"speed", "token_type"} <= set(dimensions):
        return keys
    speed, token_type = dimensions.index("speed"), dimensions.index("token_type")
    if not any(key[speed] for key in keys):
        return keys
    return [
        (*key[:speed], STANDARD_SPEED, *key[speed + 1 :]) if key[token_type] and not key[speed] else key for key in keys
    ]


_PARSERS: Mapping[str, Callable[[Sequence[str], str], RowParser]] = {
    COST_REPORT.path: _cost_parser,
    USAGE_REPORT.path: _usage_parser,
}
"""By endpoint.

Why the parser is not a field of the report: it needs pydantic and knows the JSON of the API; `model/` has neither.
"""


def row_parser(report: UpstreamReport, dimensions: Sequence[str]) -> RowParser:
    """The parser of a report's rows; their keys hold the dimensions, and dollars are exact."""
    return _PARSERS[report.path](dimensions, report.path)


class _KeyParser(dict[Key, Key]):
    """Parses the keys of rows, sanitised. Equal keys become one object: most occur every day."""

    def __init__(self, columns: Sequence["_Column[str | None] | _ChargeCategory"], path: str) -> None:
        super().__init__()
        self._columns = columns
        self._path = path

    def of(self, results: Sequence[Any]) -> list[Key]:
        if not self._columns:
            return [()] * len(results)
        return [self[key] for key in zip(*(column.of(results, self._path) for column in self._columns), strict=True)]

    def __missing__(self, key: Key) -> Key:
        clean = self[key] = tuple(value and sanitised(value) for value in key)
        return clean
