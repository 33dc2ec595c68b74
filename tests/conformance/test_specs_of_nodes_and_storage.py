"""What conformance asks of the API alone, for nodes, pods and storage."""

from __future__ import annotations

from typing import Any

import pytest
from conforming import Namespace, eventually, merged
from live_server import LiveServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

CORE = "api/v1"
SPEC = {
    "containers": [{"name": "c", "image": "x"}],
    "schedulerName": "nobody",
    "terminationGracePeriodSeconds": 0,
}


async def pod(space: Namespace, name: str = "p", code: int = 201, **spec: Any) -> Any:
    body = {"metadata": {"name": name, "labels": {"app": name}}, "spec": {**SPEC, **spec}}
    return await space.create(CORE, "pods", body, code)


async def test_sysctls_with_wrong_names_are_refused(space: Namespace) -> None:
    """Only the names that are none are told."""
    names = ("ends-", "kernel.shmmax", "well-formed", "dots..")
    sysctls = [{"name": name, "value": "1"} for name in names]
    refused = await pod(space, code=422, securityContext={"sysctls": sysctls})
    assert 'Invalid value: "ends-"' in refused["message"]
    assert 'Invalid value: "dots.."' in refused["message"]
    assert "well-formed" not in refused["message"]
    assert "kernel.shmmax" not in refused["message"]


async def test_a_runtime_class_that_was_deleted_is_refused(live: LiveServer, space: Namespace) -> None:
    group, name = "/apis/node.k8s.io/v1/runtimeclasses", f"{space.name}-gone"
    (await live.call("POST", group, {"metadata": {"name": name}, "handler": "h"})).expect(201)
    await pod(space, "before", runtimeClassName=name)
    (await live.call("DELETE", f"{group}/{name}")).expect(200)

    async def refused() -> bool:
        body = {"metadata": {"generateName": "after-"}, "spec": {**SPEC, "runtimeClassName": name}}
        return (await live.call("POST", space.path(CORE, "pods"), body)).status == 403

    await eventually(refused)


async def test_a_second_debugger_joins_the_first(live: LiveServer, space: Namespace) -> None:
    await pod(space)
    path = space.path(CORE, "pods", "p", "ephemeralcontainers")
    strategic = {"Content-Type": "application/strategic-merge-patch+json"}
    first = {"spec": {"ephemeralContainers": [{"name": "first", "image": "y"}]}}
    (await live.call("PATCH", path, first, headers=strategic)).expect(200)
    found = (await live.get(path)).expect(200)
    assert [c["name"] for c in found["spec"]["ephemeralContainers"]] == ["first"]
    found["spec"]["ephemeralContainers"].append({"name": "second", "image": "y"})
    (await live.call("PUT", path, found)).expect(200)
    names = [c["name"] for c in (await space.get(CORE, "pods", "p"))["spec"]["ephemeralContainers"]]
    assert names == ["first", "second"]


async def test_pods_with_inline_volumes_of_a_driver(live: LiveServer, space: Namespace) -> None:
    """They are stored, whether or not any node has the driver."""
    driver = f"{space.name}.example.com"
    spec = {"volumeLifecycleModes": ["Ephemeral"], "attachRequired": False, "podInfoOnMount": False}
    drivers = "/apis/storage.k8s.io/v1/csidrivers"
    made = (await live.call("POST", drivers, {"metadata": {"name": driver}, "spec": spec})).expect(201)
    assert made["spec"]["volumeLifecycleModes"] == ["Ephemeral"]
    for name, more in (
        ("a", {}),
        ("b", {"readOnly": True, "fsType": "ext4", "volumeAttributes": {"k": "v"}}),
    ):
        volumes = [{"name": "inline", "csi": {"driver": driver, **more}}]
        await pod(space, name, volumes=volumes)
        found = await space.get(CORE, "pods", name)
        source = next(v for v in found["spec"]["volumes"] if v["name"] == "inline")["csi"]
        assert source.items() >= {"driver": driver, **more}.items()
    patched = await space.merge(CORE, "pods", "a", {"metadata": {"labels": {"patched": "yes"}}})
    assert patched["metadata"]["labels"]["patched"] == "yes"
    names = [item["metadata"]["name"] for item in (await space.get(CORE, "pods"))["items"]]
    assert names == ["a", "b"]
    for name in names:
        await space.delete(CORE, "pods", name)
    (await live.call("DELETE", f"{drivers}/{driver}")).expect(200)


async def test_the_status_of_an_attachment_turns_and_turns_back(live: LiveServer, space: Namespace) -> None:
    base, name = "/apis/storage.k8s.io/v1/volumeattachments", f"{space.name}-a"
    spec = {"attacher": "example.com", "nodeName": "none", "source": {"persistentVolumeName": "none"}}
    (await live.call("POST", base, {"metadata": {"name": name}, "spec": spec})).expect(201)
    path = f"{base}/{name}"
    assert (await live.get(f"{path}/status")).expect(200)["status"] == {"attached": False}
    reply = await merged(live, f"{path}/status", {"status": {"attached": True}})
    assert reply.expect(200)["status"]["attached"] is True
    current = (await live.get(f"{path}/status")).expect(200)
    current["status"]["attached"] = False
    assert (await live.call("PUT", f"{path}/status", current)).expect(200)["status"]["attached"] is False
    (await live.call("DELETE", path)).expect(200)

    async def gone() -> bool:
        return (await live.get(path)).status == 404

    await eventually(gone)


async def test_the_life_of_a_volume_and_its_claim(live: LiveServer, space: Namespace) -> None:
    """Twice: deleted by name, and as a collection."""
    volumes, claims = "/api/v1/persistentvolumes", space.path(CORE, "persistentvolumeclaims")
    labels = {"mine": space.name}
    amounts = {"accessModes": ["ReadWriteOnce"], "storageClassName": space.name}
    query = f"?labelSelector=mine%3D{space.name}"
    for round_ in ("one", "two"):
        name = f"{space.name}-{round_}"
        source = {"driver": "driver.example.com", "volumeHandle": name}
        volume = {**amounts, "capacity": {"storage": "1Gi"}, "csi": source}
        volume["persistentVolumeReclaimPolicy"] = "Retain"
        (
            await live.call("POST", volumes, {"metadata": {"name": name, "labels": labels}, "spec": volume})
        ).expect(201)
        claim = {**amounts, "resources": {"requests": {"storage": "1Gi"}}, "volumeName": name}
        (
            await live.call("POST", claims, {"metadata": {"name": name, "labels": labels}, "spec": claim})
        ).expect(201)
        for base in (volumes, claims):
            items = (await live.get(base + query)).expect(200)["items"]
            assert [item["metadata"]["name"] for item in items] == [name]
            (await merged(live, f"{base}/{name}", {"metadata": {"labels": {"patched": "yes"}}})).expect(200)
            status = (await live.get(f"{base}/{name}/status")).expect(200)["status"]
            assert status["phase"] in ("Pending", "Available", "Bound")
        await _statuses(live, f"{volumes}/{name}", f"{claims}/{name}")
        for base in (claims, volumes):
            path = base + query if round_ == "two" else f"{base}/{name}"
            (await live.call("DELETE", path)).expect(200)

            async def gone(path: str = f"{base}/{name}") -> bool:
                return (await live.get(path)).status == 404

            await eventually(gone, f"{base}/{name} goes")


async def _statuses(live: LiveServer, volume: str, claim: str) -> None:
    condition = {"type": "Patched", "status": "True", "reason": "Tested", "message": "by a test"}
    reply = await merged(live, f"{claim}/status", {"status": {"conditions": [condition]}})
    found = reply.expect(200)["status"]["conditions"]
    assert [c["type"] for c in found] == ["Patched"]
    told = {"reason": "Tested", "message": "patched"}
    made = (await merged(live, f"{volume}/status", {"status": told})).expect(200)
    assert made["status"].items() >= told.items()
    for path, key, value in (
        (claim, "conditions", [{**condition, "type": "Updated"}]),
        (volume, "message", "Updated"),
    ):
        for _ in range(5):
            current = (await live.get(f"{path}/status")).expect(200)
            current["status"][key] = value
            reply = await live.call("PUT", f"{path}/status", current)
            if reply.status != 409:
                break
        answered = reply.expect(200)["status"][key]
        assert answered == value or answered[0]["type"] == "Updated"
