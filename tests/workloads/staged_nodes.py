"""Nodes, claims and pods for tests with the real scheduler, in few words."""

from __future__ import annotations

from typing import Any

from controlled_cluster import Cluster

from cluster.api import kinds
from cluster.api.objects import Object

HOST = "kubernetes.io/hostname"


async def add_nodes(cluster: Cluster, count: int, *, cpu: str = "4", **more: str) -> list[str]:
    """node-1 … node-<count>, ready, with labels that say their host name."""
    names = [f"node-{n}" for n in range(1, count + 1)]
    for name in names:
        await add_node(cluster, name, cpu=cpu, **more)
    return names


async def add_node(cluster: Cluster, name: str, *, cpu: str = "4", labels: Any = None, **more: str) -> None:
    meta = {"name": name, "labels": {HOST: name, **(labels or {})}}
    await cluster.create(kinds.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": meta})
    capacity = {"cpu": cpu, "memory": "8Gi", "pods": "110", **more}
    condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    status = {"capacity": capacity, "allocatable": capacity, "conditions": [condition]}
    await cluster.merge(kinds.NODES, name, {"spec": {"taints": None}})
    await cluster.merge(kinds.NODES, name, {"status": status}, "status")


def pod(name: str, *, cpu: str = "", claims: tuple[str, ...] = (), labels: Any = None, **spec: Any) -> Object:
    container: Object = {"name": "c", "image": "nginx"}
    if cpu:
        container["resources"] = {"requests": {"cpu": cpu}}
    volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": {"containers": [container], "volumes": volumes, **spec},
    }


def claim(
    name: str, *, storage: str = "1Gi", modes: tuple[str, ...] = ("ReadWriteOnce",), **spec: Any
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": list(modes), "resources": {"requests": {"storage": storage}}, **spec},
    }


def volume(
    name: str, *, storage: str = "1Gi", modes: tuple[str, ...] = ("ReadWriteOnce",), **spec: Any
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": storage},
            "accessModes": list(modes),
            "hostPath": {"path": f"/tmp/{name}"},
            **spec,
        },
    }


def storage_class(name: str, *, default: bool = False, **fields: Any) -> Object:
    meta: Object = {"name": name}
    if default:
        meta["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": meta,
        "provisioner": "kubemu.dev/emulated",
        **fields,
    }


def priority_class(name: str, value: int, **fields: Any) -> Object:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        **fields,
    }
