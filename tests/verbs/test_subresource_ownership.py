"""Writes through subresources: what each may change, and who comes to own it."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.api import errors, kinds
from cluster.api.client import PatchType
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.server.verbs import scale

DEPLOYMENT: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "nginx:1.27"}]},
        },
    },
}
POD: Object = {
    "metadata": {"name": "a", "labels": {"app": "web"}},
    "spec": {"containers": [{"name": "c", "image": "nginx:1.27"}], "nodeName": "n1"},
}


async def apply(
    api: Any, resource: Resource, name: str, config: Object, *, manager: str, force: bool = False, **rest: Any
) -> Object:
    call = api.call(resource, name, **rest)
    call.field_manager = manager
    whole = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}} | config
    return dict((await api.verbs.patch(call, PatchType.APPLY, whole, force=force)).object)


def owners(obj: Object) -> dict[tuple[str, str, str], Any]:
    return {
        (e["manager"], e["operation"], e.get("subresource", "")): e["fieldsV1"]
        for e in obj["metadata"]["managedFields"]
    }


async def test_an_apply_to_status_owns_the_status_alone(api: Any) -> None:
    """A spec and labels sent along are the deployment's own business."""
    await api.create(kinds.DEPLOYMENTS, DEPLOYMENT)
    condition = {"type": "Odd", "status": "True"}
    config = {
        "metadata": {"name": "web", "labels": {"a": "b"}, "annotations": {"x": "y"}},
        "spec": {"replicas": 9},
        "status": {"conditions": [condition]},
    }
    after = await apply(api, kinds.DEPLOYMENTS, "web", config, manager="m", subresource="status")
    assert after["spec"]["replicas"] == 2
    assert "labels" not in after["metadata"]
    (found,) = after["status"]["conditions"]
    assert found.items() >= condition.items()
    assert owners(after)["m", "Apply", "status"] == {
        "f:metadata": {"f:annotations": {"f:x": {}}},
        "f:status": {"f:conditions": {'k:{"type":"Odd"}': {".": {}, "f:status": {}, "f:type": {}}}},
    }


async def test_a_status_owner_is_another_than_the_same_manager_of_the_rest(api: Any) -> None:
    spec = {"spec": DEPLOYMENT["spec"]}
    await apply(api, kinds.DEPLOYMENTS, "web", spec, manager="m")
    status = {"status": {"replicas": 1}}
    await apply(api, kinds.DEPLOYMENTS, "web", status, manager="m", subresource="status")
    with pytest.raises(errors.Conflict) as caught:
        await apply(
            api, kinds.DEPLOYMENTS, "web", {"status": {"replicas": 2}}, manager="n", subresource="status"
        )
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "m" with subresource "status": .status.replicas'
    )
    after = await apply(api, kinds.DEPLOYMENTS, "web", spec, manager="m")
    assert after["status"]["replicas"] == 1
    assert [key for key in owners(after) if key[0] == "m"] == [("m", "Apply", ""), ("m", "Apply", "status")]


async def test_a_status_in_an_apply_to_the_object_is_nobodys(api: Any) -> None:
    after = await apply(
        api, kinds.DEPLOYMENTS, "web", {"spec": DEPLOYMENT["spec"], "status": {"replicas": 7}}, manager="m"
    )
    assert "replicas" not in after["status"]
    assert "f:status" not in owners(after)["m", "Apply", ""]


async def test_an_apply_to_a_status_of_what_is_not_there_is_not_found(api: Any) -> None:
    with pytest.raises(errors.NotFound, match=r'deployments\.apps "web" not found'):
        await apply(api, kinds.DEPLOYMENTS, "web", {"status": {}}, manager="m", subresource="status")


async def test_scaling_takes_the_replicas_from_their_owner(api: Any) -> None:
    """By update at once; by apply only if forced. The entry names the subresource and the object's version."""
    spec = {"spec": DEPLOYMENT["spec"]}
    await apply(api, kinds.DEPLOYMENTS, "web", spec, manager="m")
    call = api.call(kinds.DEPLOYMENTS, "web", subresource="scale")
    call.field_manager = "scaler"
    await api.verbs.update(call, {"metadata": {"name": "web"}, "spec": {"replicas": 5}})
    found = owners(await api.get(kinds.DEPLOYMENTS, "web"))
    assert found["scaler", "Update", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in found["m", "Apply", ""]["f:spec"]
    with pytest.raises(errors.Conflict, match=r'with "scaler" with subresource "scale" using apps/v1: '):
        await apply(api, kinds.DEPLOYMENTS, "web", spec, manager="m")


async def test_a_patched_scale_does_not_mind_other_writers(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the reading and the writing somebody else was there; only a version in the patch itself binds."""
    await api.create(kinds.DEPLOYMENTS, DEPLOYMENT)
    read, others = scale.get, [1, 2, 3]

    async def read_then_interrupted(*asked: Any) -> Any:
        view = await read(*asked)
        if others:
            await api.merge(kinds.DEPLOYMENTS, "web", {"metadata": {"labels": {"n": str(others.pop())}}})
        return view

    monkeypatch.setattr(scale, "get", read_then_interrupted)
    view = await api.merge(kinds.DEPLOYMENTS, "web", {"spec": {"replicas": 5}}, subresource="scale")
    assert (view["spec"]["replicas"], others) == (5, [])
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 1}}
    with pytest.raises(errors.Conflict, match="the object has been modified"):
        await api.merge(kinds.DEPLOYMENTS, "web", stale, subresource="scale")


async def test_a_scale_can_be_applied(api: Any) -> None:
    await apply(api, kinds.DEPLOYMENTS, "web", {"spec": DEPLOYMENT["spec"]}, manager="m")

    async def scale(replicas: int, force: bool = False) -> Object:
        call = api.call(kinds.DEPLOYMENTS, "web", subresource="scale")
        call.field_manager = "scaler"
        config = {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"replicas": replicas},
        }
        return dict((await api.verbs.patch(call, PatchType.APPLY, config, force=force)).object)

    with pytest.raises(errors.Conflict, match=r'conflict with "m": \.spec\.replicas'):
        await scale(4)
    view = await scale(4, force=True)
    assert (view["kind"], view["spec"]) == ("Scale", {"replicas": 4})
    found = owners(await api.get(kinds.DEPLOYMENTS, "web"))
    assert found["scaler", "Apply", "scale"] == {"f:spec": {"f:replicas": {}}}


@pytest.mark.parametrize("kind", [PatchType.MERGE, PatchType.STRATEGIC, PatchType.APPLY])
async def test_a_patch_through_a_subresource_changes_its_own_part_only(api: Any, kind: PatchType) -> None:
    """Neither labels nor images nor the status change on the way of a resize or an ephemeral container."""
    await api.create(kinds.PODS, POD)
    debugger = {"name": "d", "image": "busybox:1.36"}
    smuggled = {
        "metadata": {"name": "a", "namespace": "default", "labels": {"app": "other"}},
        "status": {"phase": "Failed"},
    }
    container = {"name": "c", "image": "nginx:1.28", "resources": {"requests": {"cpu": "1"}}}
    for subresource, spec in (
        ("ephemeralcontainers", {"ephemeralContainers": [debugger], "containers": [container]}),
        ("resize", {"containers": [container]}),
    ):
        call = api.call(kinds.PODS, "a", subresource=subresource)
        patch = {"apiVersion": "v1", "kind": "Pod", **smuggled, "spec": spec}
        await api.verbs.patch(call, kind, patch, force=kind is PatchType.APPLY)
    after = await api.get(kinds.PODS, "a")
    assert (after["metadata"]["labels"], after["status"]["phase"]) == ({"app": "web"}, "Pending")
    assert [c["image"] for c in after["spec"]["containers"]] == ["nginx:1.27"]
    assert after["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1"}
    assert [c["name"] for c in after["spec"]["ephemeralContainers"]] == ["d"]
    with pytest.raises(errors.MethodNotAllowed):
        await api.verbs.patch(api.call(kinds.PODS, "a", subresource="eviction"), PatchType.MERGE, {})
