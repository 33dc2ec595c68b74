"""On which nodes a DaemonSet's pods belong: node name, node selector and affinity, taints. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cluster.api.objects import Object

_ALWAYS_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_HOST_NETWORK_TOLERATED = ("node.kubernetes.io/network-unavailable", "NoSchedule")


def tolerations(spec: Object) -> list[Object]:
    """The pod's own tolerations and those that every daemon has."""
    own: list[Object] = list(spec.get("tolerations") or ())
    extra = [*_ALWAYS_TOLERATED, *((_HOST_NETWORK_TOLERATED,) if spec.get("hostNetwork") else ())]
    for key, effect in extra:
        added = {"key": key, "operator": "Exists", "effect": effect}
        if added not in own:
            own.append(added)
    return own


def pinned_affinity(spec: Object, node: str) -> Object:
    """The pod's affinity, with the one node as its only allowed place."""
    affinity: Object = dict(spec.get("affinity") or {})
    node_affinity: Object = dict(affinity.get("nodeAffinity") or {})
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    node_affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [here]}
    affinity["nodeAffinity"] = node_affinity
    return affinity


def target_node(pod: Object) -> str:
    """The node a daemon pod runs on, or was made for."""
    name: str = pod["spec"].get("nodeName", "")
    if name:
        return name
    node_affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field["key"] == "metadata.name" and field["operator"] == "In" and len(field["values"]) == 1:
                return str(field["values"][0])
    return ""


def fits(daemon_set: Object, node: Object) -> tuple[bool, bool]:
    """(should a pod be started on the node, may one that is there go on)."""
    spec = daemon_set["spec"]["template"]["spec"]
    if spec.get("nodeName") and spec["nodeName"] != node["metadata"]["name"]:
        return False, False
    if not selects(spec, node):
        return False, False
    tolerated = tolerations(spec)
    untolerated = [
        taint["effect"]
        for taint in node["spec"].get("taints") or ()
        if taint["effect"] != "PreferNoSchedule" and not _tolerates(tolerated, taint)
    ]
    return not untolerated, "NoExecute" not in untolerated


def selects(spec: Object, node: Object) -> bool:
    """nodeSelector and required node affinity."""
    labels: Mapping[str, str] = node["metadata"].get("labels") or {}
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        _term_matches(term, labels, fields)
        for term in required.get("nodeSelectorTerms") or ()
        if term.get("matchExpressions") or term.get("matchFields")
    )


def _term_matches(term: Object, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    return all(_matches(each, labels) for each in term.get("matchExpressions") or ()) and all(
        _matches(each, fields) for each in term.get("matchFields") or ()
    )


def _matches(requirement: Object, values: Mapping[str, str]) -> bool:
    key, wanted = requirement["key"], requirement.get("values") or ()
    match requirement["operator"]:
        case "In":
            return values.get(key) in wanted
        case "NotIn":
            return values.get(key) not in wanted
        case "Exists":
            return key in values
        case "DoesNotExist":
            return key not in values
        case "Gt":
            return _compares(values.get(key), wanted, greater=True)
        case "Lt":
            return _compares(values.get(key), wanted, greater=False)
    return False


def _compares(value: str | None, wanted: Sequence[str], *, greater: bool) -> bool:
    try:
        number, bound = int(value or ""), int(wanted[0])
    except (ValueError, IndexError):
        return False
    return number > bound if greater else number < bound


def _tolerates(tolerated: Sequence[Object], taint: Object) -> bool:
    for toleration in tolerated:
        if toleration.get("effect") not in (None, "", taint["effect"]):
            continue
        key = toleration.get("key", "")
        if key and key != taint["key"]:
            continue
        if toleration.get("operator", "Equal") == "Exists":
            return True
        if key and toleration.get("value", "") == taint.get("value", ""):
            return True
    return False
