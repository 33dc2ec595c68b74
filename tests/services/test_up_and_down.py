"""`kubemu up --detach`, `status`, `logs`, `kubeconfig`, `run -c`, `down`, with kubectl in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.services

KUBECTL = str(Path(sys.executable).with_name("kubectl"))


class Cluster:
    """A detached cluster, driven by commands as a user types them."""

    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, "KUBEMU_HOME": str(folder), "HOME": str(folder)}
        self.kubemu("up", "--detach", "--nodes", "2", "--profile", "fast")
        self.environment["KUBECONFIG"] = self.kubemu("kubeconfig", "--path").strip()

    def run(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if code else "")

    def kubemu(self, *arguments: str, code: int = 0) -> str:
        return self.run(sys.executable, "-m", "scenarios", *arguments, code=code)

    def kubectl(self, *arguments: str, code: int = 0) -> str:
        return self.run(KUBECTL, *arguments, code=code)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="k-") as folder:
        cluster = Cluster(Path(folder))
        yield cluster
        assert "is down" in cluster.kubemu("down")
        assert list(Path(folder).glob("kubemu/*")) == []


def test_status_names_processes_and_nodes(cluster: Cluster) -> None:
    text = cluster.kubemu("status")
    assert "controller-manager" in text
    assert "2/2 Ready" in text


def test_a_second_up_is_refused(cluster: Cluster) -> None:
    assert "runs already" in cluster.kubemu("up", code=1)


def test_kubectl_session(cluster: Cluster) -> None:
    """The session of the README: deploy, look, scale, upgrade, undo, delete."""
    assert cluster.kubectl("get", "nodes").count(" Ready ") == 2
    cluster.kubectl("create", "deployment", "hello", "--image=nginx:1.27", "--replicas=2")
    cluster.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    cluster.kubectl("scale", "deployment/hello", "--replicas=3")
    cluster.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    cluster.kubectl("set", "image", "deployment/hello", "nginx=nginx:1.28")
    cluster.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    cluster.kubectl("rollout", "undo", "deployment/hello")
    cluster.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    cluster.kubectl("rollout", "restart", "deployment/hello")
    cluster.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    wide = cluster.kubectl("get", "pods", "-o", "wide", "-l", "app=hello")
    assert "node-1" in wide or "node-2" in wide
    described = cluster.kubectl("describe", "deployment", "hello")
    assert "ScalingReplicaSet" in described
    assert "nginx:1.27" in described
    pods = json.loads(cluster.kubectl("get", "pods", "-l", "app=hello", "-o", "json"))["items"]
    name = pods[0]["metadata"]["name"]
    assert "Started" in cluster.kubectl("describe", "pod", name)
    assert "ready for start up" in cluster.kubectl("logs", name)
    cluster.kubectl("delete", "deployment", "hello")
    cluster.kubectl("wait", "--for=delete", "pod", "-l", "app=hello", "--timeout=60s")


def test_logs_are_merged_in_order(cluster: Cluster) -> None:
    lines = [json.loads(line) for line in cluster.kubemu("logs", "--json").splitlines()]
    times = [line["time"] for line in lines if line["time"]]
    assert times == sorted(times)
    assert {line["component"] for line in lines} >= {"controller-manager"}
    only = cluster.kubemu("logs", "--node", "node-1")
    assert "node-2 " not in only


def test_a_scenario_on_the_running_cluster(cluster: Cluster, tmp_path: Path) -> None:
    """Faults reach the nodes of a cluster that another command runs."""
    file = tmp_path / "bounce.yaml"
    file.write_text(
        """
steps:
  - freeze: 1
  - expect: {node: 1, condition: {Ready: Unknown}, within: 30s}
  - thaw: 1
  - expect: {node: 1, condition: {Ready: "True"}, within: 30s}
  - stop: 2
  - expect: {node: 2, condition: {Ready: Unknown}, within: 30s}
  - start: 2
  - expect: {node: 2, condition: {Ready: "True"}, within: 30s}
"""
    )
    assert "passed" in cluster.kubemu("run", str(file), "-c", "kubemu")


def test_a_manifest_with_a_typo(cluster: Cluster, tmp_path: Path) -> None:
    """kubectl gets the answer a real cluster gives, and nothing is created."""
    manifest = tmp_path / "typo.yaml"
    manifest.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: typo}\ndatta: {a: b}\n")
    text = cluster.kubectl("apply", "-f", str(manifest), code=1)
    assert 'unknown field "datta"' in text
    cluster.kubectl("get", "configmap", "typo", code=1)
