"""What sig-cli's conformance specs do with kubectl; each test names its specs.

The daily vocabulary, in several versions of kubectl, is in `test_kubectl`.
"""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from kubectl_space import (
    AGNHOST,
    PATIENCE_S,
    PRIMARY,
    Space,
    lines_of,
    primary,
    proxying,
    replicas,
    service,
    template,
)
from live_cluster import Cluster

pytestmark = pytest.mark.services


@pytest.fixture
def kubectl(cluster: Cluster, space: str) -> Space:
    return Space(cluster, space)


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


def versions(connection: socket.socket) -> list[str]:
    """/api, asked over this connection."""
    with connection:
        connection.settimeout(PATIENCE_S)
        connection.sendall(b"GET /api/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
        with connection.makefile("rb") as answer:
            body = answer.read().partition(b"\r\n\r\n")[2]
    found: list[str] = json.loads(body)["versions"]
    return found


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
