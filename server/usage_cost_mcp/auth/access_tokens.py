"""OAuth 2.1: tokens of an identity provider, good for this server alone."""

import asyncio
import hashlib
import json
import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from usage_cost_mcp.errors import ConfigurationError, UsageCostError
from usage_cost_mcp.runtime.addresses import is_secure
from usage_cost_mcp.runtime.clock import Clock
from usage_cost_mcp.runtime.concurrency import SingleFlight
from usage_cost_mcp.runtime.tls import create_ssl_context
from usage_cost_mcp.settings import ISSUER

from .principals import Principal, workspaces_of
from .rejections import EXPIRED, RejectedError, Rejection, temporarily_unavailable

MAX_TOKEN = 16_384
MAX_BYTES = 256 * 1024
FETCH_SECONDS = 5.0
"""How long metadata and keys together may take."""
FRESH_SECONDS = 600.0
"""For how long keys are used without asking whether they are still the issuer's."""
PAUSE_SECONDS = 10.0
"""How long after one attempt to fetch the keys the next may begin."""
MAX_AGE_SECONDS = 24 * 3600.0
"""For how long the keys of an issuer that is silent are used."""

_LEEWAY_SECONDS = 60
_MIN_RSA_BITS = 2048
_TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}

for _library in ("httpx", "httpcore"):
    # Their finer levels print addresses, and the issuer decides what stands in those.
    logging.getLogger(_library).setLevel(logging.WARNING)

logger = logging.getLogger(__name__)


class IssuerError(UsageCostError):
    """The issuer's keys cannot be had."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of the issuer.

    Attributes:
        algorithm: The only one that it is for; None for all that suit it.
    """

    kid: str | None
    algorithm: str | None
    public: RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

    def suits(self, algorithm: str) -> bool:
        """Whether signatures by this algorithm can be the key's."""
        if self.algorithm not in {None, algorithm}:
            return False
        match self.public:
            case RSAPublicKey():
                return algorithm[:2] in {"RS", "PS"} and self.public.key_size >= _MIN_RSA_BITS
            case EllipticCurvePublicKey():
                return _CURVES.get(algorithm) == self.public.curve.name
            case _:
                return algorithm == "EdDSA"


class OAuth:
    """Says whose an access token of the issuer is, and what it is good for."""

    def __init__(self, issuer: str, audience: str, clock: Clock) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = IssuerKeys(issuer, clock)

    async def verify_startup(self) -> None:
        """Fetch the keys.

        Raises:
            ConfigurationError: When they cannot be had.
        """
        await self._keys.verify_startup()

    async def principal(self, token: str) -> tuple[Principal, list[str]]:
        """The one in whose name the token is, and its scopes.

        Raises:
            RefusedError: When it is not good here, or when that cannot be told at the moment.
        """
        header, claims = _unverified(token)
        algorithm = header.get("alg")
        if algorithm not in _ALGORITHMS:
            raise _rejected("algorithm", "The token is not signed by an algorithm that is accepted.")
        if claims.get("iss") != self._issuer:
            raise _rejected("issuer", "The token is of another issuer.")
        kid = header.get("kid")
        key = await self._keys.find(kid if isinstance(kid, str) else None, algorithm)
        return _principal(header, self._verified(token, key, algorithm))

    def _verified(self, token: str, key: Key, algorithm: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key.public,
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
            raise _rejected("signature", "The signature of the token is wrong.") from None
        except jwt.MissingRequiredClaimError:
            raise _rejected("claims", "The token must have the claims iss, aud and exp.") from None
        except (jwt.PyJWTError, *_GARBLED):
            raise _malformed() from None


_GARBLED = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What a parser may make of bytes that anybody can send."""


def _rejected(why: str, sentence: str) -> RejectedError:
    return RejectedError(Rejection(why, sentence))


def _malformed() -> RejectedError:
    return _rejected("malformed", "The token is neither one of this server nor a signed JWT.")


def _unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as anybody may have written them; only good for saying no."""
    if len(token) > MAX_TOKEN:
        raise _malformed()
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, *_GARBLED):
        raise _malformed() from None
    return parts["header"], parts["payload"]


def _principal(header: dict[str, Any], claims: dict[str, Any]) -> tuple[Principal, list[str]]:
    if not _is_access_token(header.get("typ"), claims):
        raise _rejected("kind", "The token is not an access token.")
    if "cnf" in claims or "crit" in header:
        raise _rejected("kind", "The token comes with a condition that this server cannot check.")
    who = next((claims[claim] for claim in ("sub", "client_id", "azp") if claims.get(claim)), None)
    if not isinstance(who, str):
        raise _rejected("claims", "The token does not say whose it is: it needs the claim sub or client_id.")
    try:
        workspaces = workspaces_of(claims["workspaces"]) if "workspaces" in claims else None
    except ValueError as wrong:
        raise _rejected("claims", f"The claim {wrong}.") from None
    return Principal(_name(who), workspaces), [*_scopes(claims.get("scope")), *_scopes(claims.get("scp"))]


def _is_access_token(kind: object, claims: dict[str, Any]) -> bool:
    """An ID token tells a client who has signed in; it was never meant to open anything."""
    said = kind.lower() if isinstance(kind, str) else kind
    return (
        said in _TYPES
        and not claims.keys() & {"nonce", "at_hash", "c_hash"}
        and claims.get("typ", "Bearer") == "Bearer"
    )


def _scopes(scope: object) -> list[str]:
    if isinstance(scope, str):
        return scope.split()
    return [each for each in cast("list[object]", scope) if isinstance(each, str)] if isinstance(scope, list) else []


def _name(who: str) -> str:
    """A name as no record of the tokens file can have it; told apart also where letters had to be left out."""
    plain = re.sub(r"[^A-Za-z0-9._@|:/-]", "", who)[:64]
    if plain == who:
        return f"oauth:{plain}"
    return f"oauth:{plain}~{hashlib.sha256(who.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


class IssuerKeys:
    """The public keys of an issuer, fetched when they are needed, kept while it is silent."""

    def __init__(self, issuer: str, clock: Clock) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys: Sequence[Key] = ()
        self._fetched_at = self._tried_at = -math.inf
        self._failure = ""
        self._fetches: SingleFlight[str, None] = SingleFlight()

    async def verify_startup(self) -> None:
        """Fetch the keys.

        Raises:
            ConfigurationError: When they cannot be had.
        """
        await self._refresh()
        if self._failure or not self._keys:
            raise ConfigurationError(
                f"{ISSUER} cannot be used: {self._failure or 'it has no key that can check signatures.'}"
            )

    async def find(self, kid: str | None, algorithm: str) -> Key:
        """The key that a token names; the only one that suits, where it names none.

        Raises:
            RefusedError: When the issuer has no such key, or when that cannot be told at the moment.
        """
        if self._age() > FRESH_SECONDS or not self._suitable(kid, algorithm):
            await self._refresh()
        if self._age() > MAX_AGE_SECONDS:
            raise RejectedError(temporarily_unavailable("issuer_silent", int(PAUSE_SECONDS)))
        suitable = self._suitable(kid, algorithm)
        if len(suitable) != 1:
            raise _rejected("unknown_key", "The token is signed with a key that the issuer does not publish.")
        return suitable[0]

    def _age(self) -> float:
        return self._clock.monotonic() - self._fetched_at

    def _suitable(self, kid: str | None, algorithm: str) -> list[Key]:
        return [key for key in self._keys if kid in {None, key.kid} and key.suits(algorithm)]

    async def _refresh(self) -> None:
        """Fetch the keys, together with all who wait for them, unless that was tried a moment ago."""
        await self._fetches.run(self._issuer, self._fetch)

    async def _fetch(self) -> None:
        now = self._clock.monotonic()
        if now - self._tried_at < PAUSE_SECONDS:
            return
        self._tried_at = now
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                self._keys = await fetch_keys(self._issuer)
        except (IssuerError, TimeoutError) as failure:
            if not self._failure:
                logger.warning("The keys of the OAuth issuer cannot be had. %s", _describe(failure))
            self._failure = _describe(failure)
        else:
            self._fetched_at, self._failure = self._clock.monotonic(), ""


def _describe(failure: IssuerError | TimeoutError) -> str:
    return str(failure) or f"It did not answer within {FETCH_SECONDS:g} seconds."


async def fetch_keys(issuer: str) -> Sequence[Key]:
    """The keys that the issuer publishes for signatures.

    Raises:
        IssuerError: When they cannot be had.
    """
    metadata = await _metadata(issuer)
    if metadata.get("issuer") != issuer:
        raise IssuerError("The metadata there is of an issuer that is spelled otherwise; it must be the same exactly.")
    uri = metadata.get("jwks_uri")
    if not (isinstance(uri, str) and is_secure(uri)):
        raise IssuerError("The metadata there names no jwks_uri with https.")
    found = await _get(uri)
    if found is None or not isinstance(found.get("keys"), list):
        raise IssuerError("The jwks_uri does not lead to a set of keys.")
    return list(_readable(found["keys"]))


async def _metadata(issuer: str) -> dict[str, Any]:
    """As OpenID Connect Discovery places it, else as RFC 8414 does."""
    parts = urlsplit(issuer)
    path = parts.path.removesuffix("/")
    places = f"{path}/.well-known/openid-configuration", f"/.well-known/oauth-authorization-server{path}"
    for place in places:
        if (found := await _get(f"{parts.scheme}://{parts.netloc}{place}")) is not None:
            return found
    raise IssuerError(f"There is no metadata at {parts.netloc}, neither {places[0]} nor {places[1]}.")


async def _get(url: str) -> dict[str, Any] | None:
    """The JSON object at an address; None where there is none.

    Raises:
        IssuerError: When nobody answers, or it cannot be told what is there.
        TimeoutError: When the answer takes too long.
    """
    host = urlsplit(url).netloc
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    try:
        async with (
            httpx.AsyncClient(trust_env=False, verify=create_ssl_context(), timeout=FETCH_SECONDS) as client,
            client.stream("GET", url, headers=headers, follow_redirects=False) as response,
        ):
            if response.is_server_error:
                raise IssuerError(f"{host} has trouble: it answered {response.status_code}.")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise IssuerError(f"{host} answered with more than 256 KiB.")
    except httpx.TimeoutException:
        raise TimeoutError from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        raise IssuerError(f"No connection to {host}: check the network, the name and the certificate.") from None
    try:
        found = json.loads(body) if response.status_code == HTTPStatus.OK else None
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def _readable(published: list[Any]) -> Iterator[Key]:
    """Keys for signatures of a kind that we know; the others are not for us."""
    for each in published:
        try:
            if each.get("use", "sig") != "sig" or "verify" not in each.get("key_ops", ["verify"]):
                continue
            public = jwt.PyJWK(each).key
            kid, algorithm = each.get("kid"), each.get("alg")
        except (jwt.PyJWTError, *_GARBLED):
            continue
        if isinstance(public, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey):
            yield Key(kid if isinstance(kid, str) else None, algorithm, public)
