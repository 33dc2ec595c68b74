"""Pods and their policies as objects: what needs no node, from sig-node, sig-apps and sig-scheduling."""

from __future__ import annotations

from typing import Any

import pytest
from conforming import Namespace, eventually, merged, next_event, watching
from live_server import LiveServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

CORE, APPS = "api/v1", "apis/apps/v1"
CONTAINER = {"name": "c", "image": "x"}
SPEC = {"containers": [CONTAINER], "schedulerName": "nobody", "terminationGracePeriodSeconds": 0}


async def pod(space: Namespace, name: str = "p", code: int = 201, **spec: Any) -> Any:
    body = {"metadata": {"name": name, "labels": {"app": name}}, "spec": {**SPEC, **spec}}
    return await space.create(CORE, "pods", body, code)


async def test_the_lifecycle_of_a_pod(live: LiveServer, space: Namespace) -> None:
    """Pods should run through the lifecycle of Pods and PodStatus; be updated; activeDeadlineSeconds may
    shrink; the QOS class is set."""
    made = await pod(space)
    assert made["status"]["qosClass"] == "BestEffort"
    patched = await space.merge(CORE, "pods", "p", {"metadata": {"labels": {"x": "y"}}})
    assert patched["metadata"]["labels"]["x"] == "y"
    await space.merge(CORE, "pods", "p", {"spec": {"activeDeadlineSeconds": 30}})
    await space.merge(CORE, "pods", "p", {"spec": {"activeDeadlineSeconds": 5}})
    longer = await space.merge(CORE, "pods", "p", {"spec": {"activeDeadlineSeconds": 60}}, code=422)
    assert longer["details"]["causes"][0]["field"] == "spec.activeDeadlineSeconds"
    forbidden = await space.merge(CORE, "pods", "p", {"spec": {"hostname": "other"}}, code=422)
    assert "pod updates may not change fields other than" in forbidden["message"]
    condition = {"type": "Ready", "status": "False"}
    status = await merged(
        live, space.path(CORE, "pods", "p", "status"), {"status": {"conditions": [condition]}}
    )
    assert status.expect(200)["status"]["conditions"][0]["type"] == "Ready"
    async with watching(live, space.path(CORE, "pods")) as events:
        await next_event(events, "ADDED", "p")
        await space.delete(CORE, "pods", "p")
        await next_event(events, "DELETED", "p")


async def test_a_collection_of_pods_is_deleted(live: LiveServer, space: Namespace) -> None:
    """Pods should delete a collection of pods."""
    for name in ("a", "b", "c"):
        await pod(space, name)
    (await live.call("DELETE", space.path(CORE, "pods"))).expect(200)
    assert (await space.get(CORE, "pods"))["items"] == []


async def test_ephemeral_containers(live: LiveServer, space: Namespace) -> None:
    """Ephemeral Containers should update the ephemeral containers in an existing pod."""
    await pod(space)
    path = space.path(CORE, "pods", "p", "ephemeralcontainers")
    body = {"spec": {"ephemeralContainers": [{"name": "look", "image": "y"}]}}
    made = (await merged(live, path, body)).expect(200)
    assert made["spec"]["ephemeralContainers"][0]["name"] == "look"
    found = (await live.get(path)).expect(200)
    assert found["spec"]["ephemeralContainers"][0]["terminationMessagePolicy"] == "File"
    body["spec"]["ephemeralContainers"][0]["image"] = "z"
    (await merged(live, path, body)).expect(422)


async def test_bindings_and_gates(live: LiveServer, space: Namespace) -> None:
    """A pod is bound once; a gated one not before its gates are gone."""
    await pod(space, schedulingGates=[{"name": "example.com/wait"}])
    target = {"target": {"kind": "Node", "name": "nowhere"}}
    bind = space.path(CORE, "pods", "p", "binding")
    refused = await live.call("POST", bind, {"metadata": {"name": "p"}, **target})
    assert refused.status in (403, 409)
    await space.merge(CORE, "pods", "p", {"spec": {"schedulingGates": []}})
    (await live.call("POST", bind, {"metadata": {"name": "p"}, **target})).expect(201)
    assert (await space.get(CORE, "pods", "p"))["spec"]["nodeName"] == "nowhere"
    again = await live.call("POST", bind, {"metadata": {"name": "p"}, **target})
    assert again.expect(409)["reason"] == "Conflict"
    await live.call("DELETE", space.path(CORE, "pods", "p"), {"gracePeriodSeconds": 0})


async def test_runtime_classes(live: LiveServer, space: Namespace) -> None:
    """RuntimeClass should reject a Pod requesting a non-existent RuntimeClass, and add the overhead of one."""
    refused = await pod(space, code=403, runtimeClassName="none-such")
    assert refused["message"] == 'pods "p" is forbidden: pod rejected: RuntimeClass "none-such" not found'
    group = "/apis/node.k8s.io/v1/runtimeclasses"
    overhead = {"podFixed": {"cpu": "10m", "memory": "1Mi"}}
    name = f"{space.name}-fast"
    body = {"metadata": {"name": name}, "handler": "h", "overhead": overhead}
    body["scheduling"] = {"nodeSelector": {"fast": "yes"}}
    (await live.call("POST", group, body)).expect(201)
    made = await pod(space, runtimeClassName=name)
    assert made["spec"]["overhead"] == {"cpu": "10m", "memory": "1Mi"}
    assert made["spec"]["nodeSelector"] == {"fast": "yes"}
    wrong = await pod(space, "w", code=403, runtimeClassName=name, overhead={"cpu": "1"})
    assert "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead" in wrong["message"]
    await live.call("DELETE", f"{group}/{name}")


async def test_limit_ranges(live: LiveServer, space: Namespace) -> None:
    """LimitRange should create a LimitRange with defaults and ensure pod has those defaults applied."""
    limit = {
        "type": "Container",
        "min": {"cpu": "50m", "memory": "100Mi"},
        "max": {"cpu": "500m", "memory": "500Mi"},
        "default": {"cpu": "500m", "memory": "500Mi"},
        "defaultRequest": {"cpu": "100m", "memory": "200Mi"},
    }
    await space.create(CORE, "limitranges", {"metadata": {"name": "l"}, "spec": {"limits": [limit]}})
    made = await pod(space)
    assert made["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "500m", "memory": "500Mi"},
        "requests": {"cpu": "100m", "memory": "200Mi"},
    }
    small = [{**CONTAINER, "resources": {"requests": {"cpu": "10m"}}}]
    refused = await pod(space, "small", code=403, containers=small)
    assert "minimum cpu usage per Container is 50m, but request is 10m" in refused["message"]
    big = [{**CONTAINER, "resources": {"limits": {"cpu": "600m"}}}]
    refused = await pod(space, "big", code=403, containers=big)
    assert "maximum cpu usage per Container is 500m, but limit is 600m" in refused["message"]
    await space.merge(CORE, "limitranges", "l", {"spec": {"limits": [{**limit, "min": {"cpu": "9m"}}]}})
    await pod(space, "small", containers=small)
    await live.call("DELETE", space.path(CORE, "limitranges"))
    assert (await space.get(CORE, "limitranges"))["items"] == []


async def test_priority_classes(live: LiveServer, space: Namespace) -> None:
    """PriorityClass endpoints verify PriorityClass endpoints can be operated with different HTTP methods."""
    group = "/apis/scheduling.k8s.io/v1/priorityclasses"
    name = f"{space.name}-high"
    (await live.call("POST", group, {"metadata": {"name": name}, "value": 1000})).expect(201)
    assert (await pod(space, priorityClassName=name))["spec"]["priority"] == 1000
    refused = await merged(live, f"{group}/{name}", {"value": 5})
    assert refused.expect(422)["details"]["causes"][0]["field"] == "value"
    (await merged(live, f"{group}/{name}", {"description": "d"})).expect(200)
    missing = await pod(space, "q", code=403, priorityClassName="none")
    assert missing["message"] == 'pods "q" is forbidden: no PriorityClass with name none was found'
    await live.call("DELETE", f"{group}/{name}")


async def test_budgets_hold_back_evictions(live: LiveServer, space: Namespace) -> None:
    """DisruptionController should block an eviction until the PDB is updated to allow it."""
    policy = "apis/policy/v1"
    made = await pod(space)
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await merged(live, space.path(CORE, "pods", "p", "status"), {"status": status})
    spec = {"minAvailable": 1, "selector": {"matchLabels": made["metadata"]["labels"]}}
    await space.create(policy, "poddisruptionbudgets", {"metadata": {"name": "b"}, "spec": spec})

    async def observed() -> bool:
        found = await space.get(policy, "poddisruptionbudgets", "b")
        return bool(found.get("status", {}).get("currentHealthy") == 1)

    await eventually(observed)
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "p", "namespace": space.name},
    }
    path = space.path(CORE, "pods", "p", "eviction")
    refused = (await live.call("POST", path, eviction)).expect(429)
    assert refused["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert refused["details"]["causes"][0]["reason"] == "DisruptionBudget"
    await space.merge(policy, "poddisruptionbudgets", "b", {"spec": {"minAvailable": 0}})

    async def evicted() -> bool:
        return (await live.call("POST", path, eviction)).status == 201

    await eventually(evicted)


async def test_an_evicted_pod_says_why_it_goes(live: LiveServer, space: Namespace) -> None:
    """The condition DisruptionTarget, which failure policies of Jobs ask for; not with a dry run, nor for another."""
    made = await pod(space)
    held = {"metadata": {"finalizers": ["example.com/held"]}}
    await space.merge(CORE, "pods", "p", held)
    body: dict[str, Any] = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    path = space.path(CORE, "pods", "p", "eviction")
    (await live.call("POST", f"{path}?dryRun=All", body)).expect(201)
    other = {"preconditions": {"uid": "somebody-else"}}
    (await live.call("POST", path, {**body, "deleteOptions": other})).expect(409)
    assert "DisruptionTarget" not in str(await space.get(CORE, "pods", "p"))
    revision = (await space.get(CORE, "pods", "p"))["metadata"]["resourceVersion"]
    exactly = {"preconditions": {"uid": made["metadata"]["uid"], "resourceVersion": revision}}
    (await live.call("POST", path, {**body, "deleteOptions": exactly})).expect(201)
    found = await space.get(CORE, "pods", "p")
    assert "deletionTimestamp" in found["metadata"]
    (mark,) = [each for each in found["status"]["conditions"] if each["type"] == "DisruptionTarget"]
    assert (mark["status"], mark["reason"]) == ("True", "EvictionByEvictionAPI")
    assert mark["message"] == "Eviction API: evicting"
    await space.merge(CORE, "pods", "p", {"metadata": {"finalizers": None}})


SCALED = [
    ("replicationcontrollers", CORE, {"selector": {"app": "x"}}),
    ("replicasets", APPS, {"selector": {"matchLabels": {"app": "x"}}}),
    ("deployments", APPS, {"selector": {"matchLabels": {"app": "x"}}}),
    ("statefulsets", APPS, {"selector": {"matchLabels": {"app": "x"}}, "serviceName": "x"}),
]


@pytest.mark.parametrize(("plural", "version", "spec"), SCALED, ids=[entry[0] for entry in SCALED])
async def test_the_scale_subresource(
    live: LiveServer, space: Namespace, plural: str, version: str, spec: dict[str, Any]
) -> None:
    """… should get and update a … scale; Replace and Patch tests."""
    template = {"metadata": {"labels": {"app": "x"}}, "spec": SPEC}
    await space.create(
        version, plural, {"metadata": {"name": "s"}, "spec": {"replicas": 0, "template": template, **spec}}
    )
    path = space.path(version, plural, "s", "scale")
    scale = (await live.get(path)).expect(200)
    assert (scale["kind"], scale["apiVersion"], scale["spec"].get("replicas", 0)) == (
        "Scale",
        "autoscaling/v1",
        0,
    )
    scale["spec"]["replicas"] = 2
    (await live.call("PUT", path, scale)).expect(200)
    assert (await space.get(version, plural, "s"))["spec"]["replicas"] == 2
    patched = (await merged(live, path, {"spec": {"replicas": 4}})).expect(200)
    assert patched["spec"]["replicas"] == 4
    assert patched["status"]["selector"] == "app=x"


async def test_service_ranges(live: LiveServer) -> None:
    """ServiceCIDR: the range of the cluster is an object, and ready."""
    found = (await live.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes")).expect(200)
    assert found["spec"]["cidrs"] == ["10.96.0.0/16"]
    assert found["status"]["conditions"][0]["type"] == "Ready"


async def test_pod_security_by_namespace(live: LiveServer, space: Namespace) -> None:
    """A namespace that enforces the restricted standard refuses what breaks it, and warns where it says so."""
    path = f"/api/v1/namespaces/{space.name}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await merged(live, path, {"metadata": {"labels": labels}})
    refused = await pod(space, code=403)
    assert 'violates PodSecurity "restricted:latest"' in refused["message"]
    labels = {"pod-security.kubernetes.io/enforce": None, "pod-security.kubernetes.io/warn": "restricted"}
    await merged(live, path, {"metadata": {"labels": labels}})
    reply = await live.call("POST", space.path(CORE, "pods"), {"metadata": {"name": "p"}, "spec": SPEC})
    reply.expect(201)
    assert "would violate PodSecurity" in reply.headers["Warning"]
