"""Access tokens of an identity provider: an issuer over real HTTP, with signatures by another library."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OctKey, RSAKey

from tests.support.fake_idp import JWKS, OPENID, RFC_8414, Issuer, issuing, key
from tests.support.harness import ANYTHING, FrozenClock, calls_a_server
from tests.support.inprocess_http_server import Front, holds_none_of, served
from tests.support.subprocess_http_server import tokens_line
from usage_cost_mcp.auth import jwks
from usage_cost_mcp.auth.principals import Principal
from usage_cost_mcp.auth.tokens_file import new_token
from usage_cost_mcp.auth.verifier import PrincipalToken
from usage_cost_mcp.demo import serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.errors import ConfigurationError
from usage_cost_mcp.http.settings import HttpSettings

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:EdDSA is deprecated")]


@pytest.fixture
def issuer() -> Generator[Issuer]:
    with issuing() as issuer:
        yield issuer


@pytest.fixture
async def front(issuer: Issuer, clock: FrozenClock) -> AsyncGenerator[Front]:
    async with served(clock, oauth_issuer=issuer.url) as front:
        yield front


async def status(front: Front, token: str | None) -> int:
    return (await front.post(token)).status_code


def segment(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(issuer: Issuer, front: Front, algorithm: str) -> str:
    header = {"alg": algorithm, "typ": "at+jwt", "kid": issuer.keys[0].kid}
    return f"{segment(header)}.{segment(issuer.claims(front.url))}."


def signed_with_the_public_key(issuer: Issuer, front: Front) -> str:
    """Algorithm confusion: the public key used as the secret of a symmetric algorithm."""
    content = f"{segment({'alg': 'HS256', 'kid': issuer.keys[0].kid})}.{segment(issuer.claims(front.url))}"
    pem = issuer.keys[0].as_pem(private=False)
    return f"{content}.{segment(hmac.digest(pem, content.encode(), hashlib.sha256))}"


def with_other_signature(token: str) -> str:
    content, _, signature = token.rpartition(".")
    return f"{content}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


# --- valid tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
)
async def test_a_token_signed_with_a_supported_algorithm_is_accepted(algorithm: str, clock: FrozenClock) -> None:
    with issuing(keys=[key(algorithm)]) as issuer:
        async with served(clock, oauth_issuer=issuer.url) as front:
            assert await status(front, issuer.token(front.url)) == 200


GOOD: dict[str, dict[str, Any]] = {
    "with its audience in a list": {"aud": ["https://other.example", "{}"]},
    "without a client": {"client_id": None},
    "of a client alone": {"sub": None},
    "of an authorized party alone": {"sub": None, "client_id": None, "azp": "agent-7"},
    "with its scopes in scp": {"scope": None, "scp": "spend:read other"},
    "with its scopes in a list": {"scope": None, "scp": ["other", "spend:read"]},
    "that expired half a minute ago": {"exp": "now-30"},
    "whose issuer's clock is half a minute ahead": {"iat": "now+30", "nbf": "now+30"},
    "that says itself that it is one": {"typ": "Bearer"},
}


@pytest.mark.parametrize("case", GOOD)
async def test_a_token_with_valid_claims_is_accepted(case: str, issuer: Issuer, front: Front) -> None:
    now = int(time.time())
    spelled = json.dumps(GOOD[case]).replace("{}", front.url)
    changes = json.loads(re.sub(r'"now([+-]\d+)"', lambda offset: str(now + int(offset[1])), spelled))
    assert await status(front, issuer.token(front.url, **changes)) == 200


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": None}, {"typ": "application/at+jwt"}, {"kid": None}])
async def test_a_token_with_a_valid_header_is_accepted(header: dict[str, Any], issuer: Issuer, front: Front) -> None:
    assert await status(front, issuer.token(front.url, header=header)) == 200


# --- invalid tokens --------------------------------------------------------------------------------------------------

Make = Callable[[Issuer, Front], str]

NOW = int(time.time())

BAD: dict[str, tuple[Make, str]] = {
    "other audience": (lambda i, _: i.token("https://other.example/mcp"), "for another resource"),
    "the audience of our host alone": (lambda i, f: i.token(f.url.removesuffix("/mcp")), "for another resource"),
    "no audience": (lambda i, f: i.token(f.url, aud=None), "must have the claims iss, aud and exp"),
    "other issuer": (lambda i, f: i.token(f.url, iss="https://other.example"), "from another issuer"),
    "the issuer with a slash more": (lambda i, f: i.token(f.url, iss=f"{i.url}/"), "from another issuer"),
    "no issuer": (lambda i, f: i.token(f.url, iss=None), "from another issuer"),
    "expired": (lambda i, f: i.token(f.url, exp=NOW - 3600), "has expired"),
    "no expiry": (lambda i, f: i.token(f.url, exp=None), "must have the claims iss, aud and exp"),
    "an expiry that is no time": (
        lambda i, f: i.token(f.url, exp="never"),
        "neither a token of this server nor",
    ),
    "not yet valid": (lambda i, f: i.token(f.url, nbf=NOW + 7200), "is not valid yet"),
    "issued in the future": (lambda i, f: i.token(f.url, iat=NOW + 7200), "is not valid yet"),
    "alg none": (lambda i, f: unsigned(i, f, "none"), "not signed with an accepted algorithm"),
    "alg None": (lambda i, f: unsigned(i, f, "None"), "not signed with an accepted algorithm"),
    "no signature": (lambda i, f: unsigned(i, f, "ES256"), "signature is invalid"),
    "other signature": (lambda i, f: with_other_signature(i.token(f.url)), "signature is invalid"),
    "signed with the public key": (signed_with_the_public_key, "not signed with an accepted algorithm"),
    "a secret of the sender": (
        lambda i, f: i.token(f.url, OctKey.generate_key(256), {"alg": "HS256"}),
        "not signed with an accepted algorithm",
    ),
    "a key of the sender": (lambda i, f: i.token(f.url, key("ES256", 9)), "signed with a key that the issuer does not"),
    "a key of the sender under the kid of the issuer": (
        lambda i, f: i.token(f.url, key("ES256", 9), {"kid": i.keys[0].kid}),
        "signature is invalid",
    ),
    "a key of the sender in the header": (
        lambda i, f: i.token(f.url, key("ES256", 9), {"jwk": key("ES256", 9).as_dict(private=False)}),
        "signed with a key that the issuer does not",
    ),
    "another algorithm than the key is for": (
        lambda i, f: i.token(f.url, key("ES384", 9), {"kid": i.keys[0].kid}),
        "signed with a key that the issuer does not",
    ),
    "an ID token by its nonce": (lambda i, f: i.token(f.url, nonce="n"), "is not an access token"),
    "an ID token by its hash": (lambda i, f: i.token(f.url, at_hash="h"), "is not an access token"),
    "an ID token by its claim": (lambda i, f: i.token(f.url, typ="ID"), "is not an access token"),
    "a refresh token": (lambda i, f: i.token(f.url, typ="Refresh"), "is not an access token"),
    "a logout token": (lambda i, f: i.token(f.url, header={"typ": "logout+jwt"}), "is not an access token"),
    "bound to a key of its holder": (lambda i, f: i.token(f.url, cnf={"jkt": "x"}), "a condition that this server"),
    "without a subject": (lambda i, f: i.token(f.url, sub=None, client_id=None), "names no subject"),
    "in the name of a number": (lambda i, f: i.token(f.url, sub=7), "neither a token of this server nor a signed JWT"),
    "names of workspaces": (lambda i, f: i.token(f.url, workspaces=["Production"]), "must be a list of ids"),
    "no workspaces": (lambda i, f: i.token(f.url, workspaces=[]), "must be a list of ids"),
    "workspaces as text": (lambda i, f: i.token(f.url, workspaces="wrkspc_1"), "must be a list of ids"),
    "workspaces that hold a null": (lambda i, f: i.token(f.url, workspaces=["wrkspc_1", 0]), "must be a list of ids"),
    "a token of another server": (lambda _i, _f: new_token(), "Unknown token"),
    "no JWT": (lambda _i, _f: "let-me-in-please-I-am-ana", "neither a token of this server nor a signed JWT"),
    "half a token": (lambda i, f: i.token(f.url)[:-90], "neither a token of this server nor a signed JWT|signature"),
    "a header of many brackets": (
        lambda _i, _f: f"{segment(b'[' * 9000)}.e30.c2lnbmF0dXJl",
        "neither a token of this server nor a signed JWT",
    ),
    "a long token": (
        lambda i, f: i.token(f.url, note="x" * 16_384),
        "neither a token of this server nor a signed JWT",
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_token_is_rejected_and_not_repeated(
    case: str, issuer: Issuer, front: Front, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    make, sentence = BAD[case]
    token = make(issuer, front)
    answer = await front.post(token)
    assert answer.status_code == 401
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="usage-cost-mcp", error="invalid_token", error_description="')
    assert f'resource_metadata="{front.url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")}"' in challenge
    assert 'scope="spend:read"' in challenge
    text = answer.json()["error_description"]
    assert any(part in text for part in sentence.split("|")), text
    out, err = capfd.readouterr()
    assert json.loads(err)["principal"] is None
    assert holds_none_of(token, challenge, answer.text, out, err, caplog.text)


async def test_a_request_without_a_token_gets_a_challenge_without_an_error(
    front: Front, capfd: pytest.CaptureFixture[str], issuer: Issuer
) -> None:
    for headers in ({}, {"authorization": "Basic YTpi"}, {"authorization": issuer.token(front.url)}):
        answer = await front.post(headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith('Bearer realm="usage-cost-mcp", scope="spend:read", res')
        assert "error=" not in answer.headers["www-authenticate"]
        assert json.loads(capfd.readouterr().err)["why"] == "none"


async def test_a_token_in_the_query_string_is_rejected(
    issuer: Issuer, front: Front, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    token = issuer.token(front.url)
    answer = await front.post(params={"jwt": token})
    assert answer.status_code == 400
    out, err = capfd.readouterr()
    assert holds_none_of(token, str(answer.headers), answer.text, out, err, caplog.text)


@pytest.mark.parametrize("changes", [{"scope": "openid"}, {"scope": None}, {"scope": "spend:reader"}, {"scope": 7}])
async def test_a_token_without_the_scope_gets_403_with_the_required_scope(
    changes: dict[str, Any], issuer: Issuer, front: Front
) -> None:
    answer = await front.post(issuer.token(front.url, **changes))
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert 'scope="spend:read"' in answer.headers["www-authenticate"]


async def verify(front: Front, token: str) -> PrincipalToken | None:
    assert front.access.verifier
    return await front.access.verifier.verify_token(token)


@calls_a_server
@given(token=st.text(st.characters(max_codepoint=255)))
async def test_any_text_as_a_token_is_rejected(front: Front, token: str) -> None:
    assert await verify(front, token) is None


_CLAIMS = ("iss", "aud", "exp", "nbf", "iat", "sub", "jti", "scope", "scp", "workspaces", "typ", "client_id")


@calls_a_server
@given(
    about=st.dictionaries(st.sampled_from(["typ", "kid", "crit", "b64", "jwk", "alg"]), ANYTHING, max_size=2),
    changes=st.dictionaries(st.sampled_from(_CLAIMS), ANYTHING),
)
async def test_claims_of_any_shape_are_rejected_or_accepted_without_an_error(
    issuer: Issuer, front: Front, about: dict[str, Any], changes: dict[str, Any]
) -> None:
    header = {"alg": "ES256", "typ": "at+jwt", "kid": issuer.keys[0].kid, **about}
    content = f"{segment(header)}.{segment({**issuer.claims(front.url), **changes})}"
    if len(content) > 15_000:
        return
    private: Any = issuer.keys[0].private_key
    signature = _raw_signature(private, content.encode())
    result = await verify(front, f"{content}.{segment(signature)}")
    assert result is None or result.principal.name.startswith("oauth:")


def _raw_signature(private: Any, content: bytes) -> bytes:
    """A signature as joserfc makes it, for claims that it refuses to sign."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    r, s = decode_dss_signature(private.sign(content, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


# --- protected resource metadata -------------------------------------------------------------------------------------


async def test_clients_can_discover_the_issuer(issuer: Issuer, front: Front) -> None:
    challenge = (await front.post()).headers["www-authenticate"]
    where = challenge.partition('resource_metadata="')[2].rstrip('"')
    assert (await front.get(where)).json() == {
        "resource": front.url,
        "authorization_servers": [issuer.url],
        "scopes_supported": ["spend:read"],
        "bearer_methods_supported": ["header"],
    }


async def test_a_server_without_an_issuer_publishes_no_metadata(clock: FrozenClock) -> None:
    async with served(clock) as front:
        answer = await front.post()
        assert answer.headers["www-authenticate"] == 'Bearer realm="usage-cost-mcp"'
        for path in ("oauth-protected-resource/mcp", "oauth-protected-resource", "oauth-authorization-server"):
            assert (await front.get(f"/.well-known/{path}")).status_code == 404


# --- the principal ---------------------------------------------------------------------------------------------------


async def principal_of(issuer: Issuer, front: Front, **changes: Any) -> Principal:
    token = await verify(front, issuer.token(front.url, **changes))
    assert token
    return token.principal


async def test_the_principals_name_cannot_collide_with_the_tokens_file(issuer: Issuer, front: Front) -> None:
    assert (await principal_of(issuer, front)).name == "oauth:ana"
    assert (await principal_of(issuer, front, sub="auth0|5f7c8ec7")).name == "oauth:auth0|5f7c8ec7"
    assert (await principal_of(issuer, front, sub=None)).name == "oauth:a-client"


async def test_names_with_removed_characters_stay_unique(issuer: Issuer, front: Front) -> None:
    subjects = ["ana", "an\u200ba", "ana\n", "a na", "\u202eana", "ana" * 99, "ana" * 98, "\ud800ana"]
    names = [(await principal_of(issuer, front, sub=subject)).name for subject in subjects[:-1]]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and name.isprintable() and len(name) < 90 for name in names)


async def test_the_claim_workspaces_scopes_the_principal(issuer: Issuer, front: Front) -> None:
    assert (await principal_of(issuer, front)).workspaces is None
    limited = await principal_of(issuer, front, workspaces=["wrkspc_01A", "default"])
    assert limited.workspaces == frozenset({"wrkspc_01A", None})


async def test_a_server_accepts_both_kinds_of_tokens(issuer: Issuer, clock: FrozenClock, tmp_path: Path) -> None:
    token = new_token()
    file = tmp_path / "tokens"
    file.write_text(tokens_line("bob", token))
    async with served(clock, oauth_issuer=issuer.url, tokens_file=file) as front:
        assert await status(front, token) == 200
        assert await status(front, issuer.token(front.url)) == 200
        assert await status(front, new_token()) == 401


# --- discovery -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "metadata_at"),
    [
        ("", OPENID),
        ("/", OPENID),
        ("", RFC_8414),
        ("/tenants/7", f"/tenants/7{OPENID}"),
        ("/tenants/7", f"{RFC_8414}/tenants/7"),
        ("/tenants/7/", f"{RFC_8414}/tenants/7"),
    ],
)
async def test_metadata_is_found_at_the_paths_of_both_standards(
    path: str, metadata_at: str, clock: FrozenClock
) -> None:
    with issuing(path=path, metadata_at=metadata_at) as issuer:
        async with served(clock, oauth_issuer=issuer.url) as front:
            assert await status(front, issuer.token(front.url)) == 200


def without_issuer(issuer: Issuer) -> None:
    issuer.overrides[OPENID] = Response({"jwks_uri": f"{issuer.base}{JWKS}"})


def answering(where: str, body: Any, code: int = 200, **headers: str) -> Callable[[Issuer], None]:
    def change(issuer: Issuer) -> None:
        filled = json.loads(json.dumps(body).replace("{issuer}", issuer.url))
        issuer.overrides[where] = Response(filled, code, headers)

    return change


def metadata(**changes: Any) -> Callable[[Issuer], None]:
    return answering(OPENID, {"issuer": "{issuer}", "jwks_uri": f"{{issuer}}{JWKS}", **changes})


def keys(*found: Any) -> Callable[[Issuer], None]:
    return answering(JWKS, {"keys": list(found)})


PUBLIC = key().as_dict(private=False)

UNUSABLE: dict[str, tuple[Callable[[Issuer], None], str]] = {
    "without metadata": (answering(OPENID, {}, 404), "There is no metadata"),
    "with metadata that is no object": (answering(OPENID, ["issuer"]), "There is no metadata"),
    "with metadata that nests too deep": (answering(OPENID, "x"), "There is no metadata"),
    "with metadata of another": (
        metadata(issuer="https://other.example"),
        "does not match USAGE_COST_MCP_OAUTH_ISSUER",
    ),
    "with metadata that leaves out the issuer": (without_issuer, "does not match USAGE_COST_MCP_OAUTH_ISSUER"),
    "with metadata of itself with a slash more": (
        metadata(issuer="{issuer}/"),
        "does not match USAGE_COST_MCP_OAUTH_ISSUER",
    ),
    "without jwks_uri": (metadata(jwks_uri=None), "has no `jwks_uri` with https"),
    "with a jwks_uri without TLS": (metadata(jwks_uri="http://keys.example/"), "has no `jwks_uri` with https"),
    "with a jwks_uri in a file": (metadata(jwks_uri="file:///etc/passwd"), "has no `jwks_uri` with https"),
    "with a jwks_uri that is none": (metadata(jwks_uri="https://[::1/"), "has no `jwks_uri` with https"),
    "without keys": (keys(), "publishes no key"),
    "whose keys are no list": (answering(JWKS, {"keys": "none"}), "does not return a key set"),
    "whose keys are not there": (answering(JWKS, {}, 404), "does not return a key set"),
    "with a key for encryption alone": (keys({**PUBLIC, "use": "enc"}), "publishes no key"),
    "with a key for signing alone": (
        keys({**PUBLIC, "key_ops": ["sign"]}),
        "publishes no key",
    ),
    "with a secret alone": (
        keys({"kty": "oct", "k": "c2VjcmV0", "kid": "1"}),
        "publishes no key",
    ),
    "with keys of no sense": (
        keys(7, None, [], "x", {}, {"kty": ["RSA"]}, {"kty": "RSA", "n": 5, "e": []}, {"kty": "EC", "crv": "P-256"}),
        "publishes no key",
    ),
    "that sends us elsewhere": (answering(OPENID, {}, 302, location="https://other.example"), "There is no metadata"),
    "that has trouble": (answering(OPENID, {}, 503), "failed with status 503"),
    "that never stops talking": (answering(OPENID, {"x": "y" * 300_000}), "more than 256 KiB"),
}


@pytest.mark.parametrize("case", UNUSABLE)
async def test_a_server_does_not_start_with_an_unusable_issuer(case: str, issuer: Issuer, clock: FrozenClock) -> None:
    change, sentence = UNUSABLE[case]
    change(issuer)
    with pytest.raises(ConfigurationError, match="USAGE_COST_MCP_OAUTH_ISSUER cannot be used") as refused:
        async with served(clock, oauth_issuer=issuer.url):
            pass
    assert sentence in str(refused.value)


async def test_a_server_does_not_start_when_its_issuer_is_unreachable(clock: FrozenClock) -> None:
    with pytest.raises(ConfigurationError, match=r"Cannot connect to 127\.0\.0\.1:9"):
        async with served(clock, oauth_issuer="http://127.0.0.1:9"):
            pass


async def test_the_start_fails_when_the_issuer_does_not_answer_in_time(clock: FrozenClock) -> None:
    assert HttpSettings().issuer_seconds == 5, "which is too long for a test"
    over = Event()

    def wait(_: Request) -> Response:
        over.wait(20)
        return Response({})

    with serve_on_loopback(wait) as url:
        try:
            with pytest.raises(ConfigurationError, match=r"did not answer within 0\.2 seconds"):
                async with served(clock, oauth_issuer=url, issuer_seconds=0.2):
                    pass
        finally:
            over.set()


@pytest.mark.filterwarnings("ignore:Key size should be")
async def test_a_weak_key_is_rejected(clock: FrozenClock) -> None:
    signer = RSAKey.generate_key(1024, {"kid": "weak", "use": "sig", "alg": "RS256"})
    with issuing(keys=[signer]) as issuer:
        async with served(clock, oauth_issuer=issuer.url) as front:
            assert await status(front, issuer.token(front.url)) == 401


async def test_a_token_without_a_kid_needs_exactly_one_matching_key(
    issuer: Issuer, front: Front, clock: FrozenClock
) -> None:
    issuer.keys = [key(), key("ES256", 1), key("EdDSA")]
    clock.advance(601)
    assert await status(front, issuer.token(front.url, header={"kid": None})) == 401
    assert await status(front, issuer.token(front.url, key("EdDSA"), {"kid": None})) == 200


# --- rotation --------------------------------------------------------------------------------------------------------


def fetches(issuer: Issuer) -> int:
    return issuer.requests.count(JWKS)


async def test_keys_are_cached_for_ten_minutes(issuer: Issuer, front: Front, clock: FrozenClock) -> None:
    for _ in range(5):
        assert await status(front, issuer.token(front.url)) == 200
        clock.advance(120)
    assert fetches(issuer) == 1
    clock.advance(1)
    assert await status(front, issuer.token(front.url)) == 200
    assert fetches(issuer) == 2


async def test_a_new_key_is_fetched_when_a_token_names_it(issuer: Issuer, front: Front, clock: FrozenClock) -> None:
    old = issuer.token(front.url)
    issuer.keys = [key("ES256", 1), key()]
    clock.advance(11)
    assert await status(front, issuer.token(front.url)) == 200
    assert await status(front, old) == 200
    assert fetches(issuer) == 2


async def test_a_withdrawn_key_is_rejected(issuer: Issuer, front: Front, clock: FrozenClock) -> None:
    old = issuer.token(front.url)
    assert await status(front, old) == 200
    issuer.keys = [key("ES256", 1)]
    clock.advance(601)
    assert await status(front, old) == 401


async def test_no_token_is_accepted_after_the_issuer_withdraws_all_keys(
    issuer: Issuer, front: Front, clock: FrozenClock
) -> None:
    old = issuer.token(front.url)
    issuer.overrides[JWKS] = Response({"keys": []})
    clock.advance(601)
    assert await status(front, old) == 401


async def test_a_flood_of_unknown_keys_causes_one_fetch_per_ten_seconds(
    issuer: Issuer, front: Front, clock: FrozenClock
) -> None:
    for wave in range(1, 4):
        clock.advance(10)
        tokens = [issuer.token(front.url, key("ES256", 9), {"kid": f"made-up-{wave}-{n}"}) for n in range(20)]
        assert set(await asyncio.gather(*(status(front, token) for token in tokens))) == {401}
        assert fetches(issuer) == 1 + wave


async def test_concurrent_requests_share_one_fetch(issuer: Issuer, front: Front, clock: FrozenClock) -> None:
    clock.advance(601)
    token = issuer.token(front.url)
    assert set(await asyncio.gather(*(status(front, token) for _ in range(20)))) == {200}
    assert fetches(issuer) == 2


async def test_known_keys_are_used_for_a_day_while_the_issuer_does_not_answer(
    issuer: Issuer, front: Front, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    token = issuer.token(front.url)
    issuer.overrides[OPENID] = Response({}, 500)
    with caplog.at_level(logging.WARNING, jwks.__name__):
        for _ in range(24):
            clock.advance(3599)
            assert await status(front, token) == 200
    assert len([record for record in caplog.records if record.name == jwks.__name__]) == 1
    clock.advance(60)
    answer = await front.post(token)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"
    assert "www-authenticate" not in answer.headers
    assert answer.json()["error_description"] == "Tokens cannot be checked at the moment. Try again later."
    del issuer.overrides[OPENID]
    clock.advance(10)
    assert await status(front, token) == 200


async def test_an_unreachable_issuer_does_not_affect_the_tokens_file(
    issuer: Issuer, clock: FrozenClock, tmp_path: Path
) -> None:
    token = new_token()
    file = tmp_path / "tokens"
    file.write_text(tokens_line("bob", token))
    async with served(clock, oauth_issuer=issuer.url, tokens_file=file) as front:
        issuer.overrides[OPENID] = Response({}, 500)
        clock.advance(jwks.MAX_STALE_SECONDS + 1)
        assert await status(front, issuer.token(front.url)) == 503
        assert await status(front, token) == 200


async def test_the_proxy_of_the_environment_is_not_used_for_the_issuer(
    issuer: Issuer, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with served(clock, oauth_issuer=issuer.url) as front:
        assert await status(front, issuer.token(front.url)) == 200


# --- a real client ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_real_client_with_an_access_token_is_served(mode: str, issuer: Issuer, front: Front) -> None:
    async with front.client(issuer.token(front.url), mode) as client:
        assert (await client.list_tools()).tools
