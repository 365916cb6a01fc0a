"""What the HTTP front brings to the server that it stands before."""

from dataclasses import dataclass, field

from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.settings import AuthSettings


@dataclass(frozen=True, slots=True)
class Front:
    """What a server that is reached over HTTP has besides.

    Attributes:
        auth: How clients are told what to bring; None where everybody may come in.
        token_verifier: Says whose a token is.
        token: The one that was made for this run, to be told to whoever started it.
    """

    auth: AuthSettings | None = None
    token_verifier: TokenVerifier | None = None
    token: str | None = field(default=None, repr=False)
