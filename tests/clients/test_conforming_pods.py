"""Conformance specs whose pods have to serve, to fail or to be evicted for real; each test names its specs."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest
from kubectl_space import AGNHOST, PATIENCE_S, Space, lines_of, proxying, replicas, service, template
from live_cluster import Cluster
from selfsigned import make_certificate

pytestmark = pytest.mark.services


@pytest.fixture
def kubectl(cluster: Cluster, space: str) -> Space:
    return Space(cluster, space)


@pytest.mark.parametrize("kind", ["ReplicationController", "ReplicaSet"])
def test_each_replica_serves_its_name(kubectl: Space, kind: str) -> None:
    """ReplicationController, ReplicaSet should serve a basic image on each replica with a public image."""
    made = template({"name": "basic"}, "serve-hostname", ports=[{"containerPort": 9376}])
    kubectl.apply(replicas(kind, "basic", 2, made))
    for pod in kubectl.ready("name=basic", 2):
        name = pod["metadata"]["name"]
        kubectl.until(lambda name=name: kubectl.proxied(f"pods/{name}:9376/proxy/") == name)


def test_tasks_that_fail_once_are_restarted_where_they_are(kubectl: Space) -> None:
    """Job should run a job to completion when tasks sometimes fail and are locally restarted."""
    script = "if [ -e /data/tried ]; then exit 0; fi; touch /data/tried; exit 1"
    spec = {
        "restartPolicy": "OnFailure",
        "volumes": [{"name": "data", "emptyDir": {}}],
        "containers": [
            {
                "name": "c",
                "image": "busybox:1.37",
                "command": ["sh", "-c", script],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ],
    }
    body = {"parallelism": 2, "completions": 4, "backoffLimit": 6, "template": {"spec": spec}}
    kubectl.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "fail-once"}, "spec": body})
    kubectl("wait", "job/fail-once", "--for=condition=Complete", f"--timeout={PATIENCE_S}s")
    pods = kubectl.get("pods", "-l", "job-name=fail-once")["items"]
    succeeded = [pod for pod in pods if pod["status"]["phase"] == "Succeeded"]
    assert [pod["status"]["containerStatuses"][0]["restartCount"] for pod in succeeded] == [1] * 4


VERBS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


def test_every_method_is_answered_by_pod_and_service(kubectl: Space, cluster: Cluster) -> None:
    """Proxy version v1: A set of valid responses are returned for both pod and service Proxy, ProxyWithPath."""
    labels = {"test": "response"}
    said = [{"name": "SERVE_PORT_80", "value": "foo"}]
    inside = {
        "name": "c",
        "image": AGNHOST,
        "command": ["/agnhost", "porter", "--json-response"],
        "env": said,
    }
    spec = {"containers": [inside], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
    meta = {"name": "agnhost", "labels": labels}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec},
        service("test-service", 80, labels, 80),
    )
    kubectl.ready("test=response", 1)
    with proxying(cluster, "--port=0") as line:
        port = int(line.strip().rpartition(":")[2])

        def ask(verb: str, path: str) -> tuple[int, Any]:
            connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
            with closing(connection):
                connection.request(verb, f"/api/v1/namespaces/{kubectl.name}/{path}")
                answer = connection.getresponse()
                body = answer.read()
            return answer.status, json.loads(body) if body.startswith(b"{") else None

        for target in ("pods/agnhost", "services/test-service"):
            kubectl.until(lambda target=target: ask("GET", f"{target}/proxy/")[0] == 200)
            for verb in VERBS:
                told = None if verb == "HEAD" else {"Method": verb, "Body": "foo"}
                assert ask(verb, f"{target}/proxy/some/path/with/{verb}") == (200, told)
                moved = verb in ("GET", "HEAD")
                assert ask(verb, f"{target}/proxy?method={verb}") == ((301, None) if moved else (200, told))


def test_a_pod_finds_who_issued_its_token(kubectl: Space) -> None:
    """ServiceAccountIssuerDiscovery should support OIDC discovery of service account issuer."""
    source = {"path": "sa-token", "expirationSeconds": 3600, "audience": "oidc-discovery-test"}
    mount = {"name": "sa-token", "mountPath": "/var/run/secrets/tokens"}
    flags = ("--audience", "oidc-discovery-test", "--token-path", f"{mount['mountPath']}/sa-token")
    made = template({"app": "oidc"}, "test-service-account-issuer-discovery", *flags, volumeMounts=[mount])
    volume = {"name": "sa-token", "projected": {"sources": [{"serviceAccountToken": source}]}}
    spec = made["spec"] | {"restartPolicy": "Never", "serviceAccountName": "default", "volumes": [volume]}
    kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "oidc"}, "spec": spec})
    kubectl("wait", "pod/oidc", "--for=jsonpath={.status.phase}=Succeeded", f"--timeout={PATIENCE_S}s")
    lines_of(
        kubectl("logs", "oidc"), ".*OK: Validated signature on JWT", ".*OK: Got valid claims from token!"
    )


def test_indexes_and_disruptions_of_a_job(kubectl: Space) -> None:
    """Job should create pods for an Indexed job with completion indexes and specified hostname; should allow to use a
    pod failure policy to ignore failure matching on DisruptionTarget condition, and on exit code to fail the job."""
    ignored = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    failing = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}
    # the first try of an index waits to be evicted; what it leaves on the node ends the second one
    volume = {"name": "host", "hostPath": {"path": f"/tmp/{kubectl.name}", "type": "DirectoryOrCreate"}}
    wait = "f=/host/$JOB_COMPLETION_INDEX; if [ -e $f ]; then hostname; exit 0; fi; touch $f; sleep 100000"

    def job(name: str, script: str, rule: Any) -> Any:
        inside: dict[str, Any] = {"name": "c", "image": "busybox:1.37", "command": ["sh", "-c", script]}
        inside["volumeMounts"] = [{"name": "host", "mountPath": "/host"}]
        marked = ["sh", "-c", "test -e /host/$JOB_COMPLETION_INDEX"]
        inside["readinessProbe"] = {"exec": {"command": marked}, "periodSeconds": 1}
        pod: dict[str, Any] = {
            "restartPolicy": "Never",
            "nodeName": "node-1",
            "containers": [inside],
            "volumes": [volume],
        }
        pod["terminationGracePeriodSeconds"] = 1
        spec: dict[str, Any] = {
            "completions": 2,
            "parallelism": 2,
            "completionMode": "Indexed",
            "backoffLimit": 0,
        }
        spec |= {"podFailurePolicy": {"rules": [rule]}, "template": {"spec": pod}}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}

    kubectl.apply(job("evicted", wait, ignored), job("failed", "exit 1", failing))
    for pod in kubectl.ready("job-name=evicted", 2):
        name = pod["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{kubectl.name}/pods/{name}/eviction"
        kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    kubectl("wait", "job/evicted", "--for=condition=Complete", f"--timeout={PATIENCE_S}s")
    assert kubectl.get("job", "evicted")["status"].get("failed", 0) == 0
    for pod in kubectl.get("pods", "-l", "job-name=evicted", "--field-selector=status.phase=Succeeded")[
        "items"
    ]:
        index = pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        assert pod["spec"]["hostname"] == f"evicted-{index}"
        assert kubectl("logs", pod["metadata"]["name"]) == f"evicted-{index}\n"
    kubectl("wait", "job/failed", "--for=condition=Failed", f"--timeout={PATIENCE_S}s")
    (why,) = (c for c in kubectl.get("job", "failed")["status"]["conditions"] if c["type"] == "Failed")
    assert why["reason"] == "PodFailurePolicy"


def test_the_sample_server_is_aggregated(kubectl: Space, cluster: Cluster) -> None:
    """Aggregator Should be able to support the 1.17 Sample API Server using the current Aggregator."""
    labels = {"app": "sample-apiserver", "apiserver": "true"}
    certificate, key = make_certificate(f"sample-api.{kubectl.name}.svc")
    pair = {"tls.crt": certificate.decode(), "tls.key": key.decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sample-secret"}, "stringData": pair}
    mount = {"name": "certs", "mountPath": "/apiserver.local.config/certificates", "readOnly": True}
    files = (f"{flag}={mount['mountPath']}/{name}" for flag, name in
             (("--tls-cert-file", "tls.crt"), ("--tls-private-key-file", "tls.key")))  # fmt: skip
    image = "registry.k8s.io/e2e-test-images/sample-apiserver:1.29.2"
    made = template(labels, "--etcd-servers=http://127.0.0.1:2379", *files, image=image, volumeMounts=[mount])
    made["spec"]["containers"].append({"name": "etcd", "image": "registry.k8s.io/etcd:3.6.6-0"})
    made["spec"]["volumes"] = [{"name": "certs", "secret": {"secretName": "sample-secret"}}]
    kubectl.apply(secret, replicas("Deployment", "sample", 1, made), service("sample-api", 7443, labels, 443))
    group, version = "wardle.example.com", "v1alpha1"
    spec: dict[str, Any] = {
        "group": group,
        "version": version,
        "groupPriorityMinimum": 2000,
        "versionPriority": 200,
    }
    spec["service"] = {"namespace": kubectl.name, "name": "sample-api", "port": 7443}
    spec["caBundle"] = b64encode(certificate).decode()
    name = f"{version}.{group}"
    head = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name}}
    kubectl.apply({**head, "spec": spec})
    try:
        kubectl("wait", "--for=condition=Available", f"apiservice/{name}", f"--timeout={PATIENCE_S}s")
        kubectl.ready("app=sample-apiserver", 1)
        flunder = {"apiVersion": f"{group}/{version}", "kind": "Flunder", "metadata": {"name": "f"}}
        kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps(flunder))
        path = f"/apis/{group}/{version}/namespaces/{kubectl.name}/flunders"
        listed = json.loads(kubectl("get", "--raw", path))["items"]
        assert [item["metadata"]["name"] for item in listed] == ["f"]
        kubectl("delete", "--raw", f"{path}/f")
        assert json.loads(kubectl("get", "--raw", path))["items"] == []
        kubectl("patch", "apiservice", name, "-p", '{"metadata":{"labels":{"e2e":"patched"}}}')
        kubectl("delete", "apiservice", "-l", "e2e=patched")
        kubectl.until(lambda: group not in kubectl("api-versions"))
    finally:
        kubectl("delete", "apiservice", name, "--ignore-not-found")
