"""The audit log: who called which tool with which result. No number of an answer, no token, no key.

The lines go through the logger `usage_cost_mcp.audit`. It writes plain JSON lines to stderr unless it has handlers when
the server is built, so an operator can route them elsewhere.
"""

import json
import logging
import math
import sys
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, Literal, cast

from usage_cost_mcp.redact import redacted
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.rate_limit import MINUTE

MAX_LINE_CHARACTERS = 2000
MAX_REJECTIONS_PER_MINUTE = 10
"""More rejected tokens than this are only counted, so that a flood of them does not fill the disk."""

_TRUNCATION_STEPS = (200, 60, 15)
"""Maximum length of texts and lists in the arguments; the next smaller one is tried until the line is short enough."""

_MAX_DEPTH = 4

Outcome = Literal["ok", "refused", "error", "limited", "cancelled"]

_logger = logging.getLogger("usage_cost_mcp.audit")


class _StderrHandler(logging.Handler):
    """One line for each record. A closed stderr does not fail the call."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()


class AuditLog:
    """Writes one JSON line for each call and for each rejected token."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._minute_ends_at = -math.inf
        self._rejections = 0
        if not _logger.handlers:
            _logger.addHandler(_StderrHandler())
        _logger.setLevel(logging.INFO)
        _logger.propagate = False

    def log_call(self, principal: str, tool: str, arguments: Mapping[str, Any], **outcome: Any) -> None:
        """Log a call that has ended."""
        for limit in _TRUNCATION_STEPS:
            line = self._line(principal, tool=tool, arguments=_truncated(arguments, limit), **outcome)
            if len(line) <= MAX_LINE_CHARACTERS:
                break
        else:
            line = self._line(principal, tool=tool, arguments="too long", **outcome)
        _logger.info(line)

    def log_rejection(self, principal: str | None, reason: str) -> None:
        """Log a rejected token; beyond the maximum per minute only count it."""
        self._log_suppressed_count()
        now = self._clock.monotonic()
        if now >= self._minute_ends_at:
            self._minute_ends_at, self._rejections = now + MINUTE, 0
        self._rejections += 1
        if self._rejections <= MAX_REJECTIONS_PER_MINUTE:
            _logger.info(self._line(principal, outcome="refused", why=reason))

    def _log_suppressed_count(self) -> None:
        suppressed = self._rejections - MAX_REJECTIONS_PER_MINUTE
        if suppressed > 0 and self._clock.monotonic() >= self._minute_ends_at:
            self._rejections = 0
            _logger.info(self._line(None, outcome="refused", why="more", count=suppressed))

    def _line(self, principal: str | None, **facts: Any) -> str:
        at = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return json.dumps({"at": at, "principal": principal, **facts}, separators=(",", ":"))


def _truncated(value: object, limit: int, depth: int = 0) -> Any:
    """The value without keys and tokens, with long texts, long lists and deep nesting cut off."""
    match value:
        case None | bool():
            return value
        case int() | float() if abs(value) < 10**15:  # neither infinite nor nan
            return value
        case dict() if depth < _MAX_DEPTH:
            items = islice(cast("dict[Any, Any]", value).items(), limit)
            return {_truncated_text(key, limit): _truncated(item, limit, depth + 1) for key, item in items}
        case list() if depth < _MAX_DEPTH:
            return [_truncated(item, limit, depth + 1) for item in cast("list[Any]", value)[:limit]]
        case dict() | list():
            return "..."
        case _:
            return _truncated_text(value, limit)


def _truncated_text(value: object, limit: int) -> str:
    text = redacted(str(value))
    return text if len(text) <= limit else f"{text[:limit]}..."
