"""StatefulSets on virtual time, over the real store and verbs."""

from __future__ import annotations

from typing import Any

from controlled_cluster import Cluster, pod_template, simulate

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.reconcile.pods import is_active, is_ready


def stateful_set(image: str = "db:1", replicas: int = 3, **spec: Any) -> Object:
    labels = {"app": "db"}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": "db",
            "selector": {"matchLabels": labels},
            "template": pod_template(labels, image),
            **spec,
        },
    }


def claims(**spec: Any) -> Object:
    template = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    return {"volumeClaimTemplates": [template], **spec}


async def complete(cluster: Cluster, replicas: int = 3) -> bool:
    found = await cluster.get(kinds.STATEFUL_SETS, "db")
    status = found.get("status", {})
    return bool(
        status.get("observedGeneration") == found["metadata"]["generation"]
        and status.get("replicas") == status.get("availableReplicas") == replicas
        and status.get("updatedReplicas", 0) == replicas
        and status.get("currentRevision") == status.get("updateRevision")
    )


def watch_pods(cluster: Cluster) -> list[list[str]]:
    """What is active after each change: names, with ! where ready."""
    seen: list[list[str]] = []

    def note(old: Object | None, new: Object | None, cause: str) -> None:
        pods = [p for p in cluster.world.informers.of(kinds.PODS).list() if is_active(p)]
        names = sorted(p["metadata"]["name"] + ("!" if is_ready(p) else "") for p in pods)
        if not seen or seen[-1] != names:
            seen.append(names)

    cluster.world.informers.of(kinds.PODS).on_change(note)
    seen.clear()
    return seen


def test_ordered_start_waits_for_each_pod() -> None:
    async def scenario(cluster: Cluster) -> None:
        seen = watch_pods(cluster)
        await cluster.create(kinds.STATEFUL_SETS, stateful_set())
        await cluster.eventually(lambda: complete(cluster))
        assert seen == [
            ["db-0"],
            ["db-0!"],
            ["db-0!", "db-1"],
            ["db-0!", "db-1!"],
            ["db-0!", "db-1!", "db-2"],
            ["db-0!", "db-1!", "db-2!"],
        ]
        (pod, *_) = await cluster.pods()
        assert pod["spec"]["hostname"] == "db-0"
        assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "0"
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_parallel_starts_all_and_scaling_down_takes_the_highest() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.STATEFUL_SETS, stateful_set(podManagementPolicy="Parallel"))
        await cluster.settle(0.5)
        assert len(await cluster.pods()) == 3
        await cluster.eventually(lambda: complete(cluster))
        await cluster.merge(kinds.STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
        await cluster.eventually(lambda: complete(cluster, 1))
        await cluster.settle(5)
        assert [p["metadata"]["name"] for p in await cluster.pods()] == ["db-0"]

    simulate(scenario)


def test_an_update_goes_from_the_highest_down_to_the_partition() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.STATEFUL_SETS, stateful_set())
        await cluster.eventually(lambda: complete(cluster))
        template = stateful_set("db:2")["spec"]["template"]
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        await cluster.merge(
            kinds.STATEFUL_SETS, "db", {"spec": {"template": template, "updateStrategy": strategy}}
        )
        await cluster.settle(60)
        images = {p["metadata"]["name"]: p["spec"]["containers"][0]["image"] for p in await cluster.pods()}
        assert images == {"db-0": "db:1", "db-1": "db:2", "db-2": "db:2"}
        await cluster.expect_quiet(120)
        strategy["rollingUpdate"] = {"partition": 0}
        await cluster.merge(kinds.STATEFUL_SETS, "db", {"spec": {"updateStrategy": strategy}})
        await cluster.eventually(lambda: complete(cluster))
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_a_deleted_pod_comes_back_under_its_name_with_its_claim() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.STATEFUL_SETS, stateful_set(**claims()))
        await cluster.eventually(lambda: complete(cluster))
        before = await cluster.get(kinds.PERSISTENT_VOLUME_CLAIMS, "data-db-1")
        uid = (await cluster.get(kinds.PODS, "db-1"))["metadata"]["uid"]
        await cluster.client.delete(kinds.PODS, "db-1", namespace="default")
        await cluster.settle(10)
        pod = await cluster.get(kinds.PODS, "db-1")
        assert pod["metadata"]["uid"] != uid
        (volume,) = (v for v in pod["spec"]["volumes"] if v["name"] == "data")
        assert volume["persistentVolumeClaim"]["claimName"] == "data-db-1"
        after = await cluster.get(kinds.PERSISTENT_VOLUME_CLAIMS, "data-db-1")
        assert after["metadata"]["uid"] == before["metadata"]["uid"]

    simulate(scenario)


def test_retention_deletes_claims_with_the_pod_or_with_the_set() -> None:
    async def scenario(cluster: Cluster) -> None:
        policy = {"whenScaled": "Delete", "whenDeleted": "Delete"}
        spec = claims(persistentVolumeClaimRetentionPolicy=policy)
        await cluster.create(kinds.STATEFUL_SETS, stateful_set(**spec))
        await cluster.eventually(lambda: complete(cluster))
        await cluster.merge(kinds.STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
        await cluster.settle()
        found = await cluster.list(kinds.PERSISTENT_VOLUME_CLAIMS)
        left = [c["metadata"]["name"] for c in found if "deletionTimestamp" not in c["metadata"]]
        assert left == ["data-db-0"]
        await cluster.expect_quiet(60)
        await cluster.client.delete(kinds.STATEFUL_SETS, "db", namespace="default")
        await cluster.settle()
        found = await cluster.list(kinds.PERSISTENT_VOLUME_CLAIMS)
        assert all("deletionTimestamp" in c["metadata"] for c in found)

    simulate(scenario)
