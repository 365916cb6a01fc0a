"""How every connection to another machine proves who is there."""

import ssl
from functools import cache

import certifi


@cache
def create_ssl_context() -> ssl.SSLContext:
    """Certificates and names are checked. The default context would write a key log where the environment says so.

    Made once: reading the certificates of all authorities takes longer than answering a call.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())
    return context
