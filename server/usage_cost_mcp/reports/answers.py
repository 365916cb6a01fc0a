"""What every answer has in common: the base of `structuredContent`.

An answer class is the specification of its report: its fields, the tables and CSV rows that show them, and whether it
can be drawn as a chart. The renderers call these and know no report; `registry` lists the classes.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, PlainSerializer

from usage_cost_mcp.cache import CacheStatus

from .tables import CsvRows, Table, csv_leaves

UtcDatetime = Annotated[datetime, PlainSerializer(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%SZ}", return_type=str)]


class AnswerModel(BaseModel):
    """A part of an answer: immutable, without undeclared fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Note(AnswerModel):
    """Something to know before the numbers are used: `code` for programs, `message` for people."""

    code: str
    message: str


class PeriodModel(AnswerModel):
    """The days of an answer, both ends included."""

    start: date
    end: date
    timezone: str = "UTC"


class CacheUse(AnswerModel):
    """Where the data came from: "hit" needed no request."""

    status: CacheStatus
    upstream_requests: int


class OrganizationInfo(AnswerModel):
    """The organization that the Admin key belongs to."""

    id: str
    name: str


class Answer(AnswerModel):
    """The fields of every answer, before those of its report.

    Attributes:
        report: Redeclared by each subclass as a literal, by which `registry` finds the class.
        organization: None until this process has looked it up; an answer never makes a request for it. Filled in where
            the tool is executed, in one place.
    """

    drawable: ClassVar[bool] = False
    """Whether `render.charts` and the chart page can draw it."""

    report: Any
    organization: OrganizationInfo | None = None
    summary: str
    provisional_since: date | None
    fetched_at: UtcDatetime
    cache: CacheUse
    demo: bool
    notes: Sequence[Note]

    def details(self) -> Sequence[str]:
        """Lines of text where the answer is no table."""
        return ()

    def tables(self) -> Sequence[Table]:
        """Every number of the answer."""
        return ()

    def terminal_tables(self) -> Sequence[Table]:
        """The tables for a terminal, where drawings can replace numbers."""
        return self.tables()

    def csv_rows(self) -> CsvRows:
        """One flat table, the head first; by default a row per field."""
        yield ["key", "value"]
        yield from csv_leaves(self.model_dump(mode="json"))

    def partial(self) -> Sequence[str]:
        """The buckets that have not ended yet, or that are only partly in the period."""
        return ()
