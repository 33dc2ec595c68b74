"""The certificate that comes with the image: for the local host, signed by itself, made when first needed.

It proves nothing to anybody, so one for all containers of a process will do.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_SINCE, _UNTIL = datetime(1970, 1, 1, tzinfo=UTC), datetime(2084, 1, 1, tzinfo=UTC)


@cache
def localhost() -> tuple[bytes, bytes]:
    """Certificate and key in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "agnhost")])
    names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost"), x509.DNSName("example.com")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_SINCE)
        .not_valid_after(_UNTIL)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
