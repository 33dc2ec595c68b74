"""The network of a cluster of real processes, looked at from outside with curl, kubectl and a DNS client."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.reversename
import pod_access
import pytest
from selfsigned import make_certificate

from agents.loopback import reachable_port

pytestmark = pytest.mark.services

KUBECTL = str(Path(sys.executable).with_name("kubectl"))
MANIFESTS = Path(__file__).parents[2] / "scenarios" / "manifests"
CLIENTS = {"client": "node-1", "stranger": "node-2"}


class Cluster:
    """A detached cluster, driven by commands as a user types them."""

    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, "KUBEMU_HOME": str(folder), "HOME": str(folder)}
        self.kubemu("up", "--detach", "--nodes", "2", "--profile", "fast")
        self.environment["KUBECONFIG"] = self.kubemu("kubeconfig", "--path").strip()

    def run(self, *command: str, text: str = "") -> str:
        done = subprocess.run(
            command, env=self.environment, input=text, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def kubemu(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "scenarios", *arguments)

    def kubectl(self, *arguments: str, text: str = "") -> str:
        return self.run(KUBECTL, *arguments, text=text)

    def get(self, *what: str) -> Any:
        return json.loads(self.kubectl("get", *what, "-o", "json"))

    def curl(self, url: str, *more: str) -> str:
        return self.run("curl", "--silent", "--show-error", "--fail", "--max-time", "5", *more, url)


def eventually(look: Callable[[], Any]) -> Any:
    """What was just changed has to get around first."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return look()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="k-") as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.kubectl("apply", "-f", str(MANIFESTS / "steady.yaml"))
            pods = (pod_access.CLIENT % {"name": name, "node": node} for name, node in CLIENTS.items())
            cluster.kubectl("apply", "-f", "-", text="".join(pods))
            cluster.kubectl("patch", "service", "steady", "-p", '{"spec": {"type": "LoadBalancer"}}')
            cluster.kubectl("rollout", "status", "deployment/steady", "--timeout", "60s")
            cluster.kubectl("wait", "--for=condition=Ready", "pods", *CLIENTS, "--timeout", "60s")
            yield cluster
        finally:
            cluster.kubemu("down")


def test_every_way_in_leads_to_every_pod(cluster: Cluster) -> None:
    """Cluster IP, load balancer and node ports, from this machine, round robin over the four pods."""
    service = eventually(lambda: _with_balancer(cluster))
    balancer = service["status"]["loadBalancer"]["ingress"][0]["ip"]
    node = cluster.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    port, low = service["spec"]["ports"][0]["nodePort"], reachable_port(80)
    for address in (
        f"{service['spec']['clusterIP']}:{low}",
        f"{balancer}:{low}",
        f"{node}:{port}",
        f"127.0.0.1:{port}",
    ):
        eventually(lambda address=address: cluster.curl(f"http://{address}/"))
        answers = {cluster.curl(f"http://{address}/") for _ in range(12)}
        assert len(answers) == 4, address


def _with_balancer(cluster: Cluster) -> Any:
    service = cluster.get("service", "steady")
    assert service["status"]["loadBalancer"].get("ingress")
    return service


def test_dns(cluster: Cluster) -> None:
    """The server at the kube-dns Service's address, asked by a client that is not ours; by dig where there is one."""
    address = cluster.get("service", "-n", "kube-system", "kube-dns")["spec"]["clusterIP"]
    service = cluster.get("service", "steady")["spec"]["clusterIP"]
    name, port = "steady.default.svc.cluster.local", reachable_port(53)

    def look() -> None:
        answer = dns.query.udp(dns.message.make_query(name, "A"), address, port=port, timeout=2)
        assert [str(record) for section in answer.answer for record in section] == [service]

    eventually(look)
    reverse = dns.query.tcp(
        dns.message.make_query(dns.reversename.from_address(service), "PTR"), address, port=port, timeout=2
    )
    assert str(reverse.answer[0][0]) == f"{name}."
    if shutil.which("dig"):
        assert cluster.run("dig", "+short", f"@{address}", "-p", str(port), name).strip() == service


def test_pods_find_services_by_name(cluster: Cluster) -> None:
    assert "nginx" in cluster.kubectl("exec", "client", "--", "wget", "-qO-", "-T", "5", "http://steady")


def test_ingress_with_tls(cluster: Cluster, tmp_path: Path) -> None:
    certificate, key = make_certificate("site.example.com")
    (tmp_path / "tls.crt").write_bytes(certificate)
    (tmp_path / "tls.key").write_bytes(key)
    files = (f"--cert={tmp_path / 'tls.crt'}", f"--key={tmp_path / 'tls.key'}")
    cluster.kubectl("create", "secret", "tls", "site-tls", *files)
    cluster.kubectl("apply", "-f", "-", text=pod_access.INGRESS)

    def look() -> str:
        entries = cluster.get("ingress", "site")["status"]["loadBalancer"].get("ingress")
        assert entries
        at = f"site.example.com:{reachable_port(443)}"
        trust = ("--cacert", str(tmp_path / "tls.crt"), "--resolve", f"{at}:{entries[0]['ip']}")
        assert "nginx" in cluster.curl(f"https://{at}/app/x", *trust)
        return str(entries[0]["ip"])

    address = eventually(look)
    head = cluster.run(
        "curl", "-sI", "-H", "Host: site.example.com", f"http://{address}:{reachable_port(80)}/app"
    )
    assert "308" in head.splitlines()[0]
    assert "https://site.example.com/app" in head


def test_a_policy_forbids_and_allows(cluster: Cluster) -> None:
    pod_access.expect_a_policy_forbids_and_allows(cluster.run, cluster.environment, eventually)


def test_ports_are_forwarded(cluster: Cluster) -> None:
    pod_access.expect_ports_forwarded(cluster.environment, "service/steady", "nginx")


def test_a_terminal_in_a_pod(cluster: Cluster) -> None:
    pod_access.expect_a_terminal(cluster.environment, "client")


def test_files_are_copied_both_ways(cluster: Cluster, tmp_path: Path) -> None:
    pod_access.expect_files_copied(cluster.run, "client", tmp_path)


def test_logs_are_followed_over_a_restart(cluster: Cluster) -> None:
    pod_access.expect_logs_over_a_restart(cluster.run, cluster.environment)
