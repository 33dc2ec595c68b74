"""The official Python client: objects, watches, streams into pods, leader election, utilities."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
from kubernetes import client, config, utils, watch
from kubernetes.dynamic import DynamicClient
from kubernetes.stream import portforward, stream
from live_cluster import Cluster

pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def api(cluster: Cluster) -> client.ApiClient:
    return config.new_client_from_config(str(cluster.kubeconfig))


def deployment(name: str, replicas: int = 2) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]},
            },
        },
    }


def running_pod(api: client.ApiClient, space: str) -> str:
    """The name of a ready pod that serves HTTP on port 80."""
    core = client.CoreV1Api(api)
    body = {"metadata": {"name": "p"}, "spec": deployment("p")["spec"]["template"]["spec"]}
    core.create_namespaced_pod(space, body)
    for event in watch.Watch().stream(core.list_namespaced_pod, space, timeout_seconds=20):
        conditions = event["object"].status.conditions or []
        if any(c.type == "Ready" and c.status == "True" for c in conditions):
            return "p"
    raise AssertionError("the pod never got ready")


def test_workloads(api: client.ApiClient, space: str) -> None:
    """Create from a dict, scale through the subresource, patch, watch the rollout, delete in the foreground."""
    apps = client.AppsV1Api(api)
    utils.create_from_dict(api, deployment("web"), namespace=space)
    apps.patch_namespaced_deployment_scale("web", space, {"spec": {"replicas": 3}})
    for event in watch.Watch().stream(apps.list_namespaced_deployment, space, timeout_seconds=20):
        if event["object"].status.available_replicas == 3:
            break
    assert apps.read_namespaced_deployment_scale("web", space).status.replicas == 3
    patched = apps.patch_namespaced_deployment("web", space, {"metadata": {"labels": {"a": "b"}}})
    assert patched.metadata.labels == {"a": "b"}
    apps.delete_namespaced_deployment("web", space, propagation_policy="Foreground")
    core = client.CoreV1Api(api)
    for _ in range(200):
        if not core.list_namespaced_pod(space).items:
            return
        time.sleep(0.05)
    raise AssertionError("pods outlived their deployment")


def test_streams(api: client.ApiClient, space: str) -> None:
    """exec with its exit code, stdin, logs, and an HTTP request through a forwarded port."""
    name, core = running_pod(api, space), client.CoreV1Api(api)
    said = stream(
        core.connect_get_namespaced_pod_exec, name, space, command=["echo", "hello"], stdout=True, stderr=True
    )
    assert said.strip() == "hello"
    session = stream(
        core.connect_get_namespaced_pod_exec,
        name,
        space,
        command=["sh", "-c", "exit 3"],
        stdout=True,
        _preload_content=False,
    )
    session.run_forever(timeout=10)
    assert session.returncode == 3
    assert core.read_namespaced_pod_log(name, space)
    forwarded = portforward(core.connect_get_namespaced_pod_portforward, name, space, ports="80")
    socket = forwarded.socket(80)
    socket.setblocking(True)
    socket.settimeout(10)
    socket.sendall(b"GET / HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n")
    answer = socket.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200")
    socket.close()
    assert forwarded.error(80) is None


def test_dynamic_client(api: client.ApiClient, space: str) -> None:
    """Discovery, server-side apply, watch and delete of kinds that the client does not know in advance."""
    maps = DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "b"}}
    maps.server_side_apply(namespace=space, body=body, name="m", field_manager="test")
    body["data"] = {"c": "d"}
    applied = maps.server_side_apply(namespace=space, body=body, name="m", field_manager="test")
    assert applied.data.to_dict() == {"c": "d"}
    assert [
        item.metadata.name
        for item in maps.get(namespace=space, label_selector="!x").items
        if item.metadata.name == "m"
    ]
    maps.delete(name="m", namespace=space)


def test_a_stale_write_and_a_missing_object(api: client.ApiClient, space: str) -> None:
    core = client.CoreV1Api(api)
    first = core.create_namespaced_config_map(space, {"metadata": {"name": "m"}})
    core.patch_namespaced_config_map("m", space, {"data": {"a": "b"}})
    first.data = {"x": "y"}
    with pytest.raises(client.ApiException) as stale:
        core.replace_namespaced_config_map("m", space, first)
    assert (stale.value.status, stale.value.reason) == (409, "Conflict")
    with pytest.raises(client.ApiException) as missing:
        core.read_namespaced_config_map("none", space)
    assert missing.value.status == 404


def test_pages(api: client.ApiClient, space: str) -> None:
    core = client.CoreV1Api(api)
    for number in range(5):
        core.create_namespaced_secret(space, {"metadata": {"name": f"s{number}"}})
    first = core.list_namespaced_secret(space, limit=2)
    assert first.metadata.remaining_item_count == 3
    rest = core.list_namespaced_secret(space, limit=10, _continue=first.metadata._continue)
    assert [item.metadata.name for item in first.items + rest.items] == [f"s{n}" for n in range(5)]


CANDIDATE = """
import sys
from kubernetes import config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

kubeconfig, namespace, name = sys.argv[1:]
config.load_kube_config(kubeconfig)
settings = electionconfig.Config(
    LeaseLock("leader", namespace, name), lease_duration=4, renew_deadline=3, retry_period=1,
    onstarted_leading=lambda: print(name, "leads", flush=True), onstopped_leading=lambda: None,
)
leaderelection.LeaderElection(settings).run()
"""


def test_leader_election(cluster: Cluster, api: client.ApiClient, space: str) -> None:
    """One of two candidates leads, by a Lease; when it is gone, the other one does."""
    candidates = {
        name: subprocess.Popen(
            [sys.executable, "-c", CANDIDATE, str(cluster.kubeconfig), space, name],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for name in ("one", "two")
    }
    leases = client.CoordinationV1Api(api)

    def expect_leader(*names: str) -> str:
        for _ in range(200):
            found = leases.list_namespaced_lease(space).items
            if found and found[0].spec.holder_identity in names:
                return str(found[0].spec.holder_identity)
            time.sleep(0.1)
        raise AssertionError(f"none of {names} leads")

    try:
        first = expect_leader("one", "two")
        candidates[first].kill()
        expect_leader(*(name for name in candidates if name != first))
    finally:
        for process in candidates.values():
            process.kill()
            process.communicate()
