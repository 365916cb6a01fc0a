"""Who may come in."""

import secrets

from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl

from usage_cost_mcp.errors import ConfigurationError
from usage_cost_mcp.principals import OPERATOR

from .front import Front
from .settings import HttpSettings


def front_for(settings: HttpSettings, *, demo: bool) -> Front:
    """The front that the settings ask for: people of a list, or whoever started the server; the demo is for everybody.

    Raises:
        ConfigurationError: When the list cannot be used.
    """
    if settings.knows_who_asks:
        raise ConfigurationError("This version cannot read a list of people yet.")
    return Front() if demo else for_this_run()


def for_this_run() -> Front:
    """A front that lets in whoever has the token that is made here."""
    token = f"ucm_{secrets.token_urlsafe(32)}"
    # No one issues such tokens, and nobody is told so: without a resource there is no metadata to say it in.
    auth = AuthSettings(issuer_url=AnyHttpUrl("http://127.0.0.1"), resource_server_url=None)
    return Front(auth, OneToken(token), token)


class OneToken:
    """Knows one token: the operator's."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whose it is, if it is that one."""
        if not secrets.compare_digest(token.encode(), self._token):
            return None
        return AccessToken(token=token, client_id=OPERATOR.name, scopes=[])
