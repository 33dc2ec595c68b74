"""The routed network in containers: every pod reaches every pod and Service by address, across nodes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
KUBECTL = str(Path(sys.executable).with_name("kubectl"))


def _engine_answers() -> bool:
    return (
        shutil.which("docker") is not None
        and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
        and subprocess.run(["docker", "info"], capture_output=True).returncode == 0
    )


pytestmark = [
    pytest.mark.compose,
    pytest.mark.skipif(not _engine_answers(), reason="docker compose can't be used on this machine"),
]

FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"


class Project:
    """A compose project of two agents, with the API on a free port."""

    name = f"kubemu-net-{os.getpid()}"

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.kubeconfig = folder / "kubeconfig"
        self.environment = {
            **os.environ,
            "KUBEMU_API_PORT": str(port),
            "KUBEMU_PROFILE": "fast",
            "KUBECONFIG": str(self.kubeconfig),
        }

    def run(self, *command: str, timeout_s: float = 120) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout_s
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def compose(self, *arguments: str) -> str:
        return self.run("docker", "compose", "-p", self.name, *arguments, timeout_s=900)

    def get(self, what: str, *more: str) -> Any:
        return json.loads(self.run(KUBECTL, "get", *what.split(), *more, "-o", "json"))

    def fetch(self, agent: int, url: str) -> str:
        """From within a node; tried again for a while, since what was just changed has to get around."""
        deadline = time.monotonic() + 15
        while True:
            try:
                return self.compose("exec", "--index", str(agent), "agent", "python", "-c", FETCH, url)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("compose"))
    try:
        project.compose("up", "--build", "--detach", "--scale", "agent=2")
        project.compose(
            "exec", "controller-manager", "sh", "-c", "until [ -f /data/kubeconfig ]; do sleep 0.1; done"
        )
        project.compose("cp", "controller-manager:/data/kubeconfig", str(project.kubeconfig))
        project.run(KUBECTL, "apply", "-f", "scenarios/manifests/steady.yaml")
        project.run(KUBECTL, "rollout", "status", "deployment/steady", "--timeout", "60s")
        yield project
    finally:
        project.compose("down", "--volumes", "--timeout", "2")


def test_every_node_reaches_every_pod(project: Project) -> None:
    pods = project.get("pods")["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"agent-1", "agent-2"}
    for pod in pods:
        assert pod["status"]["podIP"].startswith("10.244.")
        for agent in (1, 2):
            assert pod["metadata"]["name"] in project.fetch(agent, f"http://{pod['status']['podIP']}:8080/")


def test_every_node_answers_for_a_service(project: Project) -> None:
    service = project.get("service steady")
    answers = {
        project.fetch(agent, f"http://{service['spec']['clusterIP']}/") for agent in (1, 2) for _ in range(4)
    }
    assert len(answers) > 1


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
