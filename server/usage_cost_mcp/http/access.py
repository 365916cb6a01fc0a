"""The gate of the server for a team: tokens say who asks, how often is counted, each call is written down."""

import asyncio
import hmac
import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.routes import build_resource_metadata_url
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import ValidationError
from starlette.types import ASGIApp

from usage_cost_mcp.auth.access_tokens import OAuth
from usage_cost_mcp.auth.audit_log import AuditLog, Outcome
from usage_cost_mcp.auth.principals import OPERATOR, Principal
from usage_cost_mcp.auth.rejections import SCOPE, UNKNOWN, RejectedError
from usage_cost_mcp.auth.tokens_file import PREFIX, TokensFile, new_token, sha256_of
from usage_cost_mcp.errors import CallRateLimitError, InvalidQueryError
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.rate_limit import RateLimiter

from .auth_challenges import AuthChallengeMiddleware, set_rejection
from .settings import HttpSettings

ANONYMOUS = Principal("demo")
"""Whoever asks a demo server that wants no token."""

_NO_ISSUER = "https://no-issuer.invalid"
"""The SDK wants one even where there is none; it tells nobody, as long as it is given no resource."""


class PrincipalToken(AccessToken):
    """What the SDK carries from the door to the call. The token itself is not in it."""

    token: str = ""
    principal: Principal


class Verifier:
    """Says whose a token is: those of our own making are looked up, all others are the issuer's."""

    def __init__(
        self, tokens: TokensFile | None, one_token: str | None, oauth: OAuth | None, audience: str | None
    ) -> None:
        self._tokens = tokens
        self._one_hash = sha256_of(one_token) if one_token else None
        self._oauth = oauth
        self._audience = audience

    async def verify_startup(self) -> None:
        """See whether the issuer can be reached.

        Raises:
            ConfigurationError: When it cannot, or is not what the settings say.
        """
        if self._oauth:
            await self._oauth.verify_startup()

    async def verify_token(self, token: str) -> PrincipalToken | None:
        """The principal who holds it; None for a token that is not good, the reason being remembered."""
        try:
            principal, scopes = await self._authenticate(token)
        except RejectedError as refused:
            set_rejection(refused.rejection)
            return None
        return PrincipalToken(client_id=principal.name, scopes=scopes, resource=self._audience, principal=principal)

    async def _authenticate(self, token: str) -> tuple[Principal, list[str]]:
        if self._oauth and not token.startswith(PREFIX):
            return await self._oauth.principal(token)
        if self._one_hash and hmac.compare_digest(self._one_hash, sha256_of(token)):
            return OPERATOR, [SCOPE]
        if self._tokens is None:
            raise RejectedError(UNKNOWN)
        return self._tokens.principal(token), [SCOPE]


@dataclass(slots=True)
class _CallRecord:
    """What stood behind an answer."""

    rows: int | None = None
    cache: str | None = None


_found: ContextVar[_CallRecord] = ContextVar("found")


class HttpAccess:
    """The gate where each question comes with a token.

    Attributes:
        auth: For the SDK; None where nobody needs a token.
        verifier: For the SDK; None where nobody needs a token.
        one_token: A token that was made for this run, to be told to whoever started it.
    """

    def __init__(
        self,
        rate_limiter: RateLimiter,
        calls_per_minute: int,
        clock: Clock,
        verifier: Verifier | None = None,
        auth: AuthSettings | None = None,
        one_token: str | None = None,
    ) -> None:
        self.auth = auth
        self.verifier = verifier
        self.ephemeral_token = one_token
        self._rate_limiter = rate_limiter
        self._calls_a_minute = calls_per_minute
        self._clock = clock
        self._audit = AuditLog(clock)

    async def verify_startup(self) -> None:
        """See whether the issuer can be reached.

        Raises:
            ConfigurationError: When it cannot, or is not what the settings say.
        """
        if self.verifier:
            await self.verifier.verify_startup()

    def wrap_with_challenges(self, app: ASGIApp) -> ASGIApp:
        """The SDK's application, with answers of ours to requests that it does not let in."""
        resource = self.auth and self.auth.resource_server_url
        metadata_url = str(build_resource_metadata_url(resource)) if resource else None
        return AuthChallengeMiddleware(app, self._audit.log_rejection, metadata_url)

    def principal(self) -> Principal:
        """The one whose token the request of the present call came with."""
        if self.verifier is None:
            return ANONYMOUS
        token = get_access_token()
        if not isinstance(token, PrincipalToken):
            raise LookupError("a call without a principal")  # noqa: TRY004 - nobody passed a wrong type
        return token.principal

    @asynccontextmanager
    async def guard_call(self, what: str, arguments: Mapping[str, Any]) -> AsyncGenerator[None]:
        """Count the call, and write it down when it is over, however it ends."""
        name = self.principal().name
        began = self._clock.monotonic()
        found, outcome = _CallRecord(), "ok"
        before = _found.set(found)
        try:
            await self._acquire(name)
            yield
        except BaseException as failure:
            outcome = _outcome(failure)
            raise
        finally:
            _found.reset(before)
            self._audit.log_call(
                name,
                what,
                arguments,
                outcome=outcome,
                rows=found.rows,
                cache=found.cache,
                milliseconds=round(1000 * (self._clock.monotonic() - began)),
            )

    async def _acquire(self, name: str) -> None:
        wait = await self._rate_limiter.acquire(f"calls:{name}", self._calls_a_minute)
        if wait:
            raise CallRateLimitError(
                f"{self._calls_a_minute} calls a minute are allowed, and they are used up. "
                f"Ask again in {(seconds := math.ceil(wait))} second{'s' if seconds > 1 else ''}."
            )

    def record_result(self, rows: int, cache: str) -> None:
        """Hear what stands behind the answer."""
        found = _found.get()
        found.rows, found.cache = rows, cache


def _outcome(failure: BaseException) -> Outcome:
    match failure.__cause__ if isinstance(failure, ToolError) else failure:
        case asyncio.CancelledError():
            return "cancelled"
        case CallRateLimitError():
            return "limited"
        case InvalidQueryError() | ValidationError():
            return "refused"
        case _:
            return "error"


def build_access(settings: HttpSettings, rate_limiter: RateLimiter, clock: Clock, *, demo: bool) -> HttpAccess:
    """The gate that the settings ask for.

    Without a list of people and without an issuer it is for whoever has the token that is made for this run; the demo's
    numbers are nobody's, so that anyone may ask for them.

    Args:
        settings: Who may ask, and how often.
        rate_limiter: Counts the calls.
        clock: The source of time.
        demo: Whether the organization is the demo.

    Raises:
        ConfigurationError: When the tokens file cannot be used.
    """
    if demo and not settings.has_authentication:
        return HttpAccess(rate_limiter, settings.calls_per_minute, clock)
    one_token = None if settings.has_authentication else new_token()
    tokens = TokensFile(settings.tokens_file, clock) if settings.tokens_file else None
    issuer, audience = settings.oauth_issuer, settings.oauth_audience
    oauth = OAuth(issuer, audience, clock) if issuer and audience else None
    verifier = Verifier(tokens, one_token, oauth, audience)
    return HttpAccess(rate_limiter, settings.calls_per_minute, clock, verifier, _auth(issuer, audience), one_token)


def _auth(issuer: str | None, audience: str | None) -> AuthSettings:
    """Told in text, which leaves addresses as they are spelled: clients compare the issuer letter by letter."""
    named = issuer and audience
    return AuthSettings.model_validate(
        {
            "issuer_url": issuer if named else _NO_ISSUER,
            "resource_server_url": audience if named else None,
            "required_scopes": [SCOPE],
            "validate_token_resource": bool(named),
        }
    )
