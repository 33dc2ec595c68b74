"""One small valid object of each stored kind, and a status that its endpoint takes."""

from __future__ import annotations

from typing import Any

_POD = {"containers": [{"name": "c", "image": "app"}]}
_LABELS = {"matchLabels": {"app": "none"}}
_TEMPLATE = {"metadata": {"labels": {"app": "none"}}, "spec": _POD}
_JOB = {"suspend": True, "template": {"spec": {**_POD, "restartPolicy": "Never"}}}
_RULES = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothings"]}]
_WEBHOOK = {
    "name": "deny.example.com",
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "failurePolicy": "Ignore",
    "clientConfig": {"url": "https://127.0.0.1:1/"},
    "rules": _RULES,
}
_CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
_SUBJECT = {"kind": "Group", "name": "no-one", "apiGroup": "rbac.authorization.k8s.io"}
_ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
_POLICY_RULES = {"resourceRules": _RULES}
_CONDITION = {
    "type": "Looked",
    "status": "True",
    "reason": "Tested",
    "message": "by a test",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}

SPECIMENS: dict[str, dict[str, Any]] = {
    "configmaps": {"data": {"a": "b"}},
    "endpoints": {"subsets": [{"addresses": [{"ip": "10.9.8.7"}], "ports": [{"port": 80}]}]},
    "events": {
        "involvedObject": {"kind": "Pod", "name": "x", "namespace": "@"},
        "reason": "Tested",
        "message": "a test",
        "type": "Normal",
    },
    "limitranges": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "64"}}]}},
    "nodes": {},
    "persistentvolumeclaims": {"spec": {**_CLAIM, "storageClassName": ""}},
    "persistentvolumes": {
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "none",
            "hostPath": {"path": "/x"},
        }
    },
    "pods": {"spec": {**_POD, "schedulerName": "nobody", "terminationGracePeriodSeconds": 0}},
    "podtemplates": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": _POD}},
    "replicationcontrollers": {"spec": {"replicas": 0, "selector": {"app": "none"}, "template": _TEMPLATE}},
    "resourcequotas": {"spec": {"hard": {"count/nothings.example.com": "5"}}},
    "secrets": {"stringData": {"a": "b"}},
    "serviceaccounts": {},
    "services": {"spec": {"ports": [{"port": 80}], "selector": {"app": "none"}}},
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": {"webhooks": [_WEBHOOK]},
    "validatingwebhookconfigurations.admissionregistration.k8s.io": {"webhooks": [_WEBHOOK]},
    "validatingadmissionpolicies.admissionregistration.k8s.io": {
        "spec": {"matchConstraints": _POLICY_RULES, "validations": [{"expression": "true"}]}
    },
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": {
        "spec": {"policyName": "none.example.com", "validationActions": ["Deny"]}
    },
    "controllerrevisions.apps": {"revision": 1, "data": {"a": "b"}},
    "daemonsets.apps": {"spec": {"selector": _LABELS, "template": _TEMPLATE}},
    "deployments.apps": {"spec": {"replicas": 0, "selector": _LABELS, "template": _TEMPLATE}},
    "replicasets.apps": {"spec": {"replicas": 0, "selector": _LABELS, "template": _TEMPLATE}},
    "statefulsets.apps": {"spec": {"replicas": 0, "selector": _LABELS, "template": _TEMPLATE}},
    "horizontalpodautoscalers.autoscaling": {
        "spec": {
            "maxReplicas": 2,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"},
        }
    },
    "cronjobs.batch": {
        "spec": {
            "schedule": "0 0 1 1 *",
            "suspend": True,
            "jobTemplate": {"spec": {**_JOB, "suspend": False}},
        }
    },
    "jobs.batch": {"spec": _JOB},
    "certificatesigningrequests.certificates.k8s.io": {
        "spec": {"signerName": "example.com/none", "usages": ["client auth"], "request": "@csr"}
    },
    "leases.coordination.k8s.io": {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 30}},
    "endpointslices.discovery.k8s.io": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.9.8.7"]}],
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
    },
    "events.events.k8s.io": {
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": {"kind": "Pod", "name": "x", "namespace": "@"},
        "reportingController": "test",
        "reportingInstance": "test-1",
        "action": "Looking",
        "reason": "Tested",
        "type": "Normal",
        "note": "a test",
    },
    "flowschemas.flowcontrol.apiserver.k8s.io": {
        "spec": {"matchingPrecedence": 9000, "priorityLevelConfiguration": {"name": "none"}, "rules": []}
    },
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": {
        "spec": {
            "type": "Limited",
            "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}},
        }
    },
    "ingressclasses.networking.k8s.io": {"spec": {"controller": "example.com/controller"}},
    "ingresses.networking.k8s.io": {
        "spec": {"defaultBackend": {"service": {"name": "none", "port": {"number": 80}}}}
    },
    "networkpolicies.networking.k8s.io": {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
    "servicecidrs.networking.k8s.io": {"spec": {"cidrs": ["10.222.0.0/24"]}},
    "runtimeclasses.node.k8s.io": {"handler": "fast"},
    "poddisruptionbudgets.policy": {"spec": {"minAvailable": 1, "selector": _LABELS}},
    "clusterrolebindings.rbac.authorization.k8s.io": {"roleRef": _ROLE, "subjects": [_SUBJECT]},
    "clusterroles.rbac.authorization.k8s.io": {
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    },
    "rolebindings.rbac.authorization.k8s.io": {"roleRef": _ROLE, "subjects": [_SUBJECT]},
    "roles.rbac.authorization.k8s.io": {
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    },
    "deviceclasses.resource.k8s.io": {"spec": {}},
    "resourceclaimtemplates.resource.k8s.io": {"spec": {"spec": {}}},
    "resourceclaims.resource.k8s.io": {"spec": {}},
    "priorityclasses.scheduling.k8s.io": {"value": 5},
    "csidrivers.storage.k8s.io": {"spec": {"attachRequired": False}},
    "csinodes.storage.k8s.io": {"spec": {"drivers": []}},
    "csistoragecapacities.storage.k8s.io": {"storageClassName": "none", "capacity": "1Gi"},
    "storageclasses.storage.k8s.io": {"provisioner": "example.com/none"},
    "volumeattachments.storage.k8s.io": {
        "spec": {"attacher": "example.com", "nodeName": "none", "source": {"persistentVolumeName": "none"}}
    },
    "volumeattributesclasses.storage.k8s.io": {"driverName": "example.com", "parameters": {"a": "b"}},
}

STATUSES: dict[str, dict[str, Any]] = {
    "pods": {"message": "set by a test"},
    "nodes": {"phase": "Running"},
    "services": {"conditions": [_CONDITION]},
    "resourcequotas": {"hard": {"count/nothings.example.com": "5"}},
    "persistentvolumes": {"message": "set by a test"},
    "persistentvolumeclaims": {"conditions": [{"type": "Looked", "status": "True"}]},
    "replicationcontrollers": {"conditions": [{"type": "Looked", "status": "True"}]},
    "deployments.apps": {"conditions": [{"type": "Looked", "status": "True"}]},
    "replicasets.apps": {"conditions": [{"type": "Looked", "status": "True"}]},
    "daemonsets.apps": {"conditions": [{"type": "Looked", "status": "True"}]},
    "statefulsets.apps": {"conditions": [{"type": "Looked", "status": "True"}]},
    "jobs.batch": {"conditions": [{"type": "Looked", "status": "True"}]},
    "cronjobs.batch": {"lastScheduleTime": "2026-01-01T00:00:00Z"},
    "horizontalpodautoscalers.autoscaling": {
        "currentReplicas": 0,
        "desiredReplicas": 0,
        "currentMetrics": None,
    },
    "certificatesigningrequests.certificates.k8s.io": {"conditions": [{**_CONDITION, "type": "Failed"}]},
    "ingresses.networking.k8s.io": {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}},
    "flowschemas.flowcontrol.apiserver.k8s.io": {"conditions": [_CONDITION]},
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": {"conditions": [_CONDITION]},
    "servicecidrs.networking.k8s.io": {"conditions": [_CONDITION]},
    "poddisruptionbudgets.policy": {
        "conditions": [_CONDITION],
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "disruptionsAllowed": 0,
        "expectedPods": 0,
    },
    "volumeattachments.storage.k8s.io": {"attached": True},
    "validatingadmissionpolicies.admissionregistration.k8s.io": {"conditions": [_CONDITION]},
}
