"""What conformance asks of every workload kind: scale and status subresources, collections, adoption and
release, a quota in the way, patches and replacements."""

from __future__ import annotations

from typing import Any

import pytest
from controlled_cluster import Cluster, simulate
from staged_nodes import add_nodes, pod
from workload_kinds import (
    ALL,
    DAEMON_SET,
    JOB,
    LABELS,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    SCALED,
    STATEFUL_SET,
    Kind,
    delete_collection,
    name_of,
)

from cluster.api import kinds
from cluster.api.client import PatchType
from cluster.api.errors import NotFound
from cluster.api.objects import Object, condition_of, controller_of


@pytest.mark.parametrize("kind", SCALED, ids=name_of)
def test_a_working_scale_subresource(kind: Kind) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kind.resource, kind.body(replicas=1))
        await cluster.settle(10)
        scale = await cluster.client.get(kind.resource, "w", namespace="default", subresource="scale")
        assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
        assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (1, 1)
        assert scale["status"]["selector"] == "app=w"
        scale = scale | {"spec": {"replicas": 2}}
        await cluster.client.update(kind.resource, scale, subresource="scale")
        assert (await cluster.get(kind.resource, "w"))["spec"]["replicas"] == 2
        patched = await cluster.merge(kind.resource, "w", {"spec": {"replicas": 4}}, "scale")
        assert patched["spec"]["replicas"] == 4
        await cluster.settle(20)
        assert len(await cluster.pods()) == 4
        scale = await cluster.client.get(kind.resource, "w", namespace="default", subresource="scale")
        assert scale["status"]["replicas"] == 4

    simulate(scenario)


@pytest.mark.parametrize("kind", ALL, ids=name_of)
def test_status_is_read_updated_and_patched_apart_from_spec(kind: Kind) -> None:
    """A condition that a client writes is in the answer and in the object; spec is left alone."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1)
        await cluster.create(kind.resource, kind.body())
        await cluster.settle(20)
        found = await cluster.client.get(kind.resource, "w", namespace="default", subresource="status")
        assert found["kind"] == kind.resource.kind
        condition = {
            "type": "StatusUpdate",
            "status": "True",
            "reason": "E2E",
            "message": "Set from e2e test",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status = found["status"] | {"conditions": [*(found["status"].get("conditions") or ()), condition]}
        body = found | {"status": status, "spec": found["spec"] | {"minReadySeconds": 7}}
        updated = await cluster.client.update(kind.resource, body, subresource="status")
        assert condition_of(updated, "StatusUpdate") is not None
        assert updated["spec"] == found["spec"]
        conditions = [condition | {"type": "StatusPatched"}]
        patched = await cluster.merge(kind.resource, "w", {"status": {"conditions": conditions}}, "status")
        assert condition_of(patched, "StatusPatched") is not None
        await cluster.settle(20)
        assert condition_of(await cluster.get(kind.resource, "w"), "StatusPatched") is not None

    simulate(scenario)


@pytest.mark.parametrize("kind", ALL, ids=name_of)
def test_a_collection_is_listed_and_deleted_by_label(kind: Kind) -> None:
    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1)
        for name in ("a", "b", "c"):
            labels = {"app": name, "e2e": "yes" if name != "c" else "no"}
            await cluster.create(kind.resource, kind.body(name, labels=labels))
        await cluster.settle(10)
        listed = await cluster.list(kind.resource, label_selector="e2e=yes")
        assert sorted(each["metadata"]["name"] for each in listed) == ["a", "b"]
        await delete_collection(cluster, kind.resource, "e2e=yes")
        await cluster.settle(60)
        assert [each["metadata"]["name"] for each in await cluster.list(kind.resource)] == ["c"]
        if kind.resource is not kinds.REPLICATION_CONTROLLERS and kind is not JOB:
            assert {p["metadata"]["labels"]["app"] for p in await cluster.pods()} == {"c"}

    simulate(scenario)


@pytest.mark.parametrize("kind", [REPLICA_SET, REPLICATION_CONTROLLER], ids=name_of)
def test_matching_pods_are_adopted_and_others_released(kind: Kind) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.PODS, pod("orphan", labels=LABELS))
        await cluster.create(kind.resource, kind.body(replicas=1))
        await cluster.settle(5)
        owner = await cluster.get(kind.resource, "w")
        adopted = await cluster.get(kinds.PODS, "orphan")
        assert (controller_of(adopted) or {})["uid"] == owner["metadata"]["uid"]
        assert len(await cluster.pods()) == 1
        await cluster.merge(kinds.PODS, "orphan", {"metadata": {"labels": {"app": "other"}}})
        await cluster.settle(5)
        assert controller_of(await cluster.get(kinds.PODS, "orphan")) is None
        assert len(await cluster.pods()) == 2
        await cluster.expect_quiet()

    simulate(scenario)


def test_a_job_adopts_its_orphans_and_releases_what_does_not_match() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.JOBS, JOB.body(parallelism=2))
        await cluster.settle(5)
        name = (await cluster.pods())[0]["metadata"]["name"]
        await cluster.merge(kinds.PODS, name, {"metadata": {"ownerReferences": None}})
        await cluster.settle(5)
        assert (controller_of(await cluster.get(kinds.PODS, name)) or {})["name"] == "w"
        stripped: Any = {"metadata": {"labels": None}}
        await cluster.merge(kinds.PODS, name, stripped)
        await cluster.settle(5)
        released = await cluster.get(kinds.PODS, name)
        assert controller_of(released) is None
        assert not released["metadata"].get("finalizers")

    simulate(scenario)


@pytest.mark.parametrize("kind", [REPLICA_SET, REPLICATION_CONTROLLER], ids=name_of)
def test_a_quota_in_the_way_is_a_condition_until_it_is_gone(kind: Kind) -> None:
    async def scenario(cluster: Cluster) -> None:
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "two", "namespace": "default"},
            "spec": {"hard": {"pods": "2"}},
        }
        await cluster.create(kinds.RESOURCE_QUOTAS, quota)
        await cluster.settle(2)
        await cluster.create(kind.resource, kind.body(replicas=3))
        await cluster.settle(10)
        found = await cluster.get(kind.resource, "w")
        condition = condition_of(found, "ReplicaFailure") or {}
        assert (condition["status"], condition["reason"]) == ("True", "FailedCreate")
        assert "exceeded quota: two, requested: pods=1, used: pods=2, limited: pods=2" in condition["message"]
        await cluster.merge(kind.resource, "w", {"spec": {"replicas": 2}})
        await cluster.settle(30)
        found = await cluster.get(kind.resource, "w")
        assert condition_of(found, "ReplicaFailure") is None
        assert found["status"]["readyReplicas"] == 2

    simulate(scenario)


@pytest.mark.parametrize("kind", ALL, ids=name_of)
def test_a_life_cycle_with_patch_and_replacement(kind: Kind) -> None:
    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1)
        await cluster.create(kind.resource, kind.body())
        await cluster.settle(10)
        await cluster.client.patch(
            kind.resource,
            "w",
            {"metadata": {"labels": {"stage": "patched"}}},
            namespace="default",
            kind=PatchType.STRATEGIC,
        )
        found = await cluster.get(kind.resource, "w")
        assert found["metadata"]["labels"] == LABELS | {"stage": "patched"}
        meta = found["metadata"] | {"annotations": {"by": "replace"}}
        replaced = await cluster.client.update(kind.resource, found | {"metadata": meta})
        assert replaced["metadata"]["annotations"]["by"] == "replace"
        await cluster.client.delete(kind.resource, "w", namespace="default")
        await cluster.settle(60)
        with pytest.raises(NotFound):
            await cluster.get(kind.resource, "w")

    simulate(scenario)


def test_a_revision_history_object_has_a_life_of_its_own() -> None:
    """ControllerRevision: made by its DaemonSet, patched, replaced, deleted, and made again."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1)
        await cluster.create(kinds.DAEMON_SETS, DAEMON_SET.body())
        await cluster.settle(10)
        (first,) = await cluster.list(kinds.CONTROLLER_REVISIONS)
        assert (controller_of(first) or {})["kind"] == "DaemonSet"
        name = first["metadata"]["name"]
        labels: Object = {"metadata": {"labels": {"state": "patched"}}}
        await cluster.merge(kinds.CONTROLLER_REVISIONS, name, labels)
        (found,) = await cluster.list(kinds.CONTROLLER_REVISIONS, label_selector="state=patched")
        assert found["revision"] == 1
        template = {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}
        await cluster.merge(kinds.DAEMON_SETS, "w", template)
        await cluster.settle(30)
        assert sorted(r["revision"] for r in await cluster.list(kinds.CONTROLLER_REVISIONS)) == [1, 2]
        await cluster.client.delete(kinds.CONTROLLER_REVISIONS, name, namespace="default")
        await cluster.settle(10)
        assert [r["revision"] for r in await cluster.list(kinds.CONTROLLER_REVISIONS)] == [2]
        await cluster.expect_quiet()

    simulate(scenario)


def test_scaling_halts_at_an_unhealthy_pod_and_goes_on_with_it() -> None:
    """StatefulSet: in order, up and down, no further than the first that isn't ready."""

    async def scenario(cluster: Cluster) -> None:
        unhealthy = True
        cluster.refuse = lambda made: unhealthy and made["metadata"]["name"] == "w-1"
        await cluster.create(kinds.STATEFUL_SETS, STATEFUL_SET.body(replicas=3))
        await cluster.settle(60)
        assert sorted(p["metadata"]["name"] for p in await cluster.pods()) == ["w-0", "w-1"]
        unhealthy = False
        await cluster.client.delete(kinds.PODS, "w-1", namespace="default")
        await cluster.settle(60)
        assert len(await cluster.pods()) == 3

    simulate(scenario)


def test_scaling_down_halts_while_pods_are_unhealthy() -> None:
    """StatefulSet: from the highest down; one that is unhealthy goes only when none before it is."""

    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.STATEFUL_SETS, STATEFUL_SET.body(replicas=3))
        await cluster.settle(60)

        async def turn(status: str) -> None:
            ready = {"status": {"conditions": [{"type": "Ready", "status": status}]}}
            strategic = PatchType.STRATEGIC
            for name in ("w-0", "w-1", "w-2"):
                await cluster.client.patch(
                    kinds.PODS, name, ready, namespace="default", kind=strategic, subresource="status"
                )

        await turn("False")
        await cluster.settle(5)
        await cluster.merge(kinds.STATEFUL_SETS, "w", {"spec": {"replicas": 0}}, "scale")
        await cluster.settle(60)
        assert sorted(p["metadata"]["name"] for p in await cluster.pods()) == ["w-0", "w-1", "w-2"]
        await turn("True")
        await cluster.settle(60)
        assert await cluster.pods() == []
        deleted = [message.split()[2] for message in await cluster.events("SuccessfulDelete")]
        assert deleted == ["w-2", "w-1", "w-0"]

    simulate(scenario)


def test_burst_scaling_does_not_wait_for_unhealthy_pods() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.refuse = lambda made: made["metadata"]["name"] == "w-0"
        body = STATEFUL_SET.body(replicas=3, podManagementPolicy="Parallel")
        await cluster.create(kinds.STATEFUL_SETS, body)
        await cluster.settle(10)
        assert len(await cluster.pods()) == 3
        await cluster.merge(kinds.STATEFUL_SETS, "w", {"spec": {"replicas": 0}}, "scale")
        await cluster.settle(30)
        assert await cluster.pods() == []

    simulate(scenario)
