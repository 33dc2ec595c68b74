"""A kopf operator with a kind of its own: handlers run, children are made, finalizers and status are kept."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from live_cluster import Cluster

pytestmark = pytest.mark.services

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: bells.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: bells, singular: bell, kind: Bell, shortNames: [bl]}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {rings: {type: integer, default: 1}}
            status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
OPERATOR = """
import kopf

@kopf.on.create('example.com', 'v1', 'bells')
@kopf.on.update('example.com', 'v1', 'bells')
def ring(spec, name, namespace, patch, **_):
    patch.status['rang'] = spec['rings']

@kopf.on.delete('example.com', 'v1', 'bells')
def silence(**_):
    pass
"""


def expect(cluster: Cluster, wanted: str, *arguments: str) -> None:
    deadline, seen = time.monotonic() + 20, ""
    while time.monotonic() < deadline:
        seen = cluster.run(*arguments).stdout.strip()
        if seen == wanted:
            return
        time.sleep(0.1)
    raise AssertionError(f"{' '.join(arguments)}: {seen!r}, not {wanted!r}")


def test_operator(cluster: Cluster, space: str, tmp_path: Path) -> None:
    """Create, update and delete reach the operator; its status and finalizer are on the object meanwhile."""
    cluster.kubectl("apply", "-f", "-", stdin=DEFINITION)
    cluster.kubectl("wait", "--for=condition=Established", "crd/bells.example.com", "--timeout=10s")
    (tmp_path / "operator.py").write_text(OPERATOR)
    (tmp_path / "home/.kube").mkdir(parents=True)
    with (tmp_path / "log").open("w") as log:
        operator = subprocess.Popen(
            [sys.executable, "-m", "kopf", "run", "--standalone", "-n", space, str(tmp_path / "operator.py")],
            env={"KUBECONFIG": str(cluster.kubeconfig), "PATH": "/usr/bin:/bin"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    get = ("get", "bells", "big", "-n", space, "-o")
    try:
        bell = "{apiVersion: example.com/v1, kind: Bell, metadata: {name: big, namespace: %s}, spec: {rings: %d}}"
        cluster.kubectl("apply", "-f", "-", stdin=bell % (space, 2))
        expect(cluster, "2", *get, "jsonpath={.status.rang}")
        cluster.kubectl("apply", "-f", "-", stdin=bell % (space, 5))
        expect(cluster, "5", *get, "jsonpath={.status.rang}")
        finalizers = cluster.kubectl(*get, "jsonpath={.metadata.finalizers[*]}")
        assert finalizers == "kopf.zalando.org/KopfFinalizerMarker"
        cluster.kubectl("delete", "bells", "big", "-n", space, "--timeout=20s")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{(tmp_path / 'log').read_text()}") from error
    finally:
        operator.terminate()
        operator.wait(20)
        cluster.run("delete", "crd", "bells.example.com", "--wait=false")
