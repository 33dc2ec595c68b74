"""Every kind that a 1.37 cluster serves in a stable version, as constants: facts, no behaviour.

A constant is named after the plural (`REPLICA_SETS`). Two kinds are served twice over one stored object:
HorizontalPodAutoscaler (autoscaling/v1 and v2) and Event (core and events.k8s.io); the second view's
constant carries a suffix, and `cluster.api.registry` knows which one is stored. metrics.k8s.io has
plurals of its own (`nodes`, `pods`), so its constants are named after the kinds.

Verbs are what discovery shows, which is also what the server routes.
"""

from __future__ import annotations

from cluster.api.resource import Resource

_ALL = (
    "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
)  # fmt: skip
_NO_COLLECTION_DELETE = tuple(verb for verb in _ALL if verb != "deletecollection")
_CREATE = ("create",)
_READ = ("get", "list")

_META = "io.k8s.api."
_EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis."
_AGGREGATOR = "io.k8s.kube-aggregator.pkg.apis."


class _Group:
    """One group-version and the prefix of its types in the facts table."""

    def __init__(self, group: str, version: str, schema: str) -> None:
        self._group, self._version, self._schema = group, version, schema

    def _resource(
        self,
        kind: str,
        namespaced: bool,
        *short_names: str,
        plural: str = "",
        subresources: tuple[str, ...] = (),
        categories: tuple[str, ...] = (),
        verbs: tuple[str, ...] = _ALL,
    ) -> Resource:
        return Resource(
            group=self._group,
            version=self._version,
            kind=kind,
            plural=plural or kind.lower() + "s",
            singular=kind.lower(),
            namespaced=namespaced,
            short_names=short_names,
            categories=categories,
            subresources=subresources,
            verbs=verbs,
            schema=f"{self._schema}.{self._version}.{kind}",
        )

    def namespaced(
        self,
        kind: str,
        *short_names: str,
        plural: str = "",
        subresources: tuple[str, ...] = (),
        categories: tuple[str, ...] = (),
        verbs: tuple[str, ...] = _ALL,
    ) -> Resource:
        return self._resource(
            kind,
            True,
            *short_names,
            plural=plural,
            subresources=subresources,
            categories=categories,
            verbs=verbs,
        )

    def cluster(
        self,
        kind: str,
        *short_names: str,
        plural: str = "",
        subresources: tuple[str, ...] = (),
        categories: tuple[str, ...] = (),
        verbs: tuple[str, ...] = _ALL,
    ) -> Resource:
        return self._resource(
            kind,
            False,
            *short_names,
            plural=plural,
            subresources=subresources,
            categories=categories,
            verbs=verbs,
        )


_WORKLOAD = ("all",)
_EXTENSION = ("api-extensions",)
_STATUS = ("status",)
_SCALE = ("scale", "status")

_core = _Group("", "v1", _META + "core")
BINDINGS = _core.namespaced("Binding", verbs=_CREATE)
COMPONENT_STATUSES = _core.cluster("ComponentStatus", "cs", plural="componentstatuses", verbs=_READ)
CONFIG_MAPS = _core.namespaced("ConfigMap", "cm")
ENDPOINTS = _core.namespaced("Endpoints", "ep", plural="endpoints")
EVENTS = _core.namespaced("Event", "ev")
LIMIT_RANGES = _core.namespaced("LimitRange", "limits")
NAMESPACES = _core.cluster(
    "Namespace", "ns", subresources=("finalize", "status"), verbs=_NO_COLLECTION_DELETE
)
NODES = _core.cluster("Node", "no", subresources=("proxy", "status"))
PERSISTENT_VOLUME_CLAIMS = _core.namespaced("PersistentVolumeClaim", "pvc", subresources=_STATUS)
PERSISTENT_VOLUMES = _core.cluster("PersistentVolume", "pv", subresources=_STATUS)
PODS = _core.namespaced(
    "Pod",
    "po",
    categories=_WORKLOAD,
    subresources=(
        "attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy",
        "resize", "status",
    ),
)  # fmt: skip
POD_TEMPLATES = _core.namespaced("PodTemplate")
REPLICATION_CONTROLLERS = _core.namespaced(
    "ReplicationController", "rc", categories=_WORKLOAD, subresources=_SCALE
)
RESOURCE_QUOTAS = _core.namespaced("ResourceQuota", "quota", subresources=_STATUS)
SECRETS = _core.namespaced("Secret")
SERVICE_ACCOUNTS = _core.namespaced("ServiceAccount", "sa", subresources=("token",))
SERVICES = _core.namespaced("Service", "svc", categories=_WORKLOAD, subresources=("proxy", "status"))

_admission = _Group("admissionregistration.k8s.io", "v1", _META + "admissionregistration")
MUTATING_ADMISSION_POLICIES = _admission.cluster(
    "MutatingAdmissionPolicy", plural="mutatingadmissionpolicies", categories=_EXTENSION
)
MUTATING_ADMISSION_POLICY_BINDINGS = _admission.cluster(
    "MutatingAdmissionPolicyBinding", categories=_EXTENSION
)
MUTATING_WEBHOOK_CONFIGURATIONS = _admission.cluster("MutatingWebhookConfiguration", categories=_EXTENSION)
VALIDATING_ADMISSION_POLICIES = _admission.cluster(
    "ValidatingAdmissionPolicy",
    plural="validatingadmissionpolicies",
    categories=_EXTENSION,
    subresources=_STATUS,
)
VALIDATING_ADMISSION_POLICY_BINDINGS = _admission.cluster(
    "ValidatingAdmissionPolicyBinding", categories=_EXTENSION
)
VALIDATING_WEBHOOK_CONFIGURATIONS = _admission.cluster(
    "ValidatingWebhookConfiguration", categories=_EXTENSION
)

CUSTOM_RESOURCE_DEFINITIONS = _Group("apiextensions.k8s.io", "v1", _EXTENSIONS + "apiextensions").cluster(
    "CustomResourceDefinition", "crd", "crds", categories=_EXTENSION, subresources=_STATUS
)
API_SERVICES = _Group("apiregistration.k8s.io", "v1", _AGGREGATOR + "apiregistration").cluster(
    "APIService", categories=_EXTENSION, subresources=_STATUS
)

_apps = _Group("apps", "v1", _META + "apps")
CONTROLLER_REVISIONS = _apps.namespaced("ControllerRevision")
DAEMON_SETS = _apps.namespaced("DaemonSet", "ds", categories=_WORKLOAD, subresources=_STATUS)
DEPLOYMENTS = _apps.namespaced("Deployment", "deploy", categories=_WORKLOAD, subresources=_SCALE)
REPLICA_SETS = _apps.namespaced("ReplicaSet", "rs", categories=_WORKLOAD, subresources=_SCALE)
STATEFUL_SETS = _apps.namespaced("StatefulSet", "sts", categories=_WORKLOAD, subresources=_SCALE)

_authentication = _Group("authentication.k8s.io", "v1", _META + "authentication")
SELF_SUBJECT_REVIEWS = _authentication.cluster("SelfSubjectReview", verbs=_CREATE)
TOKEN_REVIEWS = _authentication.cluster("TokenReview", verbs=_CREATE)

_authorization = _Group("authorization.k8s.io", "v1", _META + "authorization")
LOCAL_SUBJECT_ACCESS_REVIEWS = _authorization.namespaced("LocalSubjectAccessReview", verbs=_CREATE)
SELF_SUBJECT_ACCESS_REVIEWS = _authorization.cluster("SelfSubjectAccessReview", verbs=_CREATE)
SELF_SUBJECT_RULES_REVIEWS = _authorization.cluster("SelfSubjectRulesReview", verbs=_CREATE)
SUBJECT_ACCESS_REVIEWS = _authorization.cluster("SubjectAccessReview", verbs=_CREATE)

HORIZONTAL_POD_AUTOSCALERS = _Group("autoscaling", "v2", _META + "autoscaling").namespaced(
    "HorizontalPodAutoscaler", "hpa", categories=_WORKLOAD, subresources=_STATUS
)
HORIZONTAL_POD_AUTOSCALERS_V1 = _Group("autoscaling", "v1", _META + "autoscaling").namespaced(
    "HorizontalPodAutoscaler", "hpa", categories=_WORKLOAD, subresources=_STATUS
)

_batch = _Group("batch", "v1", _META + "batch")
CRON_JOBS = _batch.namespaced("CronJob", "cj", categories=_WORKLOAD, subresources=_STATUS)
JOBS = _batch.namespaced("Job", categories=_WORKLOAD, subresources=_STATUS)

_certificates = _Group("certificates.k8s.io", "v1", _META + "certificates")
CERTIFICATE_SIGNING_REQUESTS = _certificates.cluster(
    "CertificateSigningRequest", "csr", subresources=("approval", "status")
)
CLUSTER_TRUST_BUNDLES = _certificates.cluster("ClusterTrustBundle")
POD_CERTIFICATE_REQUESTS = _certificates.namespaced("PodCertificateRequest", subresources=_STATUS)

LEASES = _Group("coordination.k8s.io", "v1", _META + "coordination").namespaced("Lease")
ENDPOINT_SLICES = _Group("discovery.k8s.io", "v1", _META + "discovery").namespaced("EndpointSlice")
EVENTS_V1 = _Group("events.k8s.io", "v1", _META + "events").namespaced("Event", "ev")

_flowcontrol = _Group("flowcontrol.apiserver.k8s.io", "v1", _META + "flowcontrol")
FLOW_SCHEMAS = _flowcontrol.cluster("FlowSchema", subresources=_STATUS)
PRIORITY_LEVEL_CONFIGURATIONS = _flowcontrol.cluster("PriorityLevelConfiguration", subresources=_STATUS)

_metrics = _Group("metrics.k8s.io", "v1beta1", "io.k8s.metrics.pkg.apis.metrics")
NODE_METRICS = _metrics.cluster("NodeMetrics", plural="nodes", verbs=_READ)
POD_METRICS = _metrics.namespaced("PodMetrics", plural="pods", verbs=_READ)

_networking = _Group("networking.k8s.io", "v1", _META + "networking")
INGRESS_CLASSES = _networking.cluster("IngressClass", plural="ingressclasses")
INGRESSES = _networking.namespaced("Ingress", "ing", plural="ingresses", subresources=_STATUS)
IP_ADDRESSES = _networking.cluster("IPAddress", "ip", plural="ipaddresses")
NETWORK_POLICIES = _networking.namespaced("NetworkPolicy", "netpol", plural="networkpolicies")
SERVICE_CIDRS = _networking.cluster("ServiceCIDR", subresources=_STATUS)

RUNTIME_CLASSES = _Group("node.k8s.io", "v1", _META + "node").cluster("RuntimeClass", plural="runtimeclasses")
POD_DISRUPTION_BUDGETS = _Group("policy", "v1", _META + "policy").namespaced(
    "PodDisruptionBudget", "pdb", subresources=_STATUS
)

_rbac = _Group("rbac.authorization.k8s.io", "v1", _META + "rbac")
CLUSTER_ROLE_BINDINGS = _rbac.cluster("ClusterRoleBinding")
CLUSTER_ROLES = _rbac.cluster("ClusterRole")
ROLE_BINDINGS = _rbac.namespaced("RoleBinding")
ROLES = _rbac.namespaced("Role")

_resource = _Group("resource.k8s.io", "v1", _META + "resource")
DEVICE_CLASSES = _resource.cluster("DeviceClass", plural="deviceclasses")
DEVICE_TAINT_RULES = _resource.cluster("DeviceTaintRule", subresources=_STATUS)
RESOURCE_CLAIM_TEMPLATES = _resource.namespaced("ResourceClaimTemplate")
RESOURCE_CLAIMS = _resource.namespaced("ResourceClaim", subresources=_STATUS)
RESOURCE_SLICES = _resource.cluster("ResourceSlice")

PRIORITY_CLASSES = _Group("scheduling.k8s.io", "v1", _META + "scheduling").cluster(
    "PriorityClass", "pc", plural="priorityclasses"
)

_storage = _Group("storage.k8s.io", "v1", _META + "storage")
CSI_DRIVERS = _storage.cluster("CSIDriver")
CSI_NODES = _storage.cluster("CSINode", subresources=_STATUS)
CSI_STORAGE_CAPACITIES = _storage.namespaced("CSIStorageCapacity", plural="csistoragecapacities")
STORAGE_CLASSES = _storage.cluster("StorageClass", "sc", plural="storageclasses")
VOLUME_ATTACHMENTS = _storage.cluster("VolumeAttachment", subresources=_STATUS)
VOLUME_ATTRIBUTES_CLASSES = _storage.cluster("VolumeAttributesClass", "vac", plural="volumeattributesclasses")

STORAGE_VERSION_MIGRATIONS = _Group("storagemigration.k8s.io", "v1", _META + "storagemigration").cluster(
    "StorageVersionMigration", subresources=_STATUS
)

BUILT_IN: tuple[Resource, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Resource)
)
"""All of the above, in the order of this file."""
