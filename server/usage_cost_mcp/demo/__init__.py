"""An organization that never existed, and the Admin API that serves it: same wire format, real HTTP, no key."""

from .api import DemoApi
from .http import serve_on_loopback
from .organization import Organization

__all__ = ["DemoApi", "Organization", "serve_on_loopback"]
