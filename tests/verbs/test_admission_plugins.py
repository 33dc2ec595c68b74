"""Each plugin by what it changes or refuses, in Kubernetes' words."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.api import errors, kinds
from cluster.api.objects import Object


def pod(name: str = "p", resources: Object | None = None, **spec: Any) -> Object:
    container = {"name": "c", "image": "i", "resources": resources or {}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


async def test_pod_runs_as_the_default_account_with_its_token(api: Any) -> None:
    made = (await api.create(kinds.PODS, pod()))["spec"]
    assert made["serviceAccountName"] == "default"
    volume = made["volumes"][0]
    assert volume["name"].startswith("kube-api-access-")
    assert len(volume["name"]) == len("kube-api-access-") + 5
    assert [next(iter(s)) for s in volume["projected"]["sources"]] == [
        "serviceAccountToken", "configMap", "downwardAPI",
    ]  # fmt: skip
    mount = made["containers"][0]["volumeMounts"][0]
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    plain = await api.create(kinds.PODS, pod("q", automountServiceAccountToken=False))
    assert "volumes" not in plain["spec"]


async def test_unknown_account_is_refused(api: Any) -> None:
    with pytest.raises(
        errors.Forbidden, match='error looking up service account default/x: serviceaccount "x" not found'
    ):
        await api.create(kinds.PODS, pod(serviceAccountName="x"))


async def test_pods_tolerate_sick_nodes_for_a_while(api: Any) -> None:
    own = [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}]
    made = await api.create(kinds.PODS, pod(tolerations=own))
    seconds = [(t["key"], t.get("tolerationSeconds")) for t in made["spec"]["tolerations"]]
    assert seconds == [("node.kubernetes.io/not-ready", None), ("node.kubernetes.io/unreachable", 300)]


async def test_priority_comes_from_the_class(api: Any) -> None:
    made = await api.create(kinds.PODS, pod(priorityClassName="system-node-critical"))
    assert made["spec"]["priority"] == 2_000_001_000
    assert (await api.create(kinds.PODS, pod("q")))["spec"]["priority"] == 0
    with pytest.raises(errors.Forbidden, match="no PriorityClass with name nope was found"):
        await api.create(kinds.PODS, pod("r", priorityClassName="nope"))


async def test_new_node_is_tainted(api: Any) -> None:
    node = await api.create(kinds.NODES, {"metadata": {"name": "n"}})
    assert node["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]


async def test_quota_counts_and_refuses(api: Any) -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1", "requests.cpu": "1"}}}
    await api.create(kinds.RESOURCE_QUOTAS, quota)
    status = {"status": {"hard": quota["spec"]["hard"], "used": {"pods": "0", "requests.cpu": "0"}}}
    with pytest.raises(errors.Forbidden, match=r"status unknown for quota: q, resources: pods,requests.cpu"):
        await api.create(kinds.PODS, pod(resources={"requests": {"cpu": "1"}}))
    await api.merge(kinds.RESOURCE_QUOTAS, "q", status, subresource="status")
    with pytest.raises(errors.Forbidden, match=r"failed quota: q: must specify requests.cpu for: c"):
        await api.create(kinds.PODS, pod())
    await api.create(kinds.PODS, pod(resources={"requests": {"cpu": "600m"}}))
    used = (await api.get(kinds.RESOURCE_QUOTAS, "q"))["status"]["used"]
    assert used == {"pods": "1", "requests.cpu": "600m"}
    with pytest.raises(errors.Forbidden) as caught:
        await api.create(kinds.PODS, pod("r", resources={"requests": {"cpu": "600m"}}))
    assert caught.value.message == (
        'pods "r" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=600m, '
        "used: pods=1,requests.cpu=600m, limited: pods=1,requests.cpu=1"
    )


async def test_limit_range_fills_in_and_bounds(api: Any) -> None:
    item = {
        "type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"},
        "max": {"cpu": "1"}, "min": {"cpu": "50m"},
    }  # fmt: skip
    await api.create(kinds.LIMIT_RANGES, {"metadata": {"name": "l"}, "spec": {"limits": [item]}})
    made = await api.create(kinds.PODS, pod())
    assert made["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "500m"},
        "requests": {"cpu": "100m"},
    }
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    )
    with pytest.raises(errors.Forbidden, match="maximum cpu usage per Container is 1, but limit is 2"):
        await api.create(kinds.PODS, pod("q", resources={"limits": {"cpu": "2"}}))


async def test_pod_security_refuses_and_warns(api: Any) -> None:
    labels = {
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/warn": "restricted",
    }
    await api.create(kinds.NAMESPACES, {"metadata": {"name": "safe", "labels": labels}})
    await api.create(kinds.SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, namespace="safe")
    with pytest.raises(errors.Forbidden) as caught:
        await api.create(kinds.PODS, pod(hostNetwork=True), namespace="safe")
    assert (
        'violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)' in caught.value.message
    )
    call = api.call(kinds.PODS, namespace="safe")
    await api.verbs.create(call, {"apiVersion": "v1", "kind": "Pod", **pod()})
    assert call.warnings[0].startswith(
        'would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "c" must '
        "set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities"
    )


async def test_volumes_in_use_are_protected(api: Any) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = await api.create(kinds.PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "c"}, "spec": spec})
    assert claim["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert claim["status"] == {"phase": "Pending"}
