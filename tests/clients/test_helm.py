"""Helm installs, upgrades, takes back and removes a chart.

Through the Python package that carries Helm as a library; it asks for Python 3.12, so where it is not
installed this is skipped. Its rollback action fails before it asks the cluster anything ("wait strategy not
set"), so taking back is an upgrade to the first values.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from live_cluster import Cluster

helm = pytest.importorskip("helm_sdkpy")
pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore")]

CHART = "apiVersion: v2\nname: shop\nversion: 1.0.0\nappVersion: '1'\n"
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
"""
HOOK = """
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-migrate
  annotations: {helm.sh/hook: "pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: [echo, migrated]}]}
"""


@pytest.fixture
def chart(tmp_path: Path) -> str:
    folder = tmp_path / "shop"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(CHART)
    (folder / "values.yaml").write_text(VALUES)
    (folder / "templates" / "web.yaml").write_text(TEMPLATE)
    (folder / "templates" / "hook.yaml").write_text(HOOK)
    return str(folder)


async def test_life_of_a_release(cluster: Cluster, space: str, chart: str) -> None:
    """Revision 1, 2 with a pre-upgrade hook, 3 that has the values of 1; then nothing is left."""
    settings = helm.Configuration(namespace=space, kubeconfig=str(cluster.kubeconfig))
    image = ("get", "deploy", "shop", "-n", space, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    installed = await helm.Install(settings).run("shop", chart, wait=True, timeout=60)
    assert installed["name"] == "shop"
    assert cluster.kubectl(*image) == "nginx:1.25"
    new = {"image": "nginx:1.26", "replicas": 2}
    await helm.Upgrade(settings).run("shop", chart, values=new)
    cluster.kubectl("rollout", "status", "deploy/shop", "-n", space, "--timeout=20s")
    assert cluster.kubectl(*image) == "nginx:1.26"
    assert "migrated" in cluster.kubectl("logs", "-n", space, "job/shop-migrate")
    await helm.Upgrade(settings).run("shop", chart, values={"image": "nginx:1.25", "replicas": 1})
    assert cluster.kubectl(*image) == "nginx:1.25"
    history = await helm.History(settings).run("shop")
    assert [entry["version"] if "version" in entry else entry["revision"] for entry in history] == [1, 2, 3]
    assert [entry["name"] for entry in await helm.List(settings).run()] == ["shop"]
    await helm.Uninstall(settings).run("shop")
    assert cluster.run("get", "deploy", "shop", "-n", space).returncode == 1
