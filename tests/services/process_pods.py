"""Pods for a live cluster whose commands tell what they see, for each runtime; and a client that looks at them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes import client, config

Object = dict[str, Any]
KUBECTL = str(Path(sys.executable).with_name("kubectl"))
PATIENCE_S = 90.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """One pod, and what is expected of it."""

    name: str
    script: str = ""
    """Of its container, for `sh -c`."""
    expected: str | Callable[[Object], str] = ""
    """The container's output, or how to tell it from the pod."""
    phase: str = "Succeeded"
    container: Object = field(default_factory=dict)
    """More fields of the container."""
    spec: Object = field(default_factory=dict)
    """More fields of the pod's spec."""
    metadata: Object = field(default_factory=dict)
    runtimes: tuple[str, ...] = ("process", "emulated")

    def pod(self, runtime: str) -> Object:
        container = {
            "name": "c",
            "image": "busybox:1.36",
            "command": ["sh", "-c", self.script],
            **self.container,
        }
        meta = {**self.metadata, "name": f"{self.name}-{runtime}"}
        meta["annotations"] = {**meta.get("annotations", {}), "kubemu.dev/runtime": runtime}
        spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, **self.spec}
        spec["containers"] = [container, *spec.get("containers", ())]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def volume(name: str = "v", path: str = "/v", **mount: Any) -> Object:
    """A container's mount."""
    return {"volumeMounts": [{"name": name, "mountPath": path, **mount}]}


class Cluster:
    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.environment = {**os.environ, "KUBEMU_HOME": str(folder), "HOME": str(folder)}
        self.kubemu("up", "--detach", *flags)
        path = self.environment["KUBECONFIG"] = self.kubemu("kubeconfig", "--path").strip()
        self._api = client.CoreV1Api(config.new_client_from_config(path))

    def down(self) -> None:
        self.kubemu("down")

    def kubemu(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "scenarios", *arguments)

    def kubectl(self, *arguments: str, code: int = 0, text: str = "") -> str:
        return self.run(KUBECTL, *arguments, code=code, text=text)

    def run(self, *command: str, code: int = 0, text: str = "") -> str:
        done = subprocess.run(
            command,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if code else "")

    def apply(self, *objects: Object) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--validate=false", "-f", "-", text=json.dumps(items))

    def pod(self, name: str) -> Object:
        answer = self._api.read_namespaced_pod(name, "default", _preload_content=False)
        found: Object = json.loads(answer.data)
        return found

    def log(self, name: str, container: str = "c") -> str:
        answer = self._api.read_namespaced_pod_log(
            name, "default", container=container, _preload_content=False
        )
        text: str = answer.data.decode()
        return text

    def until(self, name: str, holds: Callable[[Object], bool]) -> Object:
        """The pod, once it is as wanted."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            pod = self.pod(name)
            try:
                if holds(pod):
                    return pod
            except (KeyError, IndexError):
                pass
            assert time.monotonic() < deadline, json.dumps(pod["status"], indent=1)
            time.sleep(0.1)

    def until_event(self, pod: str, reason: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._api.list_namespaced_event(
                "default", field_selector=f"involvedObject.name={pod}", _preload_content=False
            )
            reasons = [event["reason"] for event in json.loads(answer.data)["items"]]
            if reason in reasons:
                return
            assert time.monotonic() < deadline, reasons
            time.sleep(0.1)

    def until_said(self, name: str, text: str, container: str = "c") -> str:
        """The pod's log, once it has the text."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                log = self.log(name, container)
            except client.ApiException as error:
                log = str(error.reason)  # it has not started yet
            if text in log:
                return log
            assert time.monotonic() < deadline, log
            time.sleep(0.1)


def status_of(pod: Object, container: str = "c") -> Object:
    return next(s for s in pod["status"]["containerStatuses"] if s["name"] == container)
