"""How requests to the HTTP server are authenticated, according to the settings."""

from dataclasses import dataclass

from mcp.server.auth.routes import build_resource_metadata_url
from mcp.server.auth.settings import AuthSettings

from usage_cost_mcp.auth.access_tokens import AccessTokenVerifier
from usage_cost_mcp.auth.jwks import IssuerKeys
from usage_cost_mcp.auth.rejections import SCOPE
from usage_cost_mcp.auth.tokens_file import TokensFile, new_token
from usage_cost_mcp.auth.verifier import Verifier
from usage_cost_mcp.runtime.clock import Clock

from .settings import HttpSettings

_PLACEHOLDER_ISSUER = "https://no-issuer.invalid"
"""The SDK requires an issuer even without OAuth. It publishes one only for a resource, which is then not set."""


@dataclass(frozen=True, slots=True)
class Authentication:
    """The parts that authenticate a request.

    Attributes:
        verifier: Checks bearer tokens.
        sdk_settings: Makes the SDK require them.
        issuer_keys: The keys to load before the server starts; None without an issuer.
        ephemeral_token: A token for this run, printed at the start; None with a tokens file or an issuer.
    """

    verifier: Verifier
    sdk_settings: AuthSettings
    issuer_keys: IssuerKeys | None = None
    ephemeral_token: str | None = None

    @property
    def metadata_url(self) -> str | None:
        """The URL of the protected resource metadata (RFC 9728); None without an issuer."""
        resource = self.sdk_settings.resource_server_url
        return str(build_resource_metadata_url(resource)) if resource else None


def build_authentication(settings: HttpSettings, clock: Clock, *, demo: bool) -> Authentication | None:
    """The authentication that the settings ask for; None for a demo without any, whose numbers are fictional.

    Raises:
        ConfigurationError: When the tokens file cannot be used.
    """
    if demo and not settings.has_authentication:
        return None
    ephemeral_token = None if settings.has_authentication else new_token()
    tokens_file = TokensFile(settings.tokens_file, clock) if settings.tokens_file else None
    issuer, audience = settings.oauth_issuer, settings.oauth_audience
    if not (issuer and audience):
        return Authentication(
            Verifier(tokens_file, ephemeral_token, None, None),
            _sdk_settings(_PLACEHOLDER_ISSUER, None),
            ephemeral_token=ephemeral_token,
        )
    keys = IssuerKeys(issuer, clock, settings.issuer_seconds)
    access_tokens = AccessTokenVerifier(issuer, audience, keys)
    return Authentication(
        Verifier(tokens_file, None, access_tokens, audience), _sdk_settings(issuer, audience), issuer_keys=keys
    )


def _sdk_settings(issuer: str, audience: str | None) -> AuthSettings:
    """Validated from strings, which keeps the URLs as they are spelled: clients compare the issuer exactly."""
    return AuthSettings.model_validate(
        {
            "issuer_url": issuer,
            "resource_server_url": audience,
            "required_scopes": [SCOPE],
            "validate_token_resource": audience is not None,
        }
    )
