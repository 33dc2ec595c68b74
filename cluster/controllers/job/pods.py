"""The pods that a Job creates."""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.controllers.job import indexes
from cluster.controllers.job.delays import counts_for_replacement, has_limit_per_index
from cluster.controllers.job.tally import FINALIZER
from cluster.reconcile.template import pod_from

_INDEX_VARIABLE = "JOB_COMPLETION_INDEX"


def job_pod(job: Object) -> Object:
    """A pod of a Job without indexes."""
    pod = pod_from(job["spec"]["template"], job)
    pod["metadata"]["finalizers"] = [*(pod["metadata"].get("finalizers") or ()), FINALIZER]
    return pod


def indexed_pod(job: Object, index: int, replaced: Object | None) -> Object:
    """The pod of one index. `replaced`: the failed pod whose count it carries on."""
    pod = job_pod(job)
    meta, name = pod["metadata"], f"{job['metadata']['name']}-{index}"
    meta["generateName"] = f"{name}-"
    annotations = {**(meta.get("annotations") or {}), indexes.INDEX: str(index)}
    if has_limit_per_index(job):
        failed, ignored = counts_for_replacement(job, replaced)
        annotations[indexes.FAILURE_COUNT] = str(failed)
        if ignored:
            annotations[indexes.IGNORED_FAILURE_COUNT] = str(ignored)
    meta["annotations"] = annotations
    meta["labels"] = {**(meta.get("labels") or {}), indexes.INDEX: str(index)}
    spec = pod["spec"] | {"hostname": name}
    for part in ("containers", "initContainers"):
        if spec.get(part):
            spec[part] = [_with_index(container) for container in spec[part]]
    pod["spec"] = spec
    return pod


def _with_index(container: Object) -> Object:
    env = container.get("env") or []
    if any(variable["name"] == _INDEX_VARIABLE for variable in env):
        return container
    path = f"metadata.labels['{indexes.INDEX}']"
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}
    return container | {"env": [*env, {"name": _INDEX_VARIABLE, "valueFrom": source}]}
