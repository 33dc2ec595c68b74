"""The cluster's own certificate authority, and the kubeconfig that carries its clients' credentials.

Everything is kept in one folder (`<data>/pki`, files 0600) and reused at the next start, so that a
kubeconfig handed out stays valid; only the server's certificate is made anew when it lacks a name that is
now asked for, or is about to expire. Keys are EC P-256: making all of them takes milliseconds, where RSA
would take seconds of the start.

`cryptography` costs tens of milliseconds to import, so it is imported where something is really made; a
restart with a complete folder only reads files.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.server.aggregation.front_proxy import FrontProxy

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

AUTHORITY_LIFE = timedelta(days=3650)
CERTIFICATE_LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)
BACKDATE = timedelta(minutes=5)
"""Certificates are valid from a little earlier: clients' clocks differ."""

SERVER_NAMES = (
    "localhost",
    "127.0.0.1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


FRONT_PROXY_NAME = "front-proxy-client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Pki:
    """What a started API server needs: all of it exists on disk."""

    folder: Path
    authority: Pair
    server: Pair
    admin: Pair
    front_proxy_authority: Pair
    front_proxy: Pair
    """With which the API server shows itself to the servers of aggregated APIs."""
    service_account_key: Path

    @property
    def shown_to_backends(self) -> FrontProxy:
        return FrontProxy(
            certificate=self.front_proxy.certificate,
            key=self.front_proxy.key,
            authority_pem=self.front_proxy_authority.certificate.read_text(),
            client_authority_pem=self.authority_pem.decode(),
            name=FRONT_PROXY_NAME,
        )

    def sign(self, request_pem: bytes, usages: Sequence[str], life: timedelta, now: datetime) -> bytes:
        """Implements `cluster.reconcile.world.Sign`: a certificate for a signing request."""
        return _sign_request(self.authority, request_pem, usages, life, now)

    @property
    def authority_pem(self) -> bytes:
        return self.authority.certificate.read_bytes()


def open_pki(folder: Path, *, server_names: Sequence[str], now: datetime) -> Pki:
    """The PKI in `folder`, completed where something is missing, expired or lacks a server name."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    names = list(dict.fromkeys([*SERVER_NAMES, *server_names]))
    pki = Pki(
        folder=folder,
        authority=_pair(folder, "ca"),
        server=_pair(folder, "server"),
        admin=_pair(folder, "admin"),
        front_proxy_authority=_pair(folder, "front-proxy-ca"),
        front_proxy=_pair(folder, "front-proxy-client"),
        service_account_key=folder / "sa.key",
    )
    record = _read_record(folder)
    stale = record.get("names") != names or str(record.get("renew_at", "")) <= now.isoformat()
    if stale or not all(path.exists() for path in _files(pki)):
        _complete(pki, names, now, renew=stale)
        renew_at = (now + CERTIFICATE_LIFE - RENEW_BEFORE).isoformat()
        write_atomically(folder / "pki.json", json.dumps({"names": names, "renew_at": renew_at}).encode())
    return pki


def client_pair(pki: Pki, user: str, groups: Sequence[str], *, now: datetime) -> Pair:
    """A client certificate for `user`, made once and kept beside the others."""
    pair = _pair(pki.folder, f"client-{user.replace('/', '_').replace(':', '-')}")
    if not (pair.certificate.exists() and pair.key.exists()):
        _issue_client(pki.authority, pair, user, groups, now)
    return pair


def kubeconfig(
    *, server: str, authority_pem: bytes, cluster: str, user: str, pair: Pair | None = None, token: str = ""
) -> bytes:
    """A kubeconfig with one context and embedded credentials."""
    credentials: dict[str, str] = {}
    if pair is not None:
        credentials["client-certificate-data"] = b64encode(pair.certificate.read_bytes()).decode()
        credentials["client-key-data"] = b64encode(pair.key.read_bytes()).decode()
    if token:
        credentials["token"] = token
    authority = b64encode(authority_pem).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": cluster, "cluster": {"server": server, "certificate-authority-data": authority}}
        ],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
        "preferences": {},
    }
    import yaml

    return yaml.safe_dump(config, sort_keys=False).encode()


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Writes through a temporary neighbour, so that a reader sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)


def _pair(folder: Path, name: str) -> Pair:
    return Pair(certificate=folder / f"{name}.crt", key=folder / f"{name}.key")


def _files(pki: Pki) -> list[Path]:
    pairs = (pki.authority, pki.server, pki.admin, pki.front_proxy_authority, pki.front_proxy)
    return [*(p.certificate for p in pairs), *(p.key for p in pairs), pki.service_account_key]


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / "pki.json"
    if not path.exists():
        return {}
    record: dict[str, Any] = json.loads(path.read_bytes())
    return record


def _complete(pki: Pki, names: Sequence[str], now: datetime, *, renew: bool) -> None:
    if not (pki.authority.certificate.exists() and pki.authority.key.exists()):
        _make_authority(pki.authority, "kubernetes", now)
        renew = True
    if renew or not (pki.server.certificate.exists() and pki.server.key.exists()):
        _issue_server(pki, names, now)
    if renew or not (pki.admin.certificate.exists() and pki.admin.key.exists()):
        _issue_client(pki.authority, pki.admin, "kubernetes-admin", ["system:masters"], now)
    front = pki.front_proxy_authority
    if not (front.certificate.exists() and front.key.exists()):
        _make_authority(front, "front-proxy-ca", now)
        renew = True
    if renew or not (pki.front_proxy.certificate.exists() and pki.front_proxy.key.exists()):
        _issue_client(front, pki.front_proxy, FRONT_PROXY_NAME, (), now)
    if not pki.service_account_key.exists():
        write_atomically(pki.service_account_key, _key_pem(_new_key()))


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_authority(pair: Pair) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(pair.key.read_bytes(), password=None)
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes()), key  # type: ignore[return-value]


def _make_authority(pair: Pair, called: str, now: datetime) -> None:
    from cryptography import x509

    key = _new_key()
    name = _subject(called, ())
    builder = (
        _builder(name, name, key, now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )
    _sign_and_write(builder, key, key, pair)


def _issue_server(pki: Pki, names: Sequence[str], now: datetime) -> None:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    authority, authority_key = _load_authority(pki.authority)
    key = _new_key()
    builder = _leaf(authority, key, _subject("kube-apiserver", ()), ExtendedKeyUsageOID.SERVER_AUTH, now)
    builder = builder.add_extension(x509.SubjectAlternativeName([_name(n) for n in names]), critical=False)
    _sign_and_write(builder, key, authority_key, pki.server)


def _issue_client(issuer: Pair, pair: Pair, user: str, groups: Sequence[str], now: datetime) -> None:
    from cryptography.x509.oid import ExtendedKeyUsageOID

    authority, authority_key = _load_authority(issuer)
    key = _new_key()
    builder = _leaf(authority, key, _subject(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH, now)
    _sign_and_write(builder, key, authority_key, pair)


_USAGES = {"client auth": "CLIENT_AUTH", "server auth": "SERVER_AUTH"}


def _sign_request(
    authority_pair: Pair, request_pem: bytes, usages: Sequence[str], life: timedelta, now: datetime
) -> bytes:
    """Raises ValueError for what is no signing request or is not signed by its own key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID

    authority, authority_key = _load_authority(authority_pair)
    request = x509.load_pem_x509_csr(request_pem)
    if not request.is_signature_valid:
        raise ValueError("unable to verify certificate request signature")
    purposes = [getattr(ExtendedKeyUsageOID, _USAGES[usage]) for usage in usages if usage in _USAGES]
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(authority.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(min(now + life, authority.not_valid_after_utc))
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    for extension in request.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(extension.value, critical=False)
    signed = builder.sign(authority_key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def _leaf(
    authority: x509.Certificate,
    key: EllipticCurvePrivateKey,
    subject: x509.Name,
    usage: x509.ObjectIdentifier,
    now: datetime,
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        _builder(subject, authority.subject, key, now, CERTIFICATE_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _sign_and_write(
    builder: x509.CertificateBuilder,
    key: EllipticCurvePrivateKey,
    signer: EllipticCurvePrivateKey,
    pair: Pair,
) -> None:
    from cryptography.hazmat.primitives import hashes, serialization

    certificate = builder.sign(signer, hashes.SHA256())
    write_atomically(pair.key, _key_pem(key))
    write_atomically(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _subject(common_name: str, organizations: Sequence[str]) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
