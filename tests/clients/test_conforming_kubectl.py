"""What sig-cli's conformance specs do with kubectl, and the specs whose pods have to serve or to fail for real.

Each test names its specs; the daily vocabulary, in several versions of kubectl, is in `test_kubectl`.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from live_cluster import KUBECTL, Cluster
from selfsigned import make_certificate

pytestmark = pytest.mark.services

AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.59"
PATIENCE_S = 60
PRIMARY: dict[str, Any] = {"app": "agnhost", "role": "primary"}


class Space:
    """kubectl in a namespace of its own."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        return self.cluster.kubectl("-n", self.name, *arguments, stdin=stdin)

    def apply(self, *objects: Any) -> None:
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def get(self, *what: str) -> Any:
        return json.loads(self("get", *what, "-o", "json"))

    def until(self, look: Callable[[], Any]) -> Any:
        """The first true result; an assertion or a command that fails is tried again."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if found := look():
                    return found
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            assert time.monotonic() < deadline, f"never came: {look}"
            time.sleep(0.1)

    def ready(self, selector: str, count: int) -> list[Any]:
        """The pods, once that many are there and ready."""

        def look() -> list[Any]:
            pods: list[Any] = self.get("pods", "-l", selector)["items"]
            states = [pod["status"].get("conditions") or () for pod in pods]
            fine = [any(c["type"] == "Ready" and c["status"] == "True" for c in state) for state in states]
            return pods if len(fine) == count and all(fine) else []

        found: list[Any] = self.until(look)
        return found

    def proxied(self, path: str) -> str:
        return self("get", "--raw", f"/api/v1/namespaces/{self.name}/{path}")


@pytest.fixture
def kubectl(cluster: Cluster, space: str) -> Space:
    return Space(cluster, space)


def template(labels: dict[str, str], *args: str, image: str = AGNHOST, **container: Any) -> Any:
    inside = {"name": "c", "image": image, "args": list(args), **container}
    spec = {"containers": [inside], "terminationGracePeriodSeconds": 0}
    return {"metadata": {"labels": labels}, "spec": spec}


def replicas(kind: str, name: str, number: int, made: Any) -> Any:
    labels = made["metadata"]["labels"]
    plain = kind == "ReplicationController"
    return {
        "apiVersion": "v1" if plain else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": number,
            "selector": labels if plain else {"matchLabels": labels},
            "template": made,
        },
    }


def primary(number: int = 1) -> Any:
    made = template(PRIMARY, ports=[{"name": "agnhost-server", "containerPort": 6379}])
    return replicas("ReplicationController", "agnhost-primary", number, made)


def service(name: str, port: int, labels: dict[str, str], target: str | int | None = None) -> Any:
    ports = [{"port": port} | ({} if target is None else {"targetPort": target})]
    meta = {"name": name, "labels": labels}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"ports": ports, "selector": labels},
    }


def lines_of(text: str, *patterns: str) -> None:
    """Every pattern fits a line."""
    for pattern in patterns:
        assert re.search(f"^{pattern}", text, re.MULTILINE), f"{pattern} is not in\n{text}"


def test_a_guestbook_keeps_what_is_written(kubectl: Space) -> None:
    """Guestbook application should create and stop a working application."""
    replica = {"app": "agnhost", "role": "replica"}
    front = {"app": "guestbook", "tier": "frontend"}
    follow = ("guestbook", "--replicaof", "agnhost-primary", "--http-port", "6379")
    kubectl.apply(
        service("agnhost-replica", 6379, replica),
        service("agnhost-primary", 6379, PRIMARY, 6379),
        service("frontend", 80, front),
        replicas("Deployment", "frontend", 3, template(front, "guestbook", "--backend-port", "6379")),
        replicas("Deployment", "agnhost-primary", 1, template(PRIMARY, "guestbook", "--http-port", "6379")),
        replicas("Deployment", "agnhost-replica", 2, template(replica, *follow)),
    )
    kubectl.ready("app=guestbook,tier=frontend", 3)

    def asked(**query: str) -> Any:
        query = {"key": "messages", "value": "", **query}
        return json.loads(kubectl.proxied(f"services/frontend/proxy/guestbook?{urlencode(query)}"))

    kubectl.until(lambda: asked(cmd="get") == {"data": ""})
    kubectl.until(lambda: asked(cmd="set", value="TestEntry") == {"message": "Updated"})
    kubectl.until(lambda: asked(cmd="get") == {"data": "TestEntry"})
    kubectl("delete", "services,deployments", "--all", "--timeout=60s")
    kubectl.until(lambda: not kubectl.get("pods")["items"])


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


def test_replicas_are_exposed_and_annotated(kubectl: Space) -> None:
    """Kubectl expose should create services for rc; Kubectl patch should add annotations for pods in rc."""
    kubectl.apply(primary())
    (pod,) = kubectl.ready("app=agnhost", 1)
    kubectl("expose", "rc", "agnhost-primary", "--name=rm2", "--port=1234", "--target-port=6379")
    kubectl("expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379")
    for name, port in (("rm2", 1234), ("rm3", 2345)):
        (found,) = kubectl.get("service", name)["spec"]["ports"]
        assert (found["port"], found["targetPort"]) == (port, 6379)

        def reached(name: str = name) -> bool:
            (subset,) = kubectl.get("endpoints", name).get("subsets") or [{}]
            ips = [address["ip"] for address in subset.get("addresses") or ()]
            return ips == [pod["status"]["podIP"]] and subset["ports"][0]["port"] == 6379

        kubectl.until(reached)
    kubectl("patch", "pod", pod["metadata"]["name"], "-p", '{"metadata":{"annotations":{"x":"y"}}}')
    (pod,) = kubectl.ready("app=agnhost", 1)
    assert pod["metadata"]["annotations"]["x"] == "y"


def test_descriptions_tell_what_matters(kubectl: Space, cluster: Cluster) -> None:
    """Kubectl describe should check if kubectl describe prints relevant information for rc and pods."""
    kubectl.apply(primary(), service("agnhost-primary", 6379, PRIMARY, "agnhost-server"))
    (pod,) = kubectl.ready("app=agnhost", 1)
    node = pod["spec"]["nodeName"]
    lines_of(
        kubectl("describe", "pod", pod["metadata"]["name"]),
        "Name: +agnhost-primary-", f"Namespace: +{kubectl.name}", f"Node: +{node}/", "Labels: +app=agnhost",
        " +role=primary", "Annotations:", "Status: +Running", r"IP: +\d+\.", "Controlled By: +"
        "ReplicationController/agnhost-primary", " +Image: +" + re.escape(AGNHOST), " +State: +Running",
        "QoS Class: +BestEffort",
    )  # fmt: skip
    lines_of(
        kubectl("describe", "rc", "agnhost-primary"),
        "Name: +agnhost-primary", f"Namespace: +{kubectl.name}", "Selector: +app=agnhost,role=primary",
        "Labels: +app=agnhost", "Annotations:", "Replicas: +1 current / 1 desired",
        "Pods Status: +1 Running / 0 Waiting / 0 Succeeded / 0 Failed", "Pod Template:", " +Image: ", "Events:",
    )  # fmt: skip
    lines_of(
        kubectl("describe", "service", "agnhost-primary"),
        "Name: +agnhost-primary", f"Namespace: +{kubectl.name}", "Labels: +app=agnhost", "Annotations:",
        "Selector: +app=agnhost,role=primary", "Type: +ClusterIP", r"IP: +\d+\.", "Port: +<unset> +6379/TCP",
        r"Endpoints: +\d+\..*:6379", "Session Affinity: +None",
    )  # fmt: skip
    lines_of(
        cluster.kubectl("describe", "node", node),
        f"Name: +{node}", "Labels:", "Annotations:", "CreationTimestamp:", "Conditions:", " +Type +Status +"
        "LastHeartbeatTime +LastTransitionTime +Reason +Message", "Addresses:", "Capacity:", "System Info:",
        " +Kernel Version:", " +Kubelet Version:", "Non-terminated Pods:",
    )  # fmt: skip
    lines_of(
        cluster.kubectl("describe", "namespace", kubectl.name),
        f"Name: +{kubectl.name}", "Labels:", "Annotations:", "Status: +Active", "No resource quota",
        "No LimitRange resource",
    )  # fmt: skip


def test_a_label_comes_and_goes(kubectl: Space) -> None:
    """Kubectl label should update the label on a resource."""
    kubectl("run", "pause", f"--image={AGNHOST}", "--labels=name=pause", "--", "pause")
    kubectl.ready("name=pause", 1)
    kubectl("label", "pods", "pause", "testing-label=testing-label-value")
    assert "testing-label-value" in kubectl("get", "pod", "pause", "-L", "testing-label")
    kubectl("label", "pods", "pause", "testing-label-")
    assert "testing-label-value" not in kubectl("get", "pod", "pause", "-L", "testing-label")


def test_a_pod_is_run_replaced_and_only_asked_about(kubectl: Space) -> None:
    """Kubectl run pod should create a pod from an image when restart is Never; Kubectl replace should update a
    single-container pod's image; Kubectl server-side dry-run should check if kubectl can dry-run update Pods."""
    first, second = "httpd:2.4.38-alpine", "busybox:1.37"
    kubectl("run", "web", f"--image={first}", "--restart=Never", "--labels=run=web")
    assert kubectl.get("pod", "web")["spec"]["restartPolicy"] == "Never"
    (pod,) = kubectl.ready("run=web", 1)
    change = {"spec": {"containers": [{"name": "web", "image": second}]}}
    kubectl("patch", "pod", "web", "-p", json.dumps(change), "--dry-run=server")
    assert kubectl.get("pod", "web")["spec"]["containers"][0]["image"] == first
    pod["spec"]["containers"][0]["image"] = second
    pod["metadata"].pop("resourceVersion")
    kubectl("replace", "-f", "-", stdin=json.dumps(pod))
    assert kubectl.get("pod", "web")["spec"]["containers"][0]["image"] == second


def test_a_difference_is_found(kubectl: Space) -> None:
    """Kubectl diff should check if kubectl diff finds a difference for Deployments."""
    made = [
        replicas("Deployment", "web", 0, template({"app": "web"}, image=image))
        for image in ("httpd", "busybox")
    ]
    kubectl.apply(made[0])
    done = kubectl.cluster.run("-n", kubectl.name, "diff", "-f", "-", stdin=json.dumps(made[1]))
    assert done.returncode == 1
    lines_of(done.stdout, r"\-.*image: httpd", r"\+.*image: busybox")


def test_a_controller_is_scaled_and_stopped(kubectl: Space) -> None:
    """Update Demo should create and stop, should scale a replication controller."""
    made = template({"name": "update-demo"}, image="nautilus:1.7", ports=[{"containerPort": 80}])
    kubectl.apply(replicas("ReplicationController", "demo", 2, made))
    for number in (2, 1, 2):
        kubectl("scale", "rc", "demo", f"--replicas={number}", "--timeout=60s")
        for pod in kubectl.ready("name=update-demo", number):
            path = f"pods/{pod['metadata']['name']}/proxy/data.json"
            kubectl.until(lambda path=path: "nautilus.jpg" in kubectl.proxied(path))
    kubectl("delete", "rc", "demo", "--timeout=60s")
    kubectl.until(lambda: not kubectl.get("pods", "-l", "name=update-demo")["items"])


def test_logs_are_filtered(kubectl: Space) -> None:
    """Kubectl logs should be able to retrieve and filter logs."""
    arguments = ("logs-generator", "--log-lines-total", "100", "--run-duration", "5s")
    kubectl("run", "lines", f"--image={AGNHOST}", "--restart=Never", "--", *arguments)
    kubectl.until(lambda: len(kubectl("logs", "lines").splitlines()) > 5)
    assert len(kubectl("logs", "lines", "--tail=1").strip().splitlines()) == 1
    assert len(kubectl("logs", "lines", "--limit-bytes=1")) == 1
    (line,) = kubectl("logs", "lines", "--tail=1", "--timestamps").strip().splitlines()
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d) \S", line)
    kubectl("wait", "pod/lines", "--for=jsonpath={.status.phase}=Succeeded", f"--timeout={PATIENCE_S}s")
    time.sleep(1.5)  # what was just written grows older than the second that is asked for
    recent, whole = (kubectl("logs", "lines", f"--since={since}") for since in ("1s", "24h"))
    assert len(recent.splitlines()) < len(whole.splitlines()) == 100


def test_the_cluster_says_what_it_is(kubectl: Space, cluster: Cluster) -> None:
    """Kubectl api-versions, cluster-info, version; Conformance Tests should have at least two untainted nodes."""
    assert "v1" in cluster.kubectl("api-versions").split()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", cluster.kubectl("cluster-info"))
    assert "Kubernetes control plane is running at https://" in plain
    version = cluster.json("version")
    for side in ("clientVersion", "serverVersion"):
        assert {"major", "minor", "gitVersion", "gitCommit", "goVersion", "platform"} <= set(version[side])
    nodes = kubectl.get("nodes")["items"]
    assert len([node for node in nodes if not node["spec"].get("taints")]) >= 2


@contextmanager
def proxying(cluster: Cluster, *options: str) -> Iterator[str]:
    """What a `kubectl proxy` says when it serves."""
    command = [KUBECTL, "--kubeconfig", str(cluster.kubeconfig), "proxy", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline()
    finally:
        process.terminate()
        process.communicate()


def versions(connection: socket.socket) -> list[str]:
    """/api, asked over this connection."""
    with connection:
        connection.settimeout(PATIENCE_S)
        connection.sendall(b"GET /api/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
        with connection.makefile("rb") as answer:
            body = answer.read().partition(b"\r\n\r\n")[2]
    found: list[str] = json.loads(body)["versions"]
    return found


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
        inside = {"name": "c", "image": "busybox:1.37", "command": ["sh", "-c", script]}
        inside["volumeMounts"] = [{"name": "host", "mountPath": "/host"}]
        marked = ["sh", "-c", "test -e /host/$JOB_COMPLETION_INDEX"]
        inside["readinessProbe"] = {"exec": {"command": marked}, "periodSeconds": 1}
        pod = {"restartPolicy": "Never", "nodeName": "node-1", "containers": [inside], "volumes": [volume]}
        pod["terminationGracePeriodSeconds"] = 1
        spec = {"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimit": 0}
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
    spec = {"group": group, "version": version, "groupPriorityMinimum": 2000, "versionPriority": 200}
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


def test_a_proxy_serves_a_free_port(cluster: Cluster) -> None:
    """Proxy server should support proxy with --port 0."""
    with proxying(cluster, "--port=0", "--disable-filter=true") as said:
        port = int(said.strip().rpartition(":")[2])
        assert versions(socket.create_connection(("127.0.0.1", port))) == ["v1"]


def test_a_proxy_serves_a_socket(cluster: Cluster, tmp_path: Path) -> None:
    """Proxy server should support --unix-socket=/path."""
    path = str(tmp_path / "s")
    with proxying(cluster, f"--unix-socket={path}"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        assert versions(connection) == ["v1"]
