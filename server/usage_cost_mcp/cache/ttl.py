"""When a cached day becomes stale, and when it expires."""

from datetime import datetime, timedelta

from usage_cost_mcp.model.rows import DayRows
from usage_cost_mcp.model.upstream_reports import UpstreamReport

STALE_RETENTION = timedelta(days=7)
"""How long a stale day is retained, to be served when the API is unavailable."""


def is_fresh(report: UpstreamReport, rows: DayRows, now: datetime) -> bool:
    """Whether a day may be served without asking the API again."""
    return now < _stale_at(report, rows)


def expires_at(report: UpstreamReport, rows: DayRows) -> datetime:
    """When a day is dropped: from then on it is not served even if the API is unavailable."""
    return _stale_at(report, rows) + STALE_RETENTION


def _stale_at(report: UpstreamReport, rows: DayRows) -> datetime:
    return rows.fetched_at + report.lifetime(rows.day, rows.fetched_at)
