"""Defaults that depend on other fields of the same part: short type name → function on that part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.api.defaults.images import pull_policy
from cluster.api.objects import Object, copy_of

_RBAC = "rbac.authorization.k8s.io"


def _container(container: Object) -> None:
    if "imagePullPolicy" not in container:
        container["imagePullPolicy"] = pull_policy(container.get("image", ""))


def _pod_spec(spec: Object) -> None:
    """The deprecated alias follows the field that replaced it."""
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account


def _volume(volume: Object) -> None:
    if len(volume) <= 1 and ("name" in volume or not volume):
        volume["emptyDir"] = {}
    if "image" in volume and "pullPolicy" not in volume["image"]:
        volume["image"]["pullPolicy"] = pull_policy(volume["image"].get("reference", ""))


def _service_port(port: Object) -> None:
    if port.get("targetPort") in (None, 0, ""):
        port["targetPort"] = port.get("port", 0)


def _service_spec(spec: Object) -> None:
    if spec["sessionAffinity"] == "ClientIP":
        timeout = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
        if timeout is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}
    elif spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    kind = spec["type"]
    exposed = kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and spec.get("externalIPs"))
    if exposed and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _node_spec(spec: Object) -> None:
    """The older field is the first of the newer one; where they differ, the older one counts."""
    first, blocks = spec.get("podCIDR"), spec.get("podCIDRs") or []
    if first and blocks[:1] != [first]:
        spec["podCIDRs"] = [first]
    elif blocks:
        spec["podCIDR"] = blocks[0]


def _node_status(status: Object) -> None:
    if "allocatable" not in status and "capacity" in status:
        status["allocatable"] = dict(status["capacity"])


def _limit_range_item(item: Object) -> None:
    if item.get("type") != "Container":
        return
    limit = dict(item.get("max") or {}) | (item.get("default") or {})
    request = dict(item.get("min") or {}) | limit | (item.get("defaultRequest") or {})
    if limit:
        item["default"] = limit
    if request:
        item["defaultRequest"] = request


def _deployment_strategy(strategy: Object) -> None:
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {})


def _stateful_set_spec(spec: Object) -> None:
    strategy = spec.setdefault("updateStrategy", {})
    if "type" not in strategy:
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and "rollingUpdate" in strategy:
        strategy["rollingUpdate"].setdefault("partition", 0)
    for template in spec.get("volumeClaimTemplates") or ():
        template["apiVersion"], template["kind"] = "v1", "PersistentVolumeClaim"


def _autoscaler_spec(spec: Object) -> None:
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


_SCALE_DOWN: Object = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}
_SCALE_UP: Object = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}


def _autoscaler_behavior(behavior: Object) -> None:
    for direction, rules in (("scaleUp", _SCALE_UP), ("scaleDown", _SCALE_DOWN)):
        behavior[direction] = copy_of(rules) | (behavior.get(direction) or {})


def _network_policy_spec(spec: Object) -> None:
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _role_ref(reference: Object) -> None:
    reference["apiGroup"] = reference.get("apiGroup") or _RBAC


def _subject(subject: Object) -> None:
    if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
        subject["apiGroup"] = _RBAC


def _definition_names(spec: Object) -> None:
    names = spec.setdefault("names", {})
    kind = names.get("kind", "")
    if not names.get("singular") and kind:
        names["singular"] = kind.lower()
    if not names.get("listKind") and kind:
        names["listKind"] = kind + "List"


def _limit_response(response: Object) -> None:
    if response.get("type") == "Queue" and "queuing" in response:
        for name, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
            response["queuing"][name] = response["queuing"].get(name) or value


def _flow_schema_spec(spec: Object) -> None:
    spec["matchingPrecedence"] = spec.get("matchingPrecedence") or 1000


def _device_request(request: Object) -> None:
    if request.get("allocationMode") == "ExactCount" and not request.get("count"):
        request["count"] = 1


COMPUTED: dict[str, Callable[[Any], None]] = {
    "core.v1.Container": _container,
    "core.v1.EphemeralContainer": _container,
    "core.v1.PodSpec": _pod_spec,
    "core.v1.Volume": _volume,
    "core.v1.ServicePort": _service_port,
    "core.v1.ServiceSpec": _service_spec,
    "core.v1.NodeSpec": _node_spec,
    "core.v1.NodeStatus": _node_status,
    "core.v1.LimitRangeItem": _limit_range_item,
    "apps.v1.DeploymentStrategy": _deployment_strategy,
    "apps.v1.DaemonSetUpdateStrategy": _deployment_strategy,
    "apps.v1.StatefulSetSpec": _stateful_set_spec,
    "autoscaling.v2.HorizontalPodAutoscalerSpec": _autoscaler_spec,
    "autoscaling.v2.HorizontalPodAutoscalerBehavior": _autoscaler_behavior,
    "networking.v1.NetworkPolicySpec": _network_policy_spec,
    "rbac.v1.RoleRef": _role_ref,
    "rbac.v1.Subject": _subject,
    "apiextensions.v1.CustomResourceDefinitionSpec": _definition_names,
    "flowcontrol.v1.LimitResponse": _limit_response,
    "flowcontrol.v1.FlowSchemaSpec": _flow_schema_spec,
    "resource.v1.ExactDeviceRequest": _device_request,
    "resource.v1.DeviceSubRequest": _device_request,
}
