"""HTTPS probes: encrypted where the server speaks TLS, whatever its certificate; in plain text elsewhere."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agents import http
from agents.loopback import LoopbackNetwork
from agents.prober import probe

IP, PORT = "127.77.3.2", 18443


class NoAnswer:
    """A container whose behaviour says nothing of probes."""

    def probe_answer(self, kind: str) -> None:
        return None


def server_side(folder: Path) -> ssl.SSLContext:
    """With a certificate that nobody should trust: self-signed, of another name, expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "someone.else")])
    then = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, then, then + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(certificate + text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context


@pytest.mark.parametrize("encrypted", [True, False], ids=["TLS", "plain"])
def test_an_https_probe_takes_what_the_server_speaks(encrypted: bool, tmp_path: Path) -> None:
    """The server sees one request each time, and the probe its status."""
    seen: list[str] = []

    async def answer(request: http.Request) -> http.Response:
        seen.append(request.target)
        return http.Response(status=200 if request.path == "/good" else 500)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (writer.get_extra_info("ssl_object") is not None) is encrypted
        await http.serve(reader, writer, answer)

    async def story() -> None:
        network = LoopbackNetwork()
        await network.attach(IP)
        await network.listen(IP, PORT, serve, tls=server_side(tmp_path) if encrypted else None)
        container: Any = NoAnswer()
        for path, success in (("/good", True), ("/bad", False)):
            spec = {"httpGet": {"path": path, "port": PORT, "scheme": "HTTPS"}}
            result = await probe(network, container, "readiness", {"name": "web"}, spec, IP, 5.0)
            assert result.success is success, result.output
        assert result.output == "HTTP probe failed with statuscode: 500"
        await network.detach(IP)

    asyncio.run(story())
    assert seen == ["/good", "/bad"]
