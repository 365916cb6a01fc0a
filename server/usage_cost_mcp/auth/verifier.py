"""The SDK's token verifier: tokens of this server are looked up, all others must be access tokens of the issuer."""

import hmac

from mcp.server.auth.provider import AccessToken

from .access_tokens import AccessTokenVerifier
from .principals import OPERATOR, Principal
from .rejections import SCOPE, UNKNOWN, RejectedError, current_rejection
from .tokens_file import PREFIX, TokensFile, sha256_of


class PrincipalToken(AccessToken):
    """The authenticated principal, passed by the SDK from the auth middleware to the tool. Holds no token."""

    token: str = ""
    principal: Principal


class Verifier:
    """Authenticates bearer tokens.

    Args:
        tokens_file: The tokens of this server; None without such a file.
        ephemeral_token: The operator's token for this run; None where a file or an issuer is configured.
        access_tokens: Verifies access tokens of the issuer; None without an issuer.
        audience: The resource that the SDK checks access tokens for; None without an issuer.
    """

    def __init__(
        self,
        tokens_file: TokensFile | None,
        ephemeral_token: str | None,
        access_tokens: AccessTokenVerifier | None,
        audience: str | None,
    ) -> None:
        self._tokens_file = tokens_file
        self._ephemeral_hash = sha256_of(ephemeral_token) if ephemeral_token else None
        self._access_tokens = access_tokens
        self._audience = audience

    async def verify_token(self, token: str) -> PrincipalToken | None:
        """The holder of a token; None when it is rejected, with the reason in `current_rejection`."""
        try:
            principal, scopes = await self._authenticate(token)
        except RejectedError as error:
            current_rejection.set(error.rejection)
            return None
        return PrincipalToken(client_id=principal.name, scopes=scopes, resource=self._audience, principal=principal)

    async def _authenticate(self, token: str) -> tuple[Principal, list[str]]:
        if self._access_tokens and not token.startswith(PREFIX):
            return await self._access_tokens.authenticate(token)
        if self._ephemeral_hash and hmac.compare_digest(self._ephemeral_hash, sha256_of(token)):
            return OPERATOR, [SCOPE]
        if self._tokens_file is None:
            raise RejectedError(UNKNOWN)
        return self._tokens_file.authenticate(token), [SCOPE]
