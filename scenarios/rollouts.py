"""Is a rollout complete, and what came before it: the rules `kubectl rollout` applies, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.api.errors import NotFound
from cluster.api.objects import Object, condition_of, controller_of, copy_of

REVISION = "deployment.kubernetes.io/revision"


def progress(workload: Object) -> tuple[bool, str]:
    """Whether a Deployment, DaemonSet or StatefulSet is rolled out, and how far it is in words."""
    meta, spec, status = workload["metadata"], workload["spec"], workload.get("status", {})
    if status.get("observedGeneration", 0) < meta.get("generation", 0):
        return False, "the change is not observed yet"
    match workload["kind"]:
        case "Deployment":
            return _deployment(workload)
        case "DaemonSet":
            wanted = status.get("desiredNumberScheduled", 0)
            updated, available = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
        case _:
            wanted = spec.get("replicas", 1)
            updated, available = status.get("updatedReplicas", 0), status.get("readyReplicas", 0)
    return updated >= wanted and available >= wanted, f"{updated}/{wanted} updated, {available} available"


def _deployment(deployment: Object) -> tuple[bool, str]:
    wanted, status = deployment["spec"].get("replicas", 1), deployment.get("status", {})
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    seen = f"{updated}/{wanted} updated, {total} in all, {available} available"
    progressing = condition_of(deployment, "Progressing")
    if progressing and progressing.get("reason") == "ProgressDeadlineExceeded":
        return False, f"{seen}; exceeded its progress deadline"
    return updated >= wanted and total <= updated and available >= updated, seen


def earlier_template(deployment: Object, replica_sets: Sequence[Object], revision: int) -> tuple[Object, int]:
    """The pod template of a revision (0: the newest but one), and its number. Raises NotFound."""
    uid = deployment["metadata"]["uid"]
    revisions: dict[int, Object] = {}
    for replica_set in replica_sets:
        owner = controller_of(replica_set)
        number = replica_set["metadata"].get("annotations", {}).get(REVISION, "")
        if owner and owner["uid"] == uid and number.isdecimal():
            revisions[int(number)] = replica_set
    numbers = sorted(revisions)
    wanted = revision or (numbers[-2] if len(numbers) > 1 else 0)
    if wanted not in revisions:
        raise NotFound(
            f"unable to find specified revision {revision} in history"
            if revision
            else f'no rollout history found for deployment "{deployment["metadata"]["name"]}"'
        )
    template: Object = copy_of(revisions[wanted]["spec"]["template"])
    template["metadata"].get("labels", {}).pop("pod-template-hash", None)
    return template, wanted
