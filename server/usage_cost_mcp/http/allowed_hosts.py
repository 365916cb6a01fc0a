"""By which names the server may be called: what browsers and DNS can be tricked into is checked against a list.

Why: a page on the internet can point a name of its own at 127.0.0.1 or into a company's network and then talk to
whatever answers there, from inside (DNS rebinding). It cannot choose what `Host` and `Origin` say.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

_AUTHORITY = re.compile(
    r"(?P<host>[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*|\[(?P<address>[0-9a-f:.]{2,45})])(:(?P<port>[1-9][0-9]{0,4}))?"
)
_MAX_CHARACTERS = 261
"""A name of 255 characters, a colon and a port."""

MAX_PORT = 65_535
_USUAL_PORTS = {"http": 80, "https": 443}


class Authority(NamedTuple):
    """A host, in small letters and in its shortest form, and a port if one is named."""

    host: str
    port: int | None


def read_authority(text: str) -> Authority | None:
    """Read `host` or `host:port`, where the host is a name, an IPv4 address or an IPv6 address in brackets."""
    match = _AUTHORITY.fullmatch(text.lower()) if text.isascii() and len(text) <= _MAX_CHARACTERS else None
    if not match or (match["port"] and int(match["port"]) > MAX_PORT):
        return None
    host = _shortest(match["address"]) if match["address"] else match["host"]
    return Authority(host, int(match["port"]) if match["port"] else None) if host else None


def _shortest(address: str) -> str | None:
    try:
        return f"[{ipaddress.IPv6Address(address)}]"
    except ValueError:
        return None


class AllowedHosts:
    """The names that are ours.

    Args:
        entries: Each `host`, which allows every port, or `host:port`.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = frozenset(filter(None, map(read_authority, entries)))

    def host(self, value: str) -> bool:
        """Whether a Host header names one. Without a port it means a usual one: which, only the balancer knows."""
        return self._allow(value, set(_USUAL_PORTS.values()))

    def origin(self, value: str) -> bool:
        """Whether an Origin header names one."""
        scheme, separator, authority = value.partition("://")
        usual = _USUAL_PORTS.get(scheme.lower())
        return bool(separator and usual) and self._allow(authority, {usual})

    def _allow(self, authority: str, usual: set[int | None]) -> bool:
        named = read_authority(authority)
        if named is None:
            return False
        ports = {named.port} if named.port else usual
        return any(host == named.host and (port is None or port in ports) for host, port in self._entries)
