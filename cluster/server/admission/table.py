"""The admission plugins in the order in which they run, as in Kubernetes' default set."""

from __future__ import annotations

from cluster.server.admission.chain import Step, StepFunction
from cluster.server.admission.claim_resize import check_resize
from cluster.server.admission.completion import (
    protect_storage,
    set_ingress_class,
    set_requester,
    set_storage_class,
    taint_new_node,
)
from cluster.server.admission.limit_ranges import check_limits, set_limits
from cluster.server.admission.namespace_lifecycle import check_namespace, protect_namespace
from cluster.server.admission.node_restriction import check_node
from cluster.server.admission.pod_security import check_pod_security
from cluster.server.admission.priority import check_single_default, set_priority
from cluster.server.admission.request import Operation
from cluster.server.admission.resource_quota import check_quota
from cluster.server.admission.runtime_class import apply_runtime_class, check_runtime_class
from cluster.server.admission.service_account import set_service_account
from cluster.server.admission.tolerations import set_default_tolerations

_CREATE, _UPDATE, _DELETE = Operation.CREATE, Operation.UPDATE, Operation.DELETE
_PODS = ("pods",)
_CLAIMS = ("persistentvolumeclaims",)
_CLASSES = ("priorityclasses.scheduling.k8s.io",)
_SIGNING_REQUESTS = ("certificatesigningrequests.certificates.k8s.io",)
_WITH_TEMPLATE = (
    "pods", "replicationcontrollers", "podtemplates", "replicasets.apps", "deployments.apps",
    "statefulsets.apps", "daemonsets.apps", "jobs.batch", "cronjobs.batch",
)  # fmt: skip
_MAKES = (_CREATE,)
_WRITES = (_CREATE, _UPDATE)


def _step(
    plugin: str,
    run: StepFunction,
    operations: tuple[Operation, ...],
    resources: tuple[str, ...] = (),
    subresources: tuple[str, ...] = ("",),
) -> Step:
    return Step(plugin=plugin, run=run, operations=operations, resources=resources, subresources=subresources)


MUTATING: tuple[Step, ...] = (
    _step("NamespaceLifecycle", check_namespace, _MAKES, subresources=("*",)),
    _step("LimitRanger", set_limits, _MAKES, _PODS),
    _step("ServiceAccount", set_service_account, _MAKES, _PODS),
    _step("TaintNodesByCondition", taint_new_node, _MAKES, ("nodes",)),
    _step("Priority", set_priority, _WRITES, _PODS),
    _step("DefaultTolerationSeconds", set_default_tolerations, _MAKES, _PODS),
    _step("StorageObjectInUseProtection", protect_storage, _MAKES, (*_CLAIMS, "persistentvolumes")),
    _step("DefaultStorageClass", set_storage_class, _MAKES, _CLAIMS),
    _step("DefaultIngressClass", set_ingress_class, _MAKES, ("ingresses.networking.k8s.io",)),
    _step("RuntimeClass", apply_runtime_class, _MAKES, _PODS),
    _step("CertificateRequester", set_requester, _MAKES, _SIGNING_REQUESTS),
)
VALIDATING: tuple[Step, ...] = (
    _step("NamespaceLifecycle", protect_namespace, (_DELETE,), ("namespaces",)),
    _step("LimitRanger", check_limits, _MAKES, (*_PODS, *_CLAIMS)),
    _step(
        "NodeRestriction", check_node, (*_WRITES, _DELETE),
        ("nodes", "pods", "leases.coordination.k8s.io", "csinodes.storage.k8s.io"), ("*",),
    ),
    _step("PodSecurity", check_pod_security, _WRITES, _WITH_TEMPLATE, ("", "ephemeralcontainers")),
    _step("Priority", check_single_default, _WRITES, _CLASSES),
    _step("PersistentVolumeClaimResize", check_resize, (_UPDATE,), _CLAIMS),
    _step("RuntimeClass", check_runtime_class, _MAKES, _PODS),
    _step("ResourceQuota", check_quota, _MAKES),
    _step("ResourceQuota", check_quota, (_UPDATE,), ("services", *_CLAIMS)),
)  # fmt: skip
