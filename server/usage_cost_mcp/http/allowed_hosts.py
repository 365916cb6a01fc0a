"""The allow-list for the `Host` and `Origin` headers.

Why: a web page can point its own hostname at 127.0.0.1 or into a company's network, and then send requests from
the visitor's browser to whatever answers there (DNS rebinding). It cannot choose the `Host` and `Origin` headers.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

_AUTHORITY = re.compile(
    r"(?P<host>[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*|\[(?P<ipv6>[0-9a-f:.]{2,45})])(:(?P<port>[1-9][0-9]{0,4}))?"
)
_MAX_CHARACTERS = 261
"""A hostname of 255 characters, a colon and a port."""

MAX_PORT = 65_535
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Authority(NamedTuple):
    """A host in lower case, an IPv6 address in its shortest form, and the port if there is one."""

    host: str
    port: int | None


def parse_authority(text: str) -> Authority | None:
    """Parse `host` or `host:port`, where the host is a name, an IPv4 address or an IPv6 address in brackets."""
    match = _AUTHORITY.fullmatch(text.lower()) if text.isascii() and len(text) <= _MAX_CHARACTERS else None
    if not match or (match["port"] and int(match["port"]) > MAX_PORT):
        return None
    host = _shortest_ipv6(match["ipv6"]) if match["ipv6"] else match["host"]
    return Authority(host, int(match["port"]) if match["port"] else None) if host else None


def _shortest_ipv6(address: str) -> str | None:
    try:
        return f"[{ipaddress.IPv6Address(address)}]"
    except ValueError:
        return None


class AllowedHosts:
    """The hostnames under which the server may be reached.

    Args:
        entries: Each `host`, which allows every port, or `host:port`.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = frozenset(filter(None, map(parse_authority, entries)))

    def allows_host(self, value: str) -> bool:
        """Whether a Host header is allowed. Without a port it means either default port: only the proxy knows which."""
        return self._allows(value, set(_DEFAULT_PORTS.values()))

    def allows_origin(self, value: str) -> bool:
        """Whether an Origin header is allowed."""
        scheme, separator, authority = value.partition("://")
        default_port = _DEFAULT_PORTS.get(scheme.lower())
        return bool(separator and default_port) and self._allows(authority, {default_port})

    def _allows(self, text: str, default_ports: set[int | None]) -> bool:
        authority = parse_authority(text)
        if authority is None:
            return False
        ports = {authority.port} if authority.port else default_ports
        return any(host == authority.host and (port is None or port in ports) for host, port in self._entries)
