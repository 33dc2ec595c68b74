"""Volumes, autoscaling, scheduler profiles and their explanation, with real processes and kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.services

KUBECTL = str(Path(sys.executable).with_name("kubectl"))
PROFILES = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: default-scheduler
- schedulerName: packer
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated}}
"""
VOLUME = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  containers: [{name: c, image: nginx, volumeMounts: [{name: d, mountPath: /data}]}]
  volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: v1
kind: Pod
metadata: {name: huge}
spec:
  schedulerName: packer
  containers: [{name: c, image: nginx, resources: {requests: {cpu: "1000"}}}]
"""
BUSY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: busy}
spec:
  selector: {matchLabels: {app: busy}}
  template:
    metadata:
      labels: {app: busy}
      annotations: {kubemu.dev/behaviour: '{"*": {"cpu_cores": 0.4}}'}
    spec: {containers: [{name: c, image: nginx, resources: {requests: {cpu: 100m}}}]}
"""


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, "KUBEMU_HOME": str(folder), "HOME": str(folder)}
        configuration = folder / "scheduler.yaml"
        configuration.write_text(PROFILES)
        self.kubemu(
            "up", "--detach", "--nodes", "2", "--profile", "fast", "--scheduler-config", str(configuration)
        )
        self.environment["KUBECONFIG"] = self.kubemu("kubeconfig", "--path").strip()

    def run(self, *command: str, stdin: str = "", code: int = 0) -> str:
        done = subprocess.run(
            command,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if code else "")

    def kubemu(self, *arguments: str, code: int = 0) -> str:
        return self.run(sys.executable, "-m", "scenarios", *arguments, code=code)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        return self.run(KUBECTL, *arguments, stdin=stdin)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.kubectl(*arguments, "-o", "json"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="kubemu-workloads-") as folder:
        made = Cluster(Path(folder))
        try:
            yield made
        finally:
            made.kubemu("down")


def test_a_claim_is_provisioned_mounted_and_grown(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=VOLUME)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/user", "--timeout=60s")
    assert cluster.json("get", "pvc", "data")["status"]["phase"] == "Bound"
    grown = '{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}'
    cluster.kubectl("patch", "pvc", "data", "-p", grown)
    cluster.kubectl("wait", "--for=jsonpath={.status.capacity.storage}=2Gi", "pvc/data", "--timeout=20s")
    explained = cluster.kubemu("explain-scheduling", "pod/user")
    assert "pod default/user: scheduled" in explained
    assert explained.count("score ") == 2
    cluster.kubectl("wait", "--for=condition=PodScheduled=false", "pod/huge", "--timeout=20s")
    refused = json.loads(cluster.kubemu("explain-scheduling", "huge", "-o", "json"))
    assert refused["schedulerName"] == "packer"
    assert {node["plugin"] for node in refused["nodes"]} == {"NodeResourcesFit"}
    assert "no pod 'nobody'" in cluster.kubemu("explain-scheduling", "nobody", code=1)


def test_a_deployment_grows_with_its_use_and_moves_in_a_drain(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=BUSY)
    cluster.kubectl("autoscale", "deployment", "busy", "--cpu=50%", "--min=1", "--max=3")
    cluster.kubectl("wait", "--for=jsonpath={.spec.replicas}=3", "deployment/busy", "--timeout=60s")
    cluster.kubectl("rollout", "status", "deployment/busy", "--timeout=60s")
    cluster.kubectl("drain", "node-1", "--ignore-daemonsets", "--force", "--timeout=60s")
    cluster.kubectl("rollout", "status", "deployment/busy", "--timeout=60s")
    cluster.kubectl("uncordon", "node-1")
    pods = cluster.json("get", "pods", "-l", "app=busy")["items"]
    assert {pod["spec"]["nodeName"] for pod in pods if "deletionTimestamp" not in pod["metadata"]} == {
        "node-2"
    }
