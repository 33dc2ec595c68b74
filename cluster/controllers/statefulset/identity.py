"""What makes pod number n of a StatefulSet that pod: its name, labels, claims and template. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cluster.api.objects import Object, copy_of
from cluster.controllers.history import HASH_LABEL
from cluster.reconcile.template import pod_from

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"

_NUMBERED = re.compile(r"(.*)-([0-9]+)")


def ordinal_of(pod: Object) -> int:
    """The number at the end of the name; -1 if there is none."""
    match = _NUMBERED.fullmatch(pod["metadata"]["name"])
    return int(match[2]) if match else -1


def is_member(stateful_set: Object, pod: Object) -> bool:
    """Whether the pod's name is one that this set gives."""
    match = _NUMBERED.fullmatch(pod["metadata"]["name"])
    return match is not None and match[1] == stateful_set["metadata"]["name"]


def first_ordinal(stateful_set: Object) -> int:
    start: int = (stateful_set["spec"].get("ordinals") or {}).get("start", 0)
    return start


def claim_name(stateful_set: Object, template: Object, ordinal: int) -> str:
    return f"{template['metadata']['name']}-{stateful_set['metadata']['name']}-{ordinal}"


def claims_of(stateful_set: Object, ordinal: int) -> list[Object]:
    """The PersistentVolumeClaims of one pod."""
    claims = []
    match_labels = (stateful_set["spec"].get("selector") or {}).get("matchLabels") or {}
    for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
        claim: Object = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                **{n: v for n, v in template["metadata"].items() if n in ("labels", "annotations")},
                "name": claim_name(stateful_set, template, ordinal),
                "namespace": stateful_set["metadata"]["namespace"],
            },
            "spec": template["spec"],
        }
        labels = {**(template["metadata"].get("labels") or {}), **match_labels}
        if labels:
            claim["metadata"]["labels"] = labels
        claims.append(claim)
    return claims


def pod_for(stateful_set: Object, revision: Object, ordinal: int) -> Object:
    """Pod `ordinal` as the revision's template says."""
    name = f"{stateful_set['metadata']['name']}-{ordinal}"
    template = {n: v for n, v in revision["data"]["spec"]["template"].items() if n != "$patch"}
    pod = pod_from(template, stateful_set, name=name)
    pod["metadata"]["labels"] = {
        **(pod["metadata"].get("labels") or {}),
        POD_NAME_LABEL: name,
        POD_INDEX_LABEL: str(ordinal),
        HASH_LABEL: revision["metadata"]["name"],
    }
    spec = pod["spec"] | {"hostname": name}
    if stateful_set["spec"].get("serviceName"):
        spec["subdomain"] = stateful_set["spec"]["serviceName"]
    pod["spec"] = spec | {"volumes": _volumes(stateful_set, spec, ordinal)}
    return pod


def _volumes(stateful_set: Object, spec: Object, ordinal: int) -> list[Object]:
    claimed: list[Object] = [
        {
            "name": template["metadata"]["name"],
            "persistentVolumeClaim": {"claimName": claim_name(stateful_set, template, ordinal)},
        }
        for template in stateful_set["spec"].get("volumeClaimTemplates") or ()
    ]
    names = [volume["name"] for volume in claimed]
    return claimed + [volume for volume in spec.get("volumes") or () if volume["name"] not in names]


def repaired(stateful_set: Object, pod: Object) -> Object | None:
    """The pod with its identity labels put right; None if nothing is wrong."""
    wanted = {POD_NAME_LABEL: pod["metadata"]["name"], POD_INDEX_LABEL: str(ordinal_of(pod))}
    labels = pod["metadata"].get("labels") or {}
    if wanted.items() <= labels.items():
        return None
    fixed: Object = copy_of(pod)
    fixed["metadata"]["labels"] = {**labels, **wanted}
    return fixed


def revision_of(pod: Object) -> str:
    """The name of the ControllerRevision that the pod was made from."""
    name: str = (pod["metadata"].get("labels") or {}).get(HASH_LABEL, "")
    return name


def by_ordinal(pods: Sequence[Object]) -> list[Object]:
    return sorted(pods, key=ordinal_of)
