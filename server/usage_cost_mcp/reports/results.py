"""What the results of all reports share: a result renders itself at several sizes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol, TypedDict

from usage_cost_mcp.cache import CacheStatus, combine_statuses
from usage_cost_mcp.model.dimensions import Filters
from usage_cost_mcp.model.periods import Period, provisional_since
from usage_cost_mcp.runtime.call_context import CallContext

from .answers import Answer, CacheUse, Note
from .context import ReportContext


class ReportResult(Protocol):
    """A computed report, renderable at several sizes."""

    @property
    def default_size(self) -> bool:
        """Whether the caller chose no size, so that the answer may be brief."""
        ...

    def candidates(self) -> Iterator[Answer]:
        """Candidate answers, longest first."""
        ...


class Source(Protocol):
    """Data that an answer was computed from."""

    @property
    def fetched_at(self) -> datetime: ...

    @property
    def status(self) -> CacheStatus: ...


class CommonFields(TypedDict):
    """The fields of an answer that are computed alike for every report."""

    provisional_since: date | None
    fetched_at: datetime
    cache: CacheUse
    demo: bool
    notes: Sequence[Note]


@dataclass(frozen=True, slots=True)
class ResultMeta:
    """The circumstances of a result: requests made, the moment of the answer, and whether the data is the demo's."""

    requests: int
    now: datetime
    demo: bool

    def common_fields(self, period: Period, sources: Sequence[Source], notes: Sequence[Note]) -> CommonFields:
        """The fields that every answer about a period has. It is as old as its oldest source."""
        status = combine_statuses(each.status for each in sources)
        return {
            "provisional_since": provisional_since(period, self.now.date()),
            "fetched_at": min(each.fetched_at for each in sources),
            "cache": CacheUse(status=status, upstream_requests=self.requests),
            "demo": self.demo,
            "notes": notes,
        }


def result_meta(context: ReportContext, call: CallContext, now: datetime | None = None) -> ResultMeta:
    """The circumstances of a result that is complete now."""
    return ResultMeta(call.requests, now or context.now(), context.demo)


def shrinking_counts(count: int) -> Iterator[int]:
    """How many rows to list: all, then two thirds of that, down to one."""
    yield count
    while count > 1:
        count = count * 2 // 3
        yield count


def sorted_filters(filters: Filters) -> Mapping[str, Sequence[str | None]]:
    """The filters as an answer reports them, in a stable order."""
    return {dimension: sorted(values, key=str) for dimension, values in filters.items()}
