"""Claims and volumes, with the emulated provisioner and the real scheduler, on virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from controlled_cluster import Cluster, simulate
from staged_nodes import add_nodes, claim, pod, storage_class, volume

from cluster.api import kinds
from cluster.api.errors import Forbidden, NotFound
from cluster.api.objects import Object, condition_of
from cluster.controllers.volumes import plan
from cluster.controllers.volumes.plan import Reclaim
from cluster.reconcile.volumes import best_volume
from cluster.scheduler.configuration import DEFAULT

IMMEDIATE = {"volumeBindingMode": "Immediate", "allowVolumeExpansion": True}
WAITING = {"volumeBindingMode": "WaitForFirstConsumer"}
ALREADY = {"status": {"phase": "Available"}}


async def bound(cluster: Cluster, name: str) -> Object | None:
    found = await cluster.get(kinds.PERSISTENT_VOLUME_CLAIMS, name)
    return found if found["status"]["phase"] == "Bound" else None


async def gone(cluster: Cluster, resource: Any, name: str) -> bool:
    try:
        await cluster.get(resource, name)
    except NotFound:
        return True
    return False


def wanted(**spec: Any) -> Object:
    made = claim("data", storageClassName="", **spec)
    made["metadata"]["uid"] = "u1"
    return made


@pytest.mark.parametrize(
    ("spec", "volumes", "expected"),
    [
        pytest.param({}, [volume("a", storage="5Gi"), volume("b", storage="2Gi")], "b", id="smallest"),
        pytest.param({"storage": "3Gi"}, [volume("a", storage="2Gi")], None, id="too-small"),
        pytest.param({"modes": ("ReadWriteMany",)}, [volume("a")], None, id="access-mode"),
        pytest.param({}, [volume("a", storageClassName="fast")], None, id="class"),
        pytest.param({"volumeMode": "Block"}, [volume("a")], None, id="volume-mode"),
        pytest.param({"selector": {"matchLabels": {"disk": "ssd"}}}, [volume("a")], None, id="selector"),
        pytest.param(
            {}, [volume("a"), volume("b", claimRef={"namespace": "default", "name": "data"})], "b", id="meant"
        ),
        pytest.param({}, [volume("a", claimRef={"namespace": "other", "name": "data"})], None, id="taken"),
    ],
)  # fmt: skip
def test_which_volume_a_claim_gets(spec: Any, volumes: list[Object], expected: str | None) -> None:
    found = best_volume(wanted(**spec), [each | ALREADY for each in volumes])
    assert (found["metadata"]["name"] if found else None) == expected


@pytest.mark.parametrize(
    ("policy", "provisioned", "claimed", "expected"),
    [
        pytest.param("Retain", False, "", ("Released", Reclaim.NOTHING), id="retained"),
        pytest.param("Delete", True, "", ("Released", Reclaim.DELETE), id="deleted"),
        pytest.param("Delete", False, "", ("Failed", Reclaim.FAIL), id="nobody-can-delete"),
        pytest.param("Recycle", False, "", ("Released", Reclaim.RECYCLE), id="recycled"),
        pytest.param("Retain", False, "pv", ("Bound", Reclaim.NOTHING), id="in-use"),
        pytest.param("Retain", False, "another", ("Available", Reclaim.UNBIND), id="claim-went-elsewhere"),
    ],
)
def test_what_becomes_of_a_volume(policy: str, provisioned: bool, claimed: str, expected: Any) -> None:
    reference = {"namespace": "default", "name": "data", "uid": "u1"}
    body = volume("pv", persistentVolumeReclaimPolicy=policy, claimRef=reference)
    if provisioned:
        body["metadata"]["annotations"] = {"pv.kubernetes.io/provisioned-by": "kubemu.dev/emulated"}
    holder = wanted() if claimed else None
    if holder is not None:
        holder["spec"]["volumeName"] = claimed
    assert plan.next_of_volume(body, holder) == expected


def test_an_immediate_claim_is_provisioned_bound_grown_and_reclaimed() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.STORAGE_CLASSES, storage_class("fast", default=True, **IMMEDIATE))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim("data"))
        found = await cluster.eventually(lambda: bound(cluster, "data"))
        name = found["spec"]["volumeName"]
        assert name == f"pvc-{found['metadata']['uid']}"
        assert found["status"]["capacity"] == {"storage": "1Gi"}
        made = await cluster.get(kinds.PERSISTENT_VOLUMES, name)
        assert (made["status"]["phase"], made["spec"]["persistentVolumeReclaimPolicy"]) == ("Bound", "Delete")
        assert await cluster.events("ProvisioningSucceeded") == [f"Successfully provisioned volume {name}"]
        grown = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
        await cluster.merge(kinds.PERSISTENT_VOLUME_CLAIMS, "data", grown)
        await cluster.settle(1)
        found = await cluster.get(kinds.PERSISTENT_VOLUME_CLAIMS, "data")
        made = await cluster.get(kinds.PERSISTENT_VOLUMES, name)
        assert found["status"]["capacity"] == made["spec"]["capacity"] == {"storage": "3Gi"}
        await cluster.expect_quiet()
        await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIMS, "data", namespace="default")
        await cluster.eventually(lambda: gone(cluster, kinds.PERSISTENT_VOLUMES, name))

    simulate(scenario)


def test_a_class_that_forbids_it_lets_no_claim_grow() -> None:
    async def scenario(cluster: Cluster) -> None:
        fixed = {"volumeBindingMode": "Immediate"}
        await cluster.create(kinds.STORAGE_CLASSES, storage_class("fixed", default=True, **fixed))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim("data"))
        await cluster.eventually(lambda: bound(cluster, "data"))
        grown = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
        with pytest.raises(Forbidden, match="only dynamically provisioned pvc can be resized"):
            await cluster.merge(kinds.PERSISTENT_VOLUME_CLAIMS, "data", grown)

    simulate(scenario)


def test_a_waiting_claim_gets_its_volume_with_its_first_pod() -> None:
    """The volume of a local class binds the pod, and whoever uses the claim later, to the node."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 3)
        local = storage_class("local", default=True, parameters={"local": "true"}, **WAITING)
        await cluster.create(kinds.STORAGE_CLASSES, local)
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim("data"))
        await cluster.settle(5)
        found = await cluster.get(kinds.PERSISTENT_VOLUME_CLAIMS, "data")
        assert (found["status"]["phase"], found["spec"].get("volumeName")) == ("Pending", None)
        waiting = "waiting for first consumer to be created before binding"
        assert waiting in await cluster.events("WaitForFirstConsumer")
        await cluster.create(kinds.PODS, pod("first", claims=("data",)))
        await cluster.eventually(lambda: bound(cluster, "data"))
        await cluster.settle(2)
        where = (await cluster.get(kinds.PODS, "first"))["spec"]["nodeName"]
        for n in range(3):
            await cluster.create(kinds.PODS, pod(f"later-{n}", claims=("data",)))
        await cluster.settle(2)
        assert {p["spec"]["nodeName"] for p in await cluster.pods()} == {where}
        await cluster.expect_quiet()

    simulate(scenario, scheduler=DEFAULT)


def test_static_volumes_decide_where_their_pods_go() -> None:
    """Two pods, two local disks on different nodes, no provisioner: each pod goes to its disk."""

    async def scenario(cluster: Cluster) -> None:
        names = await add_nodes(cluster, 4)
        body = storage_class("disks", default=True, **WAITING) | {
            "provisioner": "kubernetes.io/no-provisioner"
        }
        await cluster.create(kinds.STORAGE_CLASSES, body)
        for name in names[:2]:
            host = {"key": "kubernetes.io/hostname", "operator": "In", "values": [name]}
            affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}}
            disk = volume(f"disk-{name}", storageClassName="disks", nodeAffinity=affinity)
            await cluster.create(kinds.PERSISTENT_VOLUMES, disk)
        for n in range(3):
            await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim(f"data-{n}"))
            await cluster.create(kinds.PODS, pod(f"db-{n}", claims=(f"data-{n}",)))
        await cluster.settle(20)
        where = [p["spec"].get("nodeName", "") for p in await cluster.pods()]
        assert sorted(where) == ["", *names[:2]]
        (left,) = [p for p in await cluster.pods() if not p["spec"].get("nodeName")]
        message = left["status"]["conditions"][0]["message"]
        assert "4 node(s) didn't find available persistent volumes to bind" in message

    simulate(scenario, scheduler=DEFAULT)


def test_what_is_in_use_stays_until_it_is_not() -> None:
    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1)
        await cluster.create(kinds.STORAGE_CLASSES, storage_class("fast", default=True, **IMMEDIATE))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim("data"))
        await cluster.create(kinds.PODS, pod("user", claims=("data",)))
        await cluster.settle(5)
        await cluster.client.delete(kinds.PERSISTENT_VOLUME_CLAIMS, "data", namespace="default")
        await cluster.settle(60)
        held = await cluster.get(kinds.PERSISTENT_VOLUME_CLAIMS, "data")
        assert held["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
        volume_name = held["spec"]["volumeName"]
        await cluster.client.delete(kinds.PERSISTENT_VOLUMES, volume_name)
        await cluster.create(kinds.PODS, pod("late", claims=("data",)))
        await cluster.settle(5)
        late = await cluster.get(kinds.PODS, "late")
        assert 'persistentvolumeclaim "data" is being deleted' in late["status"]["conditions"][0]["message"]
        await cluster.client.delete(kinds.PODS, "user", namespace="default")
        await cluster.eventually(lambda: gone(cluster, kinds.PERSISTENT_VOLUME_CLAIMS, "data"))
        await cluster.eventually(lambda: gone(cluster, kinds.PERSISTENT_VOLUMES, volume_name))

    simulate(scenario, scheduler=DEFAULT)


def test_one_pod_alone_may_use_read_write_once_pod() -> None:
    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 2)
        await cluster.create(kinds.STORAGE_CLASSES, storage_class("fast", default=True, **IMMEDIATE))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim("data", modes=("ReadWriteOncePod",)))
        for name in ("one", "two"):
            await cluster.create(kinds.PODS, pod(name, claims=("data",)))
        await cluster.settle(15)
        waiting = [p for p in await cluster.pods() if not p["spec"].get("nodeName")]
        assert len(waiting) == 1
        assert "ReadWriteOncePod access mode" in waiting[0]["status"]["conditions"][0]["message"]
        (running,) = [p for p in await cluster.pods() if p["spec"].get("nodeName")]
        await cluster.client.delete(kinds.PODS, running["metadata"]["name"], namespace="default")
        await cluster.settle(15)
        assert all(p["spec"].get("nodeName") for p in await cluster.pods())

    simulate(scenario, scheduler=DEFAULT)


def test_a_claim_without_volume_says_why_and_a_lost_volume_is_told() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim("plain", storageClassName=""))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim("odd", storageClassName="nowhere"))
        await cluster.settle(1)
        text = "no persistent volumes available for this claim and no storage class is set"
        assert await cluster.events("FailedBinding") == [text]
        assert await cluster.events("ProvisioningFailed") == [
            'storageclass.storage.k8s.io "nowhere" not found'
        ]
        await cluster.create(kinds.PERSISTENT_VOLUMES, volume("pv", persistentVolumeReclaimPolicy="Retain"))
        await cluster.eventually(lambda: bound(cluster, "plain"))
        await cluster.merge(kinds.PERSISTENT_VOLUMES, "pv", {"metadata": {"finalizers": None}})
        await cluster.client.delete(kinds.PERSISTENT_VOLUMES, "pv")
        await cluster.settle(1)
        lost = await cluster.get(kinds.PERSISTENT_VOLUME_CLAIMS, "plain")
        assert lost["status"]["phase"] == "Lost"
        assert len(await cluster.events("ClaimLost")) == 1

    simulate(scenario)


def test_an_ephemeral_volume_lives_and_dies_with_its_pod() -> None:
    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1)
        await cluster.create(kinds.STORAGE_CLASSES, storage_class("fast", default=True, **IMMEDIATE))
        template = {"metadata": {"labels": {"kind": "scratch"}}, "spec": claim("x")["spec"]}
        scratch = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}
        await cluster.create(kinds.PODS, pod("user", volumes=[scratch]))
        found = await cluster.eventually(lambda: _found(cluster, "user-scratch"))
        assert found["metadata"]["labels"] == {"kind": "scratch"}
        await cluster.settle(5)
        assert (await cluster.get(kinds.PODS, "user"))["spec"]["nodeName"] == "node-1"
        await cluster.client.delete(kinds.PODS, "user", namespace="default")
        await cluster.eventually(lambda: gone(cluster, kinds.PERSISTENT_VOLUME_CLAIMS, "user-scratch"))

    simulate(scenario, scheduler=DEFAULT)


async def _found(cluster: Cluster, name: str) -> Object | None:
    for each in await cluster.list(kinds.PERSISTENT_VOLUME_CLAIMS):
        if each["metadata"]["name"] == name:
            return each
    return None


def test_a_claim_says_whether_a_pod_refers_to_it_and_since_when_none_does() -> None:
    """Condition Unused: not before it is bound; a pending pod counts, a finished one doesn't."""

    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1)
        ended = {"job"}
        cluster.finish = lambda made: {"phase": "Succeeded"} if made["metadata"]["name"] in ended else None
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim("waiting", storageClassName="none"))
        await cluster.create(kinds.STORAGE_CLASSES, storage_class("fast", default=True, **IMMEDIATE))
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim("data"))
        await cluster.settle(2)

        async def said(name: str = "data") -> tuple[str, str, str]:
            found = condition_of(await cluster.get(kinds.PERSISTENT_VOLUME_CLAIMS, name), "Unused") or {}
            return found.get("status", ""), found.get("reason", ""), found.get("message", "")

        idle = ("True", "NoPodsUsingPVC", "No pods are currently referencing this PVC")
        used = ("False", "PodUsingPVC", "A pod is currently referencing this PVC")
        assert await said("waiting") == ("", "", "")
        assert await said() == idle
        await cluster.create(kinds.PODS, pod("huge", cpu="500", claims=("data",)))
        await cluster.settle(2)
        assert await said() == used
        await cluster.create(kinds.PODS, pod("job", claims=("data",)))
        await cluster.settle(5)
        await cluster.client.delete(kinds.PODS, "huge", namespace="default")
        await cluster.settle(5)
        assert (await cluster.get(kinds.PODS, "job"))["status"]["phase"] == "Succeeded"
        assert await said() == idle
        await cluster.expect_quiet()

    simulate(scenario, scheduler=DEFAULT)
