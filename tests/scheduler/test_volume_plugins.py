"""NodeVolumeLimits, VolumeZone, VolumeRestrictions and DynamicResources: whom they refuse, in which words."""

from __future__ import annotations

from typing import Any

import pytest
from scheduled import ZONE, Scene, node, pod

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.scheduler.plugins.dynamic_resources import outlook

DRIVER = "disks.example.com"
FULL = "0/1 nodes are available: 1 node(s) exceed max volume count."


def _claimed(*names: str) -> list[Object]:
    return [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]


def _claim(name: str, volume: str = "", **spec: Any) -> Object:
    meta = {"name": name, "namespace": "default", "annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
    return {
        "metadata": meta,
        "spec": {"volumeName": volume or f"pv-{name}", "accessModes": ["ReadWriteOnce"], **spec},
    }


def _volume(name: str, handle: str = "", labels: Any = None) -> Object:
    source = {"driver": DRIVER, "volumeHandle": handle or name}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"csi": source}}


def _csi_node(name: str, count: int | None) -> Object:
    driver: Object = {"name": DRIVER, "nodeID": name}
    if count is not None:
        driver["allocatable"] = {"count": count}
    return {"metadata": {"name": name}, "spec": {"drivers": [driver]}}


def _scene(*nodes: Object, labels: Any = None) -> Scene:
    scene = Scene(*nodes).having(kinds.PERSISTENT_VOLUME_CLAIMS, *(_claim(n) for n in "abc"))
    return scene.having(kinds.PERSISTENT_VOLUMES, *(_volume(f"pv-{n}", labels=labels) for n in "abc"))


@pytest.mark.parametrize(
    ("limit", "there", "wanted", "message"),
    [
        pytest.param(2, ["a"], ["b"], "", id="room for one more"),
        pytest.param(1, ["a"], ["b"], FULL, id="full"),
        pytest.param(1, ["a"], ["a"], "", id="a shared volume counts once"),
        pytest.param(2, ["a"], ["b", "c"], FULL, id="all of the pod's volumes count"),
        pytest.param(0, [], ["a"], FULL, id="none at all"),
        pytest.param(None, ["a"], ["b", "c"], "", id="a driver without a limit"),
    ],
)  # fmt: skip
def test_a_node_takes_only_so_many_volumes(
    limit: int | None, there: list[str], wanted: list[str], message: str
) -> None:
    scene = _scene(node("n")).having(kinds.CSI_NODES, _csi_node("n", limit))
    if there:
        scene.placed(pod("old", on="n", volumes=_claimed(*there)))
    decision = scene.schedule(pod("new", volumes=_claimed(*wanted)))
    assert (decision.node, "" if decision.node else decision.message()) == ("" if message else "n", message)


def test_limits_are_each_nodes_own() -> None:
    scene = _scene(node("n1"), node("n2")).having(kinds.CSI_NODES, _csi_node("n1", 1))
    scene.placed(pod("old", on="n1", volumes=_claimed("a")))
    assert scene.schedule(pod("new", volumes=_claimed("b"))).node == "n2"


@pytest.mark.parametrize("asks", [True, False])
def test_a_driver_can_keep_its_pods_off_nodes_without_it(asks: bool) -> None:
    spec = {"preventPodSchedulingIfMissing": asks}
    scene = _scene(node("n1"), node("n2")).having(
        kinds.CSI_DRIVERS, {"metadata": {"name": DRIVER}, "spec": spec}
    )
    wanting = pod("new", volumes=_claimed("a"))
    decision = scene.schedule(wanting)
    if not asks:
        assert decision.node
        return
    refused = f"0/2 nodes are available: 2 {DRIVER} CSI driver is not installed on the node."
    assert (decision.node, decision.message()) == ("", refused)
    scene.having(kinds.CSI_NODES, _csi_node("n2", None))
    assert scene.schedule(wanting).node == "n2"


@pytest.mark.parametrize(
    ("labels", "where"),
    [
        pytest.param({ZONE: "z1"}, "n1", id="its zone"),
        pytest.param({ZONE: "z1__z2"}, "n1 n2", id="one of its zones"),
        pytest.param({"failure-domain.beta.kubernetes.io/zone": "z2"}, "n2", id="by the old label"),
        pytest.param({"topology.kubernetes.io/region": "r"}, "", id="a region that no node has"),
        pytest.param({}, "n1 n2", id="anywhere"),
    ],
)
def test_a_volume_is_used_in_its_zone(labels: dict[str, str], where: str) -> None:
    scene = _scene(node("n1", zone="z1"), node("n2", zone="z2"), labels=labels)
    decision = scene.schedule(pod("p", volumes=_claimed("a")), explain=True)
    assert (
        sorted(decision.scores if decision.feasible > 1 else filter(None, [decision.node])) == where.split()
    )
    if not where:
        assert decision.message() == "0/2 nodes are available: 2 node(s) had no available volume zone."


def test_a_node_without_zones_takes_every_volume() -> None:
    scene = _scene(node("n"), labels={ZONE: "z1"})
    assert scene.schedule(pod("p", volumes=_claimed("a"))).node == "n"


GCE, GCE_RO = {"gcePersistentDisk": {"pdName": "d"}}, {"gcePersistentDisk": {"pdName": "d", "readOnly": True}}
EBS = {"awsElasticBlockStore": {"volumeID": "d", "readOnly": True}}
ISCSI = {"iscsi": {"iqn": "i", "targetPortal": "1.2.3.4", "lun": 0}}


def _rbd(image: str, *monitors: str) -> Object:
    return {"rbd": {"image": image, "pool": "rbd", "monitors": list(monitors)}}


@pytest.mark.parametrize(
    ("there", "wanted", "fits"),
    [
        pytest.param(GCE, GCE, False, id="a disk twice"),
        pytest.param(GCE_RO, GCE_RO, True, id="both only read"),
        pytest.param(GCE, GCE_RO, False, id="one writes"),
        pytest.param(EBS, EBS, False, id="never this kind"),
        pytest.param(ISCSI, ISCSI, False, id="iscsi"),
        pytest.param(_rbd("i", "m1", "m2"), _rbd("i", "m2"), False, id="the same Ceph"),
        pytest.param(_rbd("i", "m1"), _rbd("i", "m2"), True, id="another Ceph"),
        pytest.param(_rbd("i", "m1"), _rbd("j", "m1"), True, id="another image"),
        pytest.param(GCE, EBS, True, id="another kind"),
    ],
)
def test_a_disk_is_given_once_a_node(there: Object, wanted: Object, fits: bool) -> None:
    scene = Scene(node("n")).placed(pod("old", on="n", volumes=[{"name": "v", **there}]))
    decision = scene.schedule(pod("new", volumes=[{"name": "v", **wanted}]))
    assert bool(decision.node) is fits
    if not fits:
        assert decision.message() == "0/1 nodes are available: 1 node(s) had no available disk."


def _resource_claim(status: Any = None, **meta: Any) -> Object:
    request = {"name": "gpu", "exactly": {"deviceClassName": "gpus", "allocationMode": "ExactCount"}}
    return {
        "metadata": {"name": "mine", "namespace": "default", **meta},
        "spec": {"devices": {"requests": [request]}},
        "status": status or {},
    }


_CLASS = {"metadata": {"name": "gpus"}, "spec": {}}
_ON_N1 = {
    "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]
}
_OTHERS = [{"resource": "pods", "name": f"p{n}", "uid": f"u{n}"} for n in range(256)]


@pytest.mark.parametrize(
    ("claims", "classes", "expected"),
    [
        pytest.param([], [], '0/2 nodes are available: resourceclaim.resource.k8s.io "mine" not found.', id="no claim"),
        pytest.param(
            [_resource_claim()], [],
            "0/2 nodes are available: request gpu: device class gpus does not exist.", id="no class",
        ),
        pytest.param([_resource_claim()], [_CLASS], "0/2 nodes are available: 2 cannot allocate all claims.", id="no device"),
        pytest.param(
            [_resource_claim(deletionTimestamp="2026-01-01T00:00:00Z")], [_CLASS],
            '0/2 nodes are available: resourceclaim "mine" is being deleted.', id="going",
        ),
        pytest.param(
            [_resource_claim({"allocation": {}, "reservedFor": _OTHERS})], [_CLASS],
            "0/2 nodes are available: resourceclaim in use.", id="shared by too many",
        ),
        pytest.param([_resource_claim({"allocation": {"nodeSelector": _ON_N1}})], [_CLASS], "n1", id="allocated on a node"),
        pytest.param([_resource_claim({"allocation": {}})], [_CLASS], "n1", id="allocated anywhere"),
    ],
)  # fmt: skip
def test_resource_claims_that_are_not_allocated_are_refused(
    claims: list[Object], classes: list[Object], expected: str
) -> None:
    scene = Scene(node("n1"), node("n2")).having(kinds.RESOURCE_CLAIMS, *claims)
    scene.having(kinds.DEVICE_CLASSES, *classes)
    wanted = pod("p", resourceClaims=[{"name": "gpu", "resourceClaimName": "mine"}])
    decision = scene.schedule(wanted)
    assert (decision.node or decision.message()) == expected
    assert outlook(wanted) == "still not schedulable"


def test_a_claim_from_a_template_is_waited_for() -> None:
    wanted = pod("p", resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "t"}])
    decision = Scene(node("n")).schedule(wanted)
    assert decision.message() == ('0/1 nodes are available: pod "default/p": ResourceClaim not created yet.')
    assert outlook(wanted) == "no new claims to deallocate"
