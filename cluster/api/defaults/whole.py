"""Defaults of whole objects, which don't apply to the same types inside templates of other kinds."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

from cluster.api.objects import Object
from cluster.api.quantity import Quantity, parse

_POD_LEVEL = ("cpu", "memory")
_UNLIMITED = 2**31 - 1
_JOB = {"completionMode": "NonIndexed", "suspend": False, "manualSelector": False}


def _pod(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    for container in _containers(spec):
        resources = container.get("resources")
        if resources and (limits := resources.get("limits")):
            resources["requests"] = limits | (resources.get("requests") or {})
        if spec.get("hostNetwork"):
            for port in container.get("ports") or ():
                if not port.get("hostPort"):
                    port["hostPort"] = port["containerPort"]
    if spec.get("resources"):
        _pod_level_resources(spec)
    spec.setdefault("enableServiceLinks", True)


def _containers(spec: Object) -> Iterator[Object]:
    yield from spec.get("containers") or ()
    yield from spec.get("initContainers") or ()


def _pod_level_resources(spec: Object) -> None:
    resources = spec["resources"]
    if limits := resources.get("limits"):
        requests = resources.get("requests") or {}
        for name in limits:
            if name in requests:
                continue
            total = _total(spec, "requests", name) if name in _POD_LEVEL else None
            requests[name] = limits[name] if total is None else str(total)
        resources["requests"] = requests
    elif resources.get("requests"):
        found = {
            name: str(total)
            for name in _POD_LEVEL
            if all(name in _amounts(c, "limits") for c in _containers(spec))
            and (total := _total(spec, "limits", name)) is not None
        }
        if found:
            resources["limits"] = found


def _amounts(container: Object, side: str) -> Object:
    amounts: Object = (container.get("resources") or {}).get(side) or {}
    return amounts


def _total(spec: Object, side: str, name: str) -> Quantity | None:
    """What the pod needs of one resource: containers and sidecars together, or the largest start of an init
    container beside the sidecars before it. None if no container says."""
    running = largest = Quantity(0)
    said = False
    for container in spec.get("initContainers") or ():
        if name not in _amounts(container, side):
            continue
        said = True
        amount = parse(_amounts(container, side)[name])
        if container.get("restartPolicy") == "Always":
            running += amount
            largest = max(largest, running)
        else:
            largest = max(largest, running + amount)
    for container in spec.get("containers") or ():
        if name in _amounts(container, side):
            said = True
            running += parse(_amounts(container, side)[name])
    return max(running, largest) if said else None


def _namespace(namespace: Object) -> None:
    metadata = namespace["metadata"]
    if name := metadata.get("name"):
        metadata["labels"] = (metadata.get("labels") or {}) | {"kubernetes.io/metadata.name": name}


def _secret(secret: Object) -> None:
    """stringData is written once and becomes data."""
    if strings := secret.pop("stringData", None):
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in strings.items()}
        secret["data"] = (secret.get("data") or {}) | encoded


def _job(job: Object) -> None:
    """The template of a CronJob is left as it is."""
    _job_spec(job["spec"])
    labels = job["spec"].get("template", {}).get("metadata", {}).get("labels")
    if labels and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(labels)


def _job_spec(spec: Object) -> None:
    for name, value in _JOB.items():
        spec.setdefault(name, value)
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", _UNLIMITED if "backoffLimitPerIndex" in spec else 6)
    if "podReplacementPolicy" not in spec:
        spec["podReplacementPolicy"] = "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed"


def _replication_controller(controller: Object) -> None:
    spec = controller["spec"]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        if not controller["metadata"].get("labels"):
            controller["metadata"]["labels"] = dict(labels)


def _service(service: Object) -> None:
    if service.get("spec", {}).get("type") == "LoadBalancer":
        for ingress in service.get("status", {}).get("loadBalancer", {}).get("ingress") or ():
            if ingress.get("ip"):
                ingress.setdefault("ipMode", "VIP")


WHOLE: dict[str, Callable[[Object], None]] = {
    "core.v1.Pod": _pod,
    "core.v1.Namespace": _namespace,
    "core.v1.Secret": _secret,
    "core.v1.Service": _service,
    "core.v1.ReplicationController": _replication_controller,
    "batch.v1.Job": _job,
}
