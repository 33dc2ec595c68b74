"""Helm 3 and Helm 4 install, upgrade, take back and remove a chart: the programs themselves.

Where the packages that carry them are not installed (see `helm_binaries`) this is skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from helm_binaries import PACKAGES, unpacked
from live_cluster import Cluster

pytestmark = pytest.mark.services
Helm = Callable[..., str]

CHART = "apiVersion: v2\nname: shop\nversion: {version}\nappVersion: '1'\n"
VALUES = "replicas: 1\nimage: nginx:1.25\n"
TEMPLATE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}, labels: {app.kubernetes.io/managed-by: {{ .Release.Service }}}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: web, image: {{ .Values.image | quote }}, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec: {selector: {app: {{ .Release.Name }}}, ports: [{port: 80}]}
---
{{- if lookup "v1" "ConfigMap" .Release.Namespace "kube-root-ca.crt" }}
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-{{ .Capabilities.KubeVersion.Major }}}
data: {policy: {{ .Capabilities.APIVersions.Has "policy/v1/PodDisruptionBudget" | quote }}}
{{- end }}
"""
HOOK = """
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-migrate
  annotations: {helm.sh/hook: "pre-upgrade,pre-rollback", helm.sh/hook-delete-policy: before-hook-creation}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: [echo, migrated]}]}
"""
CHECK = """
apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}-check, annotations: {helm.sh/hook: test}}
spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: [echo, fine]}]}
"""
WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
"""
WIDGET = "apiVersion: shop.example.com/v1\nkind: Widget\nmetadata: {name: {{ .Release.Name }}}\n"
NGINX = "jsonpath={.spec.template.spec.containers[0].image} {.spec.replicas}"


def _chart(folder: Path, version: str) -> str:
    folder = folder / f"shop-{version}"
    (folder / "templates").mkdir(parents=True)
    (folder / "crds").mkdir()
    texts = {
        "Chart.yaml": CHART.format(version=version), "values.yaml": VALUES, "templates/web.yaml": TEMPLATE,
        "templates/hook.yaml": HOOK, "templates/check.yaml": CHECK, "crds/widgets.yaml": WIDGETS,
        "templates/widget.yaml": WIDGET,
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text)
    return str(folder)


@pytest.fixture(params=list(PACKAGES))
def helm(request: pytest.FixtureRequest, cluster: Cluster, space: str, tmp_path: Path) -> Helm:
    """Runs one command in the test's namespace and gives its output; it has to succeed."""
    binary = unpacked(request.param, cluster.folder)
    if binary is None:
        pytest.skip(f"{PACKAGES[request.param]} is not installed")
    homes = {f"HELM_{name}_HOME": str(tmp_path / name) for name in ("CACHE", "CONFIG", "DATA")}

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [str(binary), *arguments, "-n", space, "--kubeconfig", str(cluster.kubeconfig)],
            capture_output=True, text=True, timeout=120, check=False, env=os.environ | homes,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert done.returncode == code, output
        return output

    return run


async def test_life_of_a_release(cluster: Cluster, space: str, helm: Helm, tmp_path: Path) -> None:
    """Revision 1, 2 with another chart and values, 3 that is 1 again; then nothing is left but what Helm leaves:
    hooks and definitions."""
    image = ("get", "deploy", "shop", "-n", space, "-o", NGINX)
    helm("install", "shop", _chart(tmp_path, "1.0.0"), "--wait", "--timeout", "60s")
    assert cluster.kubectl(*image) == "nginx:1.25 1"
    assert cluster.json("get", "configmap", "shop-1", "-n", space)["data"] == {"policy": "true"}
    cluster.kubectl("get", "widget.shop.example.com/shop", "-n", space)
    newer = ("--set", "image=nginx:1.26,replicas=2", "--wait", "--timeout", "60s")
    helm("upgrade", "shop", _chart(tmp_path, "1.1.0"), *newer)
    assert cluster.kubectl(*image) == "nginx:1.26 2"
    assert "migrated" in cluster.kubectl("logs", "-n", space, "job/shop-migrate")
    helm("test", "shop", "--timeout", "60s")
    helm("rollback", "shop", "1", "--wait", "--timeout", "60s")
    assert cluster.kubectl(*image) == "nginx:1.25 1"
    history = json.loads(helm("history", "shop", "-o", "json"))
    assert [(entry["revision"], entry["status"], entry["chart"]) for entry in history] == [
        (1, "superseded", "shop-1.0.0"), (2, "superseded", "shop-1.1.0"), (3, "deployed", "shop-1.0.0"),
    ]  # fmt: skip
    assert [entry["name"] for entry in json.loads(helm("list", "-o", "json"))] == ["shop"]
    assert "STATUS: deployed" in helm("status", "shop")
    helm("uninstall", "shop", "--wait", "--timeout", "60s")
    assert json.loads(helm("list", "-o", "json")) == []
    for kind in ("deploy", "service", "configmap/shop-1", "widget.shop.example.com", "secret"):
        found = cluster.kubectl("get", kind, "-n", space, "-o", "name", "--ignore-not-found")
        assert found.replace("service/kubernetes\n", "") == ""


async def test_an_upgrade_that_fails_is_taken_back(
    cluster: Cluster, space: str, helm: Helm, tmp_path: Path
) -> None:
    """An invalid manifest is refused by the server; the release goes back to what ran before."""
    chart = _chart(tmp_path, "1.0.0")
    helm("install", "shop", chart, "--wait", "--timeout", "60s")
    refused = helm("upgrade", "shop", chart, "--set", "replicas=-1", "--atomic", "--timeout", "60s", code=1)
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in refused
    assert cluster.kubectl("get", "deploy", "shop", "-n", space, "-o", NGINX) == "nginx:1.25 1"
    statuses = [entry["status"] for entry in json.loads(helm("history", "shop", "-o", "json"))]
    assert statuses == ["superseded", "failed", "deployed"]
    helm("upgrade", "shop", chart, "--set", "replicas=3", "--wait", "--timeout", "60s")
    assert cluster.kubectl("get", "deploy", "shop", "-n", space, "-o", NGINX) == "nginx:1.25 3"
