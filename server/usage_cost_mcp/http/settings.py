"""The settings of the HTTP server, checked before anything starts."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from usage_cost_mcp.errors import ConfigurationError
from usage_cost_mcp.runtime.addresses import is_loopback, is_secure
from usage_cost_mcp.settings import ALLOWED_HOSTS, AUDIENCE, CALLS_PER_MINUTE, ISSUER, TOKENS_FILE

from .allowed_hosts import MAX_PORT, parse_authority

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = "8000"
DEFAULT_CALLS_PER_MINUTE = "60"

_LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How the HTTP server runs.

    Attributes:
        host: The address to bind.
        port: The port to bind; 0 for any free one.
        allowed_hosts: The public hostnames, each `host` or `host:port`. On a loopback address those of this machine
            are allowed as well.
        tokens_file: The tokens of people and agents, as hashes.
        oauth_issuer: The identity provider whose access tokens are accepted.
        oauth_audience: The audience that they must have: the URL of the MCP endpoint.
        calls_per_minute: How many tool calls each principal may make.
        head_seconds: How long the head of a request may take to arrive.
        body_seconds: How long the body of a request may take to arrive.
        probe_seconds: How long the Admin API may take to answer a readiness probe.
        issuer_seconds: How long the issuer may take to return its metadata and keys.
    """

    host: str = DEFAULT_HOST
    port: int = int(DEFAULT_PORT)
    allowed_hosts: tuple[str, ...] = ()
    tokens_file: Path | None = None
    oauth_issuer: str | None = None
    oauth_audience: str | None = None
    calls_per_minute: int = int(DEFAULT_CALLS_PER_MINUTE)
    head_seconds: float = 10
    body_seconds: float = 10
    probe_seconds: float = 5
    issuer_seconds: float = 5

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    @property
    def hostnames(self) -> tuple[str, ...]:
        """All hostnames that the server accepts."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return (*self.allowed_hosts, *_LOOPBACK_HOSTS, own) if self.is_local else self.allowed_hosts

    @property
    def has_authentication(self) -> bool:
        """Whether a tokens file or an issuer is configured."""
        return bool(self.tokens_file or self.oauth_issuer)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], host: str | None, port: str | None) -> "HttpSettings":
        """Read the settings.

        Args:
            environ: The environment.
            host: The command line's --host; None when it was not given.
            port: The command line's --port; None when it was not given.

        Raises:
            ConfigurationError: When one is missing or malformed. Says what to set, never what was set.
        """
        issuer, audience = _oauth(environ)
        settings = cls(
            host=_host(DEFAULT_HOST if host is None else host.strip()),
            port=_port(DEFAULT_PORT if port is None else port.strip()),
            allowed_hosts=_allowed_hosts(environ),
            tokens_file=_tokens_file(environ),
            oauth_issuer=issuer,
            oauth_audience=audience,
            calls_per_minute=_calls_per_minute(environ),
        )
        if settings.is_local:
            return settings
        if not settings.has_authentication:
            raise ConfigurationError(
                f"Binding to a non-loopback address requires authentication: set {TOKENS_FILE}, or {ISSUER} and "
                f"{AUDIENCE}. Without --host the server listens on this machine only."
            )
        if not settings.allowed_hosts:
            raise ConfigurationError(
                f"Binding to a non-loopback address requires its public hostnames: set {ALLOWED_HOSTS}, such as "
                "spend.example.com."
            )
        return settings


def _host(text: str) -> str:
    try:
        return text if text == "localhost" else str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigurationError(
            f"--host must be an IP address of this machine, such as {DEFAULT_HOST}, or 0.0.0.0 for all."
        ) from None


def _port(text: str) -> int:
    if not (re.fullmatch(r"[0-9]{1,5}", text) and int(text) <= MAX_PORT):
        raise ConfigurationError(f"--port must be a whole number from 1 to {MAX_PORT}, or 0 for any free port.")
    return int(text)


def _allowed_hosts(environ: Mapping[str, str]) -> tuple[str, ...]:
    text = environ.get(ALLOWED_HOSTS, "").strip()
    entries = tuple(entry.strip() for entry in text.split(",")) if text else ()
    if not all(map(parse_authority, entries)):
        raise ConfigurationError(
            f"{ALLOWED_HOSTS} must be a comma-separated list of hostnames or IP addresses, each with an optional "
            "port, such as spend.example.com,10.0.0.5:8000,[::1]: no scheme, no path, no wildcard."
        )
    return entries


def _tokens_file(environ: Mapping[str, str]) -> Path | None:
    text = environ.get(TOKENS_FILE, "").strip()
    return Path(text) if text else None


def _oauth(environ: Mapping[str, str]) -> tuple[str, str] | tuple[None, None]:
    issuer, audience = environ.get(ISSUER, "").strip(), environ.get(AUDIENCE, "").strip()
    if not issuer and not audience:
        return None, None
    if not issuer or not audience:
        present, missing = (ISSUER, AUDIENCE) if issuer else (AUDIENCE, ISSUER)
        raise ConfigurationError(f"{present} is set without {missing}; set both or neither.")
    if not _is_safe(issuer):
        raise ConfigurationError(
            f"{ISSUER} must be the https URL of an identity provider, such as https://login.example.com, spelled "
            "exactly as in its metadata; plain http is accepted on this machine only."
        )
    if not _is_safe(audience):
        raise ConfigurationError(
            f"{AUDIENCE} must be the public https URL of this server, such as https://spend.example.com/mcp, which "
            "access tokens name as their audience; plain http is accepted on this machine only."
        )
    return issuer, audience


def _is_safe(url: str) -> bool:
    """Whether a URL is https or loopback, and has no query or fragment, as RFC 8414 and RFC 8707 require."""
    if not is_secure(url) or not re.fullmatch(r"[!-~]{1,2000}", url) or any(mark in url for mark in "?#"):
        return False
    return parse_authority(urlsplit(url).netloc) is not None


def _calls_per_minute(environ: Mapping[str, str]) -> int:
    text = environ.get(CALLS_PER_MINUTE, "").strip() or DEFAULT_CALLS_PER_MINUTE
    if not (re.fullmatch(r"[0-9]{1,6}", text) and int(text)):
        raise ConfigurationError(f"{CALLS_PER_MINUTE} must be a whole number from 1 to 999999.")
    return int(text)
