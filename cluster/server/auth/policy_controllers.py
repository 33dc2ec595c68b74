"""The roles of the single controllers, `system:controller:<name>`, as data (lines as in `policy`).

Each is bound to the service account kube-system/<name>. kubemu's own controllers run inside the API server's
process and need none of them; they are here for whoever runs a controller of their own under one of these
accounts, or looks for the roles that every cluster has.
"""

from __future__ import annotations

from typing import Final

_EVENTS: Final = "create patch update; events; core events.k8s.io"
_SCALED: Final = "apps extensions"
_CSR: Final = "certificatesigningrequests"
_SIGNERS: Final = " ".join(
    f"kubernetes.io/{name}"
    for name in (
        "kube-apiserver-client",
        "kube-apiserver-client-kubelet",
        "kubelet-serving",
        "legacy-unknown",
    )
)

CONTROLLERS: Final[dict[str, tuple[str, ...]]] = {
    "attachdetach-controller": (
        "list watch; persistentvolumeclaims persistentvolumes; core",
        "ro; nodes; core",
        "patch update; nodes/status; core",
        "list watch; pods; core",
        _EVENTS,
        "create delete ro; volumeattachments; storage.k8s.io",
        "ro; csidrivers csinodes; storage.k8s.io",
    ),
    "certificate-controller": (
        f"delete ro; {_CSR}; certificates.k8s.io",
        f"update; {_CSR}/approval {_CSR}/status; certificates.k8s.io",
        "approve; signers; certificates.k8s.io; kubernetes.io/kube-apiserver-client-kubelet",
        f"sign; signers; certificates.k8s.io; {_SIGNERS}",
        "create; subjectaccessreviews; authorization.k8s.io",
        _EVENTS,
    ),
    "clusterrole-aggregation-controller": (
        "escalate ro patch update; clusterroles; rbac.authorization.k8s.io",
    ),
    "cronjob-controller": (
        "ro update; cronjobs; batch",
        "create delete ro patch update; jobs; batch",
        "update; cronjobs/status; batch",
        "update; cronjobs/finalizers; batch",
        "delete list; pods; core",
        _EVENTS,
    ),
    "daemon-set-controller": (
        f"ro; daemonsets; {_SCALED}",
        f"update; daemonsets/status; {_SCALED}",
        f"update; daemonsets/finalizers; {_SCALED}",
        "list watch; nodes; core",
        "create delete list patch watch; pods; core",
        "create; pods/binding; core",
        "create delete ro patch update; controllerrevisions; apps",
        _EVENTS,
    ),
    "deployment-controller": (
        f"ro update; deployments; {_SCALED}",
        f"update; deployments/status; {_SCALED}",
        f"update; deployments/finalizers; {_SCALED}",
        f"create delete ro patch update; replicasets; {_SCALED}",
        "ro update; pods; core",
        _EVENTS,
    ),
    "disruption-controller": (
        f"ro; deployments replicasets; {_SCALED}",
        "ro; replicationcontrollers; core",
        "ro; poddisruptionbudgets; policy",
        "ro; statefulsets; apps",
        "update; poddisruptionbudgets/status; policy",
        "get; */scale; *",
        "ro; pods; core",
        "patch update; pods/status; core",
        _EVENTS,
    ),
    "endpoint-controller": (
        "ro; pods services; core",
        "create delete get list update; endpoints; core",
        "create; endpoints/restricted; core",
        _EVENTS,
    ),
    "endpointslice-controller": (
        "ro; nodes pods services; core",
        "update; services/finalizers; core",
        "create delete get list update; endpointslices; discovery.k8s.io",
        _EVENTS,
    ),
    "endpointslicemirroring-controller": (
        "ro; endpoints services; core",
        "update; services/finalizers; core",
        "update; endpoints/finalizers; core",
        "create delete get list update; endpointslices; discovery.k8s.io",
        _EVENTS,
    ),
    "ephemeral-volume-controller": (
        "update; pods/finalizers; core",
        "ro; pods; core",
        "create ro; persistentvolumeclaims; core",
        _EVENTS,
    ),
    "expand-controller": (
        "ro patch update; persistentvolumes; core",
        "patch update; persistentvolumeclaims/status; core",
        "ro; persistentvolumeclaims; core",
        "ro; storageclasses; storage.k8s.io",
        _EVENTS,
    ),
    "generic-garbage-collector": (_EVENTS, "delete ro patch update; *; *"),
    "horizontal-pod-autoscaler": (
        "ro; horizontalpodautoscalers; autoscaling",
        "update; horizontalpodautoscalers/status; autoscaling",
        "get update; */scale; *",
        "list; pods; core",
        "get list; *; custom.metrics.k8s.io external.metrics.k8s.io",
        "list; pods; metrics.k8s.io",
        _EVENTS,
    ),
    "job-controller": (
        "ro patch update; jobs; batch",
        "update; jobs/status; batch",
        "update; jobs/finalizers; batch",
        "create delete list patch watch; pods; core",
        _EVENTS,
    ),
    "legacy-service-account-token-cleaner": (
        "get; configmaps; core; kube-apiserver-legacy-service-account-token-tracking",
        "delete patch; secrets; core",
    ),
    "namespace-controller": (
        "delete ro; namespaces; core",
        "update; namespaces/finalize namespaces/status; core",
        "delete deletecollection get list; *; *",
    ),
    "node-controller": (
        "delete get list patch update; nodes; core",
        "patch update; nodes/status; core",
        "patch update; pods/status; core",
        "delete get list; pods; core",
        _EVENTS,
    ),
    "persistent-volume-binder": (
        "create delete ro update; persistentvolumes; core",
        "update; persistentvolumes/status; core",
        "ro update; persistentvolumeclaims; core",
        "update; persistentvolumeclaims/status; core",
        "create delete ro; pods; core",
        "ro; storageclasses; storage.k8s.io",
        "create delete get update; endpoints services; core",
        "get list; secrets; core",
        "get list; nodes; core",
        "watch; events; core",
        _EVENTS,
    ),
    "pod-garbage-collector": (
        "delete list watch; pods; core",
        "get list; nodes; core",
        "patch; pods/status; core",
    ),
    "pv-protection-controller": ("ro update; persistentvolumes; core", _EVENTS),
    "pvc-protection-controller": ("ro update; persistentvolumeclaims; core", "ro; pods; core", _EVENTS),
    "replicaset-controller": (
        f"ro update; replicasets; {_SCALED}",
        f"update; replicasets/status; {_SCALED}",
        f"update; replicasets/finalizers; {_SCALED}",
        "create delete list patch watch; pods; core",
        _EVENTS,
    ),
    "replication-controller": (
        "ro update; replicationcontrollers; core",
        "update; replicationcontrollers/status; core",
        "update; replicationcontrollers/finalizers; core",
        "create delete list patch watch; pods; core",
        _EVENTS,
    ),
    "resource-claim-controller": (
        "update; pods/finalizers; core",
        "ro; pods; core",
        "patch; pods/status; core",
        "create delete ro; resourceclaims; resource.k8s.io",
        "ro; resourceclaimtemplates; resource.k8s.io",
        "patch update; resourceclaims/status; resource.k8s.io",
        _EVENTS,
    ),
    "resourcequota-controller": ("list watch; *; *", "update; resourcequotas/status; core", _EVENTS),
    "root-ca-cert-publisher": ("create update; configmaps; core", _EVENTS),
    "route-controller": ("list watch; nodes; core", "patch; nodes/status; core", _EVENTS),
    "selinux-warning-controller": (
        "ro; persistentvolumeclaims persistentvolumes pods; core",
        "ro; csidrivers; storage.k8s.io",
        _EVENTS,
    ),
    "service-account-controller": ("create; serviceaccounts; core", _EVENTS),
    "service-cidrs-controller": (
        "ro patch update; servicecidrs; networking.k8s.io",
        "patch update; servicecidrs/finalizers; networking.k8s.io",
        "patch update; servicecidrs/status; networking.k8s.io",
        "ro; ipaddresses; networking.k8s.io",
        _EVENTS,
    ),
    "service-controller": (
        "ro; services; core",
        "patch update; services/status; core",
        "list watch; nodes; core",
        _EVENTS,
    ),
    "statefulset-controller": (
        "list watch; pods; core",
        "ro; statefulsets; apps",
        "update; statefulsets/status; apps",
        "update; statefulsets/finalizers; apps",
        "create delete get patch update; pods; core",
        "create delete ro patch update; controllerrevisions; apps",
        "create delete get update; persistentvolumeclaims; core",
        _EVENTS,
    ),
    "ttl-after-finished-controller": ("delete ro; jobs; batch", _EVENTS),
    "ttl-controller": ("list patch update watch; nodes; core", _EVENTS),
    "validatingadmissionpolicy-status-controller": (
        "ro; validatingadmissionpolicies; admissionregistration.k8s.io",
        "get patch update; validatingadmissionpolicies/status; admissionregistration.k8s.io",
        _EVENTS,
    ),
}
