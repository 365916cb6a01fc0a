"""Access control as the tools see it: who calls, whether the call may proceed, and what the audit log records."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.settings import AuthSettings

from .principals import OPERATOR, Principal


@dataclass(slots=True)
class CallRecord:
    """Facts about a successful call, filled in by the caller of `guard_call`.

    Attributes:
        rows: Number of report rows read for the answer.
        cache: The answer's cache status: hit, partial, miss or stale.
    """

    rows: int | None = None
    cache: str | None = None


class AccessControl(Protocol):
    """Decides on every tool call and resource read."""

    @property
    def auth(self) -> AuthSettings | None:
        """The SDK's authentication settings; None when no token is required."""
        ...

    @property
    def verifier(self) -> TokenVerifier | None:
        """Checks bearer tokens; None when no token is required."""
        ...

    def principal(self) -> Principal:
        """The caller."""
        ...

    def guard_call(self, tool: str, arguments: Mapping[str, Any]) -> AbstractAsyncContextManager[CallRecord]:
        """Apply the rate limit, then log the call when the block ends.

        Args:
            tool: The tool's name, or the resource's URI.
            arguments: As the caller sent them.

        Raises:
            CallRateLimitError: When the caller has used up their calls for now.
        """
        ...


class LocalAccess:
    """Access over stdio and in process: the caller is the operator; no rate limit, no audit log."""

    auth = None
    verifier = None

    def principal(self) -> Principal:
        return OPERATOR

    def guard_call(self, tool: str, arguments: Mapping[str, Any]) -> AbstractAsyncContextManager[CallRecord]:  # noqa: ARG002 - the protocol's signature
        return nullcontext(CallRecord())


LOCAL = LocalAccess()
