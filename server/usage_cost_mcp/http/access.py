"""Access control for the HTTP server: the caller, the rate limit and the audit log."""

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import ValidationError

from usage_cost_mcp.auth.access import CallRecord
from usage_cost_mcp.auth.audit_log import AuditLog, Outcome
from usage_cost_mcp.auth.principals import ANONYMOUS, Principal
from usage_cost_mcp.auth.verifier import PrincipalToken, Verifier
from usage_cost_mcp.errors import CallRateLimitError, InvalidQueryError
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.rate_limit import RateLimiter

from .authentication import Authentication


class HttpAccess:
    """Guards each call of an authenticated principal.

    Args:
        authentication: None for a demo server that requires no token.
        rate_limiter: Counts the calls of each principal.
        calls_per_minute: How many calls each principal may make.
        clock: The source of time.

    Attributes:
        authentication: As passed.
        audit_log: Also records rejected tokens, which never become a call.
    """

    def __init__(
        self, authentication: Authentication | None, rate_limiter: RateLimiter, calls_per_minute: int, clock: Clock
    ) -> None:
        self.authentication = authentication
        self.audit_log = AuditLog(clock)
        self._rate_limiter = rate_limiter
        self._calls_per_minute = calls_per_minute
        self._clock = clock

    @property
    def auth(self) -> AuthSettings | None:
        """The SDK's authentication settings; None when no token is required."""
        return self.authentication and self.authentication.sdk_settings

    @property
    def verifier(self) -> Verifier | None:
        """Checks bearer tokens; None when no token is required."""
        return self.authentication and self.authentication.verifier

    def principal(self) -> Principal:
        """The principal whose token came with the current request.

        Raises:
            LookupError: When there is none, so that no call is ever answered for an unknown caller.
        """
        if self.authentication is None:
            return ANONYMOUS
        token = get_access_token()
        if not isinstance(token, PrincipalToken):
            raise LookupError("a call without a principal")  # noqa: TRY004 - no argument has the wrong type
        return token.principal

    @asynccontextmanager
    async def guard_call(self, tool: str, arguments: Mapping[str, Any]) -> AsyncGenerator[CallRecord]:
        """Apply the rate limit, then log the call when the block ends, however it ends.

        Raises:
            CallRateLimitError: When the caller has used up their calls for now.
        """
        name = self.principal().name
        began = self._clock.monotonic()
        record = CallRecord()
        outcome: Outcome = "ok"
        try:
            await self._acquire(name)
            yield record
        except BaseException as error:
            outcome = _outcome(error)
            raise
        finally:
            self.audit_log.log_call(
                name,
                tool,
                arguments,
                outcome=outcome,
                rows=record.rows,
                cache=record.cache,
                milliseconds=round(1000 * (self._clock.monotonic() - began)),
            )

    async def _acquire(self, name: str) -> None:
        wait = await self._rate_limiter.acquire(f"calls:{name}", self._calls_per_minute)
        if wait:
            seconds = math.ceil(wait)
            raise CallRateLimitError(
                f"Rate limit reached ({self._calls_per_minute} calls per minute). "
                f"Try again in {seconds} second{'s' if seconds > 1 else ''}."
            )


def _outcome(error: BaseException) -> Outcome:
    match error.__cause__ if isinstance(error, ToolError) else error:
        case asyncio.CancelledError():
            return "cancelled"
        case CallRateLimitError():
            return "limited"
        case InvalidQueryError() | ValidationError():
            return "refused"
        case _:
            return "error"
