"""What differs between kinds when they are written: data, and a few small functions.

Every kind goes through the same verbs. A strategy says which parts of an object its main endpoint may
write, when metadata.generation grows, whether an update needs a resourceVersion or may create, and how
deletion treats dependents when nobody says. The tables hold what differs from the defaults.

Divergence: the fields that Go would print as zeros in an empty status are given for the kinds where
clients look at them, not for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from cluster.api.client import Propagation
from cluster.api.custom import Custom
from cluster.api.facts import Type
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.server.strategy_create import PREPARE_CREATE, PREPARE_UPDATE

PrepareCreate: TypeAlias = Callable[[Object], None]
PrepareUpdate: TypeAlias = Callable[[Object, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How one kind is written."""

    resource: Resource
    """The version in which admission and validation see it: the stored view of a built-in kind, the version
    asked for of a custom one."""
    stored: Resource
    qualified: str
    status: bool
    """Its status is written through /status only."""
    generation: bool
    generation_of_annotations: bool
    unconditional_update: bool
    create_on_update: bool
    returns_deleted: bool
    """A deletion that is complete answers with the object instead of a Status."""
    default_propagation: Propagation
    graceful: bool
    allocates: bool
    """Gets addresses and ports from the cluster's ranges."""
    prepare_create: PrepareCreate | None
    prepare_update: PrepareUpdate | None
    custom: bool
    kind: Custom | None
    """Of a custom resource: what its definition says of the version asked for."""
    type: Type | None
    """Of a custom resource, in the version asked for; None for built-in kinds, whose types have names."""
    empty_status: Mapping[str, Any] | None
    """The status of a new object; None leaves it out."""


_GENERATION = frozenset({
    "pods", "replicationcontrollers", "deployments.apps", "replicasets.apps", "daemonsets.apps",
    "statefulsets.apps", "jobs.batch", "cronjobs.batch", "poddisruptionbudgets.policy",
    "networkpolicies.networking.k8s.io", "ingresses.networking.k8s.io", "ingressclasses.networking.k8s.io",
    "servicecidrs.networking.k8s.io", "endpointslices.discovery.k8s.io",
    "priorityclasses.scheduling.k8s.io", "flowschemas.flowcontrol.apiserver.k8s.io",
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "mutatingadmissionpolicies.admissionregistration.k8s.io",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io", "deviceclasses.resource.k8s.io",
    "resourceslices.resource.k8s.io",
})  # fmt: skip
_CONDITIONAL_UPDATE = frozenset({
    "poddisruptionbudgets.policy", "leases.coordination.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io", "apiservices.apiregistration.k8s.io",
    "runtimeclasses.node.k8s.io", "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "mutatingadmissionpolicies.admissionregistration.k8s.io",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
    "volumeattachments.storage.k8s.io", "csidrivers.storage.k8s.io", "csinodes.storage.k8s.io",
    "flowschemas.flowcontrol.apiserver.k8s.io",
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
})  # fmt: skip
_CREATE_ON_UPDATE = frozenset({
    "leases.coordination.k8s.io", "endpoints", "events", "services", "podtemplates", "limitranges",
    "roles.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io",
    "priorityclasses.scheduling.k8s.io",
})  # fmt: skip
_RETURNS_DELETED = frozenset({
    "pods", "services", "persistentvolumes", "persistentvolumeclaims", "podtemplates", "resourcequotas",
    "serviceaccounts",
})  # fmt: skip
_ORPHANS_BY_DEFAULT = frozenset({"jobs.batch", "replicationcontrollers"})
_EMPTY_STATUS: dict[str, Mapping[str, Any]] = {
    "services": {"loadBalancer": {}},
    "ingresses.networking.k8s.io": {"loadBalancer": {}},
    "replicasets.apps": {"replicas": 0},
    "replicationcontrollers": {"replicas": 0},
    "statefulsets.apps": {"replicas": 0, "availableReplicas": 0},
    "daemonsets.apps": {
        "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
    },
    "poddisruptionbudgets.policy": {
        "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
    },
    "horizontalpodautoscalers.autoscaling": {"desiredReplicas": 0, "currentMetrics": None},
    "persistentvolumes": {"phase": "Pending"},
    "persistentvolumeclaims": {"phase": "Pending"},
    "namespaces": {"phase": "Active"},
    "volumeattachments.storage.k8s.io": {"attached": False},
}  # fmt: skip
_CLIENT_STATUS = frozenset({"nodes"})
"""A node registers with its status in place."""


def strategy_of(
    resource: Resource, *, stored: Resource | None = None, custom: bool = False, kind: Custom | None = None
) -> Strategy:
    """The strategy of a view, which is also the stored one if nothing else is said; `custom` for kinds made
    by a CustomResourceDefinition."""
    qualified = resource.qualified
    status = "status" in resource.subresources
    return Strategy(
        resource=resource,
        stored=stored or resource,
        qualified=qualified,
        status=status,
        generation=custom or qualified in _GENERATION,
        generation_of_annotations=qualified == "deployments.apps",
        unconditional_update=not custom and qualified not in _CONDITIONAL_UPDATE,
        create_on_update=qualified in _CREATE_ON_UPDATE,
        returns_deleted=qualified in _RETURNS_DELETED,
        default_propagation="Orphan" if qualified in _ORPHANS_BY_DEFAULT else "Background",
        graceful=qualified == "pods",
        allocates=qualified == "services",
        prepare_create=PREPARE_CREATE.get(qualified),
        prepare_update=PREPARE_UPDATE.get(qualified),
        custom=custom,
        kind=kind,
        type=None if kind is None else kind.type,
        empty_status=None
        if custom or not status or qualified in _CLIENT_STATUS
        else _EMPTY_STATUS.get(qualified, {}),
    )


def keep_status(new: Object, old: Mapping[str, Any]) -> None:
    """Makes `new` an update of everything but the status."""
    if "status" in old:
        new["status"] = old["status"]
    else:
        new.pop("status", None)


def status_update(strategy: Strategy, body: Mapping[str, Any], old: Mapping[str, Any]) -> Object:
    """`old` with the status (and what else a status update may write) of `body`."""
    new = dict(old)
    if "status" in body:
        new["status"] = body["status"]
    else:
        new.pop("status", None)
    old_metadata = old["metadata"]
    if strategy.custom:
        metadata = dict(old_metadata)
        if "resourceVersion" in body["metadata"]:
            metadata["resourceVersion"] = body["metadata"]["resourceVersion"]
        if "managedFields" in body["metadata"]:
            metadata["managedFields"] = body["metadata"]["managedFields"]
    else:
        metadata = dict(body["metadata"])
        for name in _STATUS_KEEPS.get(strategy.qualified, ()):
            if name in old_metadata:
                metadata[name] = old_metadata[name]
            else:
                metadata.pop(name, None)
    new["metadata"] = metadata
    return new


_STATUS_KEEPS: dict[str, tuple[str, ...]] = {
    "pods": ("ownerReferences",),
    "deployments.apps": ("labels",),
}


_NOT_WISHES = frozenset({"metadata", "apiVersion"})


def grown_generation(strategy: Strategy, new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """True if the write changes what the user wants (everything but metadata and status)."""
    status = "status" if strategy.status or not strategy.custom else ""
    for name, value in new.items():
        if name not in _NOT_WISHES and name != status and old.get(name) != value:
            return True
    for name in old:
        if name not in new and name != status:
            return True
    if strategy.generation_of_annotations:
        return bool(new["metadata"].get("annotations") != old["metadata"].get("annotations"))
    return False
