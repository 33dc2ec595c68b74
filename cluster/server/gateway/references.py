"""Which other objects a pod needs on its node: ConfigMaps and Secrets by environment, volumes and image pull
secrets; the claims of its volumes; its RuntimeClass.

Names only; whether they exist, and what follows if not, is the agent's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from cluster.api.objects import Object


class Reference(NamedTuple):
    kind: str
    """ConfigMap | Secret | PersistentVolumeClaim | RuntimeClass"""
    namespace: str
    """Empty for what belongs to none."""
    name: str


def references(pod: Object) -> list[Reference]:
    """Each referenced object once, in the order of the pod's spec."""
    namespace = pod["metadata"].get("namespace", "")
    found: dict[Reference, None] = {}
    for kind, name in _names(pod["spec"]):
        if name:
            found[Reference(kind, namespace, name)] = None
    for volume in pod["spec"].get("volumes", ()):
        if "ephemeral" in volume:
            name = f"{pod['metadata']['name']}-{volume['name']}"
            found[Reference("PersistentVolumeClaim", namespace, name)] = None
    runtime_class = pod["spec"].get("runtimeClassName")
    if runtime_class:
        found[Reference("RuntimeClass", "", runtime_class)] = None
    return list(found)


def _names(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for secret in spec.get("imagePullSecrets", ()):
        yield "Secret", secret.get("name", "")
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(group, ()):
            yield from _of_environment(container)
    for volume in spec.get("volumes", ()):
        yield from _of_volume(volume)


def _of_environment(container: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom", ()):
        if "configMapRef" in source:
            yield "ConfigMap", source["configMapRef"].get("name", "")
        if "secretRef" in source:
            yield "Secret", source["secretRef"].get("name", "")
    for variable in container.get("env", ()):
        origin = variable.get("valueFrom")
        if not origin:
            continue
        if "configMapKeyRef" in origin:
            yield "ConfigMap", origin["configMapKeyRef"].get("name", "")
        if "secretKeyRef" in origin:
            yield "Secret", origin["secretKeyRef"].get("name", "")


def _of_volume(volume: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "configMap" in volume:
        yield "ConfigMap", volume["configMap"].get("name", "")
    if "secret" in volume:
        yield "Secret", volume["secret"].get("secretName", "")
    if "persistentVolumeClaim" in volume:
        yield "PersistentVolumeClaim", volume["persistentVolumeClaim"].get("claimName", "")
    for source in volume.get("projected", {}).get("sources", ()):
        if "configMap" in source:
            yield "ConfigMap", source["configMap"].get("name", "")
        if "secret" in source:
            yield "Secret", source["secret"].get("name", "")
