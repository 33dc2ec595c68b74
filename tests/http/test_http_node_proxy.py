"""`nodes/NAME/proxy/…`: what a kubelet's server would say of its node."""

from __future__ import annotations

from typing import Any

import pytest
from live_server import LiveServer

from cluster.api import kinds

NODE = "/api/v1/nodes/n1"
READY = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "x"}
AT = "2026-01-01T00:00:00Z"


class Log:
    error = ""

    def __init__(self) -> None:
        self._pieces = [(1, b"said", True)]

    async def receive(self) -> tuple[int, bytes, bool] | None:
        return self._pieces.pop() if self._pieces else None

    async def close(self) -> None: ...


@pytest.fixture
async def node(live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> LiveServer:
    """A node that runs one pod, with figures of both."""
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {"conditions": [READY]}}
    await live.create(kinds.NODES, body, "")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "nginx:1.27"}]},
    }
    await live.create(kinds.PODS, pod)
    usage = {"cpu": "250m", "memory": "64Mi"}
    computed = live.plane.verbs.environment.computed
    own = {"metadata": {"name": "n1"}, "timestamp": AT, "usage": usage}
    of_pod = {"metadata": {"name": "web", "namespace": "default"}, "timestamp": AT}
    of_pod["containers"] = [{"name": "c", "usage": usage}]  # type: ignore[assignment]
    monkeypatch.setitem(computed, kinds.NODE_METRICS.qualified, lambda _: [own])
    monkeypatch.setitem(computed, kinds.POD_METRICS.qualified, lambda _: [of_pod])

    async def opened(pod: Any, **asked: Any) -> Log:
        assert (pod["metadata"]["name"], asked["kind"], asked["container"]) == ("web", "log", "c")
        return Log()

    monkeypatch.setattr(live.plane.gateway, "open", opened)
    return live


@pytest.mark.parametrize("name", ["n1", "n1:10250", "https:n1:10250"])
async def test_a_node_lists_its_pods(node: LiveServer, name: str) -> None:
    path = f"/api/v1/nodes/{name}/proxy"
    assert (await node.get(f"{path}/healthz")).text == b"ok"
    pods = (await node.get(f"{path}/pods/")).expect(200)
    assert (pods["kind"], [pod["metadata"]["name"] for pod in pods["items"]]) == ("PodList", ["web"])
    assert (await node.get(f"{path}/runningpods/")).expect(200)["items"] == []
    assert (await node.get(f"{path}/logs/")).status == 200
    assert (await node.get(f"{path}/nothing")).status == 404


async def test_a_node_tells_what_is_used(node: LiveServer) -> None:
    summary = (await node.get(f"{NODE}/proxy/stats/summary")).expect(200)
    figures = {
        "cpu": {"time": AT, "usageNanoCores": 250_000_000},
        "memory": {"time": AT, "usageBytes": 64 << 20, "workingSetBytes": 64 << 20},
    }
    assert summary["node"].items() >= ({"nodeName": "n1"} | figures).items()
    (pod,) = summary["pods"]
    assert pod["podRef"]["name"] == "web"
    assert pod["containers"] == [{"name": "c", **figures}]
    assert pod.items() >= figures.items()
    lines = (await node.get(f"{NODE}/proxy/metrics/resource")).text.decode().splitlines()
    line = 'container_memory_working_set_bytes{container="c",namespace="default",pod="web"} 67108864'
    assert line in lines
    assert "kubelet_running_pods 0" in (await node.get(f"{NODE}/proxy/metrics")).text.decode().splitlines()


async def test_a_nodes_container_logs(node: LiveServer) -> None:
    assert (await node.get(f"{NODE}/proxy/containerLogs/default/web/c")).text == b"said"
    assert (await node.get(f"{NODE}/proxy/containerLogs/default/other/c")).status == 404


async def test_who_does_not_report_is_not_reached(node: LiveServer) -> None:
    """Nor is any other port of the node, nor a node that does not exist."""
    assert (await node.get("/api/v1/nodes/n1:22/proxy/healthz")).expect(503)["reason"] == "ServiceUnavailable"
    assert (await node.get("/api/v1/nodes/n2/proxy/healthz")).status == 404
    body = (await node.get(NODE)).expect(200)
    body["status"]["conditions"] = [{**READY, "status": "Unknown"}]
    (await node.call("PUT", f"{NODE}/status", body)).expect(200)
    assert (await node.get(f"{NODE}/proxy/healthz")).status == 503


async def test_a_nodes_proxy_takes_a_right_of_its_own(node: LiveServer) -> None:
    assert (await node.get(f"{NODE}/proxy/healthz", token="secret-of-jane")).status == 403
