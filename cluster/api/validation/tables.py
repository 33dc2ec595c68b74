"""Which validators belong to which kind, by the name of the type. Kinds that are not here have their
metadata checked, and their types by decoding."""

from __future__ import annotations

from collections.abc import Callable

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.api.validation import (
    access,
    addresses,
    autoscaling,
    batch,
    certificates,
    cluster_objects,
    configuration,
    devices,
    events,
    extension,
    flowcontrol,
    networking,
    pod_updates,
    pods,
    policies,
    resource_slices,
    reviews,
    services,
    storage,
    storage_drivers,
    webhooks,
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
    kinds.EVENTS.schema: events.validate_event,
    kinds.EVENTS_V1.schema: events.validate_new_event,
    kinds.RUNTIME_CLASSES.schema: cluster_objects.validate_runtime_class,
    kinds.MUTATING_WEBHOOK_CONFIGURATIONS.schema: webhooks.validate_webhooks,
    kinds.VALIDATING_WEBHOOK_CONFIGURATIONS.schema: webhooks.validate_webhooks,
    kinds.CUSTOM_RESOURCE_DEFINITIONS.schema: extension.validate_new_definition,
    kinds.MUTATING_ADMISSION_POLICIES.schema: policies.validate_mutating_policy,
    kinds.VALIDATING_ADMISSION_POLICIES.schema: policies.validate_policy,
    kinds.VALIDATING_ADMISSION_POLICY_BINDINGS.schema: policies.validate_binding,
    kinds.MUTATING_ADMISSION_POLICY_BINDINGS.schema: policies.validate_mutating_binding,
    kinds.POD_TEMPLATES.schema: workloads.validate_pod_template_object,
    kinds.API_SERVICES.schema: addresses.validate_api_service,
    kinds.IP_ADDRESSES.schema: addresses.validate_address,
    kinds.SERVICE_CIDRS.schema: addresses.validate_service_cidr,
    kinds.CERTIFICATE_SIGNING_REQUESTS.schema: certificates.validate_request,
    kinds.CLUSTER_TRUST_BUNDLES.schema: certificates.validate_trust_bundle,
    kinds.POD_CERTIFICATE_REQUESTS.schema: certificates.validate_pod_request,
    kinds.FLOW_SCHEMAS.schema: flowcontrol.validate_flow_schema,
    kinds.PRIORITY_LEVEL_CONFIGURATIONS.schema: flowcontrol.validate_priority_level,
    kinds.CSI_DRIVERS.schema: storage_drivers.validate_csi_driver,
    kinds.CSI_NODES.schema: storage_drivers.validate_csi_node,
    kinds.CSI_STORAGE_CAPACITIES.schema: storage_drivers.validate_storage_capacity,
    kinds.VOLUME_ATTACHMENTS.schema: storage_drivers.validate_volume_attachment,
    kinds.VOLUME_ATTRIBUTES_CLASSES.schema: storage_drivers.validate_attributes_class,
    kinds.RESOURCE_CLAIMS.schema: devices.validate_claim,
    kinds.RESOURCE_CLAIM_TEMPLATES.schema: devices.validate_claim_template,
    kinds.DEVICE_CLASSES.schema: devices.validate_device_class,
    kinds.DEVICE_TAINT_RULES.schema: devices.validate_taint_rule,
    kinds.RESOURCE_SLICES.schema: resource_slices.validate_slice,
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
    kinds.MUTATING_WEBHOOK_CONFIGURATIONS.schema: webhooks.validate_webhooks_update,
    kinds.VALIDATING_WEBHOOK_CONFIGURATIONS.schema: webhooks.validate_webhooks_update,
    kinds.EVENTS_V1.schema: events.validate_new_event_update,
    kinds.IP_ADDRESSES.schema: addresses.validate_address_update,
    kinds.SERVICE_CIDRS.schema: addresses.validate_service_cidr_update,
    kinds.CERTIFICATE_SIGNING_REQUESTS.schema: certificates.validate_request_update,
    kinds.CLUSTER_TRUST_BUNDLES.schema: certificates.validate_trust_bundle_update,
    kinds.POD_CERTIFICATE_REQUESTS.schema: certificates.validate_pod_request_update,
    kinds.CSI_DRIVERS.schema: storage_drivers.validate_csi_driver_update,
    kinds.CSI_NODES.schema: storage_drivers.validate_csi_node_update,
    kinds.CSI_STORAGE_CAPACITIES.schema: storage_drivers.validate_storage_capacity_update,
    kinds.VOLUME_ATTACHMENTS.schema: storage_drivers.validate_volume_attachment_update,
    kinds.VOLUME_ATTRIBUTES_CLASSES.schema: storage_drivers.validate_attributes_class_update,
    kinds.RESOURCE_CLAIMS.schema: devices.validate_claim_update,
    kinds.RESOURCE_CLAIM_TEMPLATES.schema: devices.validate_claim_template_update,
    kinds.RESOURCE_SLICES.schema: resource_slices.validate_slice_update,
}

ON_STATUS_UPDATE: dict[str, OnUpdate] = {
    kinds.PODS.schema: pod_updates.validate_pod_status,
    kinds.API_SERVICES.schema: addresses.validate_api_service_status,
    kinds.CERTIFICATE_SIGNING_REQUESTS.schema: certificates.validate_request_status,
    kinds.FLOW_SCHEMAS.schema: flowcontrol.validate_status,
    kinds.POD_DISRUPTION_BUDGETS.schema: autoscaling.validate_disruption_budget_status,
    kinds.PRIORITY_LEVEL_CONFIGURATIONS.schema: flowcontrol.validate_status,
    kinds.RESOURCE_CLAIMS.schema: devices.validate_claim_status,
    kinds.VALIDATING_ADMISSION_POLICIES.schema: policies.validate_policy_status,
    kinds.VOLUME_ATTACHMENTS.schema: storage_drivers.validate_volume_attachment_status,
}

ON_APPROVAL_UPDATE: dict[str, OnUpdate] = {
    kinds.CERTIFICATE_SIGNING_REQUESTS.schema: certificates.validate_request_approval,
}

ON_EPHEMERAL_CONTAINERS_UPDATE: dict[str, OnUpdate] = {
    kinds.PODS.schema: pod_updates.validate_ephemeral_containers,
}

ON_REVIEW: dict[str, OnCreate] = {
    kinds.SUBJECT_ACCESS_REVIEWS.schema: reviews.validate_access_review,
    kinds.SELF_SUBJECT_ACCESS_REVIEWS.schema: reviews.validate_self_access_review,
    kinds.LOCAL_SUBJECT_ACCESS_REVIEWS.schema: reviews.validate_local_access_review,
}
"""Kinds that are questions: they have no name, and their metadata is not checked otherwise."""
