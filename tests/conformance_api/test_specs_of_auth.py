"""What the conformance specs of sig-auth require of the API itself, one test a spec. Files that are mounted into
containers are tested with the agents."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import orjson
import pytest
from conforming import Namespace, eventually, merged, next_event, watching
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from live_server import LiveServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

CORE, ACCOUNTS = "api/v1", "serviceaccounts"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
REVIEWS = "apis/authorization.k8s.io/v1"
RBAC = "apis/rbac.authorization.k8s.io/v1"


def certificate_request(signer: str) -> dict[str, Any]:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "e2e-example")])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    spec = {"request": b64encode(signed.public_bytes(Encoding.PEM)).decode(), "signerName": signer}
    spec["expirationSeconds"] = 3600  # type: ignore[assignment]
    spec["usages"] = ["digital signature", "key encipherment", "server auth"]  # type: ignore[assignment]
    return {"metadata": {"generateName": "e2e-example-csr-"}, "spec": spec}


async def test_certificate_requests_support_every_operation(live: LiveServer, space: Namespace) -> None:
    """Certificates API [Privileged:ClusterAdmin] should support CSR API operations."""
    group = (await live.get("/apis/certificates.k8s.io")).expect(200)
    assert "certificates.k8s.io/v1" in [one["groupVersion"] for one in group["versions"]]
    names = {one["name"] for one in (await live.get("/apis/certificates.k8s.io/v1")).expect(200)["resources"]}
    plural = "certificatesigningrequests"
    assert {plural, f"{plural}/approval", f"{plural}/status"} <= names
    signer = f"example.com/e2e-{space.name}"
    own = f"fieldSelector=spec.signerName%3D{signer.replace('/', '%2F')}"
    made = [(await live.call("POST", REQUESTS, certificate_request(signer))).expect(201) for _ in range(3)]
    path = f"{REQUESTS}/{made[0]['metadata']['name']}"
    assert (await live.get(path)).expect(200)["metadata"]["uid"] == made[0]["metadata"]["uid"]
    listed = (await live.get(f"{REQUESTS}?{own}")).expect(200)
    assert len(listed["items"]) == 3
    since = made[-1]["metadata"]["resourceVersion"]
    async with watching(
        live, REQUESTS, resourceVersion=since, fieldSelector=f"spec.signerName={signer}"
    ) as events:
        patched = await merged(live, path, {"metadata": {"annotations": {"patched": "true"}}})
        assert patched.expect(200)["metadata"]["annotations"]["patched"] == "true"
        body = patched.json
        body["metadata"]["annotations"]["updated"] = "true"
        (await live.call("PUT", path, body)).expect(200)
        first = await next_event(events, "MODIFIED", made[0]["metadata"]["name"])
        assert first["metadata"]["annotations"] == {"patched": "true"}
        second = await next_event(events, "MODIFIED", made[0]["metadata"]["name"])
        assert second["metadata"]["annotations"] == {"patched": "true", "updated": "true"}
    await _approved(live, path)
    await _issued(live, path)
    assert (await live.call("DELETE", path)).status == 200
    assert (await live.get(path)).status == 404
    assert len((await live.get(f"{REQUESTS}?{own}")).json["items"]) == 2
    (await live.call("DELETE", f"{REQUESTS}?{own}")).expect(200)
    assert (await live.get(f"{REQUESTS}?{own}")).json["items"] == []


def condition(kind: str) -> dict[str, str]:
    return {"type": kind, "status": "True", "reason": f"{kind}ByTest", "message": f"Set by a test: {kind}"}


async def _approved(live: LiveServer, path: str) -> None:
    """/approval is read, patched (with its metadata) and updated, and keeps what it does not write."""
    assert (await live.get(f"{path}/approval")).expect(200)["kind"] == "CertificateSigningRequest"
    patch = {
        "metadata": {"annotations": {"patchedapproval": "true"}},
        "status": {"conditions": [condition("ApprovalPatch")], "certificate": b64encode(b"x").decode()},
    }
    patched = (await merged(live, f"{path}/approval", patch)).expect(200)
    assert patched["metadata"]["annotations"]["patchedapproval"] == "true"
    assert [one["type"] for one in patched["status"]["conditions"]] == ["ApprovalPatch"]
    assert "certificate" not in patched["status"]
    patched["status"]["conditions"].append(condition("Approved"))
    updated = (await live.call("PUT", f"{path}/approval", patched)).expect(200)
    assert [one["type"] for one in updated["status"]["conditions"]] == ["ApprovalPatch", "Approved"]
    refused = {"status": {"conditions": [*updated["status"]["conditions"], condition("Denied")]}}
    reply = await merged(live, f"{path}/approval", refused)
    assert "Approved and Denied conditions are mutually exclusive" in reply.expect(422)["message"]


async def _issued(live: LiveServer, path: str) -> None:
    """/status takes the certificate, and labels and annotations."""
    certificate = b64encode(live.pki.authority_pem).decode()
    patch = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"certificate": certificate}}
    patched = (await merged(live, f"{path}/status", patch)).expect(200)
    assert (patched["metadata"]["annotations"]["patchedstatus"], patched["status"]["certificate"]) == (
        "true", certificate,
    )  # fmt: skip
    read = (await live.get(f"{path}/status")).expect(200)
    read["status"]["conditions"].append(condition("StatusUpdate"))
    updated = (await live.call("PUT", f"{path}/status", read)).expect(200)
    assert "StatusUpdate" in [one["type"] for one in updated["status"]["conditions"]]


async def test_the_root_certificate_is_in_every_namespace(space: Namespace) -> None:
    """ServiceAccounts should guarantee kube-root-ca.crt exist in any namespace."""
    name = "kube-root-ca.crt"

    async def found() -> Any:
        reply = await space.live.get(space.path(CORE, "configmaps", name))
        return reply.json if reply.status == 200 else None

    first = await eventually(found)
    await space.delete(CORE, "configmaps", name)

    async def made_again() -> Any:
        one = await found()
        return one if one and one["metadata"]["uid"] != first["metadata"]["uid"] else None

    assert (await eventually(made_again))["data"] == first["data"]
    await space.merge(CORE, "configmaps", name, {"data": {"ca.crt": ""}})

    async def mended() -> bool:
        one = await found()
        return bool(one and one["data"] == first["data"])

    await eventually(mended)


async def test_the_lifecycle_of_a_service_account(live: LiveServer, space: Namespace) -> None:
    """ServiceAccounts should run through the lifecycle of a ServiceAccount; should update a ServiceAccount."""
    labels, selector = {"test-serviceaccount-static": "true"}, "test-serviceaccount-static=true"
    path = space.path(CORE, ACCOUNTS)
    revision = (await live.get(path)).expect(200)["metadata"]["resourceVersion"]
    async with watching(live, path, resourceVersion=revision, labelSelector=selector) as events:
        await space.create(CORE, ACCOUNTS, {"metadata": {"name": "testsa", "labels": labels}})
        await next_event(events, "ADDED", "testsa")
        patched = await space.merge(CORE, ACCOUNTS, "testsa", {"automountServiceAccountToken": False})
        assert patched["automountServiceAccountToken"] is False
        (listed,) = (await live.get(f"/api/v1/{ACCOUNTS}?labelSelector={selector.replace('=', '%3D')}")).json[
            "items"
        ]
        assert listed["automountServiceAccountToken"] is False
        await next_event(events, "MODIFIED", "testsa")
        body = {**listed, "automountServiceAccountToken": True}
        updated = (await live.call("PUT", f"{path}/testsa", body)).expect(200)
        assert updated["automountServiceAccountToken"] is True
        await live.call("DELETE", f"{path}?labelSelector={selector.replace('=', '%3D')}")
        await next_event(events, "DELETED", "testsa")


@pytest.mark.parametrize("of_pod", [None, True, False])
@pytest.mark.parametrize("of_account", [None, True, False])
async def test_the_token_is_mounted_unless_somebody_opts_out(
    space: Namespace, of_pod: bool | None, of_account: bool | None
) -> None:
    """ServiceAccounts should allow opting out of API token automount: the pod's word goes before the account's."""
    account: dict[str, Any] = {"metadata": {"name": "mounting"}}
    if of_account is not None:
        account["automountServiceAccountToken"] = of_account
    await space.create(CORE, ACCOUNTS, account)
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": "x"}], "serviceAccountName": "mounting"}
    if of_pod is not None:
        spec["automountServiceAccountToken"] = of_pod
    pod = await space.create(CORE, "pods", {"metadata": {"name": "p"}, "spec": spec})
    expected = of_pod if of_pod is not None else of_account is not False
    mounts = [one["mountPath"] for one in pod["spec"]["containers"][0].get("volumeMounts") or ()]
    assert ("/var/run/secrets/kubernetes.io/serviceaccount" in mounts) is expected
    sources = [
        next(iter(source))
        for volume in pod["spec"].get("volumes") or ()
        for source in volume["projected"]["sources"]
    ]
    assert sources == (["serviceAccountToken", "configMap", "downwardAPI"] if expected else [])


async def test_the_issuer_of_tokens_can_be_discovered(live: LiveServer, space: Namespace) -> None:
    """ServiceAccounts ServiceAccountIssuerDiscovery should support OIDC discovery of service account issuer: a
    service account reads the documents, and finds the key and issuer of its own token there."""
    token_path = space.path(CORE, ACCOUNTS, "default", "token")
    token = (await live.call("POST", token_path, {"spec": {"audiences": ["oidc-discovery-test"]}})).expect(
        201
    )
    own = (await live.call("POST", token_path, {})).expect(201)["status"]["token"]
    header, claims = (_part(token["status"]["token"], number) for number in (0, 1))
    config = (await live.get("/.well-known/openid-configuration", token=own)).expect(200)
    assert config["issuer"] == claims["iss"]
    assert header["alg"] in config["id_token_signing_alg_values_supported"]
    assert config["jwks_uri"].endswith("/openid/v1/jwks")
    keys = (await live.get("/openid/v1/jwks", token=own)).expect(200)["keys"]
    assert header["kid"] in [key["kid"] for key in keys]
    assert claims["aud"] == ["oidc-discovery-test"]
    assert (await live.get("/openid/v1/jwks", token="")).status == 403


def _part(token: str, number: int) -> Any:
    text = token.split(".")[number]
    return orjson.loads(b64decode(text + "=" * (-len(text) % 4), altchars=b"-_"))


async def test_reviews_agree_with_what_an_account_may(live: LiveServer, space: Namespace) -> None:
    """SubjectReview should support SubjectReview API operations: a review of an account says what a request that
    impersonates it meets."""
    await space.create(CORE, ACCOUNTS, {"metadata": {"name": "e2e"}})
    user = f"system:serviceaccount:{space.name}:e2e"
    role = {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}}
    headers = {"Impersonate-User": user}
    attributes = {"verb": "list", "resource": "configmaps", "namespace": space.name, "version": "v1"}
    spec = {"user": user, "resourceAttributes": attributes}
    path = space.path(CORE, "configmaps")
    for allowed in (False, True):
        review = (await live.call("POST", f"/{REVIEWS}/subjectaccessreviews", {"spec": spec})).expect(201)
        local = await space.create(REVIEWS, "localsubjectaccessreviews", {"spec": spec})
        assert review["status"]["allowed"] is local["status"]["allowed"] is allowed
        assert ((await live.get(path, headers=headers)).status == 200) is allowed
        subjects = [{"kind": "ServiceAccount", "name": "e2e", "namespace": space.name}]
        if not allowed:
            body = {"metadata": {"name": "view"}, **role, "subjects": subjects}
            await space.create(RBAC, "rolebindings", body)
