"""`docker compose up --scale agent=5`: the cluster in containers, broken through the Docker API."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


class Project:
    """One compose project under a name of its own, with the API on a free port."""

    name = f"kubemu-test-{os.getpid()}"

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

    def run(self, *command: str, timeout_s: float = 300) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout_s
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def compose(self, *arguments: str) -> str:
        return self.run("docker", "compose", "-p", self.name, *arguments, timeout_s=900)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("compose"))
    try:
        project.compose("up", "--build", "--detach", "--scale", "agent=5")
        project.compose(
            "exec", "controller-manager", "sh", "-c", "until [ -f /data/kubeconfig ]; do sleep 0.1; done"
        )
        project.compose("cp", "controller-manager:/data/kubeconfig", str(project.kubeconfig))
        project.run(
            sys.executable, "-m", "scenarios", "run", str(_five_nodes(tmp_path_factory)), *_on(project)
        )
        yield project
    finally:
        project.compose("down", "--volumes", "--timeout", "2")


def _five_nodes(factory: pytest.TempPathFactory) -> Path:
    """A scenario that waits for the nodes; the drill's own polling does the waiting."""
    file = factory.mktemp("scenario") / "ready.yaml"
    steps = "".join(
        f"  - expect: {{node: {n}, condition: {{Ready: 'True'}}, within: 60s}}\n" for n in range(1, 6)
    )
    file.write_text(f"steps:\n{steps}")
    return file


def _on(project: Project) -> tuple[str, ...]:
    return ("--compose", project.name, "--kubeconfig", str(project.kubeconfig))


def test_five_agents_are_five_nodes(project: Project) -> None:
    names = project.run(KUBECTL, "get", "nodes", "-o", "name").split()
    assert names == [f"node/agent-{n}" for n in range(1, 6)]


@pytest.mark.parametrize("scenario", ["node-failure", "node-partition", "liveness-restart"])
def test_scenario(project: Project, scenario: str) -> None:
    """Kill and disconnect through the Docker API; the cluster heals as it does on processes."""
    try:
        assert "passed" in project.run(sys.executable, "-m", "scenarios", "run", scenario, *_on(project))
    finally:
        project.run(KUBECTL, "delete", "-f", "scenarios/manifests/web.yaml", "--ignore-not-found", "--wait")


def test_pause_and_bounce(project: Project, tmp_path: Path) -> None:
    """A paused container is an unreachable node; broker and controller manager can be killed and come back."""
    file = tmp_path / "pause.yaml"
    file.write_text(
        """
steps:
  - freeze: 3
  - expect: {node: 3, condition: {Ready: Unknown}, within: 30s}
  - thaw: 3
  - expect: {node: 3, condition: {Ready: "True"}, within: 30s}
  - bounce: broker
  - bounce: controller-manager
  - wait: 3s
  - expect: {node: 1, condition: {Ready: "True"}, within: 30s}
  - expect: {node: 5, condition: {Ready: "True"}, within: 30s}
"""
    )
    assert "passed" in project.run(sys.executable, "-m", "scenarios", "run", str(file), *_on(project))


def test_a_stranger_is_refused_by_the_broker(project: Project) -> None:
    """Anonymous clients and wrong passwords get nothing."""
    refused = (
        "! mosquitto_sub -h localhost -t '#' -W 2 && ! mosquitto_sub -h localhost -u agent-1 -P x -t '#' -W 2"
    )
    project.compose("exec", "broker", "sh", "-c", refused)
