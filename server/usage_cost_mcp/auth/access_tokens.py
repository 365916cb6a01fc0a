"""OAuth 2.1 access tokens (RFC 9068) of an identity provider: signature, claims, scopes."""

import hashlib
import re
from typing import Any, cast

import jwt

from .jwks import PARSE_ERRORS, IssuerKeys, Key
from .principals import Principal, parse_workspaces
from .rejections import EXPIRED, RejectedError, Rejection

_MAX_TOKEN_CHARACTERS = 16_384
_LEEWAY_SECONDS = 60
_HEADER_TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_ID_TOKEN_CLAIMS = {"nonce", "at_hash", "c_hash"}


class AccessTokenVerifier:
    """Authenticates access tokens.

    Args:
        issuer: The only accepted `iss`.
        audience: The `aud` that a token must have: the URL of this server's MCP endpoint.
        keys: The issuer's public keys.
    """

    def __init__(self, issuer: str, audience: str, keys: IssuerKeys) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys

    async def authenticate(self, token: str) -> tuple[Principal, list[str]]:
        """The principal of a token, and its scopes.

        Raises:
            RejectedError: When the token is not valid here, or cannot be checked at the moment.
        """
        header, claims = _decode_unverified(token)
        algorithm = header.get("alg")
        if algorithm not in _ALGORITHMS:
            raise _rejected("algorithm", "The token is not signed with an accepted algorithm.")
        if claims.get("iss") != self._issuer:
            raise _rejected("issuer", "The token is from another issuer.")
        kid = header.get("kid")
        key = await self._keys.find(kid if isinstance(kid, str) else None, algorithm)
        claims = self._verify(token, key, algorithm)
        _check_kind(header, claims)
        return _principal(claims), [*_scopes(claims.get("scope")), *_scopes(claims.get("scp"))]

    def _verify(self, token: str, key: Key, algorithm: str) -> dict[str, Any]:
        """The claims of a token whose signature, issuer, audience and times are valid."""
        try:
            return jwt.decode(
                token,
                key.public_key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["iss", "aud", "exp"]},
            )
        except jwt.ExpiredSignatureError:
            raise RejectedError(EXPIRED) from None
        except jwt.ImmatureSignatureError:
            raise _rejected("not_yet_valid", "The token is not valid yet.") from None
        except jwt.InvalidAudienceError:
            raise _rejected("audience", "The token is for another resource.") from None
        except jwt.InvalidSignatureError:
            raise _rejected("signature", "The token's signature is invalid.") from None
        except jwt.MissingRequiredClaimError:
            raise _rejected("claims", "The token must have the claims iss, aud and exp.") from None
        except (jwt.PyJWTError, *PARSE_ERRORS):
            raise _malformed() from None


def _rejected(reason: str, sentence: str) -> RejectedError:
    return RejectedError(Rejection(reason, sentence))


def _malformed() -> RejectedError:
    return _rejected("malformed", "The token is neither a token of this server nor a signed JWT.")


def _decode_unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims before the signature is checked: good for rejecting a token, never for accepting one."""
    if len(token) > _MAX_TOKEN_CHARACTERS:
        raise _malformed()
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, *PARSE_ERRORS):
        raise _malformed() from None
    return parts["header"], parts["payload"]


def _check_kind(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """Reject ID tokens, which only tell a client who signed in, and tokens with conditions that are not checked here.

    Raises:
        RejectedError: When it is no plain access token.
    """
    header_type = header.get("typ")
    if isinstance(header_type, str):
        header_type = header_type.lower()
    is_access_token = (
        header_type in _HEADER_TYPES
        and not claims.keys() & _ID_TOKEN_CLAIMS
        and claims.get("typ", "Bearer") == "Bearer"
    )
    if not is_access_token:
        raise _rejected("kind", "The token is not an access token.")
    if "cnf" in claims or "crit" in header:
        raise _rejected("kind", "The token has a condition that this server cannot check.")


def _principal(claims: dict[str, Any]) -> Principal:
    subject = next((claims[claim] for claim in ("sub", "client_id", "azp") if claims.get(claim)), None)
    if not isinstance(subject, str):
        raise _rejected("claims", "The token names no subject: it needs the claim sub or client_id.")
    try:
        workspaces = parse_workspaces(claims["workspaces"]) if "workspaces" in claims else None
    except ValueError as error:
        raise _rejected("claims", f"The claim {error}.") from None
    return Principal(_principal_name(subject), workspaces)


def _scopes(scope: object) -> list[str]:
    if isinstance(scope, str):
        return scope.split()
    return [each for each in cast("list[object]", scope) if isinstance(each, str)] if isinstance(scope, list) else []


def _principal_name(subject: str) -> str:
    """A printable name, unique per subject; its colon keeps it apart from every name in the tokens file."""
    printable = re.sub(r"[^A-Za-z0-9._@|:/-]", "", subject)[:64]
    if printable == subject:
        return f"oauth:{printable}"
    return f"oauth:{printable}~{hashlib.sha256(subject.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
