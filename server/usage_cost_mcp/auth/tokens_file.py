"""The tokens file: one JSON line for each person or agent, with the hash of their token.

A token is 256 random bits, so its plain SHA-256 cannot be reversed.
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
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from usage_cost_mcp.errors import ConfigurationError
from usage_cost_mcp.model.rows import Workspaces
from usage_cost_mcp.redact import redacted
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.settings import TOKENS_FILE

from .principals import Principal, parse_workspaces
from .rejections import EXPIRED, UNKNOWN, RejectedError, temporarily_unavailable

PREFIX = "ucm_"

_BITS = 256
_MAX_BYTES = 2**20
_MAX_DAYS = 3650
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)

logger = logging.getLogger(__name__)


def new_token() -> str:
    """A random token."""
    return PREFIX + secrets.token_urlsafe(_BITS // 8)


def sha256_of(token: str) -> str:
    """The hash under which a token is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def _not_a_secret(name: str) -> str:
    if redacted(name) != name:
        raise PydanticCustomError(
            "secret", "name looks like a key or a token; give the name of the person or agent instead"
        )
    return name


def _not_the_token(sha256: object) -> object:
    if isinstance(sha256, str) and redacted(sha256) != sha256:
        raise PydanticCustomError(
            "secret",
            "sha256 contains a token or key instead of its hash. Others may have read it: "
            "revoke it, and create another with: usage-cost-mcp token create NAME",
        )
    return sha256


def _parse_timestamp(text: object) -> datetime:
    if not (isinstance(text, str) and _TIMESTAMP.fullmatch(text)):
        raise ValueError("not a timestamp")
    return datetime.fromisoformat(text)


class TokenRecord(BaseModel):
    """One line of the file; without `expires` the token does not expire, without `workspaces` it shows everything."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,64}$"), AfterValidator(_not_a_secret)]
    sha256: Annotated[
        str, BeforeValidator(_not_the_token), StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)
    ]
    expires: Annotated[datetime | None, BeforeValidator(_parse_timestamp)] = None
    workspaces: Annotated[Workspaces | None, BeforeValidator(parse_workspaces)] = None

    @property
    def principal(self) -> Principal:
        return Principal(self.name, self.workspaces)


_RULES = {
    "name": "name must be 1 to 64 letters, digits or . _ @ -",
    "sha256": "sha256 must be 64 hexadecimal digits, as usage-cost-mcp token create NAME writes them",
    "expires": "expires must be a time with its time zone, such as 2027-01-31T00:00:00Z",
}


def _parse_record(fields: object) -> TokenRecord:
    """Check a record.

    Raises:
        ValueError: Names the broken rule, never the value.
    """
    try:
        return TokenRecord.model_validate(fields)
    except ValidationError as error:
        raise ValueError(_sentence(error.errors()[0])) from None


def _sentence(error: ErrorDetails) -> str:
    match error:
        case {"type": "model_type"}:
            return "it is not a JSON object"
        case {"type": "extra_forbidden"}:
            return f"it has an unknown field; accepted: {', '.join(TokenRecord.model_fields)}"
        case {"type": "secret"}:
            return error["msg"]
        case {"ctx": {"error": parse_error}} if error["loc"] == ("workspaces",):
            return str(parse_error)
        case _:
            return _RULES[str(error["loc"][0])]


class TokensFile:
    """The file while the server runs: reloaded when it has changed; no token is accepted while it cannot be read.

    Raises:
        ConfigurationError: When the file cannot be used at the start.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._fingerprint: _FileFingerprint | None = None
        self._records: Sequence[TokenRecord] = read_records(path)
        self._load_error = ""

    def authenticate(self, token: str) -> Principal:
        """The holder of a token.

        Raises:
            RejectedError: When the token is unknown or has expired, or the file cannot be read.
        """
        self._reload_if_changed()
        if self._load_error:
            raise RejectedError(temporarily_unavailable("tokens_file", _RETRY_SECONDS))
        sha256 = sha256_of(token)
        # All records are compared, so that the time this takes reveals nothing.
        matches = [record for record in self._records if hmac.compare_digest(record.sha256, sha256)]
        if not matches:
            raise RejectedError(UNKNOWN)
        (record,) = matches
        if record.expires and record.expires <= self._clock.now():
            raise RejectedError(EXPIRED)
        return record.principal

    def _reload_if_changed(self) -> None:
        fingerprint = _fingerprint(self._path)
        if fingerprint and fingerprint == self._fingerprint:
            return
        try:
            self._records, load_error = read_records(self._path), ""
        except ConfigurationError as error:
            self._records, load_error = (), str(error)
        if load_error and load_error != self._load_error:
            logger.error("%s Until it is fixed, no token in that file is accepted.", load_error)
        self._fingerprint, self._load_error = fingerprint, load_error


_RETRY_SECONDS = 30

_FileFingerprint = tuple[int, ...]

_SETTLED_NS = 2 * 10**9
"""A file changed less than 2 s ago may change again without a new time stamp, which file systems keep coarsely."""


def _fingerprint(path: Path) -> _FileFingerprint | None:
    """Identifies a version of the file; None while it is missing or was changed just now."""
    try:
        status = path.stat()
    except OSError:
        return None
    if abs(time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns)) < _SETTLED_NS:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev, status.st_mode


def read_records(path: Path) -> Sequence[TokenRecord]:
    """All records of the file.

    Raises:
        ConfigurationError: When it cannot be read or parsed; names the line and the rule, never the content.
    """
    records: list[TokenRecord] = []
    lines = {"name": dict[str, int](), "sha256": dict[str, int]()}
    for number, line in enumerate(_read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = _parse_line(line)
            for field, value in (("name", record.name), ("sha256", record.sha256)):
                if (first := lines[field].setdefault(value, number)) != number:
                    raise ValueError(f"{field} is the same as in line {first}")  # noqa: TRY301 - handled with the others
        except ValueError as error:
            raise ConfigurationError(f"Line {number} of the tokens file ({TOKENS_FILE}): {error}.") from None
        records.append(record)
    if not records:
        raise _unusable("holds no token; create one with: usage-cost-mcp token create NAME")
    return records


def _unusable(reason: str) -> ConfigurationError:
    return ConfigurationError(f"The tokens file ({TOKENS_FILE}) {reason}.")


def _read_text(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _unusable("is not a regular file")
        if os.name == "posix" and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _unusable("can be written by users other than its owner; fix that with: chmod go-w")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _unusable(f"cannot be read: {os.strerror(error.errno or 0)}") from None
    if len(content) > _MAX_BYTES:
        raise _unusable("is larger than 1 MiB")
    try:
        return content.decode("utf-8-sig")
    except ValueError:
        raise _unusable("is not text") from None


def _parse_line(line: str) -> TokenRecord:
    try:
        fields = json.loads(line, object_pairs_hook=_without_duplicates)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("it is not JSON") from None
    return _parse_record(fields)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("it has the same field twice")
    return fields


def create_token(
    name: str, workspaces: list[str] | None, days: int | None, path: Path | None, clock: Clock
) -> tuple[str, str]:
    """Create a token, and append its record to the file if there is one.

    Args:
        name: The holder.
        workspaces: The ids of the only workspaces that they may see; None for the whole organization.
        days: The lifetime; None for no expiry.
        path: The tokens file.
        clock: The source of time.

    Returns:
        The token, and its record as a line of the file.

    Raises:
        ConfigurationError: When an argument is invalid or the file cannot be used.
    """
    token = new_token()
    fields: dict[str, Any] = {"name": name, "sha256": sha256_of(token)}
    try:
        if days is not None:
            fields["expires"] = f"{_expiry(days, clock):%Y-%m-%dT%H:%M:%SZ}"
        if workspaces is not None:
            fields["workspaces"] = workspaces
        _parse_record(fields)
    except ValueError as error:
        raise ConfigurationError(f"No token was created: {error}.") from None
    line = json.dumps(fields)
    if path is not None:
        _append(path, line, name)
    return token, line


def _expiry(days: int, clock: Clock) -> datetime:
    if not 1 <= days <= _MAX_DAYS:
        raise ValueError(f"days must be a number from 1 to {_MAX_DAYS}")
    return clock.now() + timedelta(days=days)


def _append(path: Path, line: str, name: str) -> None:
    """Append the line in a single write, so that a server that reads at that moment sees all of it or nothing."""
    text = _read_text(path) if path.exists() and path.stat().st_size else ""
    if text.strip() and name in {record.name for record in read_records(path)}:
        raise ConfigurationError(f"No token was created: {name} already has one. Remove that line first.")
    separator = "\n" if text and not text.endswith("\n") else ""
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, f"{separator}{line}\n".encode())
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise _unusable(f"cannot be written: {os.strerror(error.errno or 0)}") from None
