"""Volumes, autoscaling, scheduler profiles and their explanation, with real processes and kubectl."""

from __future__ import annotations

import json

import pytest
from real_cluster import RealCluster

pytestmark = pytest.mark.services

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


def test_a_claim_is_provisioned_mounted_and_grown(real: RealCluster) -> None:
    real.kubectl("apply", "-f", "-", stdin=VOLUME)
    real.kubectl("wait", "--for=condition=Ready", "pod/user", "--timeout=60s")
    assert real.json("get", "pvc", "data")["status"]["phase"] == "Bound"
    grown = '{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}'
    real.kubectl("patch", "pvc", "data", "-p", grown)
    real.kubectl("wait", "--for=jsonpath={.status.capacity.storage}=2Gi", "pvc/data", "--timeout=20s")
    explained = real.kubemu("explain-scheduling", "pod/user")
    assert "pod default/user: scheduled" in explained
    assert explained.count("score ") == 2
    real.kubectl("wait", "--for=condition=PodScheduled=false", "pod/huge", "--timeout=20s")
    refused = json.loads(real.kubemu("explain-scheduling", "huge", "-o", "json"))
    assert refused["schedulerName"] == "packer"
    assert {node["plugin"] for node in refused["nodes"]} == {"NodeResourcesFit"}
    assert "no pod 'nobody'" in real.kubemu("explain-scheduling", "nobody", code=1)


def test_a_deployment_grows_with_its_use_and_moves_in_a_drain(real: RealCluster) -> None:
    real.kubectl("apply", "-f", "-", stdin=BUSY)
    real.kubectl("autoscale", "deployment", "busy", "--cpu=50%", "--min=1", "--max=3")
    real.kubectl("wait", "--for=jsonpath={.spec.replicas}=3", "deployment/busy", "--timeout=60s")
    real.kubectl("rollout", "status", "deployment/busy", "--timeout=60s")
    real.kubectl("drain", "node-1", "--ignore-daemonsets", "--force", "--timeout=60s")
    real.kubectl("rollout", "status", "deployment/busy", "--timeout=60s")
    real.kubectl("uncordon", "node-1")
    pods = real.json("get", "pods", "-l", "app=busy")["items"]
    assert {pod["spec"]["nodeName"] for pod in pods if "deletionTimestamp" not in pod["metadata"]} == {
        "node-2"
    }
