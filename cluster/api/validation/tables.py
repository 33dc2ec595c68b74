"""Which validators belong to which kind, by the name of the type."""

from __future__ import annotations

from collections.abc import Callable

from cluster.api import kinds
from cluster.api.objects import Object
from cluster.api.validation import pod_updates, pods
from cluster.api.validation.report import Report

OnCreate = Callable[[Object, Report], None]
OnUpdate = Callable[[Object, Object, Report], None]

ON_CREATE: dict[str, OnCreate] = {
    kinds.PODS.schema: pods.validate_pod,
}
ON_UPDATE: dict[str, OnUpdate] = {
    kinds.PODS.schema: pod_updates.validate_pod_update,
}
ON_STATUS_UPDATE: dict[str, OnUpdate] = {
    kinds.PODS.schema: pod_updates.validate_pod_status,
}
