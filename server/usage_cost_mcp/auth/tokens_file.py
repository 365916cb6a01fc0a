"""The tokens file: a line per person or agent, with the hash of the token that they hold.

A token is 256 random bits, so a plain SHA-256 of it cannot be turned back into it.
"""

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from usage_cost_mcp.errors import ConfigurationError
from usage_cost_mcp.redact import redacted
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.settings import TOKENS_FILE

from .principals import Principal, workspaces_of
from .rejections import EXPIRED, UNKNOWN, RejectedError, temporarily_unavailable

PREFIX = "ucm_"

MAX_BYTES = 2**20

_BITS = 256
_FIELDS = ("name", "sha256", "expires", "workspaces")
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_HASH = re.compile(r"[0-9a-fA-F]{64}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)

logger = logging.getLogger(__name__)


def new_token() -> str:
    """A token that nobody can guess."""
    return PREFIX + secrets.token_urlsafe(_BITS // 8)


def sha256_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A principal, the hash of their token, and until when it is good."""

    principal: Principal
    sha256: str
    expires: datetime | None = None


def _find_record(token: str, holders: Sequence[TokenRecord], clock: Clock) -> Principal:
    """Who holds a token. All are looked at, so that the time that it takes tells nothing.

    Raises:
        RefusedError: When nobody does, or when it has expired.
    """
    sha256 = sha256_of(token)
    found = [holder for holder in holders if hmac.compare_digest(holder.sha256, sha256)]
    if not found:
        raise RejectedError(UNKNOWN)
    if found[0].expires and found[0].expires <= clock.now():
        raise RejectedError(EXPIRED)
    return found[0].principal


class TokensFile:
    """The file, read again whenever it has changed; nobody is let in while it cannot be read.

    Raises:
        ConfigurationError: When it cannot be used to begin with.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._mark: _FileFingerprint | None = None
        self._holders: Sequence[TokenRecord] = read_records(path)
        self._load_error = ""

    def principal(self, token: str) -> Principal:
        """Who holds a token.

        Raises:
            RefusedError: When nobody does, when it has expired, or when the file cannot be read.
        """
        self._reload_if_changed()
        if self._load_error:
            raise RejectedError(temporarily_unavailable("tokens_file", _RETRY_SECONDS))
        return _find_record(token, self._holders, self._clock)

    def _reload_if_changed(self) -> None:
        mark = _fingerprint(self._path)
        if mark and mark == self._mark:
            return
        try:
            self._holders, trouble = read_records(self._path), ""
        except ConfigurationError as wrong:
            self._holders, trouble = (), str(wrong)
        if trouble and trouble != self._load_error:
            logger.error("%s Until it is mended, no token of that file is accepted.", trouble)
        self._mark, self._load_error = mark, trouble


_RETRY_SECONDS = 30

_FileFingerprint = tuple[int, ...]

_SETTLED_NS = 2 * 10**9
"""A file that was changed less than 2 s ago may be changed again within one tick of its clock."""


def _fingerprint(path: Path) -> _FileFingerprint | None:
    """What tells one version of the file from the next; None while nothing can."""
    try:
        seen = path.stat()
    except OSError:
        return None
    if abs(time.time_ns() - max(seen.st_mtime_ns, seen.st_ctime_ns)) < _SETTLED_NS:
        return None
    return seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino, seen.st_dev, seen.st_mode


def read_records(path: Path) -> Sequence[TokenRecord]:
    """Everyone in the file.

    Raises:
        ConfigurationError: When it cannot be read or understood; says which line is wrong, never what stands there.
    """
    holders: list[TokenRecord] = []
    lines = {"name": dict[str, int](), "sha256": dict[str, int]()}
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            holder = _record(line)
            for field, value in (("name", holder.principal.name), ("sha256", holder.sha256)):
                if (first := lines[field].setdefault(value, number)) != number:
                    raise ValueError(f"{field} is the same as in line {first}")  # noqa: TRY301 - told with its line below
        except ValueError as wrong:
            raise ConfigurationError(f"Line {number} of the file that {TOKENS_FILE} names: {wrong}.") from None
        holders.append(holder)
    if not holders:
        raise _unusable("holds no token; make one with: usage-cost-mcp token new NAME")
    return holders


def _unusable(why: str) -> ConfigurationError:
    return ConfigurationError(f"The file that {TOKENS_FILE} names {why}.")


def _text(path: Path) -> str:
    try:
        seen = path.stat()
        if not stat.S_ISREG(seen.st_mode):
            raise _unusable("is not a file")
        if os.name == "posix" and seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _unusable("can be changed by others than its owner; take that away with: chmod go-w")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unusable(f"cannot be read: {os.strerror(error.errno or 0)}") from None
    if len(content) > MAX_BYTES:
        raise _unusable("is larger than 1 MiB")
    try:
        return content.decode("utf-8-sig")
    except ValueError:
        raise _unusable("is not text") from None


def _record(line: str) -> TokenRecord:
    record = _object(line)
    workspaces = workspaces_of(record["workspaces"]) if "workspaces" in record else None
    return TokenRecord(
        Principal(_checked_name(record.get("name")), workspaces), _sha256(record.get("sha256")), _expires(record)
    )


def _object(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line, object_pairs_hook=_without_repetition)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(record, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - told as all that is wrong with a line
    if not record.keys() <= set(_FIELDS):
        raise ValueError(f"it has a field that is not known; accepted: {', '.join(_FIELDS)}")
    return cast("dict[str, Any]", record)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("it has the same field twice")
    return record


def _checked_name(name: object) -> str:
    """A name, if it is one.

    Raises:
        ValueError: When it is not.
    """
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ValueError("name must be 1 to 64 letters, digits or . _ @ -")
    if redacted(name) != name:
        raise ValueError("name looks like a key or a token; give the name of the person or agent")
    return name


def _sha256(given: object) -> str:
    if isinstance(given, str) and redacted(given) != given:
        raise ValueError(
            "sha256 holds a token or a key itself. Others may have read it: revoke it, and make another with: "
            "usage-cost-mcp token new NAME"
        )
    if not (isinstance(given, str) and _HASH.fullmatch(given)):
        raise ValueError("sha256 must be 64 hexadecimal digits, as usage-cost-mcp token new NAME makes them")
    return given.lower()


def _expires(record: dict[str, Any]) -> datetime | None:
    if "expires" not in record:
        return None
    given: object = record["expires"]
    try:
        if isinstance(given, str) and _MOMENT.fullmatch(given):
            return datetime.fromisoformat(given)
    except ValueError:
        pass  # a day that no calendar has
    raise ValueError("expires must be a moment with its time zone, such as 2027-01-31T00:00:00Z")


def add_token(
    name: str, workspaces: list[str] | None, days: int | None, path: Path | None, clock: Clock
) -> tuple[str, str]:
    """Make a token, and write its record down where there is a file.

    Returns:
        The token, and the record as a line of the file.

    Raises:
        ConfigurationError: When the arguments or the file do not allow that.
    """
    token = new_token()
    record: dict[str, Any] = {"name": name, "sha256": sha256_of(token)}
    try:
        _checked_name(name)
        if days is not None:
            record["expires"] = f"{_in(days, clock):%Y-%m-%dT%H:%M:%SZ}"
        if workspaces is not None:
            workspaces_of(workspaces)
            record["workspaces"] = workspaces
    except ValueError as wrong:
        raise ConfigurationError(f"No token was made: {wrong}.") from None
    line = json.dumps(record)
    if path is not None:
        _append(path, line, name)
    return token, line


def _in(days: int, clock: Clock) -> datetime:
    if not 1 <= days <= _MAX_DAYS:
        raise ValueError(f"days must be a number from 1 to {_MAX_DAYS}")
    return clock.now() + timedelta(days=days)


_MAX_DAYS = 3650


def _append(path: Path, line: str, name: str) -> None:
    """Write the line in one piece, so that a server that reads meanwhile sees all of it or nothing."""
    there = _text(path) if path.exists() and path.stat().st_size else ""
    if there.strip() and name in {holder.principal.name for holder in read_records(path)}:
        raise ConfigurationError(f"No token was made: {name} has one already. Take that line away first.")
    separator = "\n" if there and not there.endswith("\n") else ""
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, f"{separator}{line}\n".encode())
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise _unusable(f"cannot be written: {os.strerror(error.errno or 0)}") from None
