"""An operator's server in a pod: admission and conversion webhooks and an aggregated API, all behind its Service.

The pod really runs (process runtime); the API server reaches it as it does in a real cluster.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from live_cluster import Cluster

from cluster.server.certificates import open_pki

pytestmark = pytest.mark.services
PROGRAM = Path(__file__).with_name("extension_program.py")
Object = dict[str, Any]


def applied(cluster: Cluster, *objects: Object) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(items))


@pytest.fixture(
    params=[
        8443,
        pytest.param(443, marks=pytest.mark.skipif(os.geteuid() != 0, reason="a low port needs privileges")),
    ]
)
def bundle(request: pytest.FixtureRequest, cluster: Cluster, space: str, tmp_path: Path) -> str:
    """Of the authority that the running server's certificate is from. A low port of a pod is reached through its
    node, a high one directly."""
    port: int = request.param
    pki = open_pki(tmp_path / "pki", server_names=[f"own.{space}.svc"], now=datetime.now(UTC))
    files = (f"--cert={pki.server.certificate}", f"--key={pki.server.key}")
    cluster.kubectl("create", "secret", "tls", "own", "-n", space, *files)
    cluster.kubectl("create", "configmap", "program", "-n", space, f"--from-file=server.py={PROGRAM}")
    container = {
        "name": "server", "image": "python:3", "ports": [{"containerPort": port, "name": "https"}],
        "command": ["python3", "/srv/server.py", "$(ADDRESS)", str(port), "/certificates"],
        "env": [{"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "volumeMounts": [
            {"name": "program", "mountPath": "/srv"}, {"name": "own", "mountPath": "/certificates"},
        ],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
    }  # fmt: skip
    volumes = [
        {"name": "program", "configMap": {"name": "program"}}, {"name": "own", "secret": {"secretName": "own"}},
    ]  # fmt: skip
    metadata = {"labels": {"app": "own"}, "annotations": {"kubemu.dev/runtime": "process"}}
    meta = {"name": "own", "namespace": space}
    applied(
        cluster,
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
            "spec": {
                "selector": {"matchLabels": {"app": "own"}},
                "template": {"metadata": metadata, "spec": {"containers": [container], "volumes": volumes}},
            },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {"selector": {"app": "own"}, "ports": [{"port": 443, "targetPort": "https"}]},
        },
    )  # fmt: skip
    cluster.kubectl("rollout", "status", "deployment/own", "-n", space, "--timeout=50s")
    return b64encode(pki.authority_pem).decode()


def test_admission_conversion_and_an_api_of_its_own(cluster: Cluster, space: str, bundle: str) -> None:
    _admission(cluster, space, bundle)
    _conversion(cluster, space, bundle)
    _aggregation(cluster, space, bundle)


def _client(space: str, bundle: str, path: str) -> Object:
    return {"service": {"namespace": space, "name": "own", "path": path}, "caBundle": bundle}


def _admission(cluster: Cluster, space: str, bundle: str) -> None:
    """A mutating webhook marks ConfigMaps, warns, and refuses one."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    hook = {
        "name": "mark.example.com", "clientConfig": _client(space, bundle, "/admit"), "rules": [rule],
        "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space}},
    }  # fmt: skip
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    applied(cluster, {**kind, "metadata": {"name": space}, "webhooks": [hook]})
    try:
        made = cluster.run("create", "configmap", "marked", "-n", space)
        assert (made.returncode, "Warning: marked" in made.stderr) == (0, True), made.stderr
        assert cluster.json("get", "configmap", "marked", "-n", space)["data"] == {"seen-by": "the webhook"}
        unwanted = {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "no", "namespace": space, "labels": {"unwanted": "1"}},
        }  # fmt: skip
        refused = cluster.run("create", "-f", "-", stdin=json.dumps(unwanted))
        assert (
            'Error from server (Forbidden): error when creating "STDIN": admission webhook "mark.example.com" denied '
            "the request: unwanted" in refused.stderr
        )
    finally:
        cluster.kubectl("delete", "mutatingwebhookconfiguration", space)


def _conversion(cluster: Cluster, space: str, bundle: str) -> None:
    """Objects of one version are read, changed and listed in the other."""
    group = f"{space}.example.com"
    fields = {"v1": ["hostPort"], "v2": ["host", "port"]}
    versions = [
        {
            "name": version, "served": True, "storage": version == "v1",
            "schema": {
                "openAPIV3Schema": {
                    "type": "object", "properties": {name: {"type": "string"} for name in names},
                }
            },
        }
        for version, names in fields.items()
    ]  # fmt: skip
    webhook = {"clientConfig": _client(space, bundle, "/convert"), "conversionReviewVersions": ["v1"]}
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    applied(
        cluster,
        {
            **kind, "metadata": {"name": f"hosts.{group}"},
            "spec": {
                "group": group, "scope": "Namespaced", "names": {"plural": "hosts", "kind": "Host"},
                "versions": versions, "conversion": {"strategy": "Webhook", "webhook": webhook},
            },
        },
    )  # fmt: skip
    cluster.kubectl("wait", "--for=condition=established", f"crd/hosts.{group}", "--timeout=20s")
    meta = {"name": "one", "namespace": space}
    applied(cluster, {"apiVersion": f"{group}/v1", "kind": "Host", "metadata": meta, "hostPort": "here:80"})
    second = cluster.json("get", f"hosts.v2.{group}/one", "-n", space)
    assert (second["host"], second["port"]) == ("here", "80")
    cluster.kubectl("patch", f"hosts.v2.{group}/one", "-n", space, "--type=merge", "-p", '{"port":"81"}')
    assert cluster.json("get", f"hosts.v1.{group}", "-n", space)["items"][0]["hostPort"] == "here:81"
    cluster.kubectl("delete", f"crd/hosts.{group}", "--timeout=30s")


def _aggregation(cluster: Cluster, space: str, bundle: str) -> None:
    """kubectl finds the API by discovery and uses it; without its server it says so."""
    spec = {
        "group": "wardle.example.com", "version": "v1alpha1", "groupPriorityMinimum": 2000,
        "versionPriority": 200, "caBundle": bundle, "service": {"namespace": space, "name": "own"},
    }  # fmt: skip
    name = "v1alpha1.wardle.example.com"
    kind = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
    applied(cluster, {**kind, "metadata": {"name": name}, "spec": spec})
    cluster.kubectl("wait", "--for=condition=available", f"apiservice/{name}", "--timeout=40s")
    try:
        meta = {"name": "f", "namespace": space}
        flunder = {"apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder", "metadata": meta}
        cluster.kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps(flunder))
        found = cluster.json("get", "fl", "f", "-n", space)
        assert found["metadata"]["annotations"] == {"made-by": "kubernetes-admin"}
        cluster.kubectl("scale", "deployment/own", "-n", space, "--replicas=0")
        cluster.kubectl("wait", "--for=condition=available=false", f"apiservice/{name}", "--timeout=40s")
        assert cluster.json("get", "apiservice", name)["status"]["conditions"][0]["reason"] in (
            "MissingEndpoints", "FailedDiscoveryCheck", "EndpointsNotFound",
        )  # fmt: skip
        gone = cluster.run("get", "--raw", "/apis/wardle.example.com/v1alpha1/flunders")
        assert "the server is currently unable to handle the request" in gone.stderr, gone.stderr
    finally:
        cluster.kubectl("delete", "apiservice", name)
