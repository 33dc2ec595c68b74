"""Which validators belong to which kind, by the name of the type. Kinds that are not here have their
metadata checked, and their types by decoding."""

from __future__ import annotations

from collections.abc import Callable

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.api.validation import (
    access,
    autoscaling,
    batch,
    cluster_objects,
    configuration,
    extension,
    networking,
    pod_updates,
    pods,
    policies,
    services,
    storage,
    workloads,
)
from cluster.api.validation.report import Report

OnCreate = Callable[[Object, Report], None]
OnUpdate = Callable[[Object, Object, Report], None]

ON_CREATE: dict[str, OnCreate] = {
    kinds.PODS.schema: pods.validate_pod,
    kinds.DEPLOYMENTS.schema: workloads.validate_deployment,
    kinds.REPLICA_SETS.schema: workloads.validate_replica_set,
    kinds.REPLICATION_CONTROLLERS.schema: workloads.validate_replication_controller,
    kinds.DAEMON_SETS.schema: workloads.validate_daemon_set,
    kinds.STATEFUL_SETS.schema: workloads.validate_stateful_set,
    kinds.CONTROLLER_REVISIONS.schema: workloads.validate_controller_revision,
    kinds.JOBS.schema: batch.validate_job,
    kinds.CRON_JOBS.schema: batch.validate_cron_job,
    kinds.SERVICES.schema: services.validate_service,
    kinds.ENDPOINTS.schema: services.validate_endpoints,
    kinds.ENDPOINT_SLICES.schema: services.validate_endpoint_slice,
    kinds.INGRESSES.schema: networking.validate_ingress,
    kinds.INGRESS_CLASSES.schema: networking.validate_ingress_class,
    kinds.NETWORK_POLICIES.schema: networking.validate_network_policy,
    kinds.CONFIG_MAPS.schema: configuration.validate_config_map,
    kinds.SECRETS.schema: configuration.validate_secret,
    kinds.PERSISTENT_VOLUMES.schema: storage.validate_volume,
    kinds.PERSISTENT_VOLUME_CLAIMS.schema: storage.validate_claim,
    kinds.STORAGE_CLASSES.schema: storage.validate_storage_class,
    kinds.ROLES.schema: access.validate_role,
    kinds.CLUSTER_ROLES.schema: access.validate_cluster_role,
    kinds.ROLE_BINDINGS.schema: access.validate_role_binding,
    kinds.CLUSTER_ROLE_BINDINGS.schema: access.validate_cluster_role_binding,
    kinds.HORIZONTAL_POD_AUTOSCALERS.schema: autoscaling.validate_autoscaler,
    kinds.POD_DISRUPTION_BUDGETS.schema: autoscaling.validate_disruption_budget,
    kinds.NAMESPACES.schema: cluster_objects.validate_namespace,
    kinds.NODES.schema: cluster_objects.validate_node,
    kinds.RESOURCE_QUOTAS.schema: cluster_objects.validate_quota,
    kinds.LIMIT_RANGES.schema: cluster_objects.validate_limit_range,
    kinds.PRIORITY_CLASSES.schema: cluster_objects.validate_priority_class,
    kinds.LEASES.schema: cluster_objects.validate_lease,
    kinds.EVENTS.schema: cluster_objects.validate_event,
    kinds.RUNTIME_CLASSES.schema: cluster_objects.validate_runtime_class,
    kinds.MUTATING_WEBHOOK_CONFIGURATIONS.schema: extension.validate_webhooks,
    kinds.VALIDATING_WEBHOOK_CONFIGURATIONS.schema: extension.validate_webhooks,
    kinds.CUSTOM_RESOURCE_DEFINITIONS.schema: extension.validate_definition,
    kinds.MUTATING_ADMISSION_POLICIES.schema: policies.validate_mutating_policy,
    kinds.VALIDATING_ADMISSION_POLICIES.schema: policies.validate_policy,
    kinds.VALIDATING_ADMISSION_POLICY_BINDINGS.schema: policies.validate_binding,
}

ON_UPDATE: dict[str, OnUpdate] = {
    kinds.PODS.schema: pod_updates.validate_pod_update,
    kinds.DEPLOYMENTS.schema: workloads.validate_deployment_update,
    kinds.REPLICA_SETS.schema: workloads.validate_replica_set_update,
    kinds.DAEMON_SETS.schema: workloads.validate_daemon_set_update,
    kinds.STATEFUL_SETS.schema: workloads.validate_stateful_set_update,
    kinds.CONTROLLER_REVISIONS.schema: workloads.validate_controller_revision_update,
    kinds.JOBS.schema: batch.validate_job_update,
    kinds.SERVICES.schema: services.validate_service_update,
    kinds.ENDPOINT_SLICES.schema: services.validate_endpoint_slice_update,
    kinds.INGRESS_CLASSES.schema: networking.validate_ingress_class_update,
    kinds.CONFIG_MAPS.schema: configuration.validate_config_map_update,
    kinds.SECRETS.schema: configuration.validate_secret_update,
    kinds.PERSISTENT_VOLUMES.schema: storage.validate_volume_update,
    kinds.PERSISTENT_VOLUME_CLAIMS.schema: storage.validate_claim_update,
    kinds.STORAGE_CLASSES.schema: storage.validate_storage_class_update,
    kinds.ROLE_BINDINGS.schema: access.validate_role_binding_update,
    kinds.CLUSTER_ROLE_BINDINGS.schema: access.validate_cluster_role_binding_update,
    kinds.NODES.schema: cluster_objects.validate_node_update,
    kinds.RESOURCE_QUOTAS.schema: cluster_objects.validate_quota_update,
    kinds.PRIORITY_CLASSES.schema: cluster_objects.validate_priority_class_update,
    kinds.RUNTIME_CLASSES.schema: cluster_objects.validate_runtime_class_update,
    kinds.CUSTOM_RESOURCE_DEFINITIONS.schema: extension.validate_definition_update,
}

ON_STATUS_UPDATE: dict[str, OnUpdate] = {
    kinds.PODS.schema: pod_updates.validate_pod_status,
}

ON_EPHEMERAL_CONTAINERS_UPDATE: dict[str, OnUpdate] = {
    kinds.PODS.schema: pod_updates.validate_ephemeral_containers,
}
