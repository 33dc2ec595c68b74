"""The roles and bindings that every cluster has, as data.

A rule is one line: `verbs; resources; groups; names`, each list separated by spaces, the core group written
`core`; a line that begins with a path rule is `get /healthz /livez`. `rw` stands for the changing verbs and
`ro` for the reading ones. The roles of single controllers are in `policy_controllers`.
"""

from __future__ import annotations

from typing import Final

from cluster.server.auth.policy_controllers import CONTROLLERS

READ: Final = ("get", "list", "watch")
CHANGE: Final = ("create", "delete", "deletecollection", "patch", "update")
WRITE_EVENTS: Final = "create patch update; events; core events.k8s.io"
_HEALTH: Final = "/healthz /livez /readyz /version /version/"

AGGREGATED: Final[dict[str, str]] = {"admin": "admin", "edit": "edit", "view": "view"}
"""Roles whose rules are those of every role labelled rbac.authorization.k8s.io/aggregate-to-<value>."""

AGGREGATE_TO: Final[dict[str, tuple[str, ...]]] = {
    "edit": ("admin",),
    "view": ("edit",),
    "system:aggregate-to-admin": ("admin",),
    "system:aggregate-to-edit": ("edit",),
    "system:aggregate-to-view": ("view",),
}

_EDIT_OBJECTS = (
    "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
    "serviceaccounts services services/proxy"
)
_VIEW_OBJECTS = (
    "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
    "replicationcontrollers/scale serviceaccounts services services/status"
)
_VIEW_STATES = (
    "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
    "resourcequotas resourcequotas/status"
)
_APPS = (
    "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale "
    "statefulsets statefulsets/scale"
)
_APPS_VIEW = (
    "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status "
    "replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status"
)
_EXTENSIONS = (
    "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets "
    "replicasets/scale replicationcontrollers/scale"
)
_EXTENSIONS_VIEW = (
    "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses "
    "ingresses/status networkpolicies replicasets replicasets/scale replicasets/status "
    "replicationcontrollers/scale"
)
"""Of a group that is served no longer; Kubernetes' roles still name it."""
_APPROVE: Final = "system:certificates.k8s.io:"

CLUSTER_ROLES: Final[dict[str, tuple[str, ...]]] = {
    "cluster-admin": ("*; *; *", "* *"),
    "system:discovery": (f"get /api /api/* /apis /apis/* /openapi /openapi/* {_HEALTH}",),
    "system:monitoring": (
        "get /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* /statusz /flagz",
    ),
    "system:basic-user": (
        "create; selfsubjectaccessreviews selfsubjectrulesreviews; authorization.k8s.io",
        "create; selfsubjectreviews; authentication.k8s.io",
    ),
    "system:public-info-viewer": (f"get {_HEALTH}",),
    "system:service-account-issuer-discovery": ("get /.well-known/openid-configuration /openid/v1/jwks",),
    "system:auth-delegator": (
        "create; tokenreviews; authentication.k8s.io",
        "create; subjectaccessreviews; authorization.k8s.io",
    ),
    "system:aggregate-to-admin": (
        "create; localsubjectaccessreviews; authorization.k8s.io",
        "rw ro; rolebindings roles; rbac.authorization.k8s.io",
    ),
    "system:aggregate-to-edit": (
        "ro; pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy; core",
        "impersonate; serviceaccounts; core",
        "rw; pods pods/attach pods/exec pods/portforward pods/proxy; core",
        "create; pods/eviction; core",
        f"rw; {_EDIT_OBJECTS}; core",
        "create; serviceaccounts/token; core",
        f"rw; {_APPS}; apps",
        "rw; horizontalpodautoscalers; autoscaling",
        "rw; cronjobs jobs; batch",
        f"rw; {_EXTENSIONS}; extensions",
        "rw; poddisruptionbudgets; policy",
        "rw; ingresses networkpolicies; networking.k8s.io",
        "rw ro; leases; coordination.k8s.io",
        "rw; resourceclaims resourceclaimtemplates; resource.k8s.io",
    ),
    "system:aggregate-to-view": (
        f"ro; {_VIEW_OBJECTS}; core",
        f"ro; {_VIEW_STATES}; core",
        "ro; namespaces; core",
        "ro; endpointslices; discovery.k8s.io",
        f"ro; {_APPS_VIEW}; apps",
        "ro; horizontalpodautoscalers horizontalpodautoscalers/status; autoscaling",
        "ro; cronjobs cronjobs/status jobs jobs/status; batch",
        f"ro; {_EXTENSIONS_VIEW}; extensions",
        "ro; poddisruptionbudgets poddisruptionbudgets/status; policy",
        "ro; ingresses ingresses/status networkpolicies; networking.k8s.io",
        "ro; resourceclaims resourceclaims/status resourceclaimtemplates; resource.k8s.io",
    ),
    f"{_APPROVE}certificatesigningrequests:nodeclient": (
        "create; certificatesigningrequests/nodeclient; certificates.k8s.io",
    ),
    f"{_APPROVE}certificatesigningrequests:selfnodeclient": (
        "create; certificatesigningrequests/selfnodeclient; certificates.k8s.io",
    ),
    f"{_APPROVE}kube-apiserver-client-approver": (
        "approve; signers; certificates.k8s.io; kubernetes.io/kube-apiserver-client",
    ),
    f"{_APPROVE}kube-apiserver-client-kubelet-approver": (
        "approve; signers; certificates.k8s.io; kubernetes.io/kube-apiserver-client-kubelet",
    ),
    f"{_APPROVE}kubelet-serving-approver": (
        "approve; signers; certificates.k8s.io; kubernetes.io/kubelet-serving",
    ),
    f"{_APPROVE}legacy-unknown-approver": (
        "approve; signers; certificates.k8s.io; kubernetes.io/legacy-unknown",
    ),
    "system:kube-aggregator": ("ro; endpoints services; core",),
    "system:kube-dns": ("list watch; endpoints services; core",),
    "system:kube-controller-manager": (
        WRITE_EVENTS,
        "create; leases; coordination.k8s.io",
        "get update; leases; coordination.k8s.io; kube-controller-manager",
        "create; secrets serviceaccounts; core",
        "delete; secrets; core",
        "get; configmaps namespaces secrets serviceaccounts; core",
        "update; secrets serviceaccounts; core",
        "create; tokenreviews; authentication.k8s.io",
        "create; subjectaccessreviews; authorization.k8s.io",
        "list watch; *; *",
        "create; serviceaccounts/token; core",
    ),
    "system:kube-scheduler": (
        WRITE_EVENTS,
        "create; leases; coordination.k8s.io",
        "get update; leases; coordination.k8s.io; kube-scheduler",
        "ro; nodes; core",
        "delete ro; pods; core",
        "create; bindings pods/binding; core",
        "patch update; pods/status; core",
        "ro; replicationcontrollers services; core",
        "ro; replicasets statefulsets; apps",
        "ro; poddisruptionbudgets; policy",
        "ro; persistentvolumeclaims persistentvolumes; core",
        "create; tokenreviews; authentication.k8s.io",
        "create; subjectaccessreviews; authorization.k8s.io",
        "ro; csinodes csidrivers csistoragecapacities; storage.k8s.io",
        "ro; namespaces; core",
        "ro; deviceclasses resourceslices; resource.k8s.io",
        "ro patch update; resourceclaims; resource.k8s.io",
        "patch update; resourceclaims/status; resource.k8s.io",
    ),
    "system:kubelet-api-admin": (
        "ro; nodes; core",
        "proxy; nodes; core",
        "*; nodes/log nodes/metrics nodes/proxy nodes/stats; core",
    ),
    "system:node": (
        "create; tokenreviews; authentication.k8s.io",
        "create; localsubjectaccessreviews subjectaccessreviews; authorization.k8s.io",
        "ro; services; core",
        "create patch update ro; nodes; core",
        "patch update; nodes/status; core",
        "create patch update; events; core",
        "create delete ro; pods; core",
        "patch update; pods/status; core",
        "create; pods/eviction; core",
        "ro; configmaps secrets; core",
        "get; persistentvolumeclaims persistentvolumes; core",
        "get; endpoints; core",
        "create ro; certificatesigningrequests; certificates.k8s.io",
        "create delete get patch update; leases; coordination.k8s.io",
        "get; volumeattachments; storage.k8s.io",
        "create; serviceaccounts/token; core",
        "get patch update; persistentvolumeclaims/status; core",
        "ro; csidrivers; storage.k8s.io",
        "create delete get patch update; csinodes; storage.k8s.io",
        "ro; runtimeclasses; node.k8s.io",
    ),
    "system:node-bootstrapper": ("create ro; certificatesigningrequests; certificates.k8s.io",),
    "system:node-problem-detector": ("get; nodes; core", "patch; nodes/status; core", WRITE_EVENTS),
    "system:node-proxier": (
        "list watch; endpoints services; core",
        "ro; nodes; core",
        WRITE_EVENTS,
        "list watch; endpointslices; discovery.k8s.io",
        "list watch; servicecidrs; networking.k8s.io",
    ),
    "system:persistent-volume-provisioner": (
        "create delete ro; persistentvolumes; core",
        "ro update; persistentvolumeclaims; core",
        "ro; storageclasses; storage.k8s.io",
        "watch; events; core",
        WRITE_EVENTS,
    ),
    "system:volume-scheduler": (
        "ro patch update; persistentvolumes; core",
        "ro; storageclasses; storage.k8s.io",
        "ro patch update; persistentvolumeclaims; core",
    ),
} | {f"system:controller:{name}": rules for name, rules in CONTROLLERS.items()}  # fmt: skip

CLUSTER_ROLE_BINDINGS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "cluster-admin": ("cluster-admin", ("Group system:masters",)),
    "system:monitoring": ("system:monitoring", ("Group system:monitoring",)),
    "system:discovery": ("system:discovery", ("Group system:authenticated",)),
    "system:basic-user": ("system:basic-user", ("Group system:authenticated",)),
    "system:public-info-viewer": (
        "system:public-info-viewer",
        ("Group system:authenticated", "Group system:unauthenticated"),
    ),
    "system:service-account-issuer-discovery": (
        "system:service-account-issuer-discovery",
        ("Group system:serviceaccounts",),
    ),
    "system:node-proxier": ("system:node-proxier", ("User system:kube-proxy",)),
    "system:kube-controller-manager": (
        "system:kube-controller-manager",
        ("User system:kube-controller-manager",),
    ),
    "system:kube-dns": ("system:kube-dns", ("ServiceAccount kube-system/kube-dns",)),
    "system:kube-scheduler": ("system:kube-scheduler", ("User system:kube-scheduler",)),
    "system:volume-scheduler": ("system:volume-scheduler", ("User system:kube-scheduler",)),
    "system:node": ("system:node", ()),
} | {
    f"system:controller:{name}": (f"system:controller:{name}", (f"ServiceAccount kube-system/{name}",))
    for name in CONTROLLERS
}

ROLES: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("kube-system", "extension-apiserver-authentication-reader"): (
        "ro; configmaps; core; extension-apiserver-authentication",
    ),
    ("kube-system", "system:controller:bootstrap-signer"): ("ro; secrets; core",),
    ("kube-system", "system:controller:cloud-provider"): ("create get list update watch; configmaps; core",),
    ("kube-system", "system:controller:token-cleaner"): ("ro delete; secrets; core", WRITE_EVENTS),
    ("kube-system", "system::leader-locking-kube-controller-manager"): (
        "watch; configmaps; core",
        "get update; configmaps; core; kube-controller-manager",
    ),
    ("kube-system", "system::leader-locking-kube-scheduler"): (
        "watch; configmaps; core",
        "get update; configmaps; core; kube-scheduler",
    ),
    ("kube-public", "system:controller:bootstrap-signer"): (
        "ro; configmaps; core",
        "update; configmaps; core; cluster-info",
        WRITE_EVENTS,
    ),
}

ROLE_BINDINGS: Final[dict[tuple[str, str], tuple[str, tuple[str, ...]]]] = {
    ("kube-system", "system::extension-apiserver-authentication-reader"): (
        "extension-apiserver-authentication-reader",
        ("User system:kube-controller-manager", "User system:kube-scheduler"),
    ),
    ("kube-system", "system::leader-locking-kube-controller-manager"): (
        "system::leader-locking-kube-controller-manager",
        ("User system:kube-controller-manager", "ServiceAccount kube-system/kube-controller-manager"),
    ),
    ("kube-system", "system::leader-locking-kube-scheduler"): (
        "system::leader-locking-kube-scheduler",
        ("User system:kube-scheduler", "ServiceAccount kube-system/kube-scheduler"),
    ),
    ("kube-system", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer",
        ("ServiceAccount kube-system/bootstrap-signer",),
    ),
    ("kube-system", "system:controller:cloud-provider"): (
        "system:controller:cloud-provider",
        ("ServiceAccount kube-system/cloud-provider",),
    ),
    ("kube-system", "system:controller:token-cleaner"): (
        "system:controller:token-cleaner",
        ("ServiceAccount kube-system/token-cleaner",),
    ),
    ("kube-public", "system:controller:bootstrap-signer"): (
        "system:controller:bootstrap-signer",
        ("ServiceAccount kube-system/bootstrap-signer",),
    ),
}
