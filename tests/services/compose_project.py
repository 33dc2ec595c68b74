"""A compose project for tests, under a name of its own and with the API on a free port."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


MARKS = [
    pytest.mark.compose,
    pytest.mark.skipif(not _engine_answers(), reason="docker compose can't be used on this machine"),
]


class Project:
    """One running project; `environment` lets kubectl and compose find it."""

    def __init__(self, name: str, kubeconfig: Path) -> None:
        self.name = name
        self.kubeconfig = kubeconfig
        self.environment = {
            **os.environ,
            "KUBEMU_API_PORT": str(_free_port()),
            "KUBEMU_PROFILE": "fast",
            "KUBECONFIG": str(kubeconfig),
        }

    def run(self, *command: str, text: str = "", timeout_s: float = 300) -> str:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def compose(self, *arguments: str) -> str:
        return self.run("docker", "compose", "-p", self.name, *arguments, timeout_s=900)

    def get(self, what: str, *more: str) -> Any:
        return json.loads(self.run(KUBECTL, "get", *what.split(), *more, "-o", "json"))

    def wait_for_nodes(self, number: int, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            nodes = self.get("nodes")["items"]
            if sum(_is_ready(node) for node in nodes) == number:
                return
            assert time.monotonic() < deadline, f"{number} nodes expected, seen {nodes}"
            time.sleep(0.2)


@contextmanager
def running(name: str, folder: Path, agents: int, request: pytest.FixtureRequest) -> Iterator[Project]:
    """The project is up with its nodes Ready; after a failed test its logs are printed at the end."""
    project = Project(f"{name}-{os.getpid()}", folder / "kubeconfig")
    failed_before = request.session.testsfailed
    try:
        project.compose("up", "--build", "--detach", "--scale", f"agent={agents}")
        project.compose(
            "exec", "controller-manager", "sh", "-c", "until [ -f /data/kubeconfig ]; do sleep 0.1; done"
        )
        project.compose("cp", "controller-manager:/data/kubeconfig", str(project.kubeconfig))
        project.wait_for_nodes(agents)
        yield project
    finally:
        if request.session.testsfailed != failed_before or sys.exc_info()[0] is not None:
            print(project.compose("logs", "--no-color", "--timestamps", "--tail", "200"))
        project.compose("down", "--volumes", "--timeout", "2")


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node["status"].get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
