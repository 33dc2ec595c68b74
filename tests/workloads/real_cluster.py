"""A cluster of real processes that a test drives with kubectl, in few words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

KUBECTL = str(Path(sys.executable).with_name("kubectl"))
PATIENCE_S = 120
"""How long anything may take on a machine that is busy with other things."""


class RealCluster:
    """Started by `kubemu up`; `started` ends it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.environment = {**os.environ, "KUBEMU_HOME": str(folder), "HOME": str(folder)}
        self.kubemu("up", "--detach", "--nodes", "2", "--profile", "fast", *options)
        self.environment["KUBECONFIG"] = self.kubemu("kubeconfig", "--path").strip()

    def run(self, *command: str, stdin: str = "", code: int = 0) -> str:
        done = subprocess.run(
            command,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
            check=False,
        )
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if code else "")

    def kubemu(self, *arguments: str, code: int = 0) -> str:
        return self.run(sys.executable, "-m", "scenarios", *arguments, code=code)

    def kubectl(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        return self.run(KUBECTL, *arguments, stdin=stdin, code=code)

    def apply(self, manifest: str) -> None:
        self.kubectl("apply", "-f", "-", stdin=manifest)

    def wait(self, condition: str, *what: str) -> None:
        """`condition` as in `kubectl wait --for`."""
        self.kubectl("wait", f"--for={condition}", *what, f"--timeout={PATIENCE_S}s")

    def rolled_out(self, what: str) -> None:
        self.kubectl("rollout", "status", what, f"--timeout={PATIENCE_S}s")

    def json(self, *arguments: str) -> Any:
        return json.loads(self.kubectl(*arguments, "-o", "json"))

    def names(self, kind: str, *arguments: str) -> list[str]:
        listed = self.kubectl("get", kind, *arguments, "-o", "name").split()
        return [name.partition("/")[2] for name in listed]

    def expect(self, promise: Callable[[], Any], why: str) -> Any:
        """Asks again until the answer is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := promise()):
            assert time.monotonic() < deadline, f"{why}\n{self.kubectl('get', 'events', '-A')}"
            time.sleep(0.3)
        return found


@contextmanager
def started(*options: str, files: dict[str, str] | None = None) -> Iterator[RealCluster]:
    """`options` of `kubemu up`, in which "@name" is the path of one of the `files`."""
    with TemporaryDirectory(prefix="kubemu-workloads-") as folder:
        for name, text in (files or {}).items():
            (Path(folder) / name).write_text(text)
        named = [str(Path(folder) / each[1:]) if each.startswith("@") else each for each in options]
        made = RealCluster(Path(folder), *named)
        try:
            yield made
        finally:
            made.kubemu("down")
