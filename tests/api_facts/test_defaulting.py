"""Every default of a built-in kind that a client can see, and none where Kubernetes has none."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.api import defaults, facts, kinds, structure
from cluster.api.defaults.computed import COMPUTED
from cluster.api.defaults.images import pull_policy
from cluster.api.defaults.table import CONSTANT
from cluster.api.defaults.whole import WHOLE
from cluster.api.objects import copy_of
from cluster.api.resource import Resource


def defaulted(resource: Resource, body: Any) -> Any:
    obj, _ = structure.decode(resource, body)
    defaults.apply(resource, obj)
    return obj


def at(obj: Any, path: str) -> Any:
    for part in path.split("."):
        obj = obj[int(part) if part.isdigit() else part]
    return obj


C = {"name": "c", "image": "nginx:1"}
PROBE = {"spec": {"containers": [C | {"livenessProbe": {"httpGet": {"port": 1}}}]}}


def volume(**source: Any) -> dict[str, Any]:
    return {"spec": {"volumes": [{"name": "v"} | source]}}


def behaviour(**rules: Any) -> dict[str, Any]:
    return {"spec": {"behavior": rules}}


EXPECTED: list[tuple[Resource, dict[str, Any], str, Any]] = [
    (kinds.PODS, {}, "spec.dnsPolicy", "ClusterFirst"),
    (kinds.PODS, {}, "spec.restartPolicy", "Always"),
    (kinds.PODS, {}, "spec.securityContext", {}),
    (kinds.PODS, {}, "spec.terminationGracePeriodSeconds", 30),
    (kinds.PODS, {}, "spec.schedulerName", "default-scheduler"),
    (kinds.PODS, {}, "spec.enableServiceLinks", True),
    (kinds.PODS, {"spec": {"serviceAccountName": "a"}}, "spec.serviceAccount", "a"),
    (kinds.PODS, {"spec": {"containers": [C]}}, "spec.containers.0.imagePullPolicy", "IfNotPresent"),
    (
        kinds.PODS,
        {"spec": {"containers": [C]}},
        "spec.containers.0.terminationMessagePath",
        "/dev/termination-log",
    ),
    (kinds.PODS, {"spec": {"containers": [C]}}, "spec.containers.0.terminationMessagePolicy", "File"),
    (kinds.PODS, {"spec": {"containers": [C]}}, "spec.containers.0.resources", {}),
    (
        kinds.PODS,
        {"spec": {"containers": [C | {"ports": [{"containerPort": 1}]}]}},
        "spec.containers.0.ports.0.protocol",
        "TCP",
    ),
    (
        kinds.PODS,
        {"spec": {"containers": [C | {"ports": [{"containerPort": 1}]}], "hostNetwork": True}},
        "spec.containers.0.ports.0.hostPort",
        1,
    ),
    (
        kinds.PODS,
        {"spec": {"containers": [C | {"resources": {"limits": {"cpu": "1"}}}]}},
        "spec.containers.0.resources.requests",
        {"cpu": "1"},
    ),
    (kinds.PODS, PROBE, "spec.containers.0.livenessProbe.timeoutSeconds", 1),
    (kinds.PODS, PROBE, "spec.containers.0.livenessProbe.periodSeconds", 10),
    (kinds.PODS, PROBE, "spec.containers.0.livenessProbe.successThreshold", 1),
    (kinds.PODS, PROBE, "spec.containers.0.livenessProbe.failureThreshold", 3),
    (kinds.PODS, PROBE, "spec.containers.0.livenessProbe.httpGet.path", "/"),
    (kinds.PODS, PROBE, "spec.containers.0.livenessProbe.httpGet.scheme", "HTTP"),
    (kinds.PODS, volume(), "spec.volumes.0.emptyDir", {}),
    (kinds.PODS, volume(secret={"secretName": "s"}), "spec.volumes.0.secret.defaultMode", 420),
    (kinds.PODS, volume(configMap={"name": "s"}), "spec.volumes.0.configMap.defaultMode", 420),
    (kinds.PODS, volume(downwardAPI={}), "spec.volumes.0.downwardAPI.defaultMode", 420),
    (kinds.PODS, volume(projected={}), "spec.volumes.0.projected.defaultMode", 420),
    (kinds.PODS, volume(hostPath={"path": "/"}), "spec.volumes.0.hostPath.type", ""),
    (
        kinds.PODS,
        volume(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]}),
        "spec.volumes.0.projected.sources.0.serviceAccountToken.expirationSeconds",
        3600,
    ),
    (kinds.DEPLOYMENTS, {}, "spec.replicas", 1),
    (kinds.DEPLOYMENTS, {}, "spec.revisionHistoryLimit", 10),
    (kinds.DEPLOYMENTS, {}, "spec.progressDeadlineSeconds", 600),
    (
        kinds.DEPLOYMENTS,
        {},
        "spec.strategy",
        {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
    ),
    (kinds.DEPLOYMENTS, {"spec": {"strategy": {"type": "Recreate"}}}, "spec.strategy", {"type": "Recreate"}),
    (kinds.DEPLOYMENTS, {}, "spec.template.spec.restartPolicy", "Always"),
    (kinds.REPLICA_SETS, {}, "spec.replicas", 1),
    (kinds.DAEMON_SETS, {}, "spec.revisionHistoryLimit", 10),
    (
        kinds.DAEMON_SETS,
        {},
        "spec.updateStrategy",
        {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
    ),
    (kinds.STATEFUL_SETS, {}, "spec.podManagementPolicy", "OrderedReady"),
    (
        kinds.STATEFUL_SETS,
        {},
        "spec.updateStrategy",
        {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    ),
    (
        kinds.STATEFUL_SETS,
        {},
        "spec.persistentVolumeClaimRetentionPolicy",
        {"whenDeleted": "Retain", "whenScaled": "Retain"},
    ),
    (
        kinds.STATEFUL_SETS,
        {"spec": {"volumeClaimTemplates": [{}]}},
        "spec.volumeClaimTemplates.0.spec.volumeMode",
        "Filesystem",
    ),
    (kinds.JOBS, {}, "spec.completions", 1),
    (kinds.JOBS, {}, "spec.parallelism", 1),
    (kinds.JOBS, {}, "spec.backoffLimit", 6),
    (kinds.JOBS, {"spec": {"backoffLimitPerIndex": 1}}, "spec.backoffLimit", 2147483647),
    (kinds.JOBS, {}, "spec.completionMode", "NonIndexed"),
    (kinds.JOBS, {}, "spec.suspend", False),
    (kinds.JOBS, {}, "spec.podReplacementPolicy", "TerminatingOrFailed"),
    (kinds.JOBS, {"spec": {"podFailurePolicy": {}}}, "spec.podReplacementPolicy", "Failed"),
    (kinds.JOBS, {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}, "metadata.labels", {"a": "b"}),
    (kinds.CRON_JOBS, {}, "spec.concurrencyPolicy", "Allow"),
    (kinds.CRON_JOBS, {}, "spec.suspend", False),
    (kinds.CRON_JOBS, {}, "spec.successfulJobsHistoryLimit", 3),
    (kinds.CRON_JOBS, {}, "spec.failedJobsHistoryLimit", 1),
    (kinds.SERVICES, {}, "spec.type", "ClusterIP"),
    (kinds.SERVICES, {}, "spec.sessionAffinity", "None"),
    (kinds.SERVICES, {}, "spec.internalTrafficPolicy", "Cluster"),
    (
        kinds.SERVICES,
        {"spec": {"ports": [{"port": 8}]}},
        "spec.ports.0",
        {"port": 8, "targetPort": 8, "protocol": "TCP"},
    ),
    (
        kinds.SERVICES,
        {"spec": {"sessionAffinity": "ClientIP"}},
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        10800,
    ),
    (kinds.SERVICES, {"spec": {"type": "NodePort"}}, "spec.externalTrafficPolicy", "Cluster"),
    (kinds.SERVICES, {"spec": {"type": "LoadBalancer"}}, "spec.allocateLoadBalancerNodePorts", True),
    (kinds.HORIZONTAL_POD_AUTOSCALERS, {}, "spec.minReplicas", 1),
    (kinds.HORIZONTAL_POD_AUTOSCALERS, {}, "spec.metrics.0.resource.target.averageUtilization", 80),
    (
        kinds.HORIZONTAL_POD_AUTOSCALERS,
        behaviour(scaleDown={"stabilizationWindowSeconds": 5}),
        "spec.behavior.scaleDown",
        {
            "stabilizationWindowSeconds": 5,
            "selectPolicy": "Max",
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
        },
    ),
    (kinds.NETWORK_POLICIES, {}, "spec.policyTypes", ["Ingress"]),
    (kinds.NETWORK_POLICIES, {"spec": {"egress": [{}]}}, "spec.policyTypes", ["Ingress", "Egress"]),
    (kinds.ENDPOINT_SLICES, {"ports": [{"port": 1}]}, "ports.0", {"port": 1, "name": "", "protocol": "TCP"}),
    (kinds.ENDPOINTS, {"subsets": [{"ports": [{"port": 1}]}]}, "subsets.0.ports.0.protocol", "TCP"),
    (kinds.SECRETS, {}, "type", "Opaque"),
    (kinds.SECRETS, {"stringData": {"a": "b"}}, "data", {"a": "Yg=="}),
    (kinds.NAMESPACES, {"metadata": {"name": "n"}}, "metadata.labels", {"kubernetes.io/metadata.name": "n"}),
    (kinds.NAMESPACES, {}, "status.phase", "Active"),
    (kinds.NODES, {"status": {"capacity": {"cpu": "1"}}}, "status.allocatable", {"cpu": "1"}),
    (kinds.PERSISTENT_VOLUMES, {}, "spec.persistentVolumeReclaimPolicy", "Retain"),
    (kinds.PERSISTENT_VOLUMES, {}, "spec.volumeMode", "Filesystem"),
    (kinds.PERSISTENT_VOLUMES, {}, "status.phase", "Pending"),
    (kinds.PERSISTENT_VOLUME_CLAIMS, {}, "spec.volumeMode", "Filesystem"),
    (kinds.PERSISTENT_VOLUME_CLAIMS, {}, "status.phase", "Pending"),
    (kinds.STORAGE_CLASSES, {}, "reclaimPolicy", "Delete"),
    (kinds.STORAGE_CLASSES, {}, "volumeBindingMode", "Immediate"),
    (kinds.CSI_DRIVERS, {}, "spec.fsGroupPolicy", "ReadWriteOnceWithFSType"),
    (kinds.PRIORITY_CLASSES, {}, "preemptionPolicy", "PreemptLowerPriority"),
    (kinds.ROLE_BINDINGS, {}, "roleRef.apiGroup", "rbac.authorization.k8s.io"),
    (
        kinds.ROLE_BINDINGS,
        {"subjects": [{"kind": "User", "name": "u"}]},
        "subjects.0.apiGroup",
        "rbac.authorization.k8s.io",
    ),
    (
        kinds.LIMIT_RANGES,
        {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]}},
        "spec.limits.0.defaultRequest",
        {"cpu": "2", "memory": "1Mi"},
    ),
    (kinds.MUTATING_WEBHOOK_CONFIGURATIONS, {"webhooks": [{}]}, "webhooks.0.failurePolicy", "Fail"),
    (kinds.MUTATING_WEBHOOK_CONFIGURATIONS, {"webhooks": [{}]}, "webhooks.0.reinvocationPolicy", "Never"),
    (kinds.VALIDATING_WEBHOOK_CONFIGURATIONS, {"webhooks": [{}]}, "webhooks.0.timeoutSeconds", 10),
    (kinds.CUSTOM_RESOURCE_DEFINITIONS, {"spec": {"names": {"kind": "A"}}}, "spec.names.listKind", "AList"),
    (kinds.CUSTOM_RESOURCE_DEFINITIONS, {}, "spec.conversion", {"strategy": "None"}),
    (kinds.INGRESS_CLASSES, {"spec": {"parameters": {}}}, "spec.parameters.scope", "Cluster"),
    (kinds.FLOW_SCHEMAS, {}, "spec.matchingPrecedence", 1000),
    (kinds.FLOW_SCHEMAS, {"spec": {"rules": []}}, "spec.matchingPrecedence", 1000),
    (
        kinds.JOBS,
        {
            "spec": {
                "podFailurePolicy": {
                    "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]
                }
            }
        },
        "spec.podFailurePolicy.rules.0.onPodConditions.0.status",
        "True",
    ),
]


@pytest.mark.parametrize(
    ("resource", "body", "path", "value"),
    EXPECTED,
    ids=[f"{r.plural}:{path}:{i}" for i, (r, _, path, _) in enumerate(EXPECTED)],
)
def test_a_field_left_out_gets_its_default(resource: Resource, body: Any, path: str, value: Any) -> None:
    assert at(defaulted(resource, body), path) == value


@pytest.mark.parametrize("resource", kinds.BUILT_IN, ids=lambda r: f"{r.plural}.{r.group}")
def test_defaulting_twice_changes_nothing(resource: Resource) -> None:
    once = defaulted(resource, {})
    twice = copy_of(once)
    defaults.apply(resource, twice)
    assert twice == once
    assert structure.decode(resource, once, "Strict") == (once, [])


def test_templates_get_no_defaults_of_whole_objects() -> None:
    template = defaulted(kinds.DEPLOYMENTS, {"spec": {"template": {"spec": {"containers": [C]}}}})
    assert "enableServiceLinks" not in template["spec"]["template"]["spec"]
    cron = defaulted(kinds.CRON_JOBS, {})
    assert "backoffLimit" not in cron["spec"]["jobTemplate"]["spec"]


def test_the_tables_name_real_types_and_fields() -> None:
    known = {defaults.short_name(name): facts.type_named(name) for name in facts.names()}
    for name, constants in CONSTANT.items():
        assert constants.keys() <= known[name].fields.keys(), name
    assert COMPUTED.keys() | WHOLE.keys() <= known.keys()


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.25", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
        ("", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


@pytest.mark.parametrize(
    ("given", "blocks"),
    [
        ({"podCIDR": "10.0.1.0/24"}, ["10.0.1.0/24"]),
        ({"podCIDRs": ["10.0.1.0/24", "fd00::/64"]}, ["10.0.1.0/24", "fd00::/64"]),
        ({"podCIDR": "10.0.2.0/24", "podCIDRs": ["10.0.1.0/24"]}, ["10.0.2.0/24"]),
    ],
)
def test_a_nodes_first_pod_range_is_its_pod_range(given: dict[str, Any], blocks: list[str]) -> None:
    node = {"metadata": {"name": "n"}, "spec": dict(given)}
    defaults.apply(kinds.NODES, node)
    assert (node["spec"]["podCIDR"], node["spec"]["podCIDRs"]) == (blocks[0], blocks)
