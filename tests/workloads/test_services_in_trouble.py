"""The controllers around Services, namespaces, quotas and owners, over many seeds of trouble.

While it lasts no address is given twice; afterwards every derived object is what it is derived from, nothing
is left over, and nothing is written any more.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from controlled_cluster import Cluster, deployment, simulate
from storms import RESTARTS, Storm, at_every_change, attempt, orphans

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.reconcile.pods import is_ready

SEEDS = range(20)
PART = {"rbac.example.com/part": "true"}
MIRROR = "endpointslicemirroring-controller.k8s.io"


def _named(kind: str, version: str, name: str, namespace: str = "default", **fields: Any) -> Object:
    meta: Object = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    meta |= fields.pop("meta", {})
    return {"apiVersion": version, "kind": kind, "metadata": meta, **fields}


class Town:
    """A client that makes, changes and deletes whatever others are derived from."""

    def __init__(self, cluster: Cluster, storm: Storm) -> None:
        self.cluster, self.chance = cluster, storm.chance.fork("town")
        self.client = cluster.client

    async def found(self) -> None:
        create = self.cluster.create
        await create(kinds.DEPLOYMENTS, deployment(replicas=3))
        await create(kinds.INGRESS_CLASSES, _named(
            "IngressClass", "networking.k8s.io/v1", "kubemu", "", spec={"controller": "kubemu.dev/ingress"}
        ))  # fmt: skip
        await create(kinds.RESOURCE_QUOTAS, _named(
            "ResourceQuota", "v1", "q", spec={"hard": {"configmaps": "50", "services": "20"}}
        ))  # fmt: skip
        budget = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}
        await create(kinds.POD_DISRUPTION_BUDGETS, _named(
            "PodDisruptionBudget", "policy/v1", "b", spec=budget
        ))  # fmt: skip
        rule = {"clusterRoleSelectors": [{"matchLabels": PART}]}
        await create(kinds.CLUSTER_ROLES, _named(
            "ClusterRole", "rbac.authorization.k8s.io/v1", "whole", "", aggregationRule=rule, rules=[]
        ))  # fmt: skip

    async def act(self, number: int) -> None:
        deeds = (
            self._service, self._service, self._hand_made, self._space, self._vandalise, self._role,
            self._config_map, self._scale, self._ingress, self._range, self._evict, self._delete_service,
        )  # fmt: skip
        await attempt(self.chance.choice(deeds)(number))

    async def _service(self, number: int) -> None:
        kind = self.chance.choice(["ClusterIP", "LoadBalancer", "NodePort"])
        spec = {"type": kind, "selector": {"app": "web"}, "ports": [{"port": 80}]}
        await self.cluster.create(kinds.SERVICES, _named("Service", "v1", f"s-{number}", spec=spec))

    async def _delete_service(self, number: int) -> None:
        found = await self.cluster.list(kinds.SERVICES)
        if found:
            name = self.chance.choice(found)["metadata"]["name"]
            await self.client.delete(kinds.SERVICES, name, namespace="default")

    async def _hand_made(self, number: int) -> None:
        name = f"hand-{self.chance.below(2)}"
        subsets = [{"addresses": [{"ip": f"10.200.0.{number + 1}"}], "ports": [{"port": 80}]}]
        await attempt(
            self.cluster.create(kinds.SERVICES, _named("Service", "v1", name, spec={"ports": [{"port": 80}]}))
        )
        body = _named("Endpoints", "v1", name, subsets=subsets)
        if self.chance.below(2):
            await self.cluster.create(kinds.ENDPOINTS, body)
        else:
            await self.cluster.merge(kinds.ENDPOINTS, name, {"subsets": subsets})

    async def _space(self, number: int) -> None:
        name = f"space-{self.chance.below(3)}"
        if self.chance.below(2):
            await self.client.delete(kinds.NAMESPACES, name)
        else:
            await self.cluster.create(kinds.NAMESPACES, _named("Namespace", "v1", name, ""))
            await self.cluster.create(kinds.CONFIG_MAPS, _named("ConfigMap", "v1", "c", name))

    async def _vandalise(self, number: int) -> None:
        if self.chance.below(2):
            await self.client.delete(kinds.SERVICE_ACCOUNTS, "default", namespace="default")
        else:
            await self.cluster.merge(kinds.CONFIG_MAPS, "kube-root-ca.crt", {"data": {"ca.crt": "forged"}})

    async def _role(self, number: int) -> None:
        rules = [{"apiGroups": [""], "resources": [f"r{number}"], "verbs": ["get"]}]
        name = f"part-{self.chance.below(3)}"
        if self.chance.below(3) == 0:
            await self.client.delete(kinds.CLUSTER_ROLES, name)
        body = _named(
            "ClusterRole", "rbac.authorization.k8s.io/v1", name, "", meta={"labels": PART}, rules=rules
        )
        await self.cluster.create(kinds.CLUSTER_ROLES, body)

    async def _config_map(self, number: int) -> None:
        name = f"c-{self.chance.below(4)}"
        if self.chance.below(2):
            await self.client.delete(kinds.CONFIG_MAPS, name, namespace="default")
        else:
            owner = (await self.cluster.get(kinds.DEPLOYMENTS, "web"))["metadata"]["uid"]
            reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": owner}
            if self.chance.below(2):
                reference["uid"] = "gone"
            await self.cluster.create(
                kinds.CONFIG_MAPS, _named("ConfigMap", "v1", name, meta={"ownerReferences": [reference]})
            )

    async def _scale(self, number: int) -> None:
        await self.cluster.merge(kinds.DEPLOYMENTS, "web", {"spec": {"replicas": 1 + self.chance.below(5)}})

    async def _ingress(self, number: int) -> None:
        backend = {"service": {"name": "s", "port": {"number": 80}}}
        spec = {"ingressClassName": self.chance.choice(["kubemu", "other"]), "defaultBackend": backend}
        await self.cluster.create(
            kinds.INGRESSES, _named("Ingress", "networking.k8s.io/v1", f"i-{number}", spec=spec)
        )

    async def _range(self, number: int) -> None:
        name = f"range-{self.chance.below(2)}"
        if self.chance.below(2):
            await self.client.delete(kinds.SERVICE_CIDRS, name)
            return
        spec = {"cidrs": [f"10.12{name[-1]}.0.0/24"]}
        await self.cluster.create(
            kinds.SERVICE_CIDRS, _named("ServiceCIDR", "networking.k8s.io/v1", name, "", spec=spec)
        )

    async def _evict(self, number: int) -> None:
        pods = await self.cluster.pods()
        if pods:
            name = self.chance.choice(pods)["metadata"]["name"]
            body = _named("Eviction", "policy/v1", name)
            await self.client.create(kinds.PODS, body, namespace="default", subresource="eviction", name=name)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_derived_follows(seed: int) -> None:
    storm = Storm(seed)

    async def scenario(cluster: Cluster) -> None:
        town = Town(cluster, storm)
        await town.found()
        twice: list[tuple[str, int]] = []

        def check(services: list[Object]) -> None:
            held = Counter(address for s in services for address in (*_cluster_ips(s), *_outer_ips(s)))
            twice.extend(each for each in held.items() if each[1] > 1)

        at_every_change(cluster, kinds.SERVICES, check)
        await storm.rage(cluster, 28, town.act, restarts=RESTARTS)
        await cluster.settle(400)
        assert twice == []
        await _expect_endpoints(cluster)
        await _expect_addresses(cluster)
        await _expect_namespaces(cluster)
        await _expect_accounts(cluster)
        assert orphans(cluster) == []
        await cluster.expect_quiet(60)

    simulate(scenario, seed, through=storm.client)


def _cluster_ips(service: Object) -> list[str]:
    return [ip for ip in service["spec"].get("clusterIPs") or () if ip != "None"]


def _outer_ips(service: Object) -> list[str]:
    entries = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or ()
    return [entry["ip"] for entry in entries]


async def _expect_endpoints(cluster: Cluster) -> None:
    """Slices and Endpoints name the ready pods, mirrors the hand-made addresses; none of what is gone."""
    ready = sorted(p["status"]["podIP"] for p in await cluster.pods() if is_ready(p))
    services = {s["metadata"]["name"]: s for s in await cluster.list(kinds.SERVICES)}
    hand_made = {e["metadata"]["name"]: e for e in await cluster.list(kinds.ENDPOINTS)}
    by_service: dict[str, list[str]] = {}
    for piece in await cluster.list(kinds.ENDPOINT_SLICES):
        name = piece["metadata"]["labels"]["kubernetes.io/service-name"]
        addresses = [a for e in piece.get("endpoints") or () for a in e["addresses"]]
        by_service.setdefault(name, []).extend(addresses)
    for name, service in services.items():
        found = [
            a["ip"] for s in hand_made.get(name, {}).get("subsets") or () for a in s.get("addresses") or ()
        ]
        if service["spec"].get("selector"):
            assert sorted(by_service.pop(name)) == sorted(found) == ready, name
        else:
            assert sorted(by_service.pop(name, [])) == sorted(found), name
    assert by_service == {}


async def _expect_addresses(cluster: Cluster) -> None:
    services = await cluster.list(kinds.SERVICES)
    wanted = {ip: s["metadata"]["name"] for s in services for ip in _cluster_ips(s)}
    found = await cluster.list(kinds.IP_ADDRESSES, namespace="")
    assert {a["metadata"]["name"]: a["spec"]["parentRef"]["name"] for a in found} == wanted
    for service in services:
        assert len(_outer_ips(service)) == (service["spec"]["type"] == "LoadBalancer")
    for ingress in await cluster.list(kinds.INGRESSES):
        entries = (ingress.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
        assert bool(entries) == (ingress["spec"]["ingressClassName"] == "kubemu")
    for each in await cluster.list(kinds.SERVICE_CIDRS, namespace=""):
        assert each["status"]["conditions"][0]["type"] == "Ready"
        assert ("deletionTimestamp" in each["metadata"]) == (
            each["status"]["conditions"][0]["status"] == "False"
        )


async def _expect_namespaces(cluster: Cluster) -> None:
    """A living one has its account and its certificate; of a deleted one nothing is left."""
    living = {n["metadata"]["name"] for n in await cluster.list(kinds.NAMESPACES, namespace="")}
    for name in living:
        account = await cluster.get(kinds.SERVICE_ACCOUNTS, "default", name)
        certificate = await cluster.get(kinds.CONFIG_MAPS, "kube-root-ca.crt", name)
        assert (account["metadata"]["name"], certificate["data"]) == ("default", {"ca.crt": "CA"})
    left = {
        entry.key.namespace
        for resource in cluster.world.registry.all()
        if resource.namespaced and resource is not kinds.EVENTS
        for entry in cluster.store.list(resource.qualified)
    }
    assert left <= living


async def _expect_accounts(cluster: Cluster) -> None:
    """What is counted, summed up or allowed."""
    quota = (await cluster.get(kinds.RESOURCE_QUOTAS, "q"))["status"]["used"]
    counted = {
        "configmaps": str(len(await cluster.list(kinds.CONFIG_MAPS))),
        "services": str(len(await cluster.list(kinds.SERVICES))),
    }
    assert quota == counted
    roles = sorted(
        await cluster.list(kinds.CLUSTER_ROLES, namespace=""), key=lambda r: str(r["metadata"]["name"])
    )
    parts = [rule for r in roles if (r["metadata"].get("labels") or {}) == PART for rule in r["rules"]]
    (whole,) = [r for r in roles if r["metadata"]["name"] == "whole"]
    assert (whole.get("rules") or []) == parts
    status = (await cluster.get(kinds.POD_DISRUPTION_BUDGETS, "b"))["status"]
    ready = sum(map(is_ready, await cluster.pods()))
    assert (status["currentHealthy"], status["disruptionsAllowed"]) == (ready, max(0, ready - 2))
    assert "disruptedPods" not in status
