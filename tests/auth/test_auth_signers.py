"""Certificate requests: who may approve and sign them, and what may be asked for."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from live_server import LiveServer

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
CLIENT = "kubernetes.io/kube-apiserver-client"


def request(name: str, signer: str = CLIENT, *groups: str) -> dict[str, Any]:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, "joe")]
    parts += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(parts)).sign(key, hashes.SHA256())
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": b64encode(made.public_bytes(Encoding.PEM)).decode(),
            "signerName": signer,
            "usages": ["client auth"],
        },
    }


async def approve(live: LiveServer, name: str, **more: Any) -> tuple[int, str]:
    found = (await live.get(f"{REQUESTS}/{name}")).expect(200)
    condition = {"type": "Approved", "status": "True", "reason": "Test", "message": "said a test"}
    body = {**found, "status": {**found.get("status", {}), "conditions": [condition]}}
    reply = await live.call("PUT", f"{REQUESTS}/{name}/approval", body, **more)
    return reply.status, reply.json.get("message", "")


@pytest.fixture
async def jane(live: LiveServer) -> LiveServer:
    """May update approvals and certificates of any request: which signers she speaks for is another thing."""
    resources = ["certificatesigningrequests/approval", "certificatesigningrequests/status"]
    rules = [{"apiGroups": ["certificates.k8s.io"], "resources": resources, "verbs": ["update"]}]
    await give(live, "csr", rules)
    return live


async def give(live: LiveServer, name: str, rules: list[dict[str, Any]]) -> None:
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name}}
    (await live.call("POST", f"{RBAC}/clusterroles", {**head, "kind": "ClusterRole", "rules": rules})).expect(
        201
    )
    bound = {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    }
    body = {**head, "kind": "ClusterRoleBinding", **bound}
    (await live.call("POST", f"{RBAC}/clusterrolebindings", body)).expect(201)


@pytest.mark.parametrize("named", [CLIENT, "kubernetes.io/*"])
async def test_approving_takes_the_right_to_approve_for_the_signer(jane: LiveServer, named: str) -> None:
    (await jane.call("POST", REQUESTS, request("a"))).expect(201)
    code, message = await approve(jane, "a", token="secret-of-jane")
    assert (code, message) == (
        403,
        'certificatesigningrequests.certificates.k8s.io "a" is forbidden: user not permitted to approve '
        f'requests with signerName "{CLIENT}"',
    )
    rule = {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "verbs": ["approve"]}
    await give(jane, "signer", [{**rule, "resourceNames": [named]}])
    assert await approve(jane, "a", token="secret-of-jane") == (200, "")


async def test_signing_takes_the_right_to_sign(jane: LiveServer) -> None:
    (await jane.call("POST", REQUESTS, request("a", "example.com/mine"))).expect(201)
    found = (await jane.get(f"{REQUESTS}/a")).expect(200)
    body = {**found, "status": {"certificate": b64encode(jane.pki.authority_pem).decode()}}
    refused = await jane.call("PUT", f"{REQUESTS}/a/status", body, token="secret-of-jane")
    message = refused.expect(403)["message"]
    assert message.endswith('user not permitted to sign requests with signerName "example.com/mine"')
    rule = {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "verbs": ["sign"]}
    await give(jane, "signer", [{**rule, "resourceNames": ["example.com/mine"]}])
    (await jane.call("PUT", f"{REQUESTS}/a/status", body, token="secret-of-jane")).expect(200)


async def test_nobody_asks_for_a_certificate_of_the_masters(live: LiveServer) -> None:
    body = request("a", CLIENT, "system:masters")
    assert (
        (await live.call("POST", REQUESTS, body))
        .expect(403)["message"]
        .endswith(f"use of {CLIENT} signer with system:masters group is not allowed")
    )
    (await live.call("POST", REQUESTS, request("b", "example.com/mine", "system:masters"))).expect(201)
