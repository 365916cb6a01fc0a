"""An identity provider on loopback. It signs with a different library than the server verifies with."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from usage_cost_mcp.demo import serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response

Key = RSAKey | ECKey | OKPKey

OPENID = "/.well-known/openid-configuration"
RFC_8414 = "/.well-known/oauth-authorization-server"
JWKS = "/keys"


@cache
def key(kind: str = "ES256", number: int = 0) -> Key:
    """A key for an algorithm, a different one for each number."""
    parameters: Any = {"kid": f"{kind}-{number}", "use": "sig", "alg": kind}
    match kind[:2]:
        case "RS" | "PS":
            return RSAKey.generate_key(2048, parameters)
        case "ES":
            return ECKey.generate_key({"256": "P-256", "384": "P-384", "512": "P-521"}[kind[2:]], parameters)
        case _:
            return OKPKey.generate_key("Ed25519", parameters)


@dataclass
class Issuer:
    """An issuer with its metadata, key set and tokens.

    Attributes:
        overrides: Responses by path that replace the correct ones.
        requests: The requested paths.
    """

    path: str = ""
    keys: list[Key] = field(default_factory=lambda: [key()])
    metadata_at: str = OPENID
    overrides: dict[str, Response] = field(default_factory=dict[str, Response])
    requests: list[str] = field(default_factory=list[str])
    base: str = ""

    @property
    def url(self) -> str:
        return self.base + self.path

    def respond(self, request: Request) -> Response:
        self.requests.append(request.path)
        published = {
            self.metadata_at: {"issuer": self.url, "jwks_uri": f"{self.base}{JWKS}"},
            JWKS: {"keys": [each.as_dict(private=False) for each in self.keys]},
        }
        found = Response(published[request.path]) if request.path in published else Response({}, 404)
        return self.overrides.get(request.path, found)

    def claims(self, audience: str, **changes: Any) -> dict[str, Any]:
        """The claims of a valid token with changes; None removes a claim."""
        now = int(time.time())
        valid: dict[str, Any] = {
            "iss": self.url,
            "aud": audience,
            "sub": "ana",
            "client_id": "a-client",
            "scope": "openid spend:read",
            "iat": now,
            "exp": now + 600,
            "jti": "1",
        }
        return {name: value for name, value in {**valid, **changes}.items() if value is not None}

    def token(
        self, audience: str, by: Key | OctKey | None = None, header: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        """A token, signed by the issuer's first key by default."""
        signer = by or self.keys[0]
        fields: dict[str, Any] = {"typ": "at+jwt", "kid": signer.kid, "alg": signer.get("alg"), **(header or {})}
        present = {name: value for name, value in fields.items() if value is not None}
        return jwt.encode(present, self.claims(audience, **changes), signer, [present["alg"]], default_type=None)


@contextmanager
def issuing(**options: Any) -> Generator[Issuer]:
    """An issuer that runs until the block ends."""
    issuer = Issuer(**options)
    with serve_on_loopback(issuer.respond) as issuer.base:
        yield issuer
