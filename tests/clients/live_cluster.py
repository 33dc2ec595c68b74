"""The running cluster as the tests of clients see it: a kubeconfig, and kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

KUBECTL = str(Path(sys.executable).parent / "kubectl")
"""The newest, as the development dependencies have it."""


class Cluster:
    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.kubeconfig = kubeconfig
        self.folder = folder
        self._count = count(1)

    def new_namespace(self) -> str:
        name = f"t{os.getpid()}-{next(self._count)}"
        self.kubectl("create", "namespace", name)
        account = "{.metadata.name}=default"
        self.kubectl(
            "wait", f"--for=jsonpath={account}", "serviceaccount/default", "-n", name, "--timeout=10s"
        )
        return name

    def run(
        self, *arguments: str, binary: str = KUBECTL, stdin: str = "", timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                binary,
                "--kubeconfig",
                str(self.kubeconfig),
                "--cache-dir",
                str(self.folder / "cache"),
                *arguments,
            ],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def kubectl(self, *arguments: str, binary: str = KUBECTL, stdin: str = "") -> str:
        """Standard output of a command that has to succeed."""
        done = self.run(*arguments, binary=binary, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *arguments: str, **more: Any) -> Any:
        return json.loads(self.kubectl(*arguments, "-o", "json", **more))
