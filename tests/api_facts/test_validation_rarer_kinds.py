"""What is refused of kinds that few people write by hand: one object with several mistakes each."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from judged import found, found_in_update, made

from cluster.api import kinds, validation
from cluster.api.objects import Object
from cluster.api.resource import Resource

RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
MATCHING = {"resourceRules": [RULE]}
HOOK = {
    "name": "a.example.com", "clientConfig": {"url": "https://host/path"}, "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}  # fmt: skip
REFERENCE = (
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
)


def request_for_certificate() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(pem).decode()


FINE: list[tuple[Resource, dict[str, Any]]] = [
    (
        kinds.VALIDATING_ADMISSION_POLICIES,
        {
            "spec": {
                "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
                "matchConstraints": MATCHING,
                "variables": [{"name": "big", "expression": "object.spec.replicas > 3"}],
                "validations": [{"expression": "!variables.big || params.data.allowed == 'yes'"}],
            }
        },
    ),
    (
        kinds.VALIDATING_ADMISSION_POLICY_BINDINGS,
        {"spec": {"policyName": "p", "validationActions": ["Deny"], "matchResources": {}}},
    ),
    (kinds.MUTATING_WEBHOOK_CONFIGURATIONS, {"webhooks": [HOOK | {"rules": [RULE]}]}),
    (
        kinds.CERTIFICATE_SIGNING_REQUESTS,
        {
            "spec": {
                "request": request_for_certificate(),
                "signerName": "kubernetes.io/kube-apiserver-client",
                "usages": ["client auth"],
            }
        },
    ),
    (
        kinds.FLOW_SCHEMAS,
        {
            "spec": {
                "priorityLevelConfiguration": {"name": "global-default"},
                "rules": [
                    {
                        "subjects": [{"kind": "Group", "group": {"name": "g"}}],
                        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["/healthz", "/apis/*"]}],
                    }
                ],
            }
        },
    ),
    (
        kinds.PRIORITY_LEVEL_CONFIGURATIONS,
        {"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}},
    ),
    (kinds.CSI_DRIVERS, {"spec": {}}),
    (kinds.CSI_NODES, {"spec": {"drivers": [{"name": "d", "nodeID": "n", "topologyKeys": ["zone"]}]}}),
    (kinds.VOLUME_ATTRIBUTES_CLASSES, {"driverName": "d", "parameters": {"iops": "5"}}),
    (
        kinds.RESOURCE_CLAIMS,
        {
            "spec": {
                "devices": {
                    "requests": [
                        {"name": "one", "firstAvailable": [{"name": "a", "deviceClassName": "gpu"}]},
                        {"name": "two", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}},
                    ],
                    "constraints": [{"requests": ["one/a", "two"], "matchAttribute": "d/numa"}],
                }
            }
        },
    ),
    (
        kinds.RESOURCE_SLICES,
        {
            "spec": {
                "driver": "d",
                "pool": {"name": "p", "resourceSliceCount": 1},
                "allNodes": True,
                "devices": [{"name": "a", "attributes": {"v": {"version": "1.2.3-rc.1"}}}],
            }
        },
    ),
    (kinds.DEVICE_TAINT_RULES, {"spec": {"taint": {"key": "broken", "effect": "NoExecute"}}}),
    (
        kinds.IP_ADDRESSES,
        {"metadata": {"name": "10.96.0.7"}, "spec": {"parentRef": {"resource": "services", "name": "s"}}},
    ),
    (kinds.SERVICE_CIDRS, {"spec": {"cidrs": ["10.0.0.0/16", "2001:db8::/64"]}}),
    (
        kinds.API_SERVICES,
        {
            "metadata": {"name": "v1.example.com"},
            "spec": {
                "group": "example.com",
                "version": "v1",
                "groupPriorityMinimum": 10,
                "versionPriority": 10,
                "service": {"namespace": "n", "name": "s"},
            },
        },
    ),
]


@pytest.mark.parametrize(("resource", "parts"), FINE, ids=[r.kind for r, _ in FINE])
def test_nothing_is_wrong_with_a_good_object(resource: Resource, parts: dict[str, Any]) -> None:
    assert found(resource, **parts) == []


REFUSED: list[tuple[Resource, dict[str, Any], list[tuple[str, str]]]] = [
    (
        kinds.VALIDATING_ADMISSION_POLICIES,
        {"spec": {"paramKind": {"apiVersion": "a/b/c"}, "variables": [{"name": "if", "expression": ""}],
                  "matchConditions": [{"name": "", "expression": " "}]}},
        [
            ("spec.paramKind.apiVersion", 'Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c'),
            ("spec.paramKind.kind", "Required value"),
            ("spec.matchConstraints", "Required value"),
            ("spec.matchConditions[0].expression", "Required value"),
            ("spec.matchConditions[0].name", "Required value"),
            ("spec.variables[0].name", 'Invalid value: "if": name is not a valid CEL identifier'),
            ("spec.variables[0].expression", "Required value: expression is not specified"),
            ("spec.validations", "Required value: validations or auditAnnotations must contain at least one item"),
            ("spec.auditAnnotations", "Required value: validations or auditAnnotations must contain at least one item"),
        ],
    ),
    (
        kinds.VALIDATING_ADMISSION_POLICY_BINDINGS,
        {"spec": {"paramRef": {"name": "a", "selector": {}}, "validationActions": ["Fly", "Warn", "Warn"]}},
        [
            ("spec.policyName", "Required value"),
            ("spec.paramRef.name", "Forbidden: name and selector are mutually exclusive"),
            ("spec.paramRef.selector", "Forbidden: name and selector are mutually exclusive"),
            ("spec.paramRef.parameterNotFoundAction", "Required value"),
            ("spec.validationActions[0]", 'Unsupported value: "Fly": supported values: "Audit", "Deny", "Warn"'),
            ("spec.validationActions[2]", 'Duplicate value: "Warn"'),
        ],
    ),
    (kinds.MUTATING_ADMISSION_POLICY_BINDINGS, {"spec": {}}, [("spec.policyName", "Required value")]),
    (
        kinds.MUTATING_WEBHOOK_CONFIGURATIONS,
        {"webhooks": [HOOK | {"clientConfig": {"url": "http://u@/x?y#z"}, "sideEffects": "Some",
                              "rules": [RULE | {"resources": ["pods/*", "pods/x"], "apiGroups": ["*", "a"]}]}]},
        [
            ("webhooks[0].rules[0].apiGroups", 'Invalid value: ["*","a"]: if \'*\' is present, must not specify other API groups'),
            ("webhooks[0].rules[0].resources[1]", 'Invalid value: "pods/x": if \'pods/*\' is present, must not specify pods/x'),
            ("webhooks[0].sideEffects", 'Unsupported value: "Some": supported values: "None", "NoneOnDryRun"'),
            ("webhooks[0].clientConfig.url", "Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]"),
            ("webhooks[0].clientConfig.url", 'Invalid value: "": host must be specified; desired format: https://host[/path]'),
            ("webhooks[0].clientConfig.url", 'Invalid value: "u": user information is not permitted in the URL'),
            ("webhooks[0].clientConfig.url", 'Invalid value: "z": fragments are not permitted in the URL'),
            ("webhooks[0].clientConfig.url", 'Invalid value: "y": query parameters are not permitted in the URL'),
        ],
    ),
    (
        kinds.VALIDATING_WEBHOOK_CONFIGURATIONS,
        {"webhooks": [HOOK | {"clientConfig": {"service": {"name": "s", "namespace": "n", "path": "a//"}},
                              "admissionReviewVersions": ["v2", "v2"]}]},
        [
            ("webhooks[0].clientConfig.service.path", 'Invalid value: "a//": must start with a \'/\''),
            ("webhooks[0].clientConfig.service.path", 'Invalid value: "a//": segment[0] may not be empty'),
            ("webhooks[0].clientConfig.service.path", 'Invalid value: "a//": segment[1] may not be empty'),
            ("webhooks[0].admissionReviewVersions[1]", 'Invalid value: "v2": duplicate version'),
            ("webhooks[0].admissionReviewVersions", 'Invalid value: ["v2","v2"]: must include at least one of v1, v1beta1'),
        ],
    ),
    (
        kinds.CERTIFICATE_SIGNING_REQUESTS,
        {"spec": {"request": "YQ==", "signerName": "a/b/c", "usages": [], "expirationSeconds": 5}},
        [
            ("spec.request", 'Invalid value: "YQ==": PEM block type must be CERTIFICATE REQUEST'),
            ("spec.usages", "Required value"),
            ("spec.signerName", "Invalid value: \"a/b/c\": must be a fully qualified domain and path of the form 'example.com/signer-name'"),
            ("spec.expirationSeconds", "Invalid value: 5: may not specify a duration less than 600 seconds (10 minutes)"),
        ],
    ),
    (
        kinds.CLUSTER_TRUST_BUNDLES,
        {"spec": {"signerName": "example.com/a", "trustBundle": "none"}},
        [
            ("metadata.name", 'Invalid value: "x": ClusterTrustBundle for signerName example.com/a must be named with prefix example.com:a:'),
            ("spec.trustBundle", 'Invalid value: "<value omitted>": at least one trust anchor must be provided'),
        ],
    ),
    (
        kinds.FLOW_SCHEMAS,
        {"spec": {"matchingPrecedence": 1, "rules": [{"subjects": [{"kind": "User"}], "resourceRules": [
            {"verbs": ["fly"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["A"]}]}]}},
        [
            ("spec.matchingPrecedence", "Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1"),
            ("spec.priorityLevelConfiguration.name", "Required value: must reference a priority level"),
            ("spec.rules[0].subjects[0].user", "Required value: user is required when subject kind is 'User'"),
            ("spec.rules[0].resourceRules[0].verbs", 'Unsupported value: ["fly"]: supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"'),
            ("spec.rules[0].resourceRules[0].namespaces[0]", "Invalid value: \"A\": each member of this list must be '*' or a DNS-1123 label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"),
        ],
    ),
    (
        kinds.PRIORITY_LEVEL_CONFIGURATIONS,
        {"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": -1, "limitResponse": {
            "type": "Queue", "queuing": {"queues": 100000, "handSize": 8}}}}},
        [
            ("spec.limited.nominalConcurrencyShares", "Invalid value: -1: must be a non-negative integer"),
            ("spec.limited.limitResponse.queuing.handSize", "Invalid value: 8: required entropy bits of deckSize 100000 and handSize 8 should not be greater than 60"),
        ],
    ),
    (
        kinds.CSI_DRIVERS,
        {"spec": {"fsGroupPolicy": "x", "tokenRequests": [{"audience": "a", "expirationSeconds": 1}, {"audience": "a"}]}},
        [
            ("spec.fsGroupPolicy", 'Unsupported value: "x": supported values: "File", "None", "ReadWriteOnceWithFSType"'),
            ("spec.tokenRequests[0].expirationSeconds", "Invalid value: 1: may not specify a duration less than 10 minutes"),
            ("spec.tokenRequests[1].audience", 'Duplicate value: "a"'),
        ],
    ),
    (kinds.CSI_NODES, {"spec": {"drivers": [{"name": "d", "nodeID": "", "topologyKeys": ["a", "a"]}]}},
     [("spec.drivers[0].nodeID", "Required value"), ("spec.drivers[0]", 'Duplicate value: "a"')]),
    (kinds.CSI_STORAGE_CAPACITIES, {"storageClassName": "s", "capacity": "-1"},
     [("capacity", 'Invalid value: "-1": must be greater than or equal to 0')]),
    (kinds.VOLUME_ATTACHMENTS, {"spec": {"attacher": "a", "nodeName": "n", "source": {}}},
     [("spec.source", "Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName")]),
    (kinds.VOLUME_ATTRIBUTES_CLASSES, {"driverName": "d"},
     [("parameters", "Required value: must contain at least one key/value pair")]),
    (
        kinds.RESOURCE_CLAIMS,
        {"spec": {"devices": {"requests": [{"name": "a"}, {"name": "a", "exactly": {
            "deviceClassName": "c", "allocationMode": "All", "count": 2}}], "constraints": [
            {"requests": ["b"], "matchAttribute": "plain"}], "config": [{"opaque": {"driver": "d", "parameters": {}}}]}}},
        [
            ("spec.devices.requests[0]", "Required value: exactly one of `exactly` or `firstAvailable` is required"),
            ("spec.devices.requests[1].exactly.count", "Invalid value: 2: must not be specified when allocationMode is 'All'"),
            ("spec.devices.requests[1]", 'Duplicate value: "a"'),
            ("spec.devices.constraints[0].requests[0]", f'Invalid value: "b": {REFERENCE}'),
            ("spec.devices.constraints[0].matchAttribute", 'Invalid value: "plain": must include a domain'),
        ],
    ),
    (kinds.DEVICE_CLASSES, {"spec": {"selectors": [{}]}}, [("spec.selectors[0].cel", "Required value")]),
    (
        kinds.RESOURCE_SLICES,
        {"spec": {"driver": "d", "pool": {"name": "p", "resourceSliceCount": 0}, "nodeName": "n", "allNodes": True,
                  "devices": [{"name": "a", "attributes": {"v": {"version": "1"}}, "nodeName": "n"}]}},
        [
            ("spec.pool.resourceSliceCount", "Invalid value: 0: must be greater than zero"),
            ("spec", 'Invalid value: "{`nodeName`, `allNodes`}": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set'),
            ("spec.devices[0].attributes[v].version", 'Invalid value: "1": must be a string compatible with semver.org spec 2.0.0'),
            ("spec.devices[0]", "Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"),
        ],
    ),
    (kinds.IP_ADDRESSES, {"spec": {}},
     [("metadata.name", 'Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
      ("spec.parentRef", "Required value")]),
    (kinds.SERVICE_CIDRS, {"spec": {"cidrs": ["10.0.0.0/8", "10.0.0.0/9"]}},
     [("spec.cidrs", 'Invalid value: {"CIDRs":["10.0.0.0/8","10.0.0.0/9"]}: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64')]),
    (
        kinds.API_SERVICES,
        {"spec": {"group": "g", "version": "v1", "groupPriorityMinimum": 0, "versionPriority": 5, "caBundle": "YWJj"}},
        [
            ("metadata.name", 'Invalid value: "x": must be `spec.version+"."+spec.group`: "v1.g"'),
            ("spec.groupPriorityMinimum", "Invalid value: 0: must be positive and less than 20000"),
            ("spec.caBundle", 'Invalid value: "3 bytes": local APIServices may not have a caBundle'),
        ],
    ),
    (kinds.POD_TEMPLATES, {"template": {"spec": {"containers": []}}},
     [("template.spec.containers", "Required value")]),
    (kinds.LEASES, {"spec": {"preferredHolder": "x"}},
     [("spec.preferredHolder", "Forbidden: may only be specified when `strategy` is defined")]),
    (
        kinds.DEPLOYMENTS,
        {"spec": {"replicas": -1, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "c"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}},
        [
            ("spec.replicas", "Invalid value: -1: must be greater than or equal to 0"),
            ("spec.template.metadata.labels", 'Invalid value: {"a":"c"}: `selector` does not match template `labels`'),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "parts", "wrong"), REFUSED, ids=[r.kind for r, *_ in REFUSED])
def test_every_mistake_is_named(
    resource: Resource, parts: dict[str, Any], wrong: list[tuple[str, str]]
) -> None:
    assert found(resource, **parts) == wrong


def set_at(*path: str | int, value: Any) -> Any:
    def change(obj: Object) -> None:
        place: Any = obj
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("resource", "change", "wrong"),
    [
        (kinds.IP_ADDRESSES, set_at("spec", "parentRef", "name", value="t"),
         ("spec.parentRef", 'Invalid value: {"resource":"services","name":"t"}: field is immutable')),
        (kinds.SERVICE_CIDRS, set_at("spec", "cidrs", value=["10.1.0.0/16"]),
         ("spec.cidrs", 'Invalid value: ["10.1.0.0/16"]: field is immutable')),
        (kinds.VOLUME_ATTRIBUTES_CLASSES, set_at("parameters", "iops", value="6"),
         ("parameters", "Forbidden: updates to parameters are forbidden.")),
        (kinds.CSI_DRIVERS, set_at("spec", "attachRequired", value=False),
         ("spec.attachedRequired", "Invalid value: false: field is immutable")),
        (kinds.RESOURCE_SLICES, set_at("spec", "driver", value="e"),
         ("spec.driver", 'Invalid value: "e": field is immutable')),
    ],
    ids=lambda case: case.kind if isinstance(case, Resource) else "",
)  # fmt: skip
def test_what_may_not_change(resource: Resource, change: Any, wrong: tuple[str, str]) -> None:
    parts = next(parts for kind, parts in FINE if kind is resource)
    assert found_in_update(resource, made(resource, **parts), change) == [wrong]


def test_the_certificate_belongs_to_the_signer_and_the_decision_to_the_approver() -> None:
    """/status may not approve, /approval may not issue, and what was decided stays."""
    parts = next(parts for kind, parts in FINE if kind is kinds.CERTIFICATE_SIGNING_REQUESTS)
    old = made(kinds.CERTIFICATE_SIGNING_REQUESTS, **parts)
    old["metadata"]["resourceVersion"] = "1"
    approved = {"type": "Approved", "status": "True", "reason": "Fine"}

    def judged(subresource: str, new_status: Object, old_status: Object) -> list[str]:
        causes = validation.validate_update(
            kinds.CERTIFICATE_SIGNING_REQUESTS,
            old | {"status": new_status},
            old | {"status": old_status},
            subresource,
        )
        return [f"{cause.field}: {cause.message}" for cause in causes]

    assert judged("approval", {"conditions": [approved]}, {}) == []
    assert judged("status", {"conditions": [approved]}, {}) == [
        'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    ]
    assert judged("approval", {}, {"conditions": [approved]}) == [
        'status.conditions: Forbidden: updates may not remove a condition of type "Approved"'
    ]
    assert judged("approval", {"certificate": "YQ=="}, {}) == [
        "status.certificate: Forbidden: updates may not set certificate content"
    ]
    denied = approved | {"type": "Denied"}
    assert judged("approval", {"conditions": [approved, denied]}, {}) == [
        'status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive'
    ]


def test_events_are_judged_by_the_version_they_came_in() -> None:
    """A legacy event without eventTime is fine in the core group, not in events.k8s.io."""
    event = made(kinds.EVENTS, involvedObject={"namespace": "default"}, count=1, type="Normal")
    assert validation.validate_create(kinds.EVENTS, event, kinds.EVENTS) == []
    causes = validation.validate_create(kinds.EVENTS, event, kinds.EVENTS_V1)
    assert [(c.field, c.message) for c in causes] == [
        ("eventTime", "Required value"),
        ("count", 'Invalid value: "": needs to be unset'),
    ]


@pytest.mark.parametrize(
    ("resource", "spec", "wrong"),
    [
        (kinds.SUBJECT_ACCESS_REVIEWS, {}, [
            ("spec.resourceAttributes", "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"),
            ("spec.user", 'Invalid value: "": at least one of user or group must be specified'),
            ("metadata", 'Invalid value: {"name":"x"}: must be empty'),
        ]),
        (kinds.LOCAL_SUBJECT_ACCESS_REVIEWS, {"user": "u", "nonResourceAttributes": {"path": "/"}}, [
            ("metadata", 'Invalid value: {"name":"x","namespace":"default"}: must be empty except for namespace'),
            ("spec.nonResourceAttributes", 'Invalid value: {"path":"/"}: disallowed on this kind of request'),
        ]),
    ],
)  # fmt: skip
def test_questions_that_make_no_sense(
    resource: Resource, spec: dict[str, Any], wrong: list[tuple[str, str]]
) -> None:
    causes = validation.validate_review(resource, made(resource, spec=spec))
    assert [(c.field, c.message) for c in causes] == wrong
