"""The issuer's public keys: discovery of its metadata, fetching of its key set (JWKS), caching.

Why no redirects are followed: the issuer's address is the root of trust, and the operator configured it. A redirect
would let any host decide which keys this server trusts, and would let the issuer's host send requests from inside this
network to an address of its choice. RFC 8414 and OpenID Connect Discovery publish the metadata at a fixed path, so
an issuer needs no redirect.

Why not PyJWT's `PyJWKClient`: it blocks the event loop, follows redirects and uses the proxies of the environment.
"""

import asyncio
import json
import logging
import math
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

from .rejections import RejectedError, Rejection, temporarily_unavailable

KEYS_TTL_SECONDS = 600.0
"""How long keys are used before they are fetched again."""

MIN_FETCH_INTERVAL_SECONDS = 10.0
"""Time between two attempts to fetch the keys, however many tokens name an unknown key."""

MAX_STALE_SECONDS = 24 * 3600.0
"""How long keys are used while the issuer does not answer."""

_MAX_BYTES = 256 * 1024
_MIN_RSA_BITS = 2048
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}

PARSE_ERRORS = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What the libraries' parsers raise for malformed input, in addition to their own errors."""

for _library in ("httpx", "httpcore"):
    # Their INFO and DEBUG lines contain URLs, and the issuer decides what is in those.
    logging.getLogger(_library).setLevel(logging.WARNING)

logger = logging.getLogger(__name__)


class IssuerError(UsageCostError):
    """The issuer's keys cannot be fetched."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of the issuer.

    Attributes:
        algorithm: The only algorithm that the issuer allows for it; None when it does not say.
    """

    kid: str | None
    algorithm: str | None
    public_key: RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

    def supports(self, algorithm: str) -> bool:
        """Whether the key can verify signatures by this algorithm."""
        if self.algorithm not in {None, algorithm}:
            return False
        match self.public_key:
            case RSAPublicKey():
                return algorithm[:2] in {"RS", "PS"} and self.public_key.key_size >= _MIN_RSA_BITS
            case EllipticCurvePublicKey():
                return _CURVES.get(algorithm) == self.public_key.curve.name
            case _:
                return algorithm == "EdDSA"


class IssuerKeys:
    """The issuer's public keys, fetched on demand and kept while the issuer does not answer.

    Args:
        issuer: The issuer's URL, exactly as it identifies itself.
        clock: The source of time.
        fetch_seconds: How long metadata and keys together may take.
    """

    def __init__(self, issuer: str, clock: Clock, fetch_seconds: float) -> None:
        self._issuer = issuer
        self._clock = clock
        self._fetch_seconds = fetch_seconds
        self._keys: Sequence[Key] = ()
        self._fetched_at = self._attempted_at = -math.inf
        self._failure = ""
        self._fetches: SingleFlight[str, None] = SingleFlight()

    async def load(self) -> None:
        """Fetch the keys before the server starts.

        Raises:
            ConfigurationError: When the issuer cannot be reached, or does not match the settings.
        """
        await self._refresh()
        if self._failure or not self._keys:
            raise ConfigurationError(
                f"{ISSUER} cannot be used: {self._failure or 'it publishes no key that can verify signatures.'}"
            )

    async def find(self, kid: str | None, algorithm: str) -> Key:
        """The key that a token names. A token without a `kid` needs exactly one key that supports its algorithm.

        Raises:
            RejectedError: When the issuer has no such key, or has not answered for a day.
        """
        if self._age() > KEYS_TTL_SECONDS or not self._matching(kid, algorithm):
            await self._refresh()
        if self._age() > MAX_STALE_SECONDS:
            raise RejectedError(temporarily_unavailable("issuer_silent", int(MIN_FETCH_INTERVAL_SECONDS)))
        keys = self._matching(kid, algorithm)
        if len(keys) != 1:
            raise RejectedError(
                Rejection("unknown_key", "The token is signed with a key that the issuer does not publish.")
            )
        return keys[0]

    def _age(self) -> float:
        return self._clock.monotonic() - self._fetched_at

    def _matching(self, kid: str | None, algorithm: str) -> list[Key]:
        return [key for key in self._keys if kid in {None, key.kid} and key.supports(algorithm)]

    async def _refresh(self) -> None:
        """Fetch the keys, or join the fetch that is running."""
        await self._fetches.run(self._issuer, self._fetch)

    async def _fetch(self) -> None:
        now = self._clock.monotonic()
        if now - self._attempted_at < MIN_FETCH_INTERVAL_SECONDS:
            return
        self._attempted_at = now
        try:
            async with asyncio.timeout(self._fetch_seconds):
                self._keys = await fetch_keys(self._issuer)
        except (IssuerError, TimeoutError) as error:
            failure = str(error) or f"It did not answer within {self._fetch_seconds:g} seconds."
            if not self._failure:
                logger.warning("The keys of the OAuth issuer cannot be fetched. %s", failure)
            self._failure = failure
        else:
            self._fetched_at, self._failure = self._clock.monotonic(), ""


async def fetch_keys(issuer: str) -> Sequence[Key]:
    """The keys that the issuer publishes for signatures.

    Raises:
        IssuerError: When they cannot be fetched.
    """
    metadata = await _fetch_metadata(issuer)
    if metadata.get("issuer") != issuer:
        raise IssuerError(f"The `issuer` in the metadata does not match {ISSUER} exactly.")
    uri = metadata.get("jwks_uri")
    if not (isinstance(uri, str) and is_secure(uri)):
        raise IssuerError("The metadata has no `jwks_uri` with https.")
    jwks = await _get_json(uri)
    if jwks is None or not isinstance(jwks.get("keys"), list):
        raise IssuerError("The `jwks_uri` does not return a key set.")
    return list(_signing_keys(jwks["keys"]))


async def _fetch_metadata(issuer: str) -> dict[str, Any]:
    """The metadata at the path of OpenID Connect Discovery, otherwise at that of RFC 8414."""
    parts = urlsplit(issuer)
    path = parts.path.removesuffix("/")
    paths = f"{path}/.well-known/openid-configuration", f"/.well-known/oauth-authorization-server{path}"
    for each in paths:
        if (metadata := await _get_json(f"{parts.scheme}://{parts.netloc}{each}")) is not None:
            return metadata
    raise IssuerError(f"There is no metadata at {parts.netloc}, neither at {paths[0]} nor at {paths[1]}.")


async def _get_json(url: str) -> dict[str, Any] | None:
    """The JSON object at a URL; None when the response is anything else.

    Raises:
        IssuerError: On a connection failure, a 5xx status or an oversized response.
    """
    host = urlsplit(url).netloc
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    try:
        async with (
            # The caller limits the time of all requests together.
            httpx.AsyncClient(trust_env=False, verify=create_ssl_context(), timeout=None) as client,  # noqa: S113
            client.stream("GET", url, headers=headers, follow_redirects=False) as response,
        ):
            if response.is_server_error:
                raise IssuerError(f"{host} failed with status {response.status_code}.")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise IssuerError(f"{host} answered with more than 256 KiB.")
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        raise IssuerError(f"Cannot connect to {host}: check the network, the hostname and the certificate.") from None
    try:
        content = json.loads(body) if response.status_code == HTTPStatus.OK else None
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", content) if isinstance(content, dict) else None


def _signing_keys(published: list[Any]) -> Iterator[Key]:
    """The published keys that are for signatures and of a supported type."""
    for each in published:
        try:
            if each.get("use", "sig") != "sig" or "verify" not in each.get("key_ops", ["verify"]):
                continue
            public_key = jwt.PyJWK(each).key
            kid, algorithm = each.get("kid"), each.get("alg")
        except (jwt.PyJWTError, *PARSE_ERRORS):
            continue
        if isinstance(public_key, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey):
            yield Key(kid if isinstance(kid, str) else None, algorithm, public_key)
