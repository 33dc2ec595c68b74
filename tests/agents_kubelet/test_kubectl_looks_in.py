"""Pods looked into with kubectl, on real processes: exec, cp, debug, attach, logs; each runtime in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.process.isolation import unsharing

pytestmark = pytest.mark.services

KUBECTL = str(Path(sys.executable).with_name("kubectl"))
SCRIPT = "cat /etc/conf/colour; echo; trap 'exit 0' TERM; while true; do sleep 1; done"


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, "KUBEMU_HOME": str(folder), "HOME": str(folder)}
        self.kubemu("up", "--detach", "--nodes", "1", "--profile", "fast")
        self.environment["KUBECONFIG"] = self.kubemu("kubeconfig", "--path").strip()

    def kubemu(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "scenarios", *arguments)

    def kubectl(self, *arguments: str, code: int = 0, text: str = "") -> str:
        return self.run(KUBECTL, *arguments, code=code, text=text)

    def run(self, *command: str, code: int = 0, text: str = "") -> str:
        done = subprocess.run(
            command, env=self.environment, input=text, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if code else "")


def pod(name: str) -> dict[str, object]:
    container = {
        "name": "c",
        "image": "busybox:1.36",
        "command": ["sh", "-c", SCRIPT],
        "volumeMounts": [{"name": "conf", "mountPath": "/etc/conf"}],
    }
    volume = {"name": "conf", "configMap": {"name": "conf"}}
    meta = {"name": name, "annotations": {"kubemu.dev/runtime": name}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"containers": [container], "volumes": [volume]},
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="k-") as folder:
        cluster = Cluster(Path(folder))
        cluster.kubectl("create", "configmap", "conf", "--from-literal=colour=blue")
        for name in ("emulated", "process"):
            cluster.kubectl("apply", "-f", "-", text=json.dumps(pod(name)))
        cluster.kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=30s")
        yield cluster
        cluster.kubemu("down")


@pytest.fixture(params=["emulated", "process"])
def name(request: pytest.FixtureRequest) -> str:
    if request.param == "process" and not unsharing():
        pytest.skip("this machine grants no namespaces")
    return str(request.param)


def test_exec_logs_and_exit_codes(cluster: Cluster, name: str) -> None:
    assert cluster.kubectl("logs", name) == "blue\n"
    assert (
        cluster.kubectl("exec", name, "--", "sh", "-c", "hostname; cat /etc/conf/colour") == f"{name}\nblue"
    )
    assert "exit code 3" in cluster.kubectl("exec", name, "--", "sh", "-c", "exit 3", code=3)
    assert cluster.kubectl("exec", "-i", name, "--", "cat", text="to and fro\n") == "to and fro\n"
    assert "executable file not found" in cluster.kubectl("exec", name, "--", "nosuch", code=1)


def test_a_pod_has_a_token_of_its_own(cluster: Cluster, name: str) -> None:
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert cluster.kubectl("exec", name, "--", "cat", f"{folder}/namespace") == "default"
    token = cluster.kubectl("exec", name, "--", "cat", f"{folder}/token")
    assert token.count(".") == 2
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answer = cluster.kubectl("create", "--validate=false", "-f", "-", "-o", "json", text=json.dumps(review))
    user = json.loads(answer)["status"]["user"]
    assert user["username"] == "system:serviceaccount:default:default"
    assert user["extra"]["authentication.kubernetes.io/pod-name"] == [name]


def test_files_are_copied_both_ways(cluster: Cluster, name: str, tmp_path: Path) -> None:
    (tmp_path / "up").write_text("content\n")
    cluster.kubectl("cp", str(tmp_path / "up"), f"{name}:/tmp/there")
    cluster.kubectl("cp", f"{name}:/tmp/there", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "content\n"


def test_a_debug_container_joins(cluster: Cluster, name: str) -> None:
    cluster.kubectl(
        "debug", name, "--image=busybox", "-c", "dbg", "--", "sh", "-c", "echo looking; sleep 100"
    )
    wait = "jsonpath={.status.ephemeralContainerStatuses[0].state.running}"
    cluster.kubectl("wait", f"pod/{name}", f"--for={wait}", "--timeout=20s")
    assert cluster.kubectl("logs", name, "-c", "dbg") == "looking\n"
