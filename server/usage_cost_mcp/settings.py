"""Settings, read from the environment once and validated before anything starts."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from .errors import ConfigurationError
from .runtime.addresses import is_secure

DEFAULT_BASE_URL = "https://api.anthropic.com"
DEFAULT_ANSWER_CHARACTERS = 40_000
CREATE_KEY_HINT = "An organization admin creates one in the Claude Console under Settings > Admin keys"

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

_KEY = "ANTHROPIC_ADMIN_API_KEY"
_KEY_FILE = "ANTHROPIC_ADMIN_API_KEY_FILE"
_BASE_URL = "USAGE_COST_MCP_BASE_URL"
_CHARACTERS = "USAGE_COST_MCP_MAX_ANSWER_CHARACTERS"
_LOG_LEVEL = "USAGE_COST_MCP_LOG_LEVEL"
REDIS_URL = "USAGE_COST_MCP_REDIS_URL"
TOKENS_FILE = "USAGE_COST_MCP_TOKENS_FILE"
ALLOWED_HOSTS = "USAGE_COST_MCP_ALLOWED_HOSTS"
ISSUER = "USAGE_COST_MCP_OAUTH_ISSUER"
AUDIENCE = "USAGE_COST_MCP_OAUTH_AUDIENCE"
CALLS_PER_MINUTE = "USAGE_COST_MCP_CALLS_PER_MINUTE"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that both transports share.

    Attributes:
        admin_key: The Admin key; masked when printed.
        key_source: The variable that the key came from, for messages.
        base_url: The Admin API: https, or http on a loopback address.
        max_answer_characters: The limit for each half of an answer, text and structured; None for no limit.
        log_level: The level of the log on stderr.
        demo: Whether to serve the fictional demo organization.
        redis_url: A Redis that several processes use as a shared cache; masked, as it may contain a password.
    """

    admin_key: SecretStr
    key_source: str = _KEY
    base_url: str = DEFAULT_BASE_URL
    max_answer_characters: int | None = DEFAULT_ANSWER_CHARACTERS
    log_level: LogLevel = "WARNING"
    demo: bool = False
    redis_url: SecretStr | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings.

        Raises:
            ConfigurationError: A setting is missing or malformed. The message says what to set, never the value.
        """
        key, source = _admin_key(environ)
        return cls(
            admin_key=key,
            key_source=source,
            base_url=_base_url(environ),
            max_answer_characters=_characters(environ),
            log_level=_log_level(environ),
            redis_url=_redis_url(environ),
        )

    @property
    def key_fingerprint(self) -> str:
        """Identifies the key without disclosing it."""
        return hashlib.sha256(self.admin_key.get_secret_value().encode()).hexdigest()[:16]

    @classmethod
    def for_demo(cls, environ: Mapping[str, str], base_url: str) -> "Settings":
        """Settings for the demo organization at `base_url`, which needs no key.

        Raises:
            ConfigurationError: A setting is malformed.
        """
        key = SecretStr("sk-ant-admin01-demo")
        return cls(
            admin_key=key,
            key_source="the demo",
            base_url=base_url,
            max_answer_characters=_characters(environ),
            log_level=_log_level(environ),
            demo=True,
            redis_url=_redis_url(environ),
        )


def _admin_key(environ: Mapping[str, str]) -> tuple[SecretStr, str]:
    inline, path = environ.get(_KEY, "").strip(), environ.get(_KEY_FILE, "").strip()
    if inline and path:
        raise ConfigurationError(f"Both {_KEY} and {_KEY_FILE} are set; keep one of them.")
    if path:
        return _checked(_read_key(path), _KEY_FILE), _KEY_FILE
    if inline:
        return _checked(inline, _KEY), _KEY
    raise ConfigurationError(
        f"No Admin key: set {_KEY} (it starts with sk-ant-admin) or {_KEY_FILE}. {CREATE_KEY_HINT}. "
        "To look around without a key, run: usage-cost-mcp demo"
    )


def _read_key(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "it is not UTF-8 text"
        raise ConfigurationError(f"Cannot read the file in {_KEY_FILE}: {reason}.") from None


def _checked(key: str, source: str) -> SecretStr:
    if not key.startswith("sk-ant-admin"):
        kind = (
            "contains an ordinary API key (sk-ant-api...), which cannot read usage and cost reports"
            if key.startswith("sk-ant-api")
            else "does not contain an Admin key"
        )
        raise ConfigurationError(f"{source} {kind}. Set an Admin key (sk-ant-admin...). {CREATE_KEY_HINT}.")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError(f"{source} contains characters that a key cannot have. Copy the whole key again.")
    return SecretStr(key)


def _base_url(environ: Mapping[str, str]) -> str:
    url = environ.get(_BASE_URL, "").strip() or DEFAULT_BASE_URL
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    more_than_host = "@" in parts.netloc or parts.query or parts.fragment or parts.path not in {"", "/"}
    if not host or not _HOST.fullmatch(host) or more_than_host:
        raise ConfigurationError(f"{_BASE_URL} must be a URL such as {DEFAULT_BASE_URL}, without a path.")
    if not is_secure(url):
        raise ConfigurationError(f"{_BASE_URL} must use https; plain http is accepted only for loopback addresses.")
    return f"{parts.scheme}://{parts.netloc}"


_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\.?|[0-9a-f:.]+")
"""A hostname, or an IPv6 address without its brackets."""


def _characters(environ: Mapping[str, str]) -> int:
    text = environ.get(_CHARACTERS, "").strip() or str(DEFAULT_ANSWER_CHARACTERS)
    if not (re.fullmatch(r"[0-9]{1,9}", text) and int(text) >= _MIN_CHARACTERS):
        raise ConfigurationError(f"{_CHARACTERS} must be a whole number of at least {_MIN_CHARACTERS}.")
    return int(text)


_MIN_CHARACTERS = 4000
"""Room for an answer of one bucket and one group with all its notes."""


def _log_level(environ: Mapping[str, str]) -> LogLevel:
    level = environ.get(_LOG_LEVEL, "").strip().upper() or "WARNING"
    if level not in get_args(LogLevel):
        raise ConfigurationError(f"{_LOG_LEVEL} must be one of {', '.join(get_args(LogLevel))}.")
    return cast("LogLevel", level)


def _redis_url(environ: Mapping[str, str]) -> SecretStr | None:
    url = environ.get(REDIS_URL, "").strip()
    if not url:
        return None
    if not _is_redis_url(url):
        raise ConfigurationError(
            f"{REDIS_URL} must be a URL such as redis://host:6379/0, rediss://host:6379/0 (with TLS) or "
            f"unix:///path/to/socket. The only options are {', '.join(sorted(_REDIS_OPTIONS))}."
        )
    if find_spec("redis") is None:
        raise ConfigurationError(f"{REDIS_URL} requires the redis extra: pip install 'usage-cost-mcp[redis]'.")
    return SecretStr(url)


_REDIS_OPTIONS = frozenset({"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})


def _is_redis_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    options = parse_qs(parts.query, keep_blank_values=True)
    if (
        parts.fragment
        or not options.keys() <= _REDIS_OPTIONS
        or not re.fullmatch("[0-9]*", "".join(options.get("db", [])))
    ):
        return False
    if parts.scheme == "unix":
        return not host and len(parts.path) > 1
    named = re.fullmatch(r"[a-z0-9_.:-]+", host) is not None
    return parts.scheme in {"redis", "rediss"} and named and re.fullmatch("(/[0-9]*)?", parts.path) is not None
