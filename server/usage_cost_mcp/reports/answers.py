"""The shape of the answers: what `structuredContent` holds."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, SkipValidation

from usage_cost_mcp.cache import CacheStatus
from usage_cost_mcp.model.periods import Granularity

Value = str | int | float | None
"""Money is an exact decimal string in dollars, a count an integer, a ratio a number from 0 to 1 or null."""

Values = Annotated[dict[str, list[Value]], SkipValidation]
"""A value per bucket for each measure; made by us, by the hundred."""

UtcDatetime = Annotated[datetime, PlainSerializer(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%SZ}", return_type=str)]


class AnswerModel(BaseModel):
    """A piece of an answer: never changed once made, with no field that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Note(AnswerModel):
    """Something that the numbers leave out, or that should be known before they are used."""

    code: str
    message: str


class PeriodModel(AnswerModel):
    """The days that the answer covers, both included."""

    start: date
    end: date
    timezone: str = "UTC"


class CacheUse(AnswerModel):
    """Where the data came from: "hit" made no request."""

    status: CacheStatus
    upstream_requests: int


class Series(AnswerModel):
    """One group: a value per bucket and measure. Other has a null group and says how many groups it holds."""

    label: str
    group: dict[str, str | None] | None
    values: Values
    totals: dict[str, Value]
    other_groups: int | None = Field(default=None, exclude_if=lambda count: count is None)


class Provenance(AnswerModel):
    """What every answer ends with: how final it is, when it was read, what it leaves out."""

    provisional_since: date | None
    fetched_at: UtcDatetime
    cache: CacheUse
    demo: bool
    notes: Sequence[Note]


class _SeriesBody(AnswerModel):
    report: str
    estimated: bool = Field(default=False, exclude_if=lambda estimated: not estimated)
    summary: str
    measures: dict[str, str]
    period: PeriodModel
    granularity: Granularity
    group_by: Sequence[str]
    filter_by: dict[str, list[str | None]]
    buckets: Sequence[str]
    series: Sequence[Series]
    bucket_totals: Values
    totals: dict[str, Value]
    partial_buckets: Sequence[str]


class SeriesAnswer(Provenance, _SeriesBody):
    """Exact series: one value per bucket for every group, with totals that add up."""
