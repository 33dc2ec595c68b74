"""A cluster of a user who may not bind ports below 1024: everything works, at 60000 + port from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pod_access
import pytest

pytestmark = pytest.mark.services

KUBECTL = str(Path(sys.executable).with_name("kubectl"))
NOBODY = 65534
BECOMING = (
    ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"),
)
"""Ways of being nobody; the second one where nobody else may read this interpreter."""
TRIAL = """
import scenarios, socket, subprocess, sys
subprocess.run([sys.executable, "-c", ""], check=True)
try:
    socket.socket().bind(("127.250.0.1", 80))
except PermissionError:
    print("refused")
"""
OBJECTS = """
apiVersion: v1
kind: Pod
metadata: {name: low, labels: {app: low}}
spec:
  containers:
    - name: c
      image: nginx
      ports: [{containerPort: 80}]
      readinessProbe: {httpGet: {path: /, port: 80}}
---
apiVersion: v1
kind: Service
metadata: {name: low}
spec: {selector: {app: low}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c, image: busybox, command: [sleep, "100000"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: real, annotations: {kubemu.dev/runtime: process}}
spec: {containers: [{name: c, image: python, command: [sleep, "100000"]}]}
"""
ASK_API = """
import os, ssl, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
trusted = ssl.create_default_context(cafile=folder + "ca.crt")
url = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}/version"
head = {"Authorization": "Bearer " + open(folder + "token").read()}
print(urllib.request.urlopen(urllib.request.Request(url, headers=head), context=trusted, timeout=20).status)
"""


@cache
def becoming_nobody() -> Sequence[str]:
    """The start of commands that nobody runs; empty where this user has no privileges anyway."""
    for command in ((), *BECOMING):
        try:
            done = subprocess.run([*command, sys.executable, "-c", TRIAL], capture_output=True, text=True)
        except FileNotFoundError:
            continue
        if done.stdout == "refused\n":
            return command
    pytest.skip("this machine has no user without privileges who may read the interpreter")


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.environment = {
            **os.environ,
            "KUBEMU_HOME": str(folder / "home"),
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        self.kubemu("up", "--detach", "--nodes", "2", "--profile", "fast")
        self.environment["KUBECONFIG"] = self.kubemu("kubeconfig", "--path").strip()

    def run(self, *command: str, text: str = "") -> str:
        done = subprocess.run(
            [*becoming_nobody(), *command],
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def kubemu(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "scenarios", *arguments)

    def get(self, *what: str) -> Any:
        return json.loads(self.run(KUBECTL, "get", *what, "-o", "json"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="k-") as folder:
        if "setpriv" in becoming_nobody()[:1]:
            os.chown(folder, NOBODY, NOBODY)
        cluster = Cluster(Path(folder))
        try:
            cluster.run(KUBECTL, "apply", "-f", "-", text=OBJECTS)
            cluster.run(
                KUBECTL, "wait", "pods", "low", "client", "real", "--for=condition=Ready", "--timeout=60s"
            )
            yield cluster
        finally:
            cluster.kubemu("down")


def eventually(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while True:
        try:
            return look()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_low_ports_from_outside(cluster: Cluster) -> None:
    """A pod's, a Service's and the DNS' port are at 60000 + port."""
    pod = cluster.get("pod", "low")["status"]["podIP"]
    service = cluster.get("service", "low")["spec"]["clusterIP"]
    for ip in (pod, service):
        url = f"http://{ip}:60080/"
        assert "nginx" in eventually(lambda url=url: cluster.run("curl", "-sS", "--max-time", "5", url))
    server = cluster.get("service", "-n", "kube-system", "kube-dns")["spec"]["clusterIP"]
    question = dns.message.make_query("low.default.svc.cluster.local", "A")
    answer = dns.query.udp(question, server, port=60053, timeout=10)
    assert [str(record) for section in answer.answer for record in section] == [service]


def test_low_ports_from_pods(cluster: Cluster) -> None:
    """A pod asks for the port that the Service has; a real process finds the API, with its TLS name."""
    ask = ("exec", "client", "--", "wget", "-qO-", "-T", "5", "http://low")
    assert "nginx" in eventually(lambda: cluster.run(KUBECTL, *ask))
    assert cluster.run(KUBECTL, "exec", "-i", "real", "--", "python3", "-", text=ASK_API) == "200\n"


def test_kubectl_reaches_low_ports(cluster: Cluster) -> None:
    """`kubectl port-forward` and the API's proxy take the port that the pod names."""
    pod_access.expect_ports_forwarded(cluster.environment, "pod/low", "nginx")
    proxied = "/api/v1/namespaces/default/services/low:80/proxy/"
    assert "nginx" in cluster.run(KUBECTL, "get", "--raw", proxied)


def test_two_users_clusters_are_apart(cluster: Cluster) -> None:
    """Whoever comes second, with privileges or without, gets other addresses."""
    from scenarios.launch.place import NetworkSlot

    slot = NetworkSlot()
    slot.acquire()
    try:
        mine = slot.service_cidr.rpartition(".0.0/")[0]
        assert not cluster.get("service", "kubernetes")["spec"]["clusterIP"].startswith(f"{mine}.")
    finally:
        slot.release()
