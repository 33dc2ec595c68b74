"""Deployments on virtual time, over the real store and verbs."""

from __future__ import annotations

import pytest
from controlled_cluster import Cluster, deployment, simulate

from cluster.api import kinds
from cluster.api.objects import Object, condition_of
from cluster.reconcile.pods import is_active, is_ready


async def complete(cluster: Cluster, name: str = "web", **expected: int) -> Object | None:
    found = await cluster.get(kinds.DEPLOYMENTS, name)
    status, wanted = found.get("status", {}), found["spec"]["replicas"]
    counts = {status.get(n, 0) for n in ("replicas", "updatedReplicas", "availableReplicas")}
    settled = status.get("observedGeneration") == found["metadata"]["generation"]
    return found if settled and counts == {wanted} else None


def test_a_deployment_becomes_available_and_then_nothing_is_written() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=6))
        found = await cluster.eventually(lambda: complete(cluster))
        assert len(await cluster.pods()) == 6
        condition = condition_of(found, "Progressing")
        assert condition is not None
        assert condition["reason"] == "NewReplicaSetAvailable"
        assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_a_rolling_update_keeps_enough_available_and_never_too_many() -> None:
    """10 replicas, surge 25 % (3), unavailable 25 % (2): at least 8 ready, at most 13 active, always."""

    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment(replicas=10))
        await cluster.eventually(lambda: complete(cluster))
        counts: list[tuple[int, int]] = []

        def count(old: Object | None, new: Object | None, cause: str) -> None:
            pods = [p for p in cluster.world.informers.of(kinds.PODS).list() if is_active(p)]
            counts.append((sum(map(is_ready, pods)), len(pods)))

        end = cluster.world.informers.of(kinds.PODS).on_change(count)
        counts.clear()
        await cluster.merge(
            kinds.DEPLOYMENTS, "web", {"spec": {"template": deployment(image="nginx:2")["spec"]["template"]}}
        )
        await cluster.eventually(lambda: complete(cluster))
        end()
        assert min(ready for ready, _ in counts) >= 8
        assert max(active for _, active in counts) <= 13
        assert {p["spec"]["containers"][0]["image"] for p in await cluster.pods() if is_active(p)} == {
            "nginx:2"
        }
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_undo_brings_back_the_old_replica_set_with_a_new_revision() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment())
        for image in ("nginx:2", "nginx:1"):
            await cluster.eventually(lambda: complete(cluster))
            template = deployment(image=image)["spec"]["template"]
            await cluster.merge(kinds.DEPLOYMENTS, "web", {"spec": {"template": template}})
        await cluster.eventually(lambda: complete(cluster))
        await cluster.settle()
        sets = await cluster.list(kinds.REPLICA_SETS)
        revisions = {
            s["spec"]["template"]["spec"]["containers"][0]["image"]: s["metadata"]["annotations"]
            for s in sets
        }
        assert revisions["nginx:1"]["deployment.kubernetes.io/revision"] == "3"
        assert revisions["nginx:1"]["deployment.kubernetes.io/revision-history"] == "1"
        assert revisions["nginx:2"]["deployment.kubernetes.io/revision"] == "2"
        await cluster.expect_quiet()

    simulate(scenario)


def test_a_rollout_that_hangs_runs_out_of_time() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.refuse = lambda pod: pod["spec"]["containers"][0]["image"] == "bad"
        await cluster.create(kinds.DEPLOYMENTS, deployment(progressDeadlineSeconds=600))
        await cluster.eventually(lambda: complete(cluster))
        template = deployment(image="bad")["spec"]["template"]
        await cluster.merge(kinds.DEPLOYMENTS, "web", {"spec": {"template": template}})
        await cluster.settle(590)
        found = await cluster.get(kinds.DEPLOYMENTS, "web")
        assert (condition_of(found, "Progressing") or {})["reason"] == "ReplicaSetUpdated"
        await cluster.settle(30)
        found = await cluster.get(kinds.DEPLOYMENTS, "web")
        condition = condition_of(found, "Progressing") or {}
        assert (condition["status"], condition["reason"]) == ("False", "ProgressDeadlineExceeded")
        assert condition["message"].endswith("has timed out progressing.")
        await cluster.expect_quiet()

    simulate(scenario)


def test_recreate_has_no_old_pod_left_before_the_first_new_one() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment(strategy={"type": "Recreate"}))
        await cluster.eventually(lambda: complete(cluster))
        mixtures: list[set[str]] = []

        def note(old: Object | None, new: Object | None, cause: str) -> None:
            pods = cluster.world.informers.of(kinds.PODS).list()
            mixtures.append({p["spec"]["containers"][0]["image"] for p in pods})

        cluster.world.informers.of(kinds.PODS).on_change(note)
        template = deployment(image="nginx:2")["spec"]["template"]
        await cluster.merge(kinds.DEPLOYMENTS, "web", {"spec": {"template": template}})
        await cluster.eventually(lambda: complete(cluster))
        assert all(len(images) <= 1 for images in mixtures)
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_paused_it_scales_but_does_not_roll() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment())
        await cluster.eventually(lambda: complete(cluster))
        template = deployment(image="nginx:2")["spec"]["template"]
        await cluster.merge(
            kinds.DEPLOYMENTS, "web", {"spec": {"paused": True, "replicas": 5, "template": template}}
        )
        await cluster.settle(60)
        images = [p["spec"]["containers"][0]["image"] for p in await cluster.pods()]
        assert images == ["nginx:1"] * 5
        found = await cluster.get(kinds.DEPLOYMENTS, "web")
        assert (condition_of(found, "Progressing") or {})["reason"] == "DeploymentPaused"
        await cluster.merge(kinds.DEPLOYMENTS, "web", {"spec": {"paused": False}})
        await cluster.eventually(lambda: complete(cluster))
        await cluster.settle()
        await cluster.expect_quiet()

    simulate(scenario)


def test_history_is_kept_to_its_limit() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment(revisionHistoryLimit=2))
        for number in range(2, 7):
            await cluster.eventually(lambda: complete(cluster))
            template = deployment(image=f"nginx:{number}")["spec"]["template"]
            await cluster.merge(kinds.DEPLOYMENTS, "web", {"spec": {"template": template}})
        await cluster.eventually(lambda: complete(cluster))
        await cluster.settle()
        assert len(await cluster.list(kinds.REPLICA_SETS)) == 3

    simulate(scenario)


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_deleting_takes_sets_and_pods_along(policy: str) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment())
        await cluster.eventually(lambda: complete(cluster))
        await cluster.client.delete(kinds.DEPLOYMENTS, "web", namespace="default", propagation=policy)  # type: ignore[arg-type]

        async def empty() -> bool:
            return not [
                *await cluster.pods(),
                *await cluster.list(kinds.REPLICA_SETS),
                *await cluster.list(kinds.DEPLOYMENTS),
            ]

        await cluster.eventually(empty)
        await cluster.expect_quiet()

    simulate(scenario)


def test_deleting_with_orphan_leaves_them_and_a_successor_adopts() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENTS, deployment())
        await cluster.eventually(lambda: complete(cluster))
        pods = [p["metadata"]["uid"] for p in await cluster.pods()]
        await cluster.client.delete(kinds.DEPLOYMENTS, "web", namespace="default", propagation="Orphan")
        await cluster.settle()
        assert not await cluster.list(kinds.DEPLOYMENTS)
        (orphan,) = await cluster.list(kinds.REPLICA_SETS)
        assert not orphan["metadata"].get("ownerReferences")
        await cluster.create(kinds.DEPLOYMENTS, deployment())
        await cluster.eventually(lambda: complete(cluster))
        await cluster.settle()
        assert [p["metadata"]["uid"] for p in await cluster.pods()] == pods
        await cluster.expect_quiet()

    simulate(scenario)
