"""Which URLs a secret may be sent to: those with TLS, and those on this machine."""

import ipaddress
from urllib.parse import urlsplit


def is_secure(url: str) -> bool:
    """Whether traffic to a URL cannot be read on the way: it uses HTTPS, or never leaves this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def is_loopback(host: str) -> bool:
    """Whether a hostname or IP address refers to this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
