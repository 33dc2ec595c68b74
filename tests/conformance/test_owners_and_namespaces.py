"""Garbage collection, namespaces, quotas: what follows from an object's owner and place."""

from __future__ import annotations

from typing import Any

import pytest
from conforming import Namespace, eventually, merged
from live_server import LiveServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

CORE, APPS = "api/v1", "apis/apps/v1"
SPEC = {"containers": [{"name": "c", "image": "x"}], "schedulerName": "nobody"}
PORT = {"port": 80}


def template(label: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": label}}, "spec": SPEC}


async def controller(space: Namespace, name: str, replicas: int = 2) -> Any:
    spec = {"replicas": replicas, "selector": {"app": name}, "template": template(name)}
    made = await space.create(CORE, "replicationcontrollers", {"metadata": {"name": name}, "spec": spec})
    await eventually(lambda: _count(space, "pods", f"app={name}", replicas), "the controller's pods")
    return made


async def _count(space: Namespace, plural: str, labels: str, wanted: int, version: str = CORE) -> bool:
    listed = await space.get(version, plural, query=f"?labelSelector={labels.replace('=', '%3D')}")
    return len(listed["items"]) == wanted


async def _gone(space: Namespace, version: str, plural: str, name: str) -> bool:
    return bool((await space.live.get(space.path(version, plural, name))).status == 404)


async def test_background_deletion_takes_the_pods(space: Namespace) -> None:
    """Garbage collector should delete pods created by rc when not orphaning."""
    await controller(space, "rc")
    await space.delete(CORE, "replicationcontrollers", "rc", {"propagationPolicy": "Background"})
    await eventually(lambda: _count(space, "pods", "app=rc", 0))


async def test_orphans_stay_without_their_owner(space: Namespace) -> None:
    """Garbage collector should orphan pods created by rc if delete options say so."""
    await controller(space, "rc")
    await space.delete(CORE, "replicationcontrollers", "rc", {"propagationPolicy": "Orphan"})
    await eventually(lambda: _gone(space, CORE, "replicationcontrollers", "rc"))
    pods = (await space.get(CORE, "pods", query="?labelSelector=app%3Drc"))["items"]
    assert len(pods) == 2
    assert all("ownerReferences" not in pod["metadata"] for pod in pods)


async def test_foreground_waits_for_dependents(space: Namespace) -> None:
    """Garbage collector should keep the rc around until all its pods are deleted if the deleteOptions says so."""
    await controller(space, "rc")
    for pod in (await space.get(CORE, "pods", query="?labelSelector=app%3Drc"))["items"]:
        path = pod["metadata"]["name"]
        await space.merge(CORE, "pods", path, {"metadata": {"finalizers": ["example.com/keep"]}})
    gone = await space.delete(CORE, "replicationcontrollers", "rc", {"propagationPolicy": "Foreground"})
    assert gone["metadata"]["finalizers"] == ["foregroundDeletion"]

    async def terminating() -> bool:
        pods = (await space.get(CORE, "pods", query="?labelSelector=app%3Drc"))["items"]
        return len(pods) == 2 and all("deletionTimestamp" in pod["metadata"] for pod in pods)

    await eventually(terminating)
    await space.get(CORE, "replicationcontrollers", "rc")
    for pod in (await space.get(CORE, "pods", query="?labelSelector=app%3Drc"))["items"]:
        await space.merge(CORE, "pods", pod["metadata"]["name"], {"metadata": {"finalizers": None}})
    await eventually(lambda: _gone(space, CORE, "replicationcontrollers", "rc"))


async def test_a_deployment_takes_or_leaves_its_replica_set(space: Namespace) -> None:
    """Garbage collector should delete RS created by deployment when not orphaning, and orphan it when asked."""
    for name, policy, left in (("a", "Background", 0), ("b", "Orphan", 1)):
        spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template(name)}
        await space.create(APPS, "deployments", {"metadata": {"name": name}, "spec": spec})
        await eventually(lambda name=name: _count(space, "replicasets", f"app={name}", 1, APPS))
        await space.delete(APPS, "deployments", name, {"propagationPolicy": policy})
        await eventually(lambda name=name: _gone(space, APPS, "deployments", name))
        await eventually(lambda name=name, left=left: _count(space, "replicasets", f"app={name}", left, APPS))


async def test_a_valid_second_owner_keeps_a_dependent(space: Namespace) -> None:
    """Garbage collector should not delete dependents that have both valid owner and owner that's waiting for
    dependents to be deleted."""
    await controller(space, "one")
    other = await controller(space, "two", 0)
    pods = (await space.get(CORE, "pods", query="?labelSelector=app%3Done"))["items"]
    reference = {"apiVersion": "v1", "kind": "ReplicationController", "name": "two"}
    shared = pods[0]["metadata"]
    owners = [*shared["ownerReferences"], {**reference, "uid": other["metadata"]["uid"]}]
    await space.merge(CORE, "pods", shared["name"], {"metadata": {"ownerReferences": owners}})
    await space.delete(CORE, "replicationcontrollers", "one", {"propagationPolicy": "Foreground"})
    await eventually(lambda: _gone(space, CORE, "replicationcontrollers", "one"))
    left = (await space.get(CORE, "pods", query="?labelSelector=app%3Done"))["items"]
    assert [pod["metadata"]["name"] for pod in left] == [shared["name"]]
    assert [owner["name"] for owner in left[0]["metadata"]["ownerReferences"]] == ["two"]


async def test_a_circle_of_owners_is_no_obstacle(space: Namespace) -> None:
    """Garbage collector should not be blocked by dependency circle."""
    made = {}
    for name in ("a", "b", "c"):
        made[name] = await space.create(CORE, "configmaps", {"metadata": {"name": name}})
    for name, owner in (("a", "c"), ("b", "a"), ("c", "b")):
        reference = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner,
            "uid": made[owner]["metadata"]["uid"],
        }
        reference |= {"blockOwnerDeletion": True, "controller": True}
        await space.merge(CORE, "configmaps", name, {"metadata": {"ownerReferences": [reference]}})
    await space.delete(CORE, "configmaps", "a", {"propagationPolicy": "Foreground"})
    for name in made:
        await eventually(lambda name=name: _gone(space, CORE, "configmaps", name), name)


async def test_a_namespace_takes_everything_along(live: LiveServer) -> None:
    """Namespaces should ensure that all pods and services are removed when a namespace is deleted; patch,
    update, status and finalize of a namespace."""
    space = await Namespace.new(live)
    path = f"/api/v1/namespaces/{space.name}"
    await space.create(
        CORE, "pods", {"metadata": {"name": "p"}, "spec": {**SPEC, "terminationGracePeriodSeconds": 0}}
    )
    await space.create(CORE, "services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    patched = await merged(live, path, {"metadata": {"labels": {"testLabel": "testValue"}}})
    assert patched.expect(200)["metadata"]["labels"]["testLabel"] == "testValue"
    condition = {
        "type": "StatusPatch",
        "status": "True",
        "reason": "E2E",
        "message": "Patched by an e2e test",
    }
    status = await merged(live, f"{path}/status", {"status": {"conditions": [condition]}})
    assert "StatusPatch" in [c["type"] for c in status.expect(200)["status"]["conditions"]]
    current = (await live.get(path)).expect(200)
    current["spec"]["finalizers"] = ["kubernetes", "example.com/keep"]
    finalized = (await live.call("PUT", f"{path}/finalize", current)).expect(200)
    assert finalized["spec"]["finalizers"] == ["kubernetes", "example.com/keep"]
    deleted = (await live.call("DELETE", path)).expect(200)
    assert deleted["status"]["phase"] == "Terminating"

    async def emptied() -> bool:
        found = (await live.get(path)).expect(200)
        return bool(found["spec"]["finalizers"] == ["example.com/keep"])

    await eventually(emptied)
    conditions = (await live.get(path)).json["status"]["conditions"]
    types = {c["type"]: c["status"] for c in conditions}
    assert types["NamespaceContentRemaining"] == "False"
    late = await live.call("POST", space.path(CORE, "configmaps"), {"metadata": {"name": "late"}})
    assert late.expect(403)["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    current = (await live.get(path)).json
    current["spec"]["finalizers"] = []
    await live.call("PUT", f"{path}/finalize", current)
    await eventually(lambda: _status(live, path, 404))


async def _status(live: LiveServer, path: str, code: int) -> bool:
    return (await live.get(path)).status == code


# --- quotas


async def quota(space: Namespace, hard: dict[str, str], name: str = "q", **spec: Any) -> None:
    await space.create(CORE, "resourcequotas", {"metadata": {"name": name}, "spec": {"hard": hard, **spec}})
    await eventually(lambda: _used(space, dict.fromkeys(hard), name), f"status of {name}")


async def _used(space: Namespace, wanted: dict[str, Any], name: str = "q") -> bool:
    """Whether status.used has these amounts (None: any)."""
    used = (await space.get(CORE, "resourcequotas", name)).get("status", {}).get("used", {})
    return all(key in used and value in (None, used[key]) for key, value in wanted.items())


LIVES: list[tuple[str, str, str, dict[str, Any], dict[str, str]]] = [
    ("configmap", CORE, "configmaps", {}, {"configmaps": "2", "count/configmaps": "2"}),
    ("secret", CORE, "secrets", {}, {"secrets": "1"}),
    (
        "persistent volume claim", CORE, "persistentvolumeclaims",
        {"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "",
                  "resources": {"requests": {"storage": "1Gi"}}}},
        {"persistentvolumeclaims": "1", "requests.storage": "1Gi"},
    ),
    ("pod", CORE, "pods", {"spec": {**SPEC, "terminationGracePeriodSeconds": 0}}, {"pods": "1", "count/pods": "1"}),
    (
        "replication controller", CORE, "replicationcontrollers",
        {"spec": {"replicas": 0, "selector": {"app": "x"}, "template": template("x")}},
        {"replicationcontrollers": "1"},
    ),
    (
        "replica set", APPS, "replicasets",
        {"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template("x")}},
        {"count/replicasets.apps": "1"},
    ),
    (
        "service", CORE, "services",
        {"spec": {"type": "NodePort", "ports": [{"port": 80}]}},
        {"services": "1", "services.nodeports": "1"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "version", "plural", "body", "used"), LIVES, ids=[life[0] for life in LIVES]
)
async def test_a_quota_captures_the_life_of(
    space: Namespace, kind: str, version: str, plural: str, body: dict[str, Any], used: dict[str, str]
) -> None:
    """ResourceQuota should create a ResourceQuota and capture the life of a …: counted, refused, released."""
    if plural == "configmaps":
        await eventually(lambda: _count(space, "configmaps", "", 1), "the root CA")
    await quota(space, used)
    await space.create(version, plural, {"metadata": {"name": "one"}, **body})
    await eventually(lambda: _used(space, used), str(used))
    refused = await space.create(version, plural, {"metadata": {"name": "two"}, **body}, code=403)
    assert "exceeded quota: q, requested:" in refused["message"]
    if plural == "persistentvolumeclaims":
        await space.merge(version, plural, "one", {"metadata": {"finalizers": None}})
    await space.live.call("DELETE", space.path(version, plural, "one"))
    before = {key: "1" if plural == "configmaps" else "0" for key in used}
    await eventually(lambda: _used(space, before), f"released: {before}")


async def test_a_quota_captures_what_a_pod_asks_for(space: Namespace) -> None:
    """ResourceQuota should create a ResourceQuota and capture the life of a pod: cpu, memory, ephemeral storage and an
    extended resource; what is left is not exceeded, a pod's own amounts stay as they are."""
    extended = "requests.example.com/dongle"
    await quota(
        space, {"pods": "5", "cpu": "1", "memory": "500Mi", "ephemeral-storage": "50Gi", extended: "3"}
    )

    def asking(name: str, cpu: str, memory: str, dongles: str = "2") -> dict[str, Any]:
        amounts = {"cpu": cpu, "memory": memory, "ephemeral-storage": "30Gi", "example.com/dongle": dongles}
        resources = {"requests": amounts, "limits": {"example.com/dongle": dongles}}
        spec = {**SPEC, "containers": [{"name": "c", "image": "x", "resources": resources}]}
        return {"metadata": {"name": name}, "spec": {**spec, "terminationGracePeriodSeconds": 0}}

    await space.create(CORE, "pods", asking("one", "500m", "252Mi"))
    used = {"pods": "1", "cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", extended: "2"}
    await eventually(lambda: _used(space, used), str(used))
    for cpu, memory, dongles in (("600m", "100Mi", "1"), ("100m", "100Mi", "2")):
        refused = await space.create(CORE, "pods", asking("two", cpu, memory, dongles), code=403)
        assert "exceeded quota: q, requested: " in refused["message"]
    pod = await space.get(CORE, "pods", "one")
    pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "100m"
    changed = await space.live.call("PUT", space.path(CORE, "pods", "one"), pod)
    assert "pod updates may not change fields other than" in changed.expect(422)["message"]
    assert await _used(space, used)
    await space.delete(CORE, "pods", "one")
    await eventually(lambda: _used(space, dict.fromkeys(used, "0")), "everything is given back")


async def test_a_quota_tells_services_by_their_ways_in(space: Namespace) -> None:
    """ResourceQuota should create a ResourceQuota and capture the life of a service: node ports, and a load balancer
    that has one too."""
    await quota(space, {"services": "5", "services.nodeports": "1", "services.loadbalancers": "1"})
    for name, kind in (("inside", "ClusterIP"), ("door", "NodePort")):
        await space.create(
            CORE, "services", {"metadata": {"name": name}, "spec": {"type": kind, "ports": [PORT]}}
        )
    balancer = {"metadata": {"name": "balancer"}, "spec": {"type": "LoadBalancer", "ports": [PORT]}}
    refused = await space.create(CORE, "services", balancer, code=403)
    assert "used: services.nodeports=1, limited: services.nodeports=1" in refused["message"]
    await eventually(
        lambda: _used(space, {"services": "2", "services.nodeports": "1", "services.loadbalancers": "0"})
    )
    await space.delete(CORE, "services", "door")
    await space.delete(CORE, "services", "inside")
    await eventually(lambda: _used(space, {"services": "0", "services.nodeports": "0"}))


async def test_quota_scopes(space: Namespace) -> None:
    """ResourceQuota should verify … terminating scopes, best effort scope, through scope selectors too."""
    scopes = {"t": ["Terminating"], "n": ["NotTerminating"], "b": ["BestEffort"], "g": ["NotBestEffort"]}
    for name, wanted in scopes.items():
        await quota(space, {"pods": "5"}, name, scopes=wanted)
    expression = {"scopeName": "PriorityClass", "operator": "In", "values": ["system-cluster-critical"]}
    await quota(space, {"pods": "5"}, "p", scopeSelector={"matchExpressions": [expression]})
    await space.create(CORE, "pods", {"metadata": {"name": "long"}, "spec": SPEC})
    bounded = {**SPEC, "activeDeadlineSeconds": 3600, "terminationGracePeriodSeconds": 0}
    bounded["containers"] = [{"name": "c", "image": "x", "resources": {"requests": {"cpu": "1m"}}}]
    await space.create(CORE, "pods", {"metadata": {"name": "short"}, "spec": bounded})
    for name, amount in (("t", "1"), ("n", "1"), ("b", "1"), ("g", "1"), ("p", "0")):
        await eventually(lambda name=name, amount=amount: _used(space, {"pods": amount}, name), name)
    high = {**SPEC, "priorityClassName": "system-cluster-critical"}
    await space.create(CORE, "pods", {"metadata": {"name": "high"}, "spec": high})
    await eventually(lambda: _used(space, {"pods": "1"}, "p"))


async def test_quota_updates_and_status(space: Namespace) -> None:
    """ResourceQuota should be able to update and delete, manage the lifecycle, apply changes to its status."""
    await quota(space, {"cpu": "1", "memory": "500Mi"})
    await space.merge(CORE, "resourcequotas", "q", {"spec": {"hard": {"cpu": "2"}}})

    async def followed() -> bool:
        status = (await space.get(CORE, "resourcequotas", "q"))["status"]
        return bool(status["hard"]["cpu"] == "2")

    await eventually(followed)
    await space.delete(CORE, "resourcequotas", "q")
    await eventually(lambda: _gone(space, CORE, "resourcequotas", "q"))
    no_request = {"metadata": {"name": "p"}, "spec": SPEC}
    await quota(space, {"cpu": "1"}, "c")
    refused = await space.create(CORE, "pods", no_request, code=403)
    assert refused["message"] == 'pods "p" is forbidden: failed quota: c: must specify cpu for: c'
