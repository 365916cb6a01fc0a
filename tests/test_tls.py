"""TLS is never weakened: a server that cannot prove its identity does not get the key."""

import ssl
import threading
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mcp import Client

from tests.support.harness import Upstream, refusal
from usage_cost_mcp.app import build_server
from usage_cost_mcp.settings import Settings

pytestmark = pytest.mark.anyio


def certificate(folder: Path) -> Path:
    """A self-signed certificate for this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = folder / "server.pem"
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + signed.public_bytes(pem))
    return path


class Impostor(BaseHTTPRequestHandler):
    heard: list[str | None]

    def do_GET(self) -> None:
        self.heard.append(self.headers.get("x-api-key"))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """No access log."""


@pytest.fixture
def impostor(tmp_path: Path) -> Generator[tuple[str, list[str | None]]]:
    """A server with a self-signed certificate, and the keys that it received."""
    Impostor.heard = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    server = HTTPServer(("127.0.0.1", 0), Impostor)
    server.handle_error = lambda request, client_address: None  # noqa: ARG005 - a failed handshake is the point
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}", Impostor.heard
    server.shutdown()
    server.server_close()


async def asked(url: str) -> str:
    async with Client(build_server(Settings.for_demo({}, url))) as client:
        return await refusal(client, "get_status")


async def test_a_self_signed_certificate_is_not_trusted(impostor: tuple[str, list[str | None]]) -> None:
    url, heard = impostor
    message = await asked(url)
    assert f"No connection to {url.removeprefix('https://')}" in message
    assert "certificate" in message
    assert heard == []


async def test_a_server_that_does_not_speak_tls_gets_nothing(upstream: Upstream) -> None:
    assert "No connection to" in await asked(upstream.url.replace("http://", "https://"))
    assert not upstream.requests
