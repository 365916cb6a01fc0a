"""What is written down: who asked what, and what came of it; no number of an answer, no token, no key."""

import json
import math
import sys
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, Literal, TextIO, cast

from usage_cost_mcp.redact import redacted
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.rate_limit import MINUTE

MAX_LINE = 2000
MAX_REJECTIONS = 10
"""How many refused tokens are written down in a minute, lest whoever sends them fills the disk."""

_LENGTHS = (200, 60, 15)
"""To how many characters, and to how many values, arguments are cut until the line is short enough."""
_MAX_DEPTH = 4

Outcome = Literal["ok", "refused", "error", "limited", "cancelled"]


class AuditLog:
    """JSON lines on stderr, each written at once so that lines do not tear."""

    def __init__(self, clock: Clock, out: TextIO | None = None) -> None:
        self._clock = clock
        self._out = out
        self._minute_ends = -math.inf
        self._refusals = 0

    def log_call(self, principal: str, tool: str, arguments: Mapping[str, Any], **came_of_it: Any) -> None:
        """A call that is over."""
        for most in _LENGTHS:
            line = self._line(principal, tool=tool, arguments=_short(arguments, most), **came_of_it)
            if len(line) <= MAX_LINE:
                return self._write(line)
        return self._write(self._line(principal, tool=tool, arguments="too long", **came_of_it))

    def log_rejection(self, principal: str | None, why: str) -> None:
        """A token that did not open the door; above so many a minute they are only counted."""
        self._log_suppressed_count()
        now = self._clock.monotonic()
        if now >= self._minute_ends:
            self._minute_ends, self._refusals = now + MINUTE, 0
        self._refusals += 1
        if self._refusals <= MAX_REJECTIONS:
            self._write(self._line(principal, outcome="refused", why=why))

    def _log_suppressed_count(self) -> None:
        more = self._refusals - MAX_REJECTIONS
        if more > 0 and self._clock.monotonic() >= self._minute_ends:
            self._refusals = 0
            self._write(self._line(None, outcome="refused", why="more", count=more))

    def _line(self, principal: str | None, **facts: Any) -> str:
        at = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return json.dumps({"at": at, "principal": principal, **facts}, separators=(",", ":"))

    def _write(self, line: str) -> None:
        out = self._out or sys.stderr
        with suppress(OSError):  # nobody listens any more; the caller still gets the answer
            out.write(f"{line}\n")
            out.flush()


def _short(given: object, most: int, depth: int = 0) -> Any:
    """The same without keys and tokens, with cut texts, cut lists and cut depth."""
    match given:
        case None | bool():
            return given
        case int() | float() if abs(given) < 10**15:  # neither infinite nor nan
            return given
        case dict() if depth < _MAX_DEPTH:
            items = islice(cast("dict[Any, Any]", given).items(), most)
            return {_text(key, most): _short(value, most, depth + 1) for key, value in items}
        case list() if depth < _MAX_DEPTH:
            return [_short(each, most, depth + 1) for each in cast("list[Any]", given)[:most]]
        case dict() | list():
            return "..."
        case _:
            return _text(given, most)


def _text(given: object, most: int) -> str:
    text = redacted(str(given))
    return text if len(text) <= most else f"{text[:most]}..."
