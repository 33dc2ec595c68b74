"""EndpointSlices of Services with a selector.

Each Service's slices are computed from its pods (`membership`), grouped by the ports that those pods
serve, and packed with few writes (`packing`). The queue is spaced, so that a thousand pods turning ready
one after another rewrite slices a few times per second and not a thousand times.

Hints say for which node or zone a ready endpoint is meant, where the Service's trafficDistribution asks.

Divergence: the annotation service.kubernetes.io/topology-mode brings no hints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from cluster.api import kinds
from cluster.api.errors import ApiError, NotFound
from cluster.api.objects import Key, Object, owner_reference
from cluster.controllers.endpoints import membership
from cluster.controllers.endpoints.membership import HEADLESS, TRIGGER_TIME
from cluster.controllers.endpoints.packing import pack
from cluster.reconcile.informer import Handler
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.pods import is_ready
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.together import together
from cluster.reconcile.world import World

NAME = "endpointslice-controller"
MANAGER = "endpointslice-controller.k8s.io"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
SERVICE_NAME = "kubernetes.io/service-name"
BY_SERVICE = "service-of-slice"
ZONE = "topology.kubernetes.io/zone"
SPACING_S = 0.1

PortKey: TypeAlias = tuple[tuple[str, str, int, str], ...]
"""Name, protocol, number and application protocol of each port, sorted."""


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock, spacing_s=SPACING_S)
    services = world.informers.of(kinds.SERVICES)
    pods = world.informers.of(kinds.PODS)
    slices = world.informers.of(kinds.ENDPOINT_SLICES)
    nodes = world.informers.of(kinds.NODES)
    return Controller(
        EndpointSlices(world, queue),
        queue,
        watches=[
            (services, enqueue(queue)),
            (pods, membership.enqueue_services(queue, services)),
            (slices, _enqueue_service(queue)),
        ],
        needs=[nodes],
    )


def _enqueue_service(queue: WorkQueue[Key]) -> Handler:
    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        for piece in (old, new):
            if piece is not None and is_managed(piece):
                meta = piece["metadata"]
                queue.add(Key(meta["namespace"], meta["labels"][SERVICE_NAME]), cause)

    return handler


def is_managed(piece: Object) -> bool:
    """A slice that this controller wrote."""
    labels = piece["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY) == MANAGER and SERVICE_NAME in labels


def service_of_slice(piece: Object) -> Iterable[str]:
    """The index BY_SERVICE: slices of any manager."""
    meta = piece["metadata"]
    name = (meta.get("labels") or {}).get(SERVICE_NAME)
    return (f"{meta['namespace']}/{name}",) if name else ()


@dataclass(slots=True)
class Writes:
    """Whole slices to create and update, and those to delete."""

    create: list[Object] = field(default_factory=list)
    update: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


def families_of(service: Object) -> list[str]:
    families: list[str] = service["spec"].get("ipFamilies") or ["IPv4"]
    return families


def endpoint_of(pod: Object, service: Object, family: str, zone: str) -> Object:
    """The entry for one pod."""
    serving, terminating = is_ready(pod), "deletionTimestamp" in pod["metadata"]
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
    endpoint: Object = {
        "addresses": membership.addresses_of(pod, family),
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": membership.target_of(pod),
    }
    hostname = membership.hostname_of(pod, service)
    if hostname:
        endpoint["hostname"] = hostname
    if pod["spec"].get("nodeName"):
        endpoint["nodeName"] = pod["spec"]["nodeName"]
    if zone:
        endpoint["zone"] = zone
    hints = hints_of(endpoint, service["spec"].get("trafficDistribution", "")) if ready else {}
    if hints:
        endpoint["hints"] = hints
    return endpoint


def hints_of(endpoint: Object, distribution: str) -> Object:
    """For whom a ready endpoint is."""
    zone, node = endpoint.get("zone", ""), endpoint.get("nodeName", "")
    hints: Object = {}
    if zone and distribution in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        hints["forZones"] = [{"name": zone}]
    if node and distribution == "PreferSameNode":
        hints["forNodes"] = [{"name": node}]
    return hints


def ports_of(pod: Object, service: Object) -> list[Object]:
    """The Service's ports as this pod serves them."""
    ports: list[Object] = []
    for service_port in service["spec"].get("ports") or ():
        number = membership.port_number(pod, service_port)
        if number is None:
            continue
        port: Object = {
            "name": service_port.get("name", ""),
            "protocol": service_port.get("protocol", "TCP"),
            "port": number,
        }
        if service_port.get("appProtocol"):
            port["appProtocol"] = service_port["appProtocol"]
        ports.append(port)
    return ports


def labels_of(service: Object) -> dict[str, str]:
    labels = {
        name: value
        for name, value in (service["metadata"].get("labels") or {}).items()
        if name not in (SERVICE_NAME, MANAGED_BY, HEADLESS)
    }
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS] = ""
    return labels | {SERVICE_NAME: service["metadata"]["name"], MANAGED_BY: MANAGER}


def plan(
    service: Object, pods: Sequence[Object], zones: dict[str, str], existing: Sequence[Object]
) -> Writes:
    """What makes the Service's slices right. `zones`: node name → zone."""
    writes = Writes()
    families = families_of(service)
    writes.delete = [piece for piece in existing if piece["addressType"] not in families]
    for family in families:
        own = [piece for piece in existing if piece["addressType"] == family]
        _plan_family(writes, service, family, _grouped(service, pods, family, zones), own)
    return writes


def _grouped(
    service: Object, pods: Sequence[Object], family: str, zones: dict[str, str]
) -> dict[PortKey, tuple[list[Object], list[Object]]]:
    """Port set → (ports, endpoints)."""
    groups: dict[PortKey, tuple[list[Object], list[Object]]] = {}
    for pod in pods:
        if not membership.belongs(pod, include_terminating=True):
            continue
        endpoint = endpoint_of(pod, service, family, zones.get(pod["spec"].get("nodeName", ""), ""))
        if endpoint["addresses"]:
            ports = ports_of(pod, service)
            groups.setdefault(_port_key(ports), (ports, []))[1].append(endpoint)
    return groups


def _port_key(ports: Sequence[Object]) -> PortKey:
    return tuple(
        sorted(
            (p.get("name") or "", p.get("protocol") or "TCP", p.get("port") or 0, p.get("appProtocol") or "")
            for p in ports
        )
    )


def _plan_family(
    writes: Writes,
    service: Object,
    family: str,
    groups: dict[PortKey, tuple[list[Object], list[Object]]],
    existing: Sequence[Object],
) -> None:
    by_ports: dict[PortKey, list[Object]] = {}
    for piece in existing:
        by_ports.setdefault(_port_key(piece.get("ports") or ()), []).append(piece)
    labels = labels_of(service)
    stays = False
    for key, (ports, endpoints) in groups.items():
        packed = pack(by_ports.pop(key, ()), endpoints)
        writes.create.extend(_built(service, family, labels, ports, members) for members in packed.create)
        writes.delete.extend(packed.delete)
        for piece, members in packed.update:
            writes.update.append(_relabelled(piece, labels) | {"endpoints": members})
        writes.update.extend(
            _relabelled(piece, labels) for piece in packed.keep if piece["metadata"].get("labels") != labels
        )
        stays = True
    left = [piece for pieces in by_ports.values() for piece in pieces]
    if stays:
        writes.delete.extend(left)
        return
    placeholder = next((p for p in left if not p.get("endpoints") and not p.get("ports")), None)
    writes.delete.extend(piece for piece in left if piece is not placeholder)
    if placeholder is None:
        writes.create.append(_built(service, family, labels, [], []))
    elif placeholder["metadata"].get("labels") != labels:
        writes.update.append(_relabelled(placeholder, labels))


def _relabelled(piece: Object, labels: dict[str, str]) -> Object:
    return piece | {"metadata": piece["metadata"] | {"labels": labels}}


def _built(
    service: Object, family: str, labels: dict[str, str], ports: list[Object], endpoints: list[Object]
) -> Object:
    meta = service["metadata"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{meta['name']}-",
            "namespace": meta["namespace"],
            "labels": dict(labels),
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    }


class EndpointSlices:
    name = NAME

    def __init__(self, world: World, queue: WorkQueue[Key]) -> None:
        self._queue = queue
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(NAME)
        self._services = world.informers.of(kinds.SERVICES)
        self._pods = world.informers.of(kinds.PODS)
        self._nodes = world.informers.of(kinds.NODES)
        self._slices = world.informers.of(kinds.ENDPOINT_SLICES)
        self._slices.add_index(BY_SERVICE, service_of_slice)
        membership.index_pods(self._pods)
        membership.index_services(self._services)
        self._trigger_times = membership.TriggerTimes()

    async def reconcile(self, key: Key) -> float | None:
        service = self._services.get(key)
        if service is None:
            self._trigger_times.forget(key)
            self._queue.space(key, 0.0)
            return None
        if not membership.has_selector(service):
            return None
        pods = list(membership.pods_of(service, self._pods))
        self._queue.space(key, len(pods) * membership.SPACING_PER_POD_S)
        existing = [
            piece
            for piece in self._slices.by_index(BY_SERVICE, str(key))
            if is_managed(piece) and "deletionTimestamp" not in piece["metadata"]
        ]
        writes = plan(service, pods, self._zones(pods), existing)
        trigger_time = self._trigger_times.next(key, service, pods)
        await self._write(service, writes, trigger_time)
        return None

    def _zones(self, pods: Iterable[Object]) -> dict[str, str]:
        zones: dict[str, str] = {}
        for pod in pods:
            name = pod["spec"].get("nodeName", "")
            if name and name not in zones:
                node = self._nodes.get(Key("", name))
                labels = (node["metadata"].get("labels") or {}) if node is not None else {}
                zones[name] = labels.get(ZONE, "")
        return zones

    async def _write(self, service: Object, writes: Writes, trigger_time: str | None) -> None:
        namespace = service["metadata"]["namespace"]
        terminating = "deletionTimestamp" in service["metadata"]
        works = [
            self._client.create(kinds.ENDPOINT_SLICES, _stamped(piece, trigger_time), namespace=namespace)
            for piece in (() if terminating else writes.create)
        ]
        works += [
            self._client.update(kinds.ENDPOINT_SLICES, _stamped(piece, trigger_time))
            for piece in writes.update
        ]
        works += [
            self._client.delete(kinds.ENDPOINT_SLICES, piece["metadata"]["name"], namespace=namespace)
            for piece in writes.delete
        ]
        for outcome in await together(works):
            if isinstance(outcome, ApiError) and not isinstance(outcome, NotFound):
                self._say_failed(service, outcome)
                raise outcome

    def _say_failed(self, service: Object, error: ApiError) -> None:
        meta = service["metadata"]
        self._recorder.event(
            service,
            "Warning",
            "FailedToUpdateEndpointSlices",
            f"Error updating Endpoint Slices for Service {meta['namespace']}/{meta['name']}: {error.message}",
        )


def _stamped(piece: Object, trigger_time: str | None) -> Object:
    meta = piece["metadata"]
    annotations = {n: v for n, v in (meta.get("annotations") or {}).items() if n != TRIGGER_TIME}
    if trigger_time is not None:
        annotations[TRIGGER_TIME] = trigger_time
    return piece | {"metadata": meta | {"annotations": annotations}}
