"""The routed network in containers: every pod reaches every pod and Service by address, across nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from compose_project import KUBECTL, MARKS, Project, running

pytestmark = MARKS

FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"


def ask(project: Project, agent: int, url: str) -> str:
    return project.compose("exec", "--index", str(agent), "agent", "python", "-c", FETCH, url)


def fetch(project: Project, agent: int, url: str) -> str:
    """From within a node; tried again for a while, since what was just changed has to get around."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return ask(project, agent, url)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Project]:
    with running("kubemu-net", tmp_path_factory.mktemp("compose"), 2, request) as project:
        project.run(KUBECTL, "apply", "-f", "scenarios/manifests/steady.yaml")
        project.run(KUBECTL, "rollout", "status", "deployment/steady", "--timeout", "60s")
        yield project


def test_every_node_reaches_every_pod(project: Project) -> None:
    pods = project.get("pods")["items"]
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
    project.run(KUBECTL, "patch", "service", "steady", "-p", '{"spec": {"type": "NodePort"}}')
    port = project.get("service steady")["spec"]["ports"][0]["nodePort"]
    nodes = project.get("nodes")["items"]
    for node in nodes:
        address = node["status"]["addresses"][0]["address"]
        assert "nginx" in project.run(
            "curl", "--silent", "--fail", "--retry", "20", "--retry-connrefused", "--retry-delay", "1",
            f"http://{address}:{port}/",
        )  # fmt: skip
