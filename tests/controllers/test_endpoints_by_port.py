"""Endpoints of a Service with several ports, of pods that have one or the other."""

from __future__ import annotations

from controlled_cluster import Cluster, simulate

from cluster.api import kinds
from cluster.api.objects import Object


def pod(name: str, *ports: tuple[str, int]) -> Object:
    listed = [{"name": port, "containerPort": number} for port, number in ports]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "containers": [{"name": "c", "image": "x", "ports": listed}],
            "terminationGracePeriodSeconds": 0,
        },
    }


async def offered(cluster: Cluster) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Per pod its ports: as slices have it, as Endpoints have it."""
    by_slices: dict[str, list[int]] = {}
    for piece in await cluster.list(kinds.ENDPOINT_SLICES, label_selector="kubernetes.io/service-name=web"):
        for endpoint in piece.get("endpoints") or ():
            numbers = [port["port"] for port in piece["ports"]]
            by_slices.setdefault(endpoint["targetRef"]["name"], []).extend(numbers)
    old: dict[str, list[int]] = {}
    for subset in (await cluster.get(kinds.ENDPOINTS, "web")).get("subsets") or ():
        for address in subset.get("addresses") or ():
            old.setdefault(address["targetRef"]["name"], []).extend(p["port"] for p in subset["ports"])
    return _sorted(by_slices), _sorted(old)


def _sorted(found: dict[str, list[int]]) -> dict[str, list[int]]:
    return {name: sorted(found[name]) for name in sorted(found)}


def test_each_pod_is_listed_with_the_ports_that_it_has() -> None:
    async def scenario(cluster: Cluster) -> None:
        ports = [{"name": f"p{n}", "port": n, "targetPort": ("one", "two")[n - 1]} for n in (1, 2)]
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": ports},
        }
        await cluster.create(kinds.SERVICES, body)
        await cluster.settle(5)
        assert await offered(cluster) == ({}, {})
        steps = [
            (pod("pod1", ("one", 100)), {"pod1": [100]}),
            (pod("pod2", ("two", 101)), {"pod1": [100], "pod2": [101]}),
            ("pod1", {"pod2": [101]}),
            (pod("pod3", ("one", 102), ("two", 103)), {"pod2": [101], "pod3": [102, 103]}),
            ("pod2", {"pod3": [102, 103]}),
            ("pod3", {}),
        ]
        for step, expected in steps:
            if isinstance(step, str):
                await cluster.client.delete(kinds.PODS, step, namespace="default")
            else:
                await cluster.create(kinds.PODS, step)
            await cluster.settle(10)
            assert await offered(cluster) == (expected, expected)

    simulate(scenario)
