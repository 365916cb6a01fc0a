"""An identity provider on loopback. It signs with another library than the one that checks."""

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
    """A key for an algorithm; another for each number. Its kid says which."""
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
    """What it publishes, who asked for it, and the tokens that it gives to anybody.

    Attributes:
        instead: Answers by path that differ from the right ones.
        requests: The paths that were asked for.
    """

    path: str = ""
    keys: list[Key] = field(default_factory=lambda: [key()])
    metadata_at: str = OPENID
    instead: dict[str, Response] = field(default_factory=dict[str, Response])
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
        return self.instead.get(request.path, found)

    def claims(self, audience: str, **changes: Any) -> dict[str, Any]:
        """Those of a good token; a change to None leaves one out."""
        now = int(time.time())
        good: dict[str, Any] = {
            "iss": self.url,
            "aud": audience,
            "sub": "ana",
            "client_id": "a-client",
            "scope": "openid spend:read",
            "iat": now,
            "exp": now + 600,
            "jti": "1",
        }
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def token(
        self, audience: str, by: Key | OctKey | None = None, header: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        """A token, signed by the first of the issuer's keys unless by another."""
        signer = by or self.keys[0]
        about: dict[str, Any] = {"typ": "at+jwt", "kid": signer.kid, "alg": signer.get("alg"), **(header or {})}
        said = {name: value for name, value in about.items() if value is not None}
        return jwt.encode(said, self.claims(audience, **changes), signer, [said["alg"]], default_type=None)


@contextmanager
def issuing(**options: Any) -> Generator[Issuer]:
    """An issuer for as long as the block lasts."""
    issuer = Issuer(**options)
    with serve_on_loopback(issuer.respond) as issuer.base:
        yield issuer
