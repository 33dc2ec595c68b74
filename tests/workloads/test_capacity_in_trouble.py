"""The controllers around nodes, volumes, autoscaling and what finishes, over many seeds of trouble.

While it lasts no two nodes have the same addresses for pods, and no volume that one node may have is attached
to two; afterwards everything is where it is used, what was finished is gone, and nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from controlled_cluster import Cluster, deployment, simulate
from staged_nodes import add_node, claim, pod, storage_class
from storms import RESTARTS, Storm, at_every_change, attempt, orphans
from workload_kinds import JOB, REPLICA_SET, REPLICATION_CONTROLLER

from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.objects import Object, condition_of, timestamp
from cluster.api.quantity import parse
from cluster.controllers.node_ttl import ANNOTATION
from cluster.reconcile.metrics import NoMetrics
from cluster.reconcile.pods import is_active, is_finished, is_ready

SEEDS = range(20)
TAINT = {"key": "example.com/broken", "effect": "NoExecute"}


class Load(NoMetrics):
    """300 requests per second, whoever serves them: 100 for each pod means three."""

    def __init__(self) -> None:
        self.cluster: Cluster | None = None

    async def pod_metric(self, namespace: str, metric: str, selector: str) -> Mapping[str, Fraction]:
        assert self.cluster is not None
        ready = [p for p in await self.cluster.pods(label_selector="app=web") if is_ready(p)]
        return {p["metadata"]["name"]: Fraction(300, len(ready)) for p in ready}


def _autoscaler() -> Object:
    target = {"type": "AverageValue", "averageValue": "100"}
    quick = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": 9,
            "metrics": [{"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": target}}],
            "behavior": quick,
        },
    }


class Yard:
    """A client that adds nodes, volumes and work."""

    def __init__(self, cluster: Cluster, storm: Storm) -> None:
        self.cluster, self.chance = cluster, storm.chance.fork("yard")
        self.client = cluster.client
        self.nodes = 0

    async def found(self) -> None:
        for _ in range(3):
            await self._node(0)
        attached = storage_class(
            "attached", default=True, parameters={"csi": "true"}, volumeBindingMode="Immediate",
            allowVolumeExpansion=True,
        )  # fmt: skip
        create = self.cluster.create
        await create(kinds.STORAGE_CLASSES, attached)
        await create(kinds.DEPLOYMENTS, deployment(replicas=6))
        await create(kinds.HORIZONTAL_POD_AUTOSCALERS, _autoscaler())
        for kind, name in ((REPLICATION_CONTROLLER, "rc"), (REPLICA_SET, "rs")):
            await create(kind.resource, kind.body(name, labels={"app": name}, replicas=2))

    async def act(self, number: int) -> None:
        deeds = (
            self._node, self._forget_node, self._taint, self._taint, self._job, self._stored,
            self._stored, self._grow, self._ephemeral, self._scale, self._mark, self._strip,
        )  # fmt: skip
        await attempt(self.chance.choice(deeds)(number))

    async def _node(self, number: int) -> None:
        self.nodes += 1
        await add_node(self.cluster, f"node-{self.nodes}")

    async def _forget_node(self, number: int) -> None:
        """One that has no pods: what becomes of pods without a node is another story."""
        used = {p["spec"].get("nodeName") for p in await self.cluster.pods()}
        idle = [n["metadata"]["name"] for n in await self.cluster.list(kinds.NODES, namespace="")]
        idle = [name for name in idle if name not in (*used, "node-1", "node-2", "node-3")]
        if idle:
            await self.client.delete(kinds.NODES, idle[-1])

    async def _taint(self, number: int) -> None:
        node = self.chance.choice(await self.cluster.list(kinds.NODES, namespace=""))
        taints = None if node["spec"].get("taints") else [TAINT]
        await self.cluster.merge(kinds.NODES, node["metadata"]["name"], {"spec": {"taints": taints}})

    async def _job(self, number: int) -> None:
        body = JOB.body(f"job-{number}", labels={"app": "job"}, ttlSecondsAfterFinished=60)
        body["spec"]["template"]["metadata"] = {}
        await self.cluster.create(kinds.JOBS, body)

    async def _stored(self, number: int) -> None:
        """A pod with a new claim, or with one that a pod elsewhere may have."""
        claims = await self.cluster.list(kinds.PERSISTENT_VOLUME_CLAIMS)
        if claims and self.chance.below(2):
            name = self.chance.choice(claims)["metadata"]["name"]
        else:
            name = f"data-{number}"
            await self.cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim(name))
        node = f"node-{1 + self.chance.below(3)}"
        body = pod(f"stored-{number}", claims=(name,), nodeName=node, tolerations=[{"operator": "Exists"}])
        await self.cluster.create(kinds.PODS, body)

    async def _grow(self, number: int) -> None:
        claims = await self.cluster.list(kinds.PERSISTENT_VOLUME_CLAIMS)
        if claims:
            name = self.chance.choice(claims)["metadata"]["name"]
            patch = {"spec": {"resources": {"requests": {"storage": f"{2 + number}Gi"}}}}
            await self.cluster.merge(kinds.PERSISTENT_VOLUME_CLAIMS, name, patch)

    async def _ephemeral(self, number: int) -> None:
        template = {"spec": claim("x")["spec"]}
        volume = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}
        node = f"node-{1 + self.chance.below(3)}"
        body = pod(f"eph-{number}", nodeName=node, volumes=[volume], tolerations=[{"operator": "Exists"}])
        await self.cluster.create(kinds.PODS, body)

    async def _scale(self, number: int) -> None:
        kind, name = self.chance.choice([(kinds.REPLICATION_CONTROLLERS, "rc"), (kinds.REPLICA_SETS, "rs")])
        await self.cluster.merge(kind, name, {"spec": {"replicas": self.chance.below(4)}})

    async def _mark(self, number: int) -> None:
        """An eviction that was announced and never came."""
        target = self.chance.choice(await self.cluster.pods())["metadata"]["name"]
        mark = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "lastTransitionTime": timestamp(self.cluster.world.clock.now()),
        }
        await self.client.patch(
            kinds.PODS, target, {"status": {"conditions": [mark]}}, namespace="default",
            kind=PatchType.STRATEGIC, subresource="status",
        )  # fmt: skip

    async def _strip(self, number: int) -> None:
        """A pod loses its labels, its owner lets it go and makes another."""
        pods = await self.cluster.pods(label_selector="app in (rc,rs)")
        if pods:
            name = self.chance.choice(pods)["metadata"]["name"]
            await self.cluster.merge(kinds.PODS, name, {"metadata": {"labels": None}})


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_is_where_it_is_used(seed: int) -> None:
    storm, load = Storm(seed), Load()

    async def scenario(cluster: Cluster) -> None:
        load.cluster = cluster
        ends = storm.chance.fork("ends")
        cluster.finish = lambda made: (
            {"phase": "Succeeded" if ends.below(3) else "Failed"}
            if made["metadata"].get("labels", {}).get("batch.kubernetes.io/job-name")
            else None
        )
        broken: list[Any] = []

        def addresses(nodes: list[Object]) -> None:
            held = Counter(n["spec"]["podCIDR"] for n in nodes if n["spec"].get("podCIDR"))
            broken.extend(each for each in held.items() if each[1] > 1)

        def attachments(found: list[Object]) -> None:
            held = Counter(a["spec"]["source"]["persistentVolumeName"] for a in found)
            broken.extend(each for each in held.items() if each[1] > 1)

        at_every_change(cluster, kinds.NODES, addresses)
        at_every_change(cluster, kinds.VOLUME_ATTACHMENTS, attachments)
        yard = Yard(cluster, storm)
        await yard.found()
        await storm.rage(cluster, 22, yard.act, restarts=RESTARTS)
        await cluster.settle(600)
        assert broken == []
        await _expect_nodes(cluster)
        await _expect_volumes(cluster)
        await _expect_work(cluster)
        assert orphans(cluster) == []

    simulate(scenario, seed, through=storm.client, metrics=load)


async def _expect_nodes(cluster: Cluster) -> None:
    nodes = {n["metadata"]["name"]: n for n in await cluster.list(kinds.NODES, namespace="")}
    registered = await cluster.list(kinds.CSI_NODES, namespace="")
    assert sorted(c["metadata"]["name"] for c in registered) == sorted(nodes)
    for node in nodes.values():
        assert node["spec"]["podCIDR"]
        assert node["metadata"]["annotations"][ANNOTATION] == "0"
    for each in await cluster.pods():
        node = nodes.get(each["spec"].get("nodeName", ""), {"spec": {}})
        if TAINT["key"] in [t["key"] for t in node["spec"].get("taints") or ()]:
            tolerated = any(
                t.get("operator") == "Exists" and "key" not in t for t in each["spec"]["tolerations"]
            )
            assert tolerated or is_finished(each), each["metadata"]["name"]


async def _expect_volumes(cluster: Cluster) -> None:
    """Each claim has its volume, as large as asked for; each used volume is on one node that uses it."""
    claims = {c["metadata"]["name"]: c for c in await cluster.list(kinds.PERSISTENT_VOLUME_CLAIMS)}
    users: dict[str, set[str]] = {}
    for each in await cluster.pods():
        for volume in each["spec"].get("volumes") or ():
            name = f"{each['metadata']['name']}-{volume['name']}"
            name = volume.get("persistentVolumeClaim", {"claimName": name})["claimName"]
            if name in claims and not is_finished(each) and each["spec"].get("nodeName"):
                bound = claims[name]["spec"]["volumeName"]
                users.setdefault(bound, set()).add(each["spec"]["nodeName"])
    for found in claims.values():
        assert found["status"]["phase"] == "Bound"
        wanted = found["spec"]["resources"]["requests"]["storage"]
        assert parse(found["status"]["capacity"]["storage"]) >= parse(wanted)
    attached = await cluster.list(kinds.VOLUME_ATTACHMENTS, namespace="")
    places = {a["spec"]["source"]["persistentVolumeName"]: a["spec"]["nodeName"] for a in attached}
    assert places.keys() == users.keys()
    assert all(places[name] in nodes for name, nodes in users.items())
    assert all(a["status"]["attached"] for a in attached)
    for node in await cluster.list(kinds.NODES, namespace=""):
        said = [v["name"].partition("^")[2] for v in node["status"].get("volumesAttached") or ()]
        assert sorted(said) == sorted(v for v, n in places.items() if n == node["metadata"]["name"])


async def _expect_work(cluster: Cluster) -> None:
    pods = await cluster.pods()
    assert (await cluster.get(kinds.DEPLOYMENTS, "web"))["spec"]["replicas"] == 3
    for kind, name in ((kinds.REPLICATION_CONTROLLERS, "rc"), (kinds.REPLICA_SETS, "rs")):
        owner = await cluster.get(kind, name)
        mine = [p for p in pods if (p["metadata"].get("labels") or {}).get("app") == name and is_active(p)]
        assert len(mine) == owner["spec"]["replicas"] == owner["status"].get("readyReplicas", 0)
    for job in await cluster.list(kinds.JOBS):
        assert not any(condition_of(job, end) for end in ("Complete", "Failed")), "its time to live is over"
    for each in pods:
        mark = condition_of(each, "DisruptionTarget")
        assert mark is None or mark["status"] == "False" or is_finished(each)
