"""TLS settings of every outgoing connection."""

import ssl
from functools import cache

import certifi


@cache
def create_ssl_context() -> ssl.SSLContext:
    """A context that verifies certificates and hostnames.

    Why not the default context: it writes session keys to a file if the environment variable SSLKEYLOGFILE is set.
    Cached, because loading all root certificates takes longer than answering a call.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())
    return context
