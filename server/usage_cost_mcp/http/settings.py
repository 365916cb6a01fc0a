"""Where the HTTP front listens, by which names it is called and who may ask, checked before anything starts."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from usage_cost_mcp.errors import ConfigurationError
from usage_cost_mcp.runtime.addresses import is_loopback, is_secure
from usage_cost_mcp.settings import ALLOWED_HOSTS, AUDIENCE, CALLS_PER_MINUTE, ISSUER, TOKENS_FILE

from .allowed_hosts import MAX_PORT, read_authority

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = "8000"
DEFAULT_CALLS = "60"


_THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How the HTTP front runs.

    Attributes:
        host: The address that it binds.
        port: The port that it binds; 0 for any that is free.
        allowed_hosts: By which names it may be called, each `host` or `host:port`, besides those of this machine
            where it is bound to nothing else.
        tokens_file: Holds who may ask, with the hashes of their tokens.
        oauth_issuer: The identity provider whose tokens are accepted.
        oauth_audience: Whom these must be made out to: the address of the MCP endpoint.
        calls_per_minute: How many tool calls each principal may make.
    """

    host: str = DEFAULT_HOST
    port: int = int(DEFAULT_PORT)
    allowed_hosts: tuple[str, ...] = ()
    tokens_file: Path | None = None
    oauth_issuer: str | None = None
    oauth_audience: str | None = None
    calls_per_minute: int = int(DEFAULT_CALLS)

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)

    @property
    def hostnames(self) -> tuple[str, ...]:
        """By which it may be called."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return (*self.allowed_hosts, *_THIS_MACHINE, own) if self.is_local else self.allowed_hosts

    @property
    def has_authentication(self) -> bool:
        """Whether there is a list of people or an identity provider."""
        return bool(self.tokens_file or self.oauth_issuer)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], host: str | None, port: str | None) -> "HttpSettings":
        """Read the settings.

        Args:
            environ: The environment.
            host: As given on the command line, if it was.
            port: As given on the command line, if it was.

        Raises:
            ConfigurationError: When one is missing or malformed; says what to set, never what was set.
        """
        issuer, audience = _oauth(environ)
        settings = cls(
            host=_host(DEFAULT_HOST if host is None else host.strip()),
            port=_port(DEFAULT_PORT if port is None else port.strip()),
            allowed_hosts=_allowed_hosts(environ),
            tokens_file=_tokens_file(environ),
            oauth_issuer=issuer,
            oauth_audience=audience,
            calls_per_minute=_calls(environ),
        )
        if settings.is_local:
            return settings
        if not settings.has_authentication:
            raise ConfigurationError(
                "An address that others can reach needs a list of who may ask: set "
                f"{TOKENS_FILE}, or {ISSUER} and {AUDIENCE}; or leave --host out to serve this machine alone."
            )
        if not settings.allowed_hosts:
            raise ConfigurationError(
                f"An address that others can reach needs the names that it is called by: set {ALLOWED_HOSTS}, "
                "such as spend.example.com."
            )
        return settings


def _host(text: str) -> str:
    try:
        return text if text == "localhost" else str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigurationError(
            f"--host must be an IP address of this machine, such as {DEFAULT_HOST}, or 0.0.0.0 for all of them."
        ) from None


def _port(text: str) -> int:
    if not (re.fullmatch(r"[0-9]{1,5}", text) and int(text) <= MAX_PORT):
        raise ConfigurationError(f"--port must be a whole number from 1 to {MAX_PORT}, or 0 for any that is free.")
    return int(text)


def _allowed_hosts(environ: Mapping[str, str]) -> tuple[str, ...]:
    text = environ.get(ALLOWED_HOSTS, "").strip()
    entries = tuple(entry.strip() for entry in text.split(",")) if text else ()
    if not all(map(read_authority, entries)):
        raise ConfigurationError(
            f"{ALLOWED_HOSTS} must be a comma list of names or addresses, each maybe with a port, such as "
            "spend.example.com,10.0.0.5:8000,[::1]: no scheme, no path, no wildcard."
        )
    return entries


def _tokens_file(environ: Mapping[str, str]) -> Path | None:
    """Whether it can be used is seen where it is read."""
    text = environ.get(TOKENS_FILE, "").strip()
    return Path(text) if text else None


def _oauth(environ: Mapping[str, str]) -> tuple[str, str] | tuple[None, None]:
    issuer, audience = environ.get(ISSUER, "").strip(), environ.get(AUDIENCE, "").strip()
    if not issuer and not audience:
        return None, None
    if not issuer or not audience:
        given, missing = (ISSUER, AUDIENCE) if issuer else (AUDIENCE, ISSUER)
        raise ConfigurationError(f"{given} is set without {missing}; set both, or neither.")
    if not _is_safe(issuer):
        raise ConfigurationError(
            f"{ISSUER} must be the https address of an identity provider, such as https://login.example.com, exactly "
            "as it calls itself; plain http is accepted for this machine alone."
        )
    if not _is_safe(audience):
        raise ConfigurationError(
            f"{AUDIENCE} must be the https address at which people reach this server, such as "
            "https://spend.example.com/mcp, which is the audience of their tokens; plain http is accepted for this "
            "machine alone."
        )
    return issuer, audience


def _is_safe(url: str) -> bool:
    """Whether it is https, or this machine, and as RFC 8414 and RFC 8707 have it: without a query and a fragment."""
    if not is_secure(url) or not re.fullmatch(r"[!-~]{1,2000}", url) or any(mark in url for mark in "?#"):
        return False
    return read_authority(urlsplit(url).netloc) is not None


def _calls(environ: Mapping[str, str]) -> int:
    text = environ.get(CALLS_PER_MINUTE, "").strip() or DEFAULT_CALLS
    if not (re.fullmatch(r"[0-9]{1,6}", text) and int(text)):
        raise ConfigurationError(f"{CALLS_PER_MINUTE} must be a whole number from 1 to 999999.")
    return int(text)
