"""Which ReplicaSet is a Deployment's current one, and the numbers by which users name the others."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.api.objects import Object, copy_of, owner_reference
from cluster.controllers.deployment.sizes import (
    DESIRED,
    MAX_REPLICAS,
    by_age,
    largest,
    size,
    status_count,
    wanted,
)
from cluster.reconcile.template import HASH_LABEL, hash_of, same_template, without_hash

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
HISTORY_LIMIT = 2000
"""Characters of the history annotation; the oldest numbers go first."""

_NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
)


def new_set(deployment: Object, sets: Sequence[Object]) -> Object | None:
    """The oldest ReplicaSet with the Deployment's template."""
    template = deployment["spec"]["template"]
    return next((each for each in by_age(sets) if same_template(each["spec"]["template"], template)), None)


def revision_of(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def next_revision(olds: Sequence[Object]) -> int:
    return max(map(revision_of, olds), default=0) + 1


def annotations_of(deployment: Object, replica_set: Object, revision: int, *, exists: bool) -> dict[str, str]:
    """The annotations that the current ReplicaSet should have."""
    present: dict[str, str] = dict(replica_set["metadata"].get("annotations") or {})
    result = present | _inherited(deployment)
    before = present.get(REVISION, "")
    if revision_of(replica_set) < revision:
        result[REVISION] = str(revision)
        if before:
            result[HISTORY] = _history(present.get(HISTORY, ""), before)
    if not exists:
        result |= sizing_annotations(deployment)
    return result


def sizing_annotations(deployment: Object) -> dict[str, str]:
    return {DESIRED: str(wanted(deployment)), MAX_REPLICAS: str(largest(deployment))}


def _inherited(deployment: Object) -> dict[str, str]:
    annotations = deployment["metadata"].get("annotations") or {}
    return {name: value for name, value in annotations.items() if name not in _NOT_COPIED}


def _history(history: str, revision: str) -> str:
    revisions = [each for each in history.split(",") if each] + [revision]
    while len(",".join(revisions)) > HISTORY_LIMIT:
        revisions.pop(0)
    return ",".join(revisions)


def built(deployment: Object, revision: int, replicas: int) -> Object:
    """A new ReplicaSet for the Deployment's template."""
    meta, spec = deployment["metadata"], deployment["spec"]
    template = copy_of(without_hash(spec["template"]))
    hashed = hash_of(template, deployment.get("status", {}).get("collisionCount"))
    labels = {**template["metadata"].get("labels", {}), HASH_LABEL: hashed}
    template["metadata"]["labels"] = labels
    selector = copy_of(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: hashed}
    replica_set: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta['name']}-{hashed}",
            "namespace": meta["namespace"],
            "labels": dict(labels),
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }
    if spec.get("minReadySeconds"):
        replica_set["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    replica_set["metadata"]["annotations"] = annotations_of(deployment, replica_set, revision, exists=False)
    return replica_set


def superfluous(deployment: Object, olds: Sequence[Object]) -> list[Object]:
    """The old ReplicaSets beyond revisionHistoryLimit that are empty and settled."""
    limit = deployment["spec"].get("revisionHistoryLimit", 10)
    alive = sorted((each for each in olds if "deletionTimestamp" not in each["metadata"]), key=revision_of)
    surplus = len(alive) - limit
    return [each for each in alive[: max(surplus, 0)] if _is_settled_at_zero(each)]


def _is_settled_at_zero(replica_set: Object) -> bool:
    return (
        not size(replica_set)
        and not status_count(replica_set, "replicas")
        and status_count(replica_set, "observedGeneration") >= replica_set["metadata"].get("generation", 0)
    )
