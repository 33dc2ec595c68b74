"""Real kubectl, old and new, against a live server: nothing runs on nodes here, objects and words do."""

from __future__ import annotations

import asyncio
import shutil
import sys
from base64 import b64decode, b64encode
from pathlib import Path

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from live_server import LiveServer

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: nginx:1.27
        ports: [{containerPort: 80}]
        readinessProbe: {httpGet: {path: /, port: 80}}
"""


def binaries() -> list[str]:
    """kubectl of the development environment, and the machine's own where there is another."""
    own = Path(sys.executable).parent / "kubectl"
    found = [str(own)] if own.exists() else []
    system = shutil.which("kubectl")
    return [*found, *([system] if system and system not in found else [])]


@pytest.fixture(params=binaries())
def kubectl(request: pytest.FixtureRequest, live: LiveServer) -> Kubectl:
    return Kubectl(live, request.param)


class Kubectl:
    def __init__(self, live: LiveServer, binary: str) -> None:
        self._live = live
        self._binary = binary

    async def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        returned, output = await self._live.kubectl(*arguments, binary=self._binary, stdin=stdin)
        assert returned == code, output
        return output


async def test_a_manifest_is_applied_changed_and_deleted(kubectl: Kubectl) -> None:
    apply = ("apply", "-f", "-")
    assert "deployment.apps/web created" in await kubectl(*apply, stdin=DEPLOYMENT)
    assert "deployment.apps/web unchanged" in await kubectl(*apply, stdin=DEPLOYMENT)
    changed = DEPLOYMENT.replace("replicas: 2", "replicas: 3")
    assert "deployment.apps/web configured" in await kubectl(*apply, stdin=changed)
    assert (await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}")) == "3"
    force = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    assert "serverside-applied" in await kubectl(*force, stdin=DEPLOYMENT)
    assert 'deployment.apps "web" deleted' in await kubectl("delete", "deploy", "web")


async def test_unknown_fields_are_refused_by_name(kubectl: Kubectl) -> None:
    wrong = DEPLOYMENT.replace("image:", "imag:")
    output = await kubectl("apply", "-f", "-", stdin=wrong, code=1)
    assert 'unknown field "spec.template.spec.containers[0].imag"' in output


async def test_typed_commands_send_protobuf(kubectl: Kubectl) -> None:
    """`create` and `expose` of these kinds have no JSON form in kubectl."""
    await kubectl("create", "configmap", "settings", "--from-literal=colour=blue")
    assert await kubectl("get", "cm", "settings", "-o", "jsonpath={.data.colour}") == "blue"
    await kubectl("create", "secret", "generic", "s", "--from-literal=k=v")
    assert await kubectl("get", "secret", "s", "-o", "jsonpath={.data.k}") == "dg=="
    await kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2", "--port=80")
    assert await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    await kubectl("create", "job", "j", "--image=busybox", "--", "sleep", "1")
    command = await kubectl("get", "job", "j", "-o", "jsonpath={.spec.template.spec.containers[0].command}")
    assert command == '["sleep","1"]'
    await kubectl("create", "role", "r", "--verb=get,list", "--resource=pods")
    assert await kubectl("get", "role", "r", "-o", "jsonpath={.rules[0].verbs}") == '["get","list"]'


async def test_a_token_for_a_service_account(kubectl: Kubectl, live: LiveServer) -> None:
    await kubectl("create", "serviceaccount", "robot")
    token = (await kubectl("create", "token", "robot")).strip()
    reply = await live.get("/apis", token=token)
    assert reply.status == 200


async def test_who_am_i_and_what_may_i(kubectl: Kubectl) -> None:
    output = await kubectl("auth", "whoami")
    assert "kubernetes-admin" in output
    assert "[system:masters system:authenticated]" in output
    assert (await kubectl("auth", "can-i", "delete", "nodes")).splitlines()[-1] == "yes"
    assert "no" in await kubectl("auth", "can-i", "create", "pods", "--as", "jane", code=1)
    listed = await kubectl("auth", "can-i", "--list")
    assert "*.*" in listed


async def test_explain_and_api_resources(kubectl: Kubectl) -> None:
    output = await kubectl("explain", "deployment.spec.replicas")
    assert "FIELD: replicas <integer>" in output
    output = await kubectl("api-resources", "-o", "name")
    assert {"pods", "deployments.apps", "roles.rbac.authorization.k8s.io"} <= set(output.split())
    assert "apps/v1" in (await kubectl("api-versions")).split()


async def test_describe_and_tables(kubectl: Kubectl) -> None:
    await kubectl("create", "configmap", "settings", "--from-literal=colour=blue")
    assert "colour:" in await kubectl("describe", "cm", "settings")
    lines = (await kubectl("get", "cm", "settings")).splitlines()
    assert lines[0].split() == ["NAME", "DATA", "AGE"]
    assert lines[1].split()[:2] == ["settings", "1"]
    assert "labels" in await kubectl("get", "ns", "default", "-o", "yaml")


async def test_what_is_not_there_is_not_found(kubectl: Kubectl) -> None:
    output = await kubectl("get", "pod", "nothing", code=1)
    assert 'Error from server (NotFound): pods "nothing" not found' in output
    output = await kubectl("get", "--raw", "/apis/nothing", code=1)
    assert "the server could not find the requested resource" in output


async def test_kinds_without_patch_are_validated_by_the_client(kubectl: Kubectl) -> None:
    """For them kubectl reads the OpenAPI v2 document in its protobuf form."""
    review = '{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "x"%s}}'
    assert "not a JSON Web Token" in await kubectl("create", "-o", "yaml", "-f", "-", stdin=review % "")
    refused = await kubectl("create", "-f", "-", stdin=review % ', "bogus": 1', code=1)
    assert 'unknown field "bogus"' in refused


async def test_a_status_is_applied(kubectl: Kubectl) -> None:
    """Its manager owns what it said of the status, and nothing of the spec that it sent along."""
    await kubectl("apply", "--server-side", "-f", "-", stdin=DEPLOYMENT)
    status = "status: {conditions: [{type: Odd, status: 'True', reason: Said, message: by hand}]}\n"
    arguments = ("apply", "--server-side", "--subresource=status", "--field-manager=hand", "-f", "-")
    changed = DEPLOYMENT.replace("replicas: 2", "replicas: 9") + status
    await kubectl(*arguments, stdin=changed)
    path = 'jsonpath={.spec.replicas} {.status.conditions[?(@.type=="Odd")].reason}'
    assert await kubectl("get", "deploy", "web", "-o", path) == "2 Said"
    fields = 'jsonpath={.metadata.managedFields[?(@.manager=="hand")]}'
    entry = orjson.loads(await kubectl("get", "deploy", "web", "--show-managed-fields", "-o", fields))
    assert (entry["operation"], entry["subresource"]) == ("Apply", "status")
    assert "f:spec" not in entry["fieldsV1"]


async def test_an_approved_request_gives_a_certificate_that_works(
    kubectl: Kubectl, live: LiveServer, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ann")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    spec = {
        "request": b64encode(request.public_bytes(Encoding.PEM)).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
    }
    kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    body = {**kind, "metadata": {"name": "ann"}, "spec": spec}
    await kubectl("create", "-f", "-", stdin=orjson.dumps(body).decode())
    assert "ann approved" in await kubectl("certificate", "approve", "ann")
    for _ in range(600):
        issued = await kubectl("get", "csr", "ann", "-o", "jsonpath={.status.certificate}")
        if issued:
            break
        await asyncio.sleep(0.05)
    assert "Approved,Issued" in await kubectl("get", "csr", "ann")
    (tmp_path / "ann.crt").write_bytes(b64decode(issued))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ann.key").write_bytes(pem)
    session = live.session(tmp_path / "ann.crt", tmp_path / "ann.key")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    reply = await live.call(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review, session=session
    )
    assert reply.expect(201)["status"]["userInfo"]["username"] == "ann"


async def test_default_roles_are_listed(kubectl: Kubectl) -> None:
    listed = (await kubectl("get", "clusterroles", "-o", "name")).split()
    prefix = "clusterrole.rbac.authorization.k8s.io/"
    wanted = ("cluster-admin", "view", "system:basic-user", "system:controller:job-controller")
    assert {prefix + name for name in wanted} <= set(listed)
    shown = await kubectl("describe", "clusterrole", "system:public-info-viewer")
    assert "[/healthz]" in shown
