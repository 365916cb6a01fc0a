"""How every connection to another machine proves who is there."""

import ssl

import certifi


def strict_tls() -> ssl.SSLContext:
    """Certificates and names are checked. The default context would write a key log where the environment says so."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())
    return context
