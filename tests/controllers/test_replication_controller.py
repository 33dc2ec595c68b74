"""ReplicationControllers share ReplicaSet's reconciler; adoption and release by label."""

from __future__ import annotations

from controlled_cluster import Cluster, pod_template, simulate

from cluster.api import kinds
from cluster.api.objects import controller_of


def test_it_keeps_its_number_adopts_orphans_and_releases_what_no_longer_matches() -> None:
    async def scenario(cluster: Cluster) -> None:
        labels = {"app": "old"}
        template = pod_template(labels)
        orphan = {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]}
        await cluster.create(
            kinds.PODS, orphan | {"metadata": {"name": "orphan", "namespace": "default", "labels": labels}}
        )
        body = {
            "apiVersion": "v1",
            "kind": "ReplicationController",
            "metadata": {"name": "old", "namespace": "default"},
            "spec": {"replicas": 3, "selector": labels, "template": template},
        }
        await cluster.create(kinds.REPLICATION_CONTROLLERS, body)
        await cluster.settle()
        pods = await cluster.pods()
        assert {(controller_of(p) or {})["name"] for p in pods} == {"old"}
        assert len(pods) == 3
        await cluster.merge(kinds.PODS, "orphan", {"metadata": {"labels": {"app": "free"}}})
        await cluster.settle()
        assert controller_of(await cluster.get(kinds.PODS, "orphan")) is None
        status = (await cluster.get(kinds.REPLICATION_CONTROLLERS, "old"))["status"]
        assert (status["replicas"], status["readyReplicas"]) == (3, 3)
        await cluster.expect_quiet()

    simulate(scenario)
