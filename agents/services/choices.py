"""The endpoints of one port of a Service, and which of them a connection may go to.

Ready ones get connections; where there is none, those that still serve while they terminate. The hints of
EndpointSlices keep connections on the client's node or in its zone, as long as every ready endpoint has
hints of that sort and one of them is for this place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from cluster.api.objects import Object


@dataclass(frozen=True, slots=True)
class Backend:
    """One endpoint of one port of a Service."""

    ip: str
    port: int
    node: str
    for_nodes: frozenset[str] = frozenset()
    for_zones: frozenset[str] = frozenset()


@dataclass(slots=True)
class Choices:
    ready: list[Backend]
    leaving: list[Backend]
    """No longer ready, but still serving."""
    every: list[Backend] = field(init=False)
    """That connections may go to, wherever they come from."""
    targets: frozenset[tuple[str, int]] = field(init=False)
    hinted: bool = field(init=False)

    def __post_init__(self) -> None:
        self.every = self.ready or self.leaving
        self.targets = frozenset((backend.ip, backend.port) for backend in self.every)
        self.hinted = any(backend.for_nodes or backend.for_zones for backend in self.ready)

    def on(self, nodes: Collection[str]) -> list[Backend]:
        """Those on these nodes."""
        here = [backend for backend in self.ready if backend.node in nodes]
        return here or [backend for backend in self.leaving if backend.node in nodes]

    def near(self, node: str, zone: str) -> list[Backend]:
        """Those that the hints give to this place; all where the hints don't speak of it."""
        if not self.ready:
            return self.leaving
        for place, hints in ((node, _for_nodes), (zone, _for_zones)):
            if place and all(hints(backend) for backend in self.ready):
                near = [backend for backend in self.ready if place in hints(backend)]
                if near:
                    return near
        return self.ready


def _for_nodes(backend: Backend) -> frozenset[str]:
    return backend.for_nodes


def _for_zones(backend: Backend) -> frozenset[str]:
    return backend.for_zones


def choices_of(slices: Iterable[Object], port_name: str, protocol: str) -> Choices:
    ready: dict[Backend, None] = {}
    leaving: dict[Backend, None] = {}
    for port, endpoint in _endpoints(slices, port_name, protocol):
        backend = _backend(endpoint, port)
        if is_ready(endpoint):
            ready[backend] = None
        elif _is_leaving(endpoint):
            leaving[backend] = None
    return Choices(list(ready), [backend for backend in leaving if backend not in ready])


def anyone(
    slices: Iterable[Object], port_name: str, protocol: str, nodes: Collection[str] | None = None
) -> bool:
    """Whether there is a choice at all (on these nodes): after most changes the first endpoint tells."""
    return any(
        (is_ready(endpoint) or _is_leaving(endpoint)) and (nodes is None or endpoint.get("nodeName") in nodes)
        for _, endpoint in _endpoints(slices, port_name, protocol)
    )


def is_ready(endpoint: Object) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _is_leaving(endpoint: Object) -> bool:
    conditions = endpoint.get("conditions") or {}
    return bool(conditions.get("serving") and conditions.get("terminating"))


def _endpoints(slices: Iterable[Object], port_name: str, protocol: str) -> Iterable[tuple[int, Object]]:
    for piece in slices:
        if piece.get("addressType") != "IPv4":
            continue
        for port in piece.get("ports") or ():
            if (port.get("name") or "") == port_name and port.get("protocol", "TCP") == protocol:
                for endpoint in piece.get("endpoints") or ():
                    yield port.get("port") or 0, endpoint


def _backend(endpoint: Object, port: int) -> Backend:
    hints = endpoint.get("hints")
    ip, node = endpoint["addresses"][0], endpoint.get("nodeName") or ""
    if not hints:
        return Backend(ip, port, node)
    return Backend(
        ip,
        port,
        node,
        frozenset(hint["name"] for hint in hints.get("forNodes") or ()),
        frozenset(hint["name"] for hint in hints.get("forZones") or ()),
    )
