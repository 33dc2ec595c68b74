"""Which pods belong together by default: those of the same Services and the same workload.

The default spreading asks this for each pod. Pods of one workload look the same, so the answer is kept per
namespace, owner and labels, until a Service or a workload's selector changes.
"""

from __future__ import annotations

from cluster.api import kinds
from cluster.api.objects import Key, Object, controller_of
from cluster.api.selectors import LabelSelector, of_map, of_object_form
from cluster.reconcile.informers import Informers
from cluster.reconcile.loop import Watch
from cluster.scheduler.pods import PodInfo

_WORKLOADS = {
    "ReplicaSet": kinds.REPLICA_SETS,
    "StatefulSet": kinds.STATEFUL_SETS,
    "ReplicationController": kinds.REPLICATION_CONTROLLERS,
}


class Grouping:
    def __init__(self, informers: Informers) -> None:
        self._services = informers.of(kinds.SERVICES)
        self._workloads = {kind: informers.of(resource) for kind, resource in _WORKLOADS.items()}
        self._known: dict[tuple[object, ...], LabelSelector | None] = {}

    @property
    def watches(self) -> list[Watch]:
        """What to watch, each with its handler."""
        return [(informer, self._changed) for informer in (self._services, *self._workloads.values())]

    def selector_of(self, pod: PodInfo) -> LabelSelector | None:
        """What the pod's Services and workload select; None where there is nothing."""
        owner = controller_of(pod.object)
        key = (pod.namespace, owner and owner["uid"], tuple(pod.labels.items()))
        if key not in self._known:
            self._known[key] = self._find(pod, owner)
        return self._known[key]

    def _find(self, pod: PodInfo, owner: Object | None) -> LabelSelector | None:
        labels: dict[str, str] = {}
        for service in self._services.list(pod.namespace):
            wanted = service["spec"].get("selector")
            if wanted and all(pod.labels.get(key) == value for key, value in wanted.items()):
                labels.update(wanted)
        selector = of_map(labels)
        informer = self._workloads.get(owner["kind"]) if owner else None
        workload = informer.get(Key(pod.namespace, owner["name"])) if informer and owner else None
        if workload is not None:
            own = workload["spec"].get("selector")
            if workload["kind"] == "ReplicationController":
                selector = of_map({**labels, **(own or {})})
            else:
                selector = LabelSelector(selector.requirements + of_object_form(own).requirements)
        return selector if selector.requirements else None

    def _changed(self, old: Object | None, new: Object | None, cause: str) -> None:
        if old is None or new is None or old["spec"].get("selector") != new["spec"].get("selector"):
            self._known.clear()
