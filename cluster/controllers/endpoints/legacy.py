"""The v1 Endpoints object of each Service with a selector: the older form that some clients still read.

Addresses are grouped into subsets by the ports they serve; ready ones and others apart. More than a
thousand addresses are cut off, with the annotation that says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from cluster.api import kinds
from cluster.api.errors import ApiError, NotFound
from cluster.api.objects import Key, Object
from cluster.controllers.endpoints import membership
from cluster.controllers.endpoints.membership import HEADLESS, TRIGGER_TIME
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.pod_control import is_namespace_terminating
from cluster.reconcile.pods import is_ready
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "endpoint-controller"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
ADDRESS_LIMIT = 1000
SPACING_S = 0.1


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock, spacing_s=SPACING_S)
    services = world.informers.of(kinds.SERVICES)
    pods = world.informers.of(kinds.PODS)
    endpoints = world.informers.of(kinds.ENDPOINTS)
    return Controller(
        EndpointsObjects(world, queue),
        queue,
        watches=[
            (services, enqueue(queue)),
            (pods, membership.enqueue_services(queue, services)),
            (endpoints, enqueue(queue)),
        ],
    )


def subsets(service: Object, pods: Sequence[Object]) -> list[Object]:
    """The subsets in canonical order: addresses by IP, subsets by their ports."""
    publish_all = bool(service["spec"].get("publishNotReadyAddresses"))
    family = (service["spec"].get("ipFamilies") or ["IPv4"])[0]
    groups: dict[tuple[tuple[str, int, str, str], ...], tuple[list[Object], list[Object]]] = {}
    for pod in pods:
        if not membership.belongs(pod, include_terminating=publish_all):
            continue
        addresses = membership.addresses_of(pod, family)
        ports = _ports(pod, service)
        if not addresses or (not ports and service["spec"].get("ports")):
            continue
        ready, not_ready = groups.setdefault(ports, ([], []))
        entry = _address(pod, service, addresses[0])
        (ready if publish_all or is_ready(pod) else not_ready).append(entry)
    return [_subset(ports, *groups[ports]) for ports in sorted(groups)]


def _ports(pod: Object, service: Object) -> tuple[tuple[str, int, str, str], ...]:
    found = []
    for port in service["spec"].get("ports") or ():
        number = membership.port_number(pod, port)
        if number is not None:
            found.append(
                (port.get("name", ""), number, port.get("protocol", "TCP"), port.get("appProtocol", ""))
            )
    return tuple(sorted(found))


def _address(pod: Object, service: Object, ip: str) -> Object:
    address: Object = {"ip": ip, "targetRef": membership.target_of(pod)}
    if pod["spec"].get("nodeName"):
        address["nodeName"] = pod["spec"]["nodeName"]
    hostname = membership.hostname_of(pod, service)
    if hostname:
        address["hostname"] = hostname
    return address


def _subset(
    ports: tuple[tuple[str, int, str, str], ...], ready: list[Object], not_ready: list[Object]
) -> Object:
    subset: Object = {}
    for name, addresses in (("addresses", ready), ("notReadyAddresses", not_ready)):
        if addresses:
            subset[name] = sorted(addresses, key=lambda each: (each["ip"], each["targetRef"]["uid"]))
    if ports:
        subset["ports"] = [_port(*port) for port in ports]
    return subset


def _port(name: str, number: int, protocol: str, app_protocol: str) -> Object:
    port: Object = {"port": number, "protocol": protocol}
    if name:
        port["name"] = name
    if app_protocol:
        port["appProtocol"] = app_protocol
    return port


def truncated(full: list[Object]) -> tuple[list[Object], bool]:
    """At most ADDRESS_LIMIT addresses, ready ones first; and whether any had to go."""
    total = sum(len(s.get("addresses", ())) + len(s.get("notReadyAddresses", ())) for s in full)
    if total <= ADDRESS_LIMIT:
        return full, False
    room = ADDRESS_LIMIT
    cut: list[Object] = [dict(subset) for subset in full]
    for part in ("addresses", "notReadyAddresses"):
        for subset in cut:
            if part in subset:
                subset[part] = subset[part][:room]
                room -= len(subset[part])
                if not subset[part]:
                    del subset[part]
    return [s for s in cut if "addresses" in s or "notReadyAddresses" in s], True


class EndpointsObjects:
    name = NAME

    def __init__(self, world: World, queue: WorkQueue[Key]) -> None:
        self._queue = queue
        self._client = world.client_as(NAME)
        self._recorder = world.recorder(NAME)
        self._services = world.informers.of(kinds.SERVICES)
        self._pods = world.informers.of(kinds.PODS)
        self._endpoints = world.informers.of(kinds.ENDPOINTS)
        membership.index_pods(self._pods)
        membership.index_services(self._services)
        self._trigger_times = membership.TriggerTimes()

    async def reconcile(self, key: Key) -> float | None:
        service, present = self._services.get(key), self._endpoints.get(key)
        if service is None:
            self._trigger_times.forget(key)
            self._queue.space(key, 0.0)
            if present is not None and MANAGED_BY in (present["metadata"].get("labels") or {}):
                await self._delete(present)
            return None
        if not membership.has_selector(service):
            return None
        pods = list(membership.pods_of(service, self._pods))
        self._queue.space(key, len(pods) * membership.SPACING_PER_POD_S)
        trigger_time = self._trigger_times.next(key, service, pods)
        wanted, over_capacity = truncated(subsets(service, pods))
        await self._write(service, present, wanted, over_capacity, trigger_time)
        return None

    async def _delete(self, present: Object) -> None:
        meta = present["metadata"]
        try:
            await self._client.delete(
                kinds.ENDPOINTS, meta["name"], namespace=meta["namespace"], uid=meta["uid"]
            )
        except NotFound:
            return

    async def _write(
        self,
        service: Object,
        present: Object | None,
        wanted: list[Object],
        over_capacity: bool,
        trigger_time: str | None,
    ) -> None:
        labels = _labels(service)
        before: Object = present if present is not None else {"metadata": {}}
        held = dict(before["metadata"].get("annotations") or {})
        if (
            present is not None
            and (present.get("subsets") or []) == wanted
            and before["metadata"].get("labels") == labels
            and (OVER_CAPACITY in held) == over_capacity
        ):
            return
        held.pop(TRIGGER_TIME, None)
        held.pop(OVER_CAPACITY, None)
        if trigger_time is not None:
            held[TRIGGER_TIME] = trigger_time
        if over_capacity:
            held[OVER_CAPACITY] = "truncated"
        meta = before["metadata"] | {
            "name": service["metadata"]["name"],
            "namespace": service["metadata"]["namespace"],
            "labels": labels,
            "annotations": held,
        }
        body: Object = before | {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": meta,
            "subsets": wanted,
        }
        await self._send(service, body, create=present is None)

    async def _send(self, service: Object, body: Object, *, create: bool) -> None:
        verb, reason = (
            ("create", "FailedToCreateEndpoint") if create else ("update", "FailedToUpdateEndpoint")
        )
        meta = body["metadata"]
        try:
            if create:
                await self._client.create(kinds.ENDPOINTS, body, namespace=meta["namespace"])
            else:
                await self._client.update(kinds.ENDPOINTS, body)
        except ApiError as error:
            if is_namespace_terminating(error):
                return
            message = f"Failed to {verb} endpoint {meta['namespace']}/{meta['name']}: {error.message}"
            self._recorder.event(service, "Warning", reason, message)
            raise


def _labels(service: Object) -> dict[str, str]:
    labels = dict(service["metadata"].get("labels") or {})
    labels.pop(HEADLESS, None)
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS] = ""
    return labels | {MANAGED_BY: "endpoint-controller"}
