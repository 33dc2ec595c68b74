"""kubectl in a namespace of a test's own, and the objects that conformance specs are made of."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from live_cluster import KUBECTL, Cluster

AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.59"
PATIENCE_S = 60
PRIMARY: dict[str, Any] = {"app": "agnhost", "role": "primary"}


class Space:
    """kubectl in a namespace of its own."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        return self.cluster.kubectl("-n", self.name, *arguments, stdin=stdin)

    def apply(self, *objects: Any) -> None:
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def get(self, *what: str) -> Any:
        return json.loads(self("get", *what, "-o", "json"))

    def until(self, look: Callable[[], Any]) -> Any:
        """The first true result; an assertion or a command that fails is tried again."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if found := look():
                    return found
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            assert time.monotonic() < deadline, f"never came: {look}"
            time.sleep(0.1)

    def ready(self, selector: str, count: int) -> list[Any]:
        """The pods, once that many are there and ready."""

        def look() -> list[Any]:
            pods: list[Any] = self.get("pods", "-l", selector)["items"]
            states = [pod["status"].get("conditions") or () for pod in pods]
            fine = [any(c["type"] == "Ready" and c["status"] == "True" for c in state) for state in states]
            return pods if len(fine) == count and all(fine) else []

        found: list[Any] = self.until(look)
        return found

    def proxied(self, path: str) -> str:
        return self("get", "--raw", f"/api/v1/namespaces/{self.name}/{path}")


def template(labels: dict[str, str], *args: str, image: str = AGNHOST, **container: Any) -> Any:
    inside = {"name": "c", "image": image, "args": list(args), **container}
    spec = {"containers": [inside], "terminationGracePeriodSeconds": 0}
    return {"metadata": {"labels": labels}, "spec": spec}


def replicas(kind: str, name: str, number: int, made: Any) -> Any:
    labels = made["metadata"]["labels"]
    plain = kind == "ReplicationController"
    return {
        "apiVersion": "v1" if plain else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": number,
            "selector": labels if plain else {"matchLabels": labels},
            "template": made,
        },
    }


def primary(number: int = 1) -> Any:
    made = template(PRIMARY, ports=[{"name": "agnhost-server", "containerPort": 6379}])
    return replicas("ReplicationController", "agnhost-primary", number, made)


def service(name: str, port: int, labels: dict[str, str], target: str | int | None = None) -> Any:
    ports = [{"port": port} | ({} if target is None else {"targetPort": target})]
    meta = {"name": name, "labels": labels}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"ports": ports, "selector": labels},
    }


def lines_of(text: str, *patterns: str) -> None:
    """Every pattern fits a line."""
    for pattern in patterns:
        assert re.search(f"^{pattern}", text, re.MULTILINE), f"{pattern} is not in\n{text}"


@contextmanager
def proxying(cluster: Cluster, *options: str) -> Iterator[str]:
    """What a `kubectl proxy` says when it serves."""
    command = [KUBECTL, "--kubeconfig", str(cluster.kubeconfig), "proxy", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline()
    finally:
        process.terminate()
        process.communicate()
