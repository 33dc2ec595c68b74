"""Which pods are behind a Service, on which ports, and in which state: shared by both endpoint
controllers. Finding them costs what the Service has, not what the namespace has: pods are indexed by each
of their labels, Services by one pair of their selector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cluster.api.objects import Key, Object
from cluster.reconcile.informer import Handler, Informer
from cluster.reconcile.pods import is_finished, is_ready, ready_condition
from cluster.reconcile.queue import WorkQueue

BY_LABEL = "label-pair"
BY_SELECTOR = "selector-pair"
SPACING_PER_POD_S = 0.0005
"""A look at a Service costs what it has pods; so does the time until the next one: half a second for 1000."""
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
HEADLESS = "service.kubernetes.io/headless"


def index_pods(pods: Informer) -> None:
    pods.add_index(BY_LABEL, _label_pairs)


def index_services(services: Informer) -> None:
    services.add_index(BY_SELECTOR, _selector_pair)


def _pair(namespace: str, name: str, value: str) -> str:
    return f"{namespace}\0{name}\0{value}"


def _label_pairs(pod: Object) -> list[str]:
    meta = pod["metadata"]
    namespace = meta["namespace"]
    return [_pair(namespace, name, value) for name, value in (meta.get("labels") or {}).items()]


def _selector_pair(service: Object) -> list[str]:
    selector = service["spec"].get("selector")
    if not selector:
        return []
    name = min(selector)
    return [_pair(service["metadata"]["namespace"], name, selector[name])]


def pods_of(service: Object, pods: Informer) -> Iterator[Object]:
    """The pods that the Service selects, in order of arrival."""
    wanted: Mapping[str, str] = service["spec"]["selector"]
    namespace = service["metadata"]["namespace"]
    buckets = [pods.by_index(BY_LABEL, _pair(namespace, name, value)) for name, value in wanted.items()]
    items = wanted.items()
    for pod in min(buckets, key=len):
        if items <= pod["metadata"]["labels"].items():
            yield pod


def services_of(pod: Object, services: Informer) -> Iterator[Object]:
    """The Services that select this pod."""
    labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
    for pair in _label_pairs(pod):
        for service in services.by_index(BY_SELECTOR, pair):
            if service["spec"]["selector"].items() <= labels.items():
                yield service


def has_selector(service: Object) -> bool:
    return bool(service["spec"].get("selector")) and service["spec"].get("type") != "ExternalName"


def enqueue_services(queue: WorkQueue[Key], services: Informer) -> Handler:
    """The handler of pods: adds each Service for which the change matters."""

    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        if old is not None and new is not None and _shows_same(old, new):
            return
        for pod in (old, new):
            if pod is not None and (pod is new or new is None or _labels_differ(old, new)):
                for service in services_of(pod, services):
                    queue.add(Key(service["metadata"]["namespace"], service["metadata"]["name"]), cause)

    return handler


def _labels_differ(old: Object | None, new: Object | None) -> bool:
    return (
        old is not None and new is not None and old["metadata"].get("labels") != new["metadata"].get("labels")
    )


def _shows_same(old: Object, new: Object) -> bool:
    return _shown(old) == _shown(new)


def _shown(pod: Object) -> tuple[Any, ...]:
    """Everything about a pod that endpoints show."""
    meta, status = pod["metadata"], pod.get("status", {})
    return (
        meta.get("labels"),
        "deletionTimestamp" in meta,
        status.get("podIP"),
        status.get("podIPs"),
        is_ready(pod),
        is_finished(pod),
        pod["spec"].get("nodeName"),
    )


def belongs(pod: Object, *, include_terminating: bool) -> bool:
    """Whether the pod has an address that endpoints may show."""
    if is_finished(pod) or not pod.get("status", {}).get("podIP"):
        return False
    return include_terminating or "deletionTimestamp" not in pod["metadata"]


def addresses_of(pod: Object, family: str) -> list[str]:
    """The pod's addresses of "IPv4" or "IPv6"."""
    status = pod["status"]
    ips: Iterable[str] = [entry["ip"] for entry in status.get("podIPs") or ()] or [status["podIP"]]
    return [ip for ip in ips if (":" in ip) == (family == "IPv6")]


def port_number(pod: Object, service_port: Object) -> int | None:
    """Where the Service's port leads in this pod; None if the pod has no port of that name."""
    target = service_port.get("targetPort", service_port["port"])
    if isinstance(target, int):
        return target or int(service_port["port"])
    protocol = service_port.get("protocol", "TCP")
    for container in _serving_containers(pod):
        for port in container.get("ports") or ():
            if port.get("name") == target and port.get("protocol", "TCP") == protocol:
                number: int = port["containerPort"]
                return number
    return None


def _serving_containers(pod: Object) -> Iterator[Object]:
    yield from pod["spec"].get("containers") or ()
    for container in pod["spec"].get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            yield container


def target_of(pod: Object) -> Object:
    meta = pod["metadata"]
    return {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}


def hostname_of(pod: Object, service: Object) -> str:
    """The name under which the Service's DNS shows the pod, if it has one there."""
    spec = pod["spec"]
    here = spec.get("subdomain") == service["metadata"]["name"]
    return spec.get("hostname", "") if here else ""


class TriggerTimes:
    """When the oldest change happened that the next write will show (for latency measurements)."""

    def __init__(self) -> None:
        self._seen: dict[Key, tuple[str, dict[str, str]]] = {}

    def next(self, key: Key, service: Object, pods: Iterable[Object]) -> str | None:
        """The timestamp for the annotation, or None if nothing that is tracked changed. All of them have one
        form, in which their order is that of their text."""
        created: str = service["metadata"]["creationTimestamp"]
        before = self._seen.get(key)
        moments: dict[str, str] = {}
        changes: list[str] = []
        for pod in pods:
            condition = ready_condition(pod)
            since = condition.get("lastTransitionTime") if condition is not None else None
            if not since:
                continue
            name = pod["metadata"]["name"]
            at = moments[name] = since
            earlier = before[1].get(name) if before is not None else None
            if earlier is None or at > earlier:
                changes.append(at)
        if before is None or created > before[0]:
            changes.append(created)
        self._seen[key] = (created, moments)
        return min(changes) if changes else None

    def forget(self, key: Key) -> None:
        self._seen.pop(key, None)
