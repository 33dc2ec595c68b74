"""The pods that a Job creates."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.api.objects import Object
from cluster.controllers.job import indexes
from cluster.controllers.job.tally import FINALIZER
from cluster.reconcile.template import pod_from

_INDEX_VARIABLE = "JOB_COMPLETION_INDEX"


def job_pod(job: Object) -> Object:
    """A pod of a Job without indexes."""
    pod = pod_from(job["spec"]["template"], job)
    pod["metadata"]["finalizers"] = [*(pod["metadata"].get("finalizers") or ()), FINALIZER]
    return pod


def indexed_pod(job: Object, index: int, earlier: Sequence[Object]) -> Object:
    """The pod of one index. `earlier`: the Job's pods, for how often this index has failed."""
    pod = job_pod(job)
    meta, name = pod["metadata"], f"{job['metadata']['name']}-{index}"
    meta["generateName"] = f"{name}-"
    annotations = {**(meta.get("annotations") or {}), indexes.INDEX: str(index)}
    if job["spec"].get("backoffLimitPerIndex") is not None:
        annotations[indexes.FAILURE_COUNT] = str(_failures(index, earlier))
    meta["annotations"] = annotations
    meta["labels"] = {**(meta.get("labels") or {}), indexes.INDEX: str(index)}
    spec = pod["spec"] | {"hostname": name}
    for part in ("containers", "initContainers"):
        if spec.get(part):
            spec[part] = [_with_index(container) for container in spec[part]]
    pod["spec"] = spec
    return pod


def _failures(index: int, earlier: Sequence[Object]) -> int:
    counts = [
        indexes.failure_count(pod) + 1
        for pod in earlier
        if indexes.index_of(pod) == index and pod.get("status", {}).get("phase") == "Failed"
    ]
    return max(counts, default=0)


def _with_index(container: Object) -> Object:
    env = container.get("env") or []
    if any(variable["name"] == _INDEX_VARIABLE for variable in env):
        return container
    path = f"metadata.labels['{indexes.INDEX}']"
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}
    return container | {"env": [*env, {"name": _INDEX_VARIABLE, "valueFrom": source}]}
