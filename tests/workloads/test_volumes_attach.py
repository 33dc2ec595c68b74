"""CSI volumes are attached where their pods run, to one node at a time unless shared."""

from __future__ import annotations

from typing import Any

import pytest
from controlled_cluster import Cluster, simulate
from staged_nodes import add_nodes, claim, pod, storage_class, volume

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.controllers.volumes.attachments import (
    attachment,
    attachment_name,
    multi_attach,
    plan,
    unique_name,
)
from cluster.scheduler.configuration import DEFAULT

DRIVER = "emulated.kubemu.dev"


def _csi(name: str, *modes: str) -> Object:
    made = volume(name, modes=modes or ("ReadWriteOnce",), csi={"driver": "d", "volumeHandle": "h"})
    del made["spec"]["hostPath"]
    return made


def _attached(node: str, **meta: Any) -> Object:
    found = attachment(_csi("v"), node)
    return found | {"metadata": found["metadata"] | meta}


GOING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("modes", "users", "present", "expected"),
    [
        pytest.param((), ["a"], [], (["a"], [], []), id="first"),
        pytest.param((), ["a"], ["a"], ([], [], []), id="there"),
        pytest.param((), ["b"], ["a"], ([], ["a"], ["b"]), id="moves: detach first"),
        pytest.param((), ["a", "b"], ["a"], ([], [], ["b"]), id="two nodes, one may have it"),
        pytest.param((), ["a", "b"], [], (["a"], [], ["b"]), id="two at once"),
        pytest.param(("ReadWriteMany",), ["a", "b"], ["c"], (["a", "b"], ["c"], []), id="shared"),
        pytest.param((), [], ["a"], ([], ["a"], []), id="nobody left"),
    ],
)
def test_where_a_volume_goes(
    modes: tuple[str, ...], users: list[str], present: list[str], expected: Any
) -> None:
    found = plan(_csi("v", *modes), {name: [pod("p")] for name in users}, [_attached(n) for n in present])
    assert (
        list(found.attach),
        [d["spec"]["nodeName"] for d in found.detach],
        list(found.refused),
    ) == expected


def test_what_is_being_detached_is_not_detached_again() -> None:
    assert plan(_csi("v"), {}, [_attached("a", **GOING)]).detach == []


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        pytest.param([], "Volume is already exclusively attached to one node and can't be attached to another", id="unknown"),
        pytest.param([("q", "default"), ("o", "default")], "Volume is already used by pod(s) o, q", id="here"),
        pytest.param([("o", "x")], "Volume is already used by 1 pod(s) in different namespaces", id="elsewhere"),
        pytest.param(
            [("o", "x"), ("q", "default")],
            "Volume is already used by pod(s) q and 1 pod(s) in different namespaces", id="both",
        ),
    ],
)  # fmt: skip
def test_why_a_pod_waits(others: list[tuple[str, str]], expected: str) -> None:
    found = [{"metadata": {"name": name, "namespace": namespace}} for name, namespace in others]
    text = multi_attach(_csi("v"), pod("p"), found)
    assert text == f'Multi-Attach error for volume "v" {expected}'


def test_names() -> None:
    assert unique_name(_csi("v")) == "kubernetes.io/csi/d^h"
    assert attachment_name("d", "h", "n").startswith("csi-")
    assert len(attachment_name("d", "h", "n")) == 68


async def _attachments(cluster: Cluster) -> list[tuple[str, bool]]:
    found = await cluster.list(kinds.VOLUME_ATTACHMENTS, namespace="")
    return sorted((a["spec"]["nodeName"], a["status"]["attached"]) for a in found)


def test_a_volume_follows_its_pod_from_node_to_node() -> None:
    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 2)
        body = storage_class(
            "attached", default=True, parameters={"csi": "true"}, volumeBindingMode="Immediate"
        )
        await cluster.create(kinds.STORAGE_CLASSES, body)
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim("data"))
        await cluster.create(kinds.PODS, pod("first", claims=("data",), nodeName="node-1"))
        await cluster.settle(5)
        assert await _attachments(cluster) == [("node-1", True)]
        (made,) = await cluster.list(kinds.PERSISTENT_VOLUMES, namespace="")
        name = made["metadata"]["name"]
        assert made["spec"]["csi"]["driver"] == DRIVER
        node = await cluster.get(kinds.NODES, "node-1")
        unique = f"kubernetes.io/csi/{DRIVER}^{name}"
        assert node["status"]["volumesAttached"] == [{"name": unique, "devicePath": ""}]
        assert node["status"]["volumesInUse"] == [unique]
        assert await cluster.events("SuccessfulAttachVolume") == [
            f'AttachVolume.Attach succeeded for volume "{name}" '
        ]
        await cluster.create(kinds.PODS, pod("second", claims=("data",), nodeName="node-2"))
        await cluster.settle(5)
        assert await _attachments(cluster) == [("node-1", True)]
        assert await cluster.events("FailedAttachVolume") == [
            f'Multi-Attach error for volume "{name}" Volume is already used by pod(s) first'
        ]
        await cluster.client.delete(kinds.PODS, "first", namespace="default")
        await cluster.settle(10)
        assert await _attachments(cluster) == [("node-2", True)]
        assert "volumesAttached" not in (await cluster.get(kinds.NODES, "node-1"))["status"]
        await cluster.restart_controllers()
        await cluster.settle(5)
        assert len(await cluster.events("SuccessfulAttachVolume")) == 2, "said once for each"
        await cluster.expect_quiet()
        await cluster.client.delete(kinds.PODS, "second", namespace="default")
        await cluster.settle(5)
        assert await _attachments(cluster) == []

    simulate(scenario)


def test_a_driver_without_attaching_needs_none() -> None:
    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 1)
        driver = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIDriver",
            "metadata": {"name": DRIVER},
            "spec": {"attachRequired": False},
        }
        await cluster.create(kinds.CSI_DRIVERS, driver)
        body = storage_class("plain", default=True, parameters={"csi": "true"}, volumeBindingMode="Immediate")
        await cluster.create(kinds.STORAGE_CLASSES, body)
        await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, claim("data"))
        await cluster.create(kinds.PODS, pod("p", claims=("data",)))
        await cluster.settle(10)
        assert (await cluster.get(kinds.PODS, "p"))["spec"]["nodeName"] == "node-1"
        assert await _attachments(cluster) == []

    simulate(scenario, scheduler=DEFAULT)


def test_each_node_has_a_csi_node_that_goes_with_it() -> None:
    async def scenario(cluster: Cluster) -> None:
        await add_nodes(cluster, 2)
        await cluster.settle(2)
        found = await cluster.list(kinds.CSI_NODES, namespace="")
        assert [c["metadata"]["name"] for c in found] == ["node-1", "node-2"]
        assert found[0]["spec"]["drivers"][0]["name"] == DRIVER
        drivers = [{"name": "other", "nodeID": "n", "topologyKeys": []}]
        await cluster.merge(kinds.CSI_NODES, "node-1", {"spec": {"drivers": drivers}})
        await cluster.settle(2)
        names = [d["name"] for d in (await cluster.get(kinds.CSI_NODES, "node-1"))["spec"]["drivers"]]
        assert names == ["other", DRIVER]
        await cluster.client.delete(kinds.NODES, "node-2")
        await cluster.settle(5)
        assert [c["metadata"]["name"] for c in await cluster.list(kinds.CSI_NODES, namespace="")] == [
            "node-1"
        ]
        await cluster.expect_quiet()

    simulate(scenario)


def test_the_scheduler_counts_what_a_node_may_attach() -> None:
    """A limit of one for the driver on each node: two claims, two nodes; the third pod waits."""

    async def scenario(cluster: Cluster) -> None:
        names = await add_nodes(cluster, 2)
        await cluster.settle(2)
        limited = {"name": "d", "nodeID": "n", "topologyKeys": [], "allocatable": {"count": 1}}
        for name in names:
            present = (await cluster.get(kinds.CSI_NODES, name))["spec"]["drivers"]
            await cluster.merge(kinds.CSI_NODES, name, {"spec": {"drivers": [*present, limited]}})
        for number in range(3):
            source = {"driver": "d", "volumeHandle": f"h-{number}"}
            made = _csi(f"v-{number}")
            made["spec"]["csi"] = source
            await cluster.create(kinds.PERSISTENT_VOLUMES, made)
            wanted = claim(f"data-{number}", storageClassName="", volumeName=f"v-{number}")
            await cluster.create(kinds.PERSISTENT_VOLUME_CLAIMS, wanted)
        await cluster.settle(5)
        for number in range(3):
            await cluster.create(kinds.PODS, pod(f"p-{number}", claims=(f"data-{number}",)))
        await cluster.settle(5)
        placed = {p["metadata"]["name"]: p["spec"].get("nodeName", "") for p in await cluster.pods()}
        assert sorted(placed.values()) == ["", *names]
        (waits,) = [name for name, node in placed.items() if not node]
        condition = (await cluster.get(kinds.PODS, waits))["status"]["conditions"][0]
        assert "2 node(s) exceed max volume count" in condition["message"]
        (gone,) = [name for name, node in placed.items() if node == "node-1"]
        await cluster.client.delete(kinds.PODS, gone, namespace="default")
        await cluster.settle(30)
        assert (await cluster.get(kinds.PODS, waits))["spec"]["nodeName"] == "node-1"

    simulate(scenario, scheduler=DEFAULT)
