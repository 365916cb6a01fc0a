"""What stands before every question: who asks, whether they may ask now, and what is written down of it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Protocol

from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.settings import AuthSettings

from .principals import OPERATOR, Principal


class AccessControl(Protocol):
    """Where a question comes in."""

    @property
    def auth(self) -> AuthSettings | None:
        """What the SDK must know to ask for tokens; None where nobody has to show one."""
        ...

    @property
    def verifier(self) -> TokenVerifier | None:
        """Says whose a token is; None where nobody has to show one."""
        ...

    def principal(self) -> Principal:
        """The one who asks."""
        ...

    def guard_call(self, what: str, arguments: Mapping[str, Any]) -> AbstractAsyncContextManager[None]:
        """Let a question in, and keep watch until it is answered.

        Args:
            what: The tool, or the address of the resource.
            arguments: As the caller gave them.

        Raises:
            TooManyCallsError: When they have to wait.
        """
        ...

    def record_result(self, rows: int, cache: str) -> None:
        """Hear what stands behind the answer to the question that is being answered."""
        ...


class LocalAccess:
    """The gate where only one can ask: over stdio, or in this process."""

    auth = None
    verifier = None

    def principal(self) -> Principal:
        return OPERATOR

    def guard_call(self, what: str, arguments: Mapping[str, Any]) -> AbstractAsyncContextManager[None]:  # noqa: ARG002 - not asked
        return nullcontext()

    def record_result(self, rows: int, cache: str) -> None:
        """Nothing is written down."""


LOCAL = LocalAccess()
