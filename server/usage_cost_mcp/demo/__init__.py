"""A fictional organization behind an imitation of the Admin API: the same wire format, real HTTP, no key.

The demo shares no code with the client of the Admin API: a misreading that both had would go unnoticed.
"""

from .api import DemoApi
from .http import serve_on_loopback
from .organization import Organization

__all__ = ["DemoApi", "Organization", "serve_on_loopback"]
