"""What is refused, and in which words: (field, message) as a client sees it."""

from __future__ import annotations

from typing import Any

import pytest
from judged import found, found_in_update, made

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.api.resource import Resource

CONTAINER = {"name": "c", "image": "nginx"}
POD = {"containers": [CONTAINER]}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD}
SELECTOR = {"matchLabels": {"a": "b"}}
JOB_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD | {"restartPolicy": "Never"}}
RULE = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}

FINE: list[tuple[Resource, dict[str, Any]]] = [
    (kinds.PODS, {"spec": POD}),
    (kinds.DEPLOYMENTS, {"spec": {"selector": SELECTOR, "template": TEMPLATE}}),
    (kinds.REPLICA_SETS, {"spec": {"selector": SELECTOR, "template": TEMPLATE}}),
    (kinds.REPLICATION_CONTROLLERS, {"spec": {"template": TEMPLATE}}),
    (kinds.DAEMON_SETS, {"spec": {"selector": SELECTOR, "template": TEMPLATE}}),
    (kinds.STATEFUL_SETS, {"spec": {"selector": SELECTOR, "template": TEMPLATE, "serviceName": "s"}}),
    (kinds.JOBS, {"spec": {"selector": SELECTOR, "template": JOB_TEMPLATE}}),
    (
        kinds.CRON_JOBS,
        {"spec": {"schedule": "*/5 0-3 * jan mon", "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}}},
    ),
    (kinds.SERVICES, {"spec": {"ports": [{"port": 80}]}}),
    (kinds.CONFIG_MAPS, {"data": {"key": "value"}}),
    (kinds.SECRETS, {"stringData": {"key": "value"}}),
    (kinds.NAMESPACES, {}),
    (kinds.NODES, {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
    (kinds.LEASES, {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 40}}),
    (kinds.ROLES, {"rules": [RULE]}),
    (kinds.CLUSTER_ROLES, {"metadata": {"name": "system:x"}, "rules": [RULE]}),
    (
        kinds.CLUSTER_ROLE_BINDINGS,
        {"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]},
    ),
    (kinds.PRIORITY_CLASSES, {"value": 5}),
    (kinds.PRIORITY_CLASSES, {"metadata": {"name": "system-node-critical"}, "value": 2000001000}),
    (kinds.STORAGE_CLASSES, {"provisioner": "kubemu.dev/disk"}),
    (
        kinds.PERSISTENT_VOLUME_CLAIMS,
        {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
    ),
    (
        kinds.PERSISTENT_VOLUMES,
        {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Gi"},
                "hostPath": {"path": "/data"},
            }
        },
    ),
    (
        kinds.HORIZONTAL_POD_AUTOSCALERS,
        {"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "D", "name": "d"}}},
    ),
    (kinds.POD_DISRUPTION_BUDGETS, {"spec": {"minAvailable": "50%", "selector": SELECTOR}}),
    (
        kinds.NETWORK_POLICIES,
        {"spec": {"ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}]}},
    ),
    (
        kinds.INGRESSES,
        {
            "spec": {
                "rules": [
                    {
                        "host": "a.example",
                        "http": {
                            "paths": [
                                {
                                    "path": "/",
                                    "pathType": "Prefix",
                                    "backend": {"service": {"name": "s", "port": {"number": 80}}},
                                }
                            ]
                        },
                    }
                ]
            }
        },
    ),
    (kinds.ENDPOINT_SLICES, {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]}),
    (kinds.ENDPOINTS, {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}),
    (kinds.RESOURCE_QUOTAS, {"spec": {"hard": {"pods": "10", "requests.cpu": "1"}}}),
    (kinds.LIMIT_RANGES, {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}}),
    (kinds.EVENTS, {"involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}}),
    (kinds.RUNTIME_CLASSES, {"handler": "runc"}),
    (kinds.INGRESS_CLASSES, {"spec": {"controller": "kubemu.dev/ingress"}}),
]


@pytest.mark.parametrize(
    ("resource", "parts"), FINE, ids=[f"{r.plural}-{i}" for i, (r, _) in enumerate(FINE)]
)
def test_a_sensible_object_has_nothing_wrong(resource: Resource, parts: dict[str, Any]) -> None:
    assert found(resource, **parts) == []


SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def pod(**container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [CONTAINER | container]}}


REFUSED: dict[str, tuple[Resource, dict[str, Any], tuple[str, str]]] = {
    "name-format": (kinds.PODS, {"metadata": {"name": "A"}, "spec": POD}, ("metadata.name", f'Invalid value: "A": {SUBDOMAIN}')),
    "no-name": (kinds.CONFIG_MAPS, {"metadata": {"name": ""}}, ("metadata.name", "Required value: name or generateName is required")),
    "no-namespace": (kinds.CONFIG_MAPS, {"metadata": {"namespace": ""}}, ("metadata.namespace", "Required value")),
    "namespace-on-node": (kinds.NODES, {"metadata": {"namespace": "a"}}, ("metadata.namespace", "Forbidden: not allowed on this type")),
    "service-name-starts-with-digit": (
        kinds.SERVICES,
        {"metadata": {"name": "1a"}, "spec": {"ports": [{"port": 1}]}},
        (
            "metadata.name",
            'Invalid value: "1a": a DNS-1035 label must consist of lower case alphanumeric characters or \'-\', '
            "start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
            "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
        ),
    ),
    "role-name-with-slash": (kinds.ROLES, {"metadata": {"name": "a/b"}}, ("metadata.name", "Invalid value: \"a/b\": may not contain '/'")),
    "label-value-too-long": (
        kinds.CONFIG_MAPS,
        {"metadata": {"labels": {"a": "x" * 64}}},
        ("metadata.labels", f'Invalid value: "{"x" * 64}": must be no more than 63 characters'),
    ),
    "annotations-too-large": (
        kinds.CONFIG_MAPS,
        {"metadata": {"annotations": {"a": "x" * 262144}}},
        ("metadata.annotations", "Too long: may not be more than 262144 bytes"),
    ),
    "owner-without-uid": (
        kinds.CONFIG_MAPS,
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]}},
        ("metadata.ownerReferences[0].uid", "Required value: must not be empty"),
    ),
    "no-containers": (kinds.PODS, {"spec": {}}, ("spec.containers", "Required value")),
    "container-without-image": (kinds.PODS, {"spec": {"containers": [{"name": "c"}]}}, ("spec.containers[0].image", "Required value")),
    "same-container-twice": (
        kinds.PODS,
        {"spec": {"containers": [CONTAINER, CONTAINER]}},
        ("spec.containers[1].name", 'Duplicate value: "c"'),
    ),
    "port-out-of-range": (
        kinds.PODS,
        pod(ports=[{"containerPort": 70000}]),
        ("spec.containers[0].ports[0].containerPort", "Invalid value: 70000: must be between 1 and 65535, inclusive"),
    ),
    "unknown-protocol": (
        kinds.PODS,
        pod(ports=[{"containerPort": 1, "protocol": "tcp"}]),
        ("spec.containers[0].ports[0].protocol", 'Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"'),
    ),
    "mount-without-volume": (
        kinds.PODS,
        pod(volumeMounts=[{"name": "v", "mountPath": "/x"}]),
        ("spec.containers[0].volumeMounts[0].name", 'Not found: "v"'),
    ),
    "request-over-limit": (
        kinds.PODS,
        pod(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
        ("spec.containers[0].resources.requests", 'Invalid value: "2": must be less than or equal to cpu limit of 1'),
    ),
    "probe-without-handler": (
        kinds.PODS,
        pod(livenessProbe={"periodSeconds": 1}),
        ("spec.containers[0].livenessProbe", "Required value: must specify a handler type"),
    ),
    "liveness-success-threshold": (
        kinds.PODS,
        pod(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2}),
        ("spec.containers[0].livenessProbe.successThreshold", "Invalid value: 2: must be 1"),
    ),
    "unknown-restart-policy": (
        kinds.PODS,
        {"spec": POD | {"restartPolicy": "Sometimes"}},
        ("spec.restartPolicy", 'Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'),
    ),
    "toleration-without-key": (
        kinds.PODS,
        {"spec": POD | {"tolerations": [{"effect": "NoSchedule"}]}},
        (
            "spec.tolerations[0].operator",
            'Invalid value: "": operator must be Exists when `key` is empty, which means "match all values and '
            'all keys"',
        ),
    ),
    "two-volume-sources": (
        kinds.PODS,
        {"spec": POD | {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}},
        ("spec.volumes[0].hostPath", "Forbidden: may not specify more than 1 volume type"),
    ),
    "deployment-without-selector": (kinds.DEPLOYMENTS, {"spec": {"template": TEMPLATE}}, ("spec.selector", "Required value")),
    "deployment-selector-mismatch": (
        kinds.DEPLOYMENTS,
        {"spec": {"selector": {"matchLabels": {"a": "c"}}, "template": TEMPLATE}},
        ("spec.template.metadata.labels", 'Invalid value: {"a":"b"}: `selector` does not match template `labels`'),
    ),
    "deployment-restart-policy": (
        kinds.DEPLOYMENTS,
        {"spec": {"selector": SELECTOR, "template": JOB_TEMPLATE}},
        ("spec.template.spec.restartPolicy", 'Unsupported value: "Never": supported values: "Always"'),
    ),
    "rolling-update-of-nothing": (
        kinds.DEPLOYMENTS,
        {
            "spec": {
                "selector": SELECTOR,
                "template": TEMPLATE,
                "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}},
            }
        },
        ("spec.strategy.rollingUpdate.maxUnavailable", "Invalid value: 0: may not be 0 when `maxSurge` is 0"),
    ),
    "recreate-with-rolling-update": (
        kinds.DEPLOYMENTS,
        {"spec": {"selector": SELECTOR, "template": TEMPLATE, "strategy": {"type": "Recreate", "rollingUpdate": {}}}},
        ("spec.strategy.rollingUpdate", "Forbidden: may not be specified when strategy `type` is 'Recreate'"),
    ),
    "job-that-always-restarts": (
        kinds.JOBS,
        {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
        ("spec.template.spec.restartPolicy", 'Required value: valid values: "OnFailure", "Never"'),
    ),
    "short-schedule": (
        kinds.CRON_JOBS,
        {"spec": {"schedule": "* *", "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}}},
        ("spec.schedule", 'Invalid value: "* *": expected exactly 5 fields, found 2: [* *]'),
    ),
    "minute-sixty": (
        kinds.CRON_JOBS,
        {"spec": {"schedule": "60 * * * *", "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}}},
        ("spec.schedule", 'Invalid value: "60 * * * *": end of range (60) above maximum (59): 60'),
    ),
    "service-without-ports": (kinds.SERVICES, {"spec": {}}, ("spec.ports", "Required value")),
    "service-port-names": (
        kinds.SERVICES,
        {"spec": {"ports": [{"port": 1}, {"port": 2, "name": "b"}]}},
        ("spec.ports[0].name", "Required value"),
    ),
    "node-port-of-cluster-ip": (
        kinds.SERVICES,
        {"spec": {"ports": [{"port": 1, "nodePort": 30000}]}},
        ("spec.ports[0].nodePort", "Forbidden: may not be used when `type` is 'ClusterIP'"),
    ),
    "ingress-without-path-type": (
        kinds.INGRESSES,
        {"spec": {"rules": [{"http": {"paths": [{"backend": {"service": {"name": "s", "port": {"number": 1}}}}]}}]}},
        ("spec.rules[0].http.paths[0].pathType", "Required value: pathType must be specified"),
    ),
    "config-key": (
        kinds.CONFIG_MAPS,
        {"data": {"a b": ""}},
        (
            "data[a b]",
            "Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
            "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        ),
    ),
    "tls-without-key": (
        kinds.SECRETS,
        {"type": "kubernetes.io/tls", "stringData": {"tls.crt": "x"}},
        ("data[tls.key]", "Required value"),
    ),
    "role-without-verbs": (kinds.ROLES, {"rules": [{"apiGroups": [""], "resources": ["pods"]}]}, ("rules[0].verbs", "Required value: verbs must contain at least one value")),
    "autoscaler-below-one": (
        kinds.HORIZONTAL_POD_AUTOSCALERS,
        {"spec": {"maxReplicas": 0, "scaleTargetRef": {"kind": "D", "name": "d"}}},
        ("spec.maxReplicas", "Invalid value: 0: must be greater than 0"),
    ),
    "reserved-priority-name": (
        kinds.PRIORITY_CLASSES,
        {"metadata": {"name": "system-x"}, "value": 1},
        ("metadata.name", "Forbidden: priority class names with 'system-' prefix are reserved for system use only"),
    ),
    "claim-without-size": (
        kinds.PERSISTENT_VOLUME_CLAIMS,
        {"spec": {"accessModes": ["ReadWriteOnce"]}},
        ("spec.resources[storage]", "Required value"),
    ),
    "budget-with-both": (
        kinds.POD_DISRUPTION_BUDGETS,
        {"spec": {"minAvailable": 1, "maxUnavailable": 1}},
        (
            "spec",
            'Invalid value: {"minAvailable":1,"maxUnavailable":1}: minAvailable and maxUnavailable cannot be both set',
        ),
    ),
    "definition-name": (
        kinds.CUSTOM_RESOURCE_DEFINITIONS,
        {
            "spec": {
                "group": "a.b",
                "scope": "Cluster",
                "names": {"plural": "xs", "kind": "X"},
                "versions": [
                    {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
                ],
            }
        },
        ("metadata.name", 'Invalid value: "x": must be spec.names.plural+"."+spec.group'),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("resource", "parts", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_a_mistake_is_named(resource: Resource, parts: dict[str, Any], expected: tuple[str, str]) -> None:
    assert expected in found(resource, **parts)


def test_changing_a_pod_names_what_may_change() -> None:
    old = made(kinds.PODS, spec=POD)
    problems = found_in_update(kinds.PODS, old, lambda new: new["spec"].update(nodeName="n"))
    assert [field for field, _ in problems] == ["spec"]
    assert problems[0][1].startswith(
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
        "existing tolerations),`spec.terminationGracePeriodSeconds`"
    )


def test_a_pod_may_get_a_new_image_and_more_tolerations() -> None:
    def change(new: Object) -> None:
        new["spec"]["containers"][0]["image"] = "nginx:2"
        new["spec"]["tolerations"] = [{"operator": "Exists"}]

    assert found_in_update(kinds.PODS, made(kinds.PODS, spec=POD), change) == []


UPDATES: dict[str, tuple[Resource, dict[str, Any], Any, tuple[str, str]]] = {
    "selector": (
        kinds.DEPLOYMENTS,
        {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
        lambda new: new["spec"].update(selector={"matchExpressions": [{"key": "a", "operator": "Exists"}]}),
        (
            "spec.selector",
            'Invalid value: {"matchExpressions":[{"key":"a","operator":"Exists"}]}: field is immutable',
        ),
    ),
    "immutable-config-map": (
        kinds.CONFIG_MAPS,
        {"data": {"a": "b"}, "immutable": True},
        lambda new: new["data"].update(a="c"),
        ("data", "Forbidden: field is immutable when `immutable` is set"),
    ),
    "cluster-ip": (
        kinds.SERVICES,
        {"spec": {"ports": [{"port": 1}], "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}},
        lambda new: new["spec"].update(clusterIP="10.0.0.2", clusterIPs=["10.0.0.2"]),
        ("spec.clusterIPs[0]", 'Invalid value: ["10.0.0.2"]: may not change once set'),
    ),
    "secret-type": (
        kinds.SECRETS,
        {},
        lambda new: new.update(type="example.com/x"),
        ("type", 'Invalid value: "example.com/x": field is immutable'),
    ),
    "job-template": (
        kinds.JOBS,
        {"spec": {"selector": SELECTOR, "template": JOB_TEMPLATE}},
        lambda new: new["spec"].update(selector={"matchLabels": {"a": "b"}, "matchExpressions": []}),
        (
            "spec.selector",
            'Invalid value: {"matchLabels":{"a":"b"},"matchExpressions":[]}: field is immutable',
        ),
    ),
    "role-reference": (
        kinds.ROLE_BINDINGS,
        {"roleRef": {"kind": "Role", "name": "a"}},
        lambda new: new["roleRef"].update(name="b"),
        (
            "roleRef",
            'Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"b"}: cannot change roleRef',
        ),
    ),
    "stateful-set": (
        kinds.STATEFUL_SETS,
        {"spec": {"selector": SELECTOR, "template": TEMPLATE, "serviceName": "s"}},
        lambda new: new["spec"].update(serviceName="t"),
        (
            "spec",
            "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
            "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
            "'minReadySeconds' are forbidden",
        ),
    ),
    "uid": (
        kinds.CONFIG_MAPS,
        {"metadata": {"uid": "1"}},
        lambda new: new["metadata"].update(uid="2"),
        ("metadata.uid", 'Invalid value: "2": field is immutable'),
    ),
}


@pytest.mark.parametrize(("resource", "parts", "change", "expected"), UPDATES.values(), ids=UPDATES.keys())
def test_what_may_not_change_is_named(
    resource: Resource, parts: dict[str, Any], change: Any, expected: tuple[str, str]
) -> None:
    assert expected in found_in_update(resource, made(resource, **parts), change)
