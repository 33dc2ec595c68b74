"""Who may what, tokens, services and their endpoints, and what the API says about itself."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from conforming import Namespace, eventually
from live_server import LiveServer

from broker.clock import SystemClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

CORE, SLICES = "api/v1", "apis/discovery.k8s.io/v1"
AUTHENTICATION, AUTHORIZATION = "/apis/authentication.k8s.io/v1", "/apis/authorization.k8s.io/v1"


async def slices_of(space: Namespace, service: str) -> list[Any]:
    query = f"?labelSelector=kubernetes.io/service-name%3D{service}"
    items: list[Any] = (await space.get(SLICES, "endpointslices", query=query))["items"]
    return items


async def test_hand_written_endpoints_are_mirrored(space: Namespace) -> None:
    """EndpointSliceMirroring should mirror a custom Endpoints resource through create update and delete."""
    await space.create(CORE, "services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    subset = {"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80, "name": "http", "protocol": "TCP"}]}
    body = {"metadata": {"name": "s", "labels": {"mine": "1"}}, "subsets": [subset]}
    await space.create(CORE, "endpoints", body)

    async def mirrored(ip: str) -> bool:
        found = await slices_of(space, "s")
        return bool(found) and [e["addresses"] for piece in found for e in piece["endpoints"]] == [[ip]]

    await eventually(lambda: mirrored("10.1.2.3"))
    piece = (await slices_of(space, "s"))[0]
    labels = piece["metadata"]["labels"]
    assert labels["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
    assert labels["mine"] == "1"
    assert piece["ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]
    subset["addresses"] = [{"ip": "10.2.3.4"}]
    await space.merge(CORE, "endpoints", "s", {"subsets": [subset]})
    await eventually(lambda: mirrored("10.2.3.4"))
    assert (await slices_of(space, "s"))[0]["metadata"]["name"] == piece["metadata"]["name"]
    await space.delete(CORE, "endpoints", "s")

    async def gone() -> bool:
        return not await slices_of(space, "s")

    await eventually(gone)


async def test_slices_and_endpoints_of_a_selector(space: Namespace) -> None:
    """EndpointSlice should create Endpoints and EndpointSlices for Pods matching a Service, and delete them
    with the Service."""
    spec = {"selector": {"app": "x"}, "ports": [{"port": 80}], "publishNotReadyAddresses": True}
    await space.create(CORE, "services", {"metadata": {"name": "s"}, "spec": spec})

    async def there() -> bool:
        return len(await slices_of(space, "s")) == 1

    await eventually(there)
    await eventually(lambda: _found(space, "endpoints", "s"))
    await space.delete(CORE, "services", "s")

    async def gone() -> bool:
        return not await slices_of(space, "s") and not await _found(space, "endpoints", "s")

    await eventually(gone)


async def _found(space: Namespace, plural: str, name: str) -> bool:
    return bool((await space.live.get(space.path(CORE, plural, name))).status == 200)


async def test_a_service_changes_its_type(space: Namespace) -> None:
    """Services should be able to change the type from ExternalName to ClusterIP and NodePort and back."""
    external = {"type": "ExternalName", "externalName": "foo.example.com"}
    made = await space.create(CORE, "services", {"metadata": {"name": "s"}, "spec": external})
    assert "clusterIP" not in made["spec"]
    cluster = {"type": "ClusterIP", "externalName": None, "ports": [{"port": 80, "name": "p"}]}
    made = await space.merge(CORE, "services", "s", {"spec": cluster})
    assert made["spec"]["clusterIP"]
    made = await space.merge(CORE, "services", "s", {"spec": {"type": "NodePort"}})
    assert 30000 <= made["spec"]["ports"][0]["nodePort"] <= 32767
    made = await space.merge(CORE, "services", "s", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in made["spec"]["ports"][0]
    back = {"type": "ExternalName", "externalName": "foo.example.com", "clusterIP": None, "clusterIPs": None}
    made = await space.merge(CORE, "services", "s", {"spec": back})
    assert "clusterIP" not in made["spec"]


async def token_for(space: Namespace, account: str, **spec: Any) -> str:
    path = space.path(CORE, "serviceaccounts", account, "token")
    made = (await space.live.call("POST", path, {"spec": spec})).expect(201)
    token: str = made["status"]["token"]
    return token


async def test_tokens_of_service_accounts(live: LiveServer, space: Namespace) -> None:
    """ServiceAccounts should run through the lifecycle; TokenRequest, TokenReview, discovery of the issuer."""
    await space.create(CORE, "serviceaccounts", {"metadata": {"name": "robot"}})
    token = await token_for(space, "robot", expirationSeconds=3600)
    claims = orjson.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    user = f"system:serviceaccount:{space.name}:robot"
    assert claims["sub"] == user
    review = (await live.call("POST", f"{AUTHENTICATION}/tokenreviews", {"spec": {"token": token}})).expect(
        201
    )
    assert review["status"]["authenticated"] is True
    assert review["status"]["user"]["username"] == user
    assert f"system:serviceaccounts:{space.name}" in review["status"]["user"]["groups"]
    wrong = (await live.call("POST", f"{AUTHENTICATION}/tokenreviews", {"spec": {"token": "no"}})).expect(201)
    assert not wrong["status"].get("authenticated")
    me = (await live.call("POST", f"{AUTHENTICATION}/selfsubjectreviews", {}, token=token)).expect(201)
    assert me["status"]["userInfo"]["username"] == user
    other = await token_for(space, "robot", audiences=["vault"])
    refused = await live.call("POST", f"{AUTHENTICATION}/selfsubjectreviews", {}, token=other)
    assert refused.status == 401
    discovery = (await live.get("/.well-known/openid-configuration")).expect(200)
    assert discovery["issuer"] == claims["iss"]
    assert (await live.get("/openid/v1/jwks")).expect(200)["keys"]
    await space.delete(CORE, "serviceaccounts", "robot")
    late = await live.call("POST", f"{AUTHENTICATION}/selfsubjectreviews", {}, token=token)
    assert late.status == 401


async def test_roles_and_reviews(live: LiveServer, space: Namespace) -> None:
    """SubjectReview should support SubjectReview API operations; a team works in its own namespace only."""
    await space.create(CORE, "serviceaccounts", {"metadata": {"name": "dev"}})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    subject = {"kind": "ServiceAccount", "name": "dev", "namespace": space.name}
    body = {"metadata": {"name": "dev"}, "roleRef": role, "subjects": [subject]}
    await space.create("apis/rbac.authorization.k8s.io/v1", "rolebindings", body)
    token = await token_for(space, "dev")
    made = await live.call("POST", space.path(CORE, "configmaps"), {"metadata": {"name": "m"}}, token=token)
    made.expect(201)
    user = f"system:serviceaccount:{space.name}:dev"
    refused = await live.get("/api/v1/namespaces/default/configmaps", token=token)
    assert refused.expect(403)["message"] == (
        f'configmaps is forbidden: User "{user}" cannot list resource "configmaps" in API group "" in the '
        'namespace "default"'
    )
    attributes = {"namespace": space.name, "verb": "delete", "resource": "pods"}
    spec = {"resourceAttributes": attributes, "user": user}
    for path in (
        f"{AUTHORIZATION}/subjectaccessreviews",
        f"/apis/authorization.k8s.io/v1/namespaces/{space.name}/localsubjectaccessreviews",
    ):
        answer = (await live.call("POST", path, {"metadata": {}, "spec": spec})).expect(201)
        assert answer["status"]["allowed"] is True
    spec["resourceAttributes"] = {**attributes, "resource": "nodes"}
    answer = (await live.call("POST", f"{AUTHORIZATION}/subjectaccessreviews", {"spec": spec})).expect(201)
    assert answer["status"]["allowed"] is False
    escalated = {**body, "metadata": {"name": "up"}, "roleRef": {**role, "name": "cluster-admin"}}
    path = space.path("apis/rbac.authorization.k8s.io/v1", "rolebindings")
    assert (await live.call("POST", path, escalated, token=token)).status == 403


async def test_impersonation(live: LiveServer, space: Namespace) -> None:
    headers = {"Impersonate-User": "jane", "Impersonate-Group": "team", "Impersonate-Extra-Scope": "x"}
    me = (await live.call("POST", f"{AUTHENTICATION}/selfsubjectreviews", {}, headers=headers)).expect(201)
    info = me["status"]["userInfo"]
    assert (info["username"], info["extra"]) == ("jane", {"scope": ["x"]})
    assert info["groups"] == ["team", "system:authenticated"]
    stranger = live.certified("stranger")
    refused = await live.call("GET", "/api/v1/nodes", session=stranger, headers={"Impersonate-User": "admin"})
    assert refused.expect(403)["message"].startswith(
        'users "admin" is forbidden: User "stranger" cannot impersonate'
    )


async def test_rules_of_an_administrator_are_listed_once(live: LiveServer) -> None:
    body = {"spec": {"namespace": "default"}}
    answer = (await live.call("POST", f"{AUTHORIZATION}/selfsubjectrulesreviews", body)).expect(201)
    paths = [rule["nonResourceURLs"] for rule in answer["status"]["nonResourceRules"]]
    assert paths.count(["*"]) == 1


async def test_certificates_on_request(live: LiveServer, space: Namespace) -> None:
    """CertificateSigningRequest API [Privileged:ClusterAdmin] should support building a client with a CSR."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "e2e-example-client")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    spec = {"request": base64.b64encode(pem).decode(), "signerName": "kubernetes.io/kube-apiserver-client"}
    spec |= {"usages": ["client auth"], "expirationSeconds": 3600, "username": "forged"}
    base = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    made = (await live.call("POST", base, {"metadata": {"name": space.name}, "spec": spec})).expect(201)
    assert made["spec"]["username"] == "kubernetes-admin"
    made["status"] = {
        "conditions": [{"type": "Approved", "status": "True", "reason": "E2E", "message": "yes"}]
    }
    path = f"{base}/{space.name}"
    (await live.call("PUT", f"{path}/approval", made)).expect(200)

    async def issued() -> Any:
        return (await live.get(path)).json.get("status", {}).get("certificate")

    certificate = x509.load_pem_x509_certificate(base64.b64decode(await eventually(issued)))
    assert certificate.subject == subject
    life = certificate.not_valid_after_utc - SystemClock().now()
    assert 3500 < life.total_seconds() < 3700
    await live.call("DELETE", path)


async def test_discovery_documents(live: LiveServer) -> None:
    """Discovery should validate PreferredVersion for each APIGroup, and locate the groups; /version; paths."""
    groups = (await live.get("/apis")).expect(200)["groups"]
    for group in groups:
        preferred = group["preferredVersion"]
        assert preferred in group["versions"]
        assert preferred["groupVersion"] == f"{group['name']}/{preferred['version']}"
        one = (await live.get(f"/apis/{group['name']}")).expect(200)
        assert one["versions"] == group["versions"]
        for version in group["versions"]:
            resources = (await live.get(f"/apis/{version['groupVersion']}")).expect(200)
            assert resources["groupVersion"] == version["groupVersion"]
            assert resources["resources"]
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    for root in ("/api", "/apis"):
        aggregated = await live.get(root, headers=accept)
        assert aggregated.expect(200)["kind"] == "APIGroupDiscoveryList"
        assert aggregated.headers["Etag"]
    assert (await live.get("/version")).expect(200)["major"] == "1"
    assert {"/healthz", "/readyz", "/livez", "/openapi/v3"} <= set((await live.get("/")).expect(200)["paths"])
    assert (await live.get("/readyz?verbose")).text.splitlines()[:2] == [b"[+]ping ok", b"[+]etcd ok"]
    assert b"apiserver_request_total" in (await live.get("/metrics")).text
