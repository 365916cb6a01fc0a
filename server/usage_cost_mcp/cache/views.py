"""View: one way to request a report. The cache holds days by view."""

from typing import NamedTuple

from usage_cost_mcp.model.upstream_reports import UpstreamReport, Width


class View(NamedTuple):
    """A report, the dimensions that it is grouped by, and the width of its buckets."""

    report: UpstreamReport
    dimensions: tuple[str, ...]
    width: Width

    def covers(self, other: "View") -> bool:
        """Whether the rows of the other view are sums of rows of this one."""
        return (
            set(self.dimensions) >= set(other.dimensions)
            and other.width in {self.width, "1d"}
            and self.report == other.report
        )
