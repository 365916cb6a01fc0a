"""Client of Anthropic's Admin API: the usage and cost reports, and the lists that name the ids in them.

Source: https://platform.claude.com/docs/en/api/admin
"""

from .client import AdminApi
from .directory import ApiDirectory
from .report_reader import ReportReader

__all__ = ["AdminApi", "ApiDirectory", "ReportReader"]
