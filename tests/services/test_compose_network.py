"""The routed network in containers: every pod reaches every pod and Service by address, across nodes."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pod_access
import pytest
from compose_project import KUBECTL, MARKS, Project, running
from selfsigned import make_certificate

pytestmark = MARKS

FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"


def ask(project: Project, agent: int, url: str) -> str:
    return project.compose("exec", "--index", str(agent), "agent", "python", "-c", FETCH, url)


def eventually(look: Callable[[], str]) -> str:
    """Tried again for a while, since what was just changed has to get around."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return look()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def fetch(project: Project, agent: int, url: str) -> str:
    """From within a node."""
    return eventually(lambda: ask(project, agent, url))


def inside(project: Project, agent: int, *command: str) -> str:
    """A program of this machine in the network of a node's container."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("nsenter", command[0]))):
        pytest.skip(f"needs root, nsenter and {command[0]}")
    found = project.run("docker", "inspect", "-f", "{{.State.Pid}}", f"{project.name}-agent-{agent}")
    return project.run("nsenter", "-t", found.strip(), "-n", *command)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Project]:
    with running("kubemu-net", tmp_path_factory.mktemp("compose"), 2, request) as project:
        project.run(KUBECTL, "apply", "-f", "scenarios/manifests/steady.yaml")
        project.run(KUBECTL, "patch", "service", "steady", "-p", '{"spec": {"type": "LoadBalancer"}}')
        project.run(KUBECTL, "rollout", "status", "deployment/steady", "--timeout", "60s")
        yield project


@pytest.fixture
def clients(project: Project) -> None:
    """Pods to ask from, one on each node, where an earlier test did not leave them."""
    names = {"client": "agent-1", "stranger": "agent-2"}
    pods = "".join(pod_access.CLIENT % {"name": name, "node": node} for name, node in names.items())
    project.run(KUBECTL, "apply", "-f", "-", text=pods)
    project.run(KUBECTL, "wait", "pods", *names, "--for=condition=Ready", "--timeout", "60s")


def test_every_node_reaches_every_pod(project: Project) -> None:
    pods = [
        pod
        for pod in project.get("pods", "--selector", "app=steady")["items"]
        if "deletionTimestamp" not in pod["metadata"]
    ]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"agent-1", "agent-2"}
    for pod in pods:
        assert pod["status"]["podIP"].startswith("10.244.")
        for agent in (1, 2):
            assert pod["metadata"]["name"] in fetch(project, agent, f"http://{pod['status']['podIP']}:8080/")


def test_every_node_answers_for_a_service(project: Project) -> None:
    """Each time, by whichever endpoint, on its own node or on the other one."""
    address = f"http://{project.get('service steady')['spec']['clusterIP']}/"
    for agent in (1, 2):
        fetch(project, agent, address)
        answers = {ask(project, agent, address) for _ in range(8)}
        assert len(answers) == 4, answers


def test_node_ports_are_reached_from_the_machine_outside(project: Project) -> None:
    port = project.get("service steady")["spec"]["ports"][0]["nodePort"]
    nodes = project.get("nodes")["items"]
    for node in nodes:
        address = node["status"]["addresses"][0]["address"]
        assert "nginx" in project.run(
            "curl", "--silent", "--fail", "--retry", "20", "--retry-connrefused", "--retry-delay", "1",
            f"http://{address}:{port}/",
        )  # fmt: skip


def balancer(project: Project, kind: str, name: str) -> str:
    """The address that the object shows."""

    def look() -> str:
        entries = project.get(f"{kind} {name}")["status"]["loadBalancer"].get("ingress")
        assert entries
        return str(entries[0]["ip"])

    return eventually(look)


def test_a_load_balancer_from_nodes_and_pods(project: Project, clients: None) -> None:
    address = f"http://{balancer(project, 'service', 'steady')}/"
    for agent in (1, 2):
        assert "nginx" in fetch(project, agent, address)
    for pod in ("client", "stranger"):
        assert "nginx" in project.run(KUBECTL, "exec", pod, "--", "wget", "-qO-", "-T", "5", address)


def test_ingress_by_host_and_path_with_tls(project: Project, tmp_path: Path) -> None:
    certificate, key = make_certificate("site.example.com")
    (tmp_path / "tls.crt").write_bytes(certificate)
    (tmp_path / "tls.key").write_bytes(key)
    files = (f"--cert={tmp_path / 'tls.crt'}", f"--key={tmp_path / 'tls.key'}")
    project.run(KUBECTL, "create", "secret", "tls", "site-tls", *files)
    project.run(KUBECTL, "apply", "-f", "-", text=pod_access.INGRESS)
    address = balancer(project, "ingress", "site")
    trust = ("--cacert", str(tmp_path / "tls.crt"), "--resolve", f"site.example.com:443:{address}")
    curl = ("curl", "--silent", "--show-error", "--fail", "--max-time", "10")
    for agent in (1, 2):
        for path in ("app", "app/x"):
            url = f"https://site.example.com/{path}"
            eventually(lambda agent=agent, url=url: inside(project, agent, *curl, *trust, url))
    host = ("-H", "Host: site.example.com")
    assert "308" in inside(project, 1, "curl", "-sI", *host, f"http://{address}/app")
    assert "404" in inside(project, 1, "curl", "-si", "-H", "Host: other", f"http://{address}/app")


def test_dig(project: Project) -> None:
    """Over UDP and TCP, on each node; names in both directions."""
    server = f"@{project.get('service -n kube-system kube-dns')['spec']['clusterIP']}"
    service = project.get("service steady")["spec"]["clusterIP"]
    name = "steady.default.svc.cluster.local"
    for agent in (1, 2):
        for transport in ("+notcp", "+tcp"):
            assert inside(project, agent, "dig", "+short", transport, server, name).strip() == service
    assert inside(project, 1, "dig", "+short", server, "-x", service).strip() == f"{name}."
    assert f"80 {name}." in inside(project, 1, "dig", "+short", server, f"_http._tcp.{name}", "SRV")
    assert "NXDOMAIN" in inside(project, 1, "dig", server, "none.default.svc.cluster.local")


def test_a_policy_forbids_and_allows(project: Project, clients: None) -> None:
    pod_access.expect_a_policy_forbids_and_allows(project.run, project.environment, eventually)


def test_ports_are_forwarded(project: Project) -> None:
    pod_access.expect_ports_forwarded(project.environment, "service/steady", "nginx")


def test_a_terminal_in_a_pod(project: Project, clients: None) -> None:
    pod_access.expect_a_terminal(project.environment, "stranger")


def test_files_are_copied_both_ways(project: Project, clients: None, tmp_path: Path) -> None:
    pod_access.expect_files_copied(project.run, "client", tmp_path)


def test_logs_are_followed_over_a_restart(project: Project) -> None:
    pod_access.expect_logs_over_a_restart(project.run, project.environment)


@pytest.mark.parametrize("scenario", ["rolling-upgrade-under-load", "drain-under-load"])
def test_scenarios_under_load(project: Project, scenario: str) -> None:
    """A node's container sends the load; neither an upgrade nor a drain costs a request."""
    on = ("--compose", project.name, "--kubeconfig", str(project.kubeconfig))
    told = project.run(sys.executable, "-m", "scenarios", "run", scenario, *on)
    assert "0 failures; median" in told
    project.run(KUBECTL, "rollout", "restart", "deployment/steady")  # to both nodes again
    project.run(KUBECTL, "rollout", "status", "deployment/steady", "--timeout", "60s")
