"""Services, slices and a stand-in for what a node was told, for the tests of the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.api.objects import Object, key_of


def make_service(name: str = "web", *, ports: Sequence[Object] = ({"port": 80},), **spec: Any) -> Object:
    status = spec.pop("status", {})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": "127.200.0.1", "ports": list(ports), **spec},
        "status": status,
    }


def make_endpoint(
    ip: str,
    node: str = "n1",
    *,
    ready: bool = True,
    serving: bool = True,
    terminating: bool = False,
    **more: Any,
) -> Object:
    conditions = {"ready": ready, "serving": serving, "terminating": terminating}
    return {"addresses": [ip], "nodeName": node, "conditions": conditions, **more}


def make_slice(
    *endpoints: Object,
    service: str = "web",
    name: str = "web-1",
    port: int = 8080,
    port_name: str = "",
    protocol: str = "TCP",
) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": port_name, "port": port, "protocol": protocol}],
    }


class Told:
    """What all nodes are told, as `agents.clusterview` keeps it."""

    def __init__(self, *objects: Object) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.put(*objects)

    def put(self, *objects: Object) -> list[tuple[str, str, str]]:
        names = [(obj["kind"], *key_of(obj)) for obj in objects]
        self.objects.update(zip(names, objects, strict=True))
        return names

    def drop(self, obj: Object) -> list[tuple[str, str, str]]:
        name = (obj["kind"], *key_of(obj))
        del self.objects[name]
        return [name]

    def lookup(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.objects.get((kind, namespace, name))

    def of_kind(self, kind: str) -> list[Object]:
        return [self.objects[name] for name in sorted(self.objects) if name[0] == kind]
