"""Reads windows of a report, page by page, into the rows of whole days."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from usage_cost_mcp.cache import STEP, Window
from usage_cost_mcp.errors import ContractError, InconsistentPagesError, UpstreamError
from usage_cost_mcp.model.periods import midnight
from usage_cost_mcp.model.rows import DayRows, Key, Row, Sums, alignment, all_names
from usage_cost_mcp.model.upstream_reports import UpstreamReport, Width
from usage_cost_mcp.runtime.call_context import CallContext
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.concurrency import run_in_thread_if

from .client import AdminApi
from .paging import next_page_token, walk
from .row_parsing import ParsedRows, RowParser, row_parser
from .schemas import REPORT_PAGE, ReportPage, read

LONG_BODY = 2**18
"""Pages of this many bytes or more are parsed in a thread, so that other calls go on meanwhile."""


class ReportReader:
    """Reads report rows from the Admin API."""

    def __init__(self, api: AdminApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock

    async def fetch(
        self, report: UpstreamReport, dimensions: Sequence[str], width: Width, window: Window, call: CallContext
    ) -> list[DayRows]:
        """Every UTC day that the window touches.

        If its pages turn out to be inconsistent, because data changed in between, the window is read once more.

        Raises:
            UpstreamError: Any page failed; the pages before it are dropped.
        """
        try:
            return await self._walk(report, dimensions, width, window, call)
        except InconsistentPagesError:
            return await self._walk(report, dimensions, width, window, call)

    async def _walk(
        self, report: UpstreamReport, dimensions: Sequence[str], width: Width, window: Window, call: CallContext
    ) -> list[DayRows]:
        group_by = report.group_by(dimensions)
        query: list[tuple[str, str | int]] = [
            ("starting_at", _rfc3339(window.start)),
            ("ending_at", _rfc3339(window.end)),
            ("bucket_width", width),
            ("limit", report.page_limits[width]),
            *(("group_by[]", dimension) for dimension in group_by),
            *report.parameters,
        ]
        headers = dict(report.headers)
        for dimension in group_by:
            headers |= report.grouping_headers.get(dimension, {})
        parse_rows = row_parser(report, dimensions)

        async def page(token: str | None) -> _Page:
            paged = [*query, ("page", token)] if token else query
            body = await self._api.get(report.path, paged, call, headers)
            return await run_in_thread_if(
                lambda: _parse_page(report.path, body, parse_rows), when=len(body) > LONG_BODY
            )

        buckets = _Buckets(window, width, report)
        fetched_at = self._clock.now()
        async for each in walk(page, lambda page: page.next_token, report.path):
            if self._clock.now().date() != fetched_at.date():
                raise UpstreamError(
                    "The UTC day changed while the report was read, or the local clock was wrong. Ask again."
                )
            for bucket in each.buckets:
                buckets.add(bucket)
        return buckets.days(tuple(dimensions), fetched_at)


@dataclass(frozen=True, slots=True)
class _Bucket:
    """The rows of one bucket, [start, end)."""

    start: datetime
    end: datetime
    parsed: ParsedRows


@dataclass(frozen=True, slots=True)
class _Page:
    """A parsed page. `next_token` is None after the last one."""

    buckets: Sequence[_Bucket]
    next_token: str | None


def _parse_page(path: str, body: bytearray, parse_rows: RowParser) -> _Page:
    page = read(REPORT_PAGE, body, path)
    buckets: list[_Bucket] = []
    for each in page.data:
        buckets.append(_Bucket(each.starting_at, each.ending_at, parse_rows(each.results)))
        each.results.clear()  # so that a large page is not in memory twice
    return _Page(buckets, _next(page, path))


def _next(page: ReportPage, path: str) -> str | None:
    if page.next_page and not page.has_more:
        raise ContractError(f"{path} sent has_more=false with a next_page token; no total is reported.")
    return next_page_token(page.next_page, path, has_more=page.has_more)


def _rfc3339(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _counted(parsed: ParsedRows) -> tuple[tuple[str, ...], Counter[tuple[Key, Sums]]]:
    return parsed.more_inputs, Counter(parsed.rows)


class _Buckets:
    """Collects the buckets of one window, and checks that each belongs there and occurs once."""

    def __init__(self, window: Window, width: Width, report: UpstreamReport) -> None:
        self._window = window
        self._step = STEP[width]
        self._path = report.path
        self._report = report
        self._parsed: dict[date, dict[int, ParsedRows]] = {}

    def add(self, bucket: _Bucket) -> None:
        if (bucket.start - self._window.start) % self._step or bucket.end - bucket.start != self._step:
            raise ContractError(f"{self._path} sent a bucket of the wrong width; no total is reported.")
        if not self._window.start <= bucket.start < self._window.end:
            raise ContractError(f"{self._path} sent a bucket outside the requested days; no total is reported.")
        start = bucket.start.astimezone(UTC)
        minute = start.hour * 60 + start.minute
        existing = self._parsed.setdefault(start.date(), {}).setdefault(minute, bucket.parsed)
        if existing is not bucket.parsed and _counted(existing) != _counted(bucket.parsed):
            raise InconsistentPagesError(f"{self._path} sent a bucket twice with different rows; no total is reported.")

    def days(self, dimensions: tuple[str, ...], fetched_at: datetime) -> list[DayRows]:
        return [self._day(day, dimensions, fetched_at, self._parsed.get(day, {})) for day in self._window.days]

    def _day(
        self, day: date, dimensions: tuple[str, ...], fetched_at: datetime, buckets: Mapping[int, ParsedRows]
    ) -> DayRows:
        names = all_names(parsed.more_inputs for parsed in buckets.values())
        return DayRows(
            day,
            dimensions,
            {minute: self._aligned(parsed, names) for minute, parsed in buckets.items()},
            fetched_at,
            reported=len(buckets) == self._buckets_of(day),
            more_inputs=names,
        )

    def _aligned(self, parsed: ParsedRows, names: tuple[str, ...]) -> list[Row]:
        if parsed.more_inputs == names:
            return parsed.rows
        aligned = alignment(parsed.more_inputs, names, len(self._report.measures))
        return [(key, aligned(sums)) for key, sums in parsed.rows]

    def _buckets_of(self, day: date) -> int:
        """How many buckets of a day lie in the window."""
        return (min(self._window.end, midnight(day) + timedelta(days=1)) - midnight(day)) // self._step
