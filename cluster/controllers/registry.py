"""Which controllers there are, in the order they start."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from cluster.controllers import (
    account_tokens,
    autoscaler,
    certificates,
    cronjob,
    daemonset,
    deployment,
    disruption,
    event_expiry,
    garbage,
    job,
    kubernetes_service,
    load_balancer,
    namespaces,
    node_ipam,
    node_lifecycle,
    node_ttl,
    pod_garbage,
    replicaset,
    resource_quota,
    role_aggregation,
    root_ca,
    service_accounts,
    stale_disruptions,
    statefulset,
    taint_eviction,
    ttl_after_finished,
)
from cluster.controllers.addresses import ip_addresses, service_ranges
from cluster.controllers.endpoints import legacy, mirroring, slices
from cluster.controllers.volumes import (
    attacher,
    attachments,
    binder,
    csi_nodes,
    ephemeral,
    protection,
    provisioner,
    resizer,
)
from cluster.reconcile.loop import Controller
from cluster.reconcile.world import World

Factory: TypeAlias = Callable[[], Controller[Any]]

_CONTROLLERS: dict[str, Callable[[World], Controller[Any]]] = {
    deployment.NAME: deployment.controller,
    daemonset.NAME: daemonset.controller,
    replicaset.NAME: replicaset.controller,
    replicaset.REPLICATION_CONTROLLER.name: replicaset.replication_controller,
    statefulset.NAME: statefulset.controller,
    job.NAME: job.controller,
    cronjob.NAME: cronjob.controller,
    autoscaler.NAME: autoscaler.controller,
    slices.NAME: slices.controller,
    legacy.NAME: legacy.controller,
    mirroring.NAME: mirroring.controller,
    kubernetes_service.NAME: kubernetes_service.controller,
    load_balancer.NAME: load_balancer.controller,
    load_balancer.INGRESS_CONTROLLER: load_balancer.ingress_controller,
    ip_addresses.NAME: ip_addresses.controller,
    service_ranges.NAME: service_ranges.controller,
    namespaces.NAME: namespaces.controller,
    service_accounts.NAME: service_accounts.controller,
    account_tokens.NAME: account_tokens.controller,
    root_ca.NAME: root_ca.controller,
    garbage.NAME: garbage.controller,
    disruption.NAME: disruption.controller,
    stale_disruptions.NAME: stale_disruptions.controller,
    resource_quota.NAME: resource_quota.controller,
    binder.NAME: binder.controller,
    provisioner.NAME: provisioner.controller,
    resizer.NAME: resizer.controller,
    attachments.NAME: attachments.controller,
    attacher.NAME: attacher.controller,
    csi_nodes.NAME: csi_nodes.controller,
    ephemeral.NAME: ephemeral.controller,
    protection.CLAIMS: protection.claim_controller,
    protection.VOLUMES: protection.volume_controller,
    ttl_after_finished.NAME: ttl_after_finished.controller,
    certificates.NAME: certificates.controller,
    event_expiry.NAME: event_expiry.controller,
    role_aggregation.NAME: role_aggregation.controller,
    node_ipam.NAME: node_ipam.controller,
    node_lifecycle.NAME: node_lifecycle.controller,
    node_ttl.NAME: node_ttl.controller,
    taint_eviction.NAME: taint_eviction.controller,
    pod_garbage.NAME: pod_garbage.controller,
}


def all_controllers(world: World) -> list[tuple[str, Factory]]:
    """Names and actor factories. The composition root spawns `Background(world)` first."""
    return [(name, partial(make, world)) for name, make in _CONTROLLERS.items()]
