"""`docker compose up --scale agent=5`: the cluster in containers, broken through the Docker API."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from compose_project import KUBECTL, MARKS, Project, running

pytestmark = MARKS


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Project]:
    with running("kubemu-test", tmp_path_factory.mktemp("compose"), 5, request) as project:
        yield project


def _on(project: Project) -> tuple[str, ...]:
    return ("--compose", project.name, "--kubeconfig", str(project.kubeconfig))


def test_five_agents_are_five_nodes(project: Project) -> None:
    names = project.run(KUBECTL, "get", "nodes", "-o", "name").split()
    assert names == [f"node/agent-{n}" for n in range(1, 6)]


@pytest.mark.parametrize(
    "scenario", ["node-failure", "node-partition", "liveness-restart", "node-kill-under-load"]
)
def test_scenario(project: Project, scenario: str) -> None:
    """Kill and disconnect through the Docker API; the cluster heals as it does on processes."""
    try:
        assert "passed" in project.run(sys.executable, "-m", "scenarios", "run", scenario, *_on(project))
    finally:
        for manifest in ("web", "steady"):
            file = f"scenarios/manifests/{manifest}.yaml"
            project.run(KUBECTL, "delete", "-f", file, "--ignore-not-found", "--wait")


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
