"""The FlowSchemas and PriorityLevelConfigurations that every cluster has, as data.

Tools and the documentation rely on their names. Those that an administrator has changed stay as they are.

Divergence: they are stored and classify nothing; the limits of requests in flight are the API server's own
(`cluster.server.http.limits`).
"""

from __future__ import annotations

from typing import Any

from cluster.api.client import ApiClient
from cluster.api.errors import AlreadyExists, NotFound
from cluster.api.kinds import FLOW_SCHEMAS, PRIORITY_LEVEL_CONFIGURATIONS
from cluster.api.objects import Object
from cluster.api.resource import Resource

_AUTOUPDATE = {"apf.kubernetes.io/autoupdate-spec": "true"}

_QUEUED: dict[str, tuple[int, int, int, int]] = {
    "system": (30, 33, 64, 6),
    "node-high": (40, 25, 64, 6),
    "leader-election": (10, 0, 16, 4),
    "workload-high": (40, 50, 128, 6),
    "workload-low": (100, 90, 128, 6),
    "global-default": (20, 50, 128, 6),
}
"""Name: shares, lendable percent, queues, hand size. Each queue takes 50 requests."""
_QUEUE_LENGTH = 50

_EVERYTHING: Object = {
    "resourceRules": [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}


async def bootstrap_flow_control(client: ApiClient) -> None:
    """Idempotent."""
    for name, spec in _levels().items():
        await _ensure(client, PRIORITY_LEVEL_CONFIGURATIONS, name, spec)
    for name, spec in _schemas().items():
        await _ensure(client, FLOW_SCHEMAS, name, spec)


def _levels() -> dict[str, Object]:
    rejecting = {
        "nominalConcurrencyShares": 5,
        "lendablePercent": 0,
        "limitResponse": {"type": "Reject"},
    }
    return {
        "exempt": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}},
        "catch-all": {"type": "Limited", "limited": rejecting},
        **{name: _queued(*numbers) for name, numbers in _QUEUED.items()},
    }


def _queued(shares: int, lendable: int, queues: int, hand_size: int) -> Object:
    queuing = {"queues": queues, "handSize": hand_size, "queueLengthLimit": _QUEUE_LENGTH}
    return {
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": shares,
            "lendablePercent": lendable,
            "limitResponse": {"type": "Queue", "queuing": queuing},
        },
    }


def _schemas() -> dict[str, Object]:
    everyone = [_group("system:unauthenticated"), _group("system:authenticated")]
    nodes = [_group("system:nodes")]
    accounts = [_group("system:serviceaccounts")]
    controllers = [_user("system:kube-controller-manager")]
    system_accounts = [_account("*")]
    leases = _resources(["leases"], ["coordination.k8s.io"], ["get", "create", "update"], ["kube-system"])
    all_leases = _resources(["leases"], ["coordination.k8s.io"], ["get", "create", "update"], ["*"])
    node_status = _resources(["nodes", "nodes/status"], [""], ["*"], [], cluster=True)
    node_leases = _resources(["leases"], ["coordination.k8s.io"], ["*"], ["*"])
    endpoints = _resources(["endpoints"], [""], ["get", "create", "update"], ["*"])
    health = {"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]}
    electing = [*controllers, _user("system:kube-scheduler"), *system_accounts]
    return {
        "exempt": _schema("exempt", 1, [_group("system:masters")], _EVERYTHING, distinguished=False),
        "probes": _schema("exempt", 2, everyone, health, distinguished=False),
        "system-leader-election": _schema("leader-election", 100, electing, leases),
        "endpoint-controller": _schema(
            "workload-high", 150, [*controllers, _account("endpoint-controller")], endpoints
        ),
        "workload-leader-election": _schema("leader-election", 200, system_accounts, all_leases),
        "system-node-high": _schema("node-high", 400, nodes, node_status, node_leases),
        "system-nodes": _schema("system", 500, nodes, _EVERYTHING),
        "kube-controller-manager": _schema("workload-high", 800, controllers, _EVERYTHING),
        "kube-scheduler": _schema("workload-high", 800, [_user("system:kube-scheduler")], _EVERYTHING),
        "kube-system-service-accounts": _schema("workload-high", 900, system_accounts, _EVERYTHING),
        "service-accounts": _schema("workload-low", 9000, accounts, _EVERYTHING),
        "global-default": _schema("global-default", 9900, everyone, _EVERYTHING),
        "catch-all": _schema("catch-all", 10000, everyone, _EVERYTHING),
    }


def _schema(
    level: str, precedence: int, subjects: list[Object], *rules: Object, distinguished: bool = True
) -> Object:
    rule: Object = {"subjects": subjects}
    for part in rules:
        for field, value in part.items():
            rule[field] = [*rule.get(field, ()), *value]
    spec: dict[str, Any] = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    }
    if distinguished:
        spec["distinguisherMethod"] = {"type": "ByUser"}
    return spec


def _resources(
    resources: list[str], groups: list[str], verbs: list[str], namespaces: list[str], *, cluster: bool = False
) -> Object:
    rule: Object = {"verbs": verbs, "apiGroups": groups, "resources": resources}
    if namespaces:
        rule["namespaces"] = namespaces
    if cluster:
        rule["clusterScope"] = True
    return {"resourceRules": [rule]}


def _group(name: str) -> Object:
    return {"kind": "Group", "group": {"name": name}}


def _user(name: str) -> Object:
    return {"kind": "User", "user": {"name": name}}


def _account(name: str) -> Object:
    return {"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}}


async def _ensure(client: ApiClient, resource: Resource, name: str, spec: Object) -> None:
    try:
        await client.get(resource, name)
    except NotFound:
        try:
            await client.create(
                resource, {"metadata": {"name": name, "annotations": _AUTOUPDATE}, "spec": spec}
            )
        except AlreadyExists:
            return
