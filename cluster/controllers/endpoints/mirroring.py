"""EndpointSlices for Endpoints that somebody keeps by hand, for a Service without a selector.

Each address family and set of ports of the Endpoints is packed into slices that the Endpoints own. Services
with a selector have slices of their own, so theirs are not mirrored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from cluster.api import kinds
from cluster.api.errors import NotFound
from cluster.api.objects import Key, Object, key_of, owner_reference
from cluster.controllers.endpoints.membership import has_selector
from cluster.controllers.endpoints.packing import pack
from cluster.controllers.endpoints.slices import BY_SERVICE, MANAGED_BY, SERVICE_NAME, service_of_slice
from cluster.reconcile.informer import Handler
from cluster.reconcile.loop import Controller, enqueue
from cluster.reconcile.queue import WorkQueue
from cluster.reconcile.world import World

NAME = "endpointslicemirroring-controller"
MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
SUBSET_LIMIT = 1000
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"
SPACING_S = 0.1


def controller(world: World) -> Controller[Key]:
    queue: WorkQueue[Key] = WorkQueue(world.clock, spacing_s=SPACING_S)
    of = world.informers.of
    endpoints, services, slices = of(kinds.ENDPOINTS), of(kinds.SERVICES), of(kinds.ENDPOINT_SLICES)
    return Controller(
        Mirroring(world),
        queue,
        watches=[(endpoints, enqueue(queue)), (services, _on_service(queue)), (slices, _on_slice(queue))],
        workers=2,
    )


def _on_service(queue: WorkQueue[Key]) -> Handler:
    """Only what decides about mirroring: that it is there, and whether it has a selector."""

    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        either = new or old
        assert either is not None
        if old is None or new is None or has_selector(old) != has_selector(new):
            queue.add(key_of(either), cause)

    return handler


def _on_slice(queue: WorkQueue[Key]) -> Handler:
    def handler(old: Object | None, new: Object | None, cause: str) -> None:
        for piece in (old, new):
            if piece is not None and _is_mirror(piece):
                meta = piece["metadata"]
                queue.add(Key(meta["namespace"], meta["labels"][SERVICE_NAME]), cause)

    return handler


def _is_mirror(piece: Object) -> bool:
    labels = piece["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY) == MANAGER and SERVICE_NAME in labels


def is_mirrored(endpoints: Object, service: Object | None) -> bool:
    meta = endpoints["metadata"]
    return (
        service is not None
        and not has_selector(service)
        and (meta.get("labels") or {}).get(SKIP) != "true"
        and LEADER not in (meta.get("annotations") or {})
    )


Shape = tuple[str, str]
"""(address type, ports as JSON)."""


def grouped(endpoints: Object) -> dict[Shape, list[Object]]:
    """The endpoints of each kind of slice."""
    groups: dict[Shape, list[Object]] = {}
    for subset in endpoints.get("subsets") or ():
        ports = json.dumps([_port(port) for port in subset.get("ports") or ()])
        taken = 0
        for field, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in subset.get(field) or ():
                taken += 1
                if taken > SUBSET_LIMIT:
                    break
                family = "IPv6" if ":" in address["ip"] else "IPv4"
                groups.setdefault((family, ports), []).append(_endpoint(address, ready))
    return groups


def _port(port: Object) -> Object:
    made: Object = {
        "name": port.get("name", ""), "port": port["port"], "protocol": port.get("protocol", "TCP"),
    }  # fmt: skip
    if port.get("appProtocol"):
        made["appProtocol"] = port["appProtocol"]
    return made


def _endpoint(address: Object, ready: bool) -> Object:
    made: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for field in ("hostname", "nodeName", "targetRef"):
        if address.get(field):
            made[field] = address[field]
    return made


class Mirroring:
    name = NAME

    def __init__(self, world: World) -> None:
        of = world.informers.of
        self._client = world.client_as(NAME)
        self._endpoints, self._services = of(kinds.ENDPOINTS), of(kinds.SERVICES)
        self._slices = of(kinds.ENDPOINT_SLICES)
        self._slices.add_index(BY_SERVICE, service_of_slice)

    async def reconcile(self, key: Key) -> float | None:
        endpoints = self._endpoints.get(key)
        present = [piece for piece in self._of(key) if _is_mirror(piece)]
        if endpoints is None or not is_mirrored(endpoints, self._services.get(key)):
            for piece in present:
                await self._delete(piece)
            return None
        groups = grouped(endpoints)
        by_shape: dict[Shape, list[Object]] = {shape: [] for shape in groups}
        for piece in present:
            shape = (piece["addressType"], json.dumps(piece.get("ports") or []))
            if shape in by_shape:
                by_shape[shape].append(piece)
            else:
                await self._delete(piece)
        for shape, wanted in groups.items():
            await self._pack(endpoints, shape, by_shape[shape], wanted)
        return None

    def _of(self, key: Key) -> Iterable[Object]:
        return tuple(self._slices.by_index(BY_SERVICE, f"{key.namespace}/{key.name}"))

    async def _pack(
        self, endpoints: Object, shape: Shape, present: list[Object], wanted: list[Object]
    ) -> None:
        packed = pack(present, wanted)
        meta = _meta(endpoints)
        for piece in packed.delete:
            await self._delete(piece)
        for piece, members in packed.update:
            await self._update(piece, meta, members)
        for piece in packed.keep:
            if not _carries(piece, meta):
                await self._update(piece, meta, piece["endpoints"])
        for members in packed.create:
            body = {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "generateName": f"{endpoints['metadata']['name']}-",
                    "namespace": endpoints["metadata"]["namespace"],
                    "ownerReferences": [owner_reference(endpoints)],
                    **meta,
                },
                "addressType": shape[0],
                "endpoints": members,
                "ports": json.loads(shape[1]),
            }
            await self._client.create(kinds.ENDPOINT_SLICES, body)

    async def _update(self, piece: Object, meta: Mapping[str, Object], members: list[Object]) -> None:
        body = piece | {"metadata": piece["metadata"] | meta, "endpoints": members}
        await self._client.update(kinds.ENDPOINT_SLICES, body)

    async def _delete(self, piece: Object) -> None:
        meta = piece["metadata"]
        try:
            await self._client.delete(
                kinds.ENDPOINT_SLICES, meta["name"], namespace=meta["namespace"], uid=meta["uid"]
            )
        except NotFound:
            return


def _meta(endpoints: Object) -> dict[str, Object]:
    """Labels and annotations of the Endpoints' slices."""
    meta = endpoints["metadata"]
    labels = {
        **(meta.get("labels") or {}),
        SERVICE_NAME: meta["name"],
        MANAGED_BY: MANAGER,
    }
    annotations = {
        name: value
        for name, value in (meta.get("annotations") or {}).items()
        if name not in (_LAST_APPLIED, _TRIGGER)
    }
    return {"labels": labels, "annotations": annotations} if annotations else {"labels": labels}


def _carries(piece: Object, meta: Mapping[str, Object]) -> bool:
    return all((piece["metadata"].get(part) or {}) == value for part, value in meta.items())
