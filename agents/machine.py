"""What a node says of its machine: capacity, static information, conditions, images."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from agents.settings import Machine
from cluster.api.objects import Object
from cluster.api.quantity import parse

KUBELET_VERSION = "v1.37.0"
OS_IMAGE = "kubemu (emulated)"
MAX_IMAGES = 50
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}

READY = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


PRESSED = {
    "MemoryPressure": ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    "DiskPressure": ("KubeletHasDiskPressure", "kubelet has disk pressure"),
}
SHUTTING_DOWN = ("Ready", "False", "KubeletNotReady", "node is shutting down")


def conditions(*, pressures: Sequence[str] = (), shutting_down: bool = False) -> list[Object]:
    """`pressures`: the types of those that hold."""
    said = {entry[0]: entry for entry in READY}
    for type in pressures:
        said[type] = (type, "True", *PRESSED[type])
    if shutting_down:
        said["Ready"] = SHUTTING_DOWN
    return [
        {"type": type, "status": status, "reason": reason, "message": message}
        for type, status, reason, message in said.values()
    ]


def capacity(machine: Machine) -> dict[str, str]:
    return {
        "cpu": str(parse(machine.cpu)),
        "ephemeral-storage": machine.storage,
        "memory": str(parse(machine.memory)),
        "pods": str(machine.max_pods),
    }


def addresses(node: str, ip: str) -> list[Object]:
    known = [{"type": "InternalIP", "address": ip}] if ip else []
    return [*known, {"type": "Hostname", "address": node}]


def node_info(node: str, runtime: str) -> dict[str, Any]:
    """Ids are derived from the node's name: the machine stays the same one over restarts."""
    release = platform.release()
    return {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "bootID": _identity(node, "boot"),
        "containerRuntimeVersion": runtime,
        "kernelVersion": release,
        "kubeProxyVersion": "",
        "kubeletVersion": KUBELET_VERSION,
        "machineID": _identity(node, "machine").replace("-", ""),
        "operatingSystem": "linux",
        "osImage": OS_IMAGE,
        "systemUUID": _identity(node, "system"),
    }


def _identity(node: str, what: str) -> str:
    return str(UUID(bytes=hashlib.sha256(f"{what}/{node}".encode()).digest()[:16], version=4))


def newest_images(images: list[Object]) -> list[Object]:
    """The largest ones first, as many as a kubelet reports."""
    return sorted(images, key=lambda image: -int(image["sizeBytes"]))[:MAX_IMAGES]
