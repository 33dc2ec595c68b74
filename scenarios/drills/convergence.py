"""What must be so in the end: what is wanted, what the API says, and what the machines do are one.

`difference` names the first thing that is not as it should be; empty when all is well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from cluster.api.objects import Object, condition_of, controller_of
from cluster.store.entry import Entry
from cluster.store.store import Store
from scenarios.drills import fit
from scenarios.drills.checkers import runs
from scenarios.expectation import is_ready
from scenarios.simulation import SimulatedCluster

TROUBLE = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")


def difference(cluster: SimulatedCluster) -> str:
    return difference_of_store(cluster.plane.store) or next(_machines(cluster), "")


def difference_of_store(store: Store) -> str:
    """Only between what is wanted and what the API says."""
    return next(_differences(store), "")


def _differences(store: Store) -> Iterator[str]:
    yield from _nodes(store)
    yield from _pods(store)
    yield from _replica_sets(store)
    yield from _deployments(store)
    yield from _stateful_sets(store)
    yield from _slices(store)


def _objects(store: Store, qualified: str) -> list[Object]:
    return [entry.object for entry in store.list(qualified)]


def _nodes(store: Store) -> Iterator[str]:
    for node in _objects(store, "nodes"):
        name = node["metadata"]["name"]
        ready = condition_of(node, "Ready")
        if ready is None or ready["status"] != "True":
            yield f"node {name} is not Ready"
        if any(taint["key"] in TROUBLE for taint in node["spec"].get("taints", ())):
            yield f"node {name} is tainted"
        pods = [entry.object for entry in store.by_index("pods", "node", name) if not _over(entry.object)]
        for resource in ("cpu", "memory"):
            if fit.requested(pods, resource) > fit.allocatable(node, resource):
                yield f"node {name} has more {resource} requested than it can give"


def _over(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _pods(store: Store) -> Iterator[str]:
    addresses: Counter[str] = Counter()
    for pod in _objects(store, "pods"):
        meta = pod["metadata"]
        if "deletionTimestamp" in meta:
            yield f"pod {meta['name']} is still terminating"
        if not is_ready(pod):
            yield f"pod {meta['name']} is not ready: {_state(pod)}"
        owner = controller_of(pod)
        if owner is None or not any(entry.uid == owner["uid"] for entry in _owners(store, owner["kind"])):
            yield f"pod {meta['name']} has no owner any more"
        addresses[pod["status"].get("podIP", "")] += 1
    for address, count in addresses.items():
        if count > 1:
            yield f"{count} pods have the address {address!r}"


def _owners(store: Store, kind: str) -> Sequence[Entry]:
    return store.list({"ReplicaSet": "replicasets.apps", "StatefulSet": "statefulsets.apps"}[kind])


def _state(pod: Object) -> str:
    states = [status.get("state") for status in pod.get("status", {}).get("containerStatuses", ())]
    node = pod["spec"].get("nodeName", "no node")
    return f"{pod.get('status', {}).get('phase')} on {node}, containers {states}"


def _replica_sets(store: Store) -> Iterator[str]:
    for replica_set in _objects(store, "replicasets.apps"):
        meta, wanted = replica_set["metadata"], replica_set["spec"]["replicas"]
        pods = [entry for entry in store.owned_by(meta["uid"]) if entry.qualified == "pods"]
        if len(pods) != wanted:
            yield f"replica set {meta['name']} has {len(pods)} of {wanted} pods"
        yield from _counts("replica set", replica_set, ("replicas", "readyReplicas", "availableReplicas"))
        owner = controller_of(replica_set)
        deployments = store.list("deployments.apps")
        if owner is None or not any(entry.uid == owner["uid"] for entry in deployments):
            yield f"replica set {meta['name']} has no owner any more"


def _counts(word: str, obj: Object, fields: tuple[str, ...]) -> Iterator[str]:
    """The status fields that must equal spec.replicas; the status must be of this generation."""
    meta, status = obj["metadata"], obj.get("status", {})
    if status.get("observedGeneration") != meta["generation"]:
        yield f"{word} {meta['name']}: its status is of an older generation"
    for field in fields:
        if status.get(field, 0) != obj["spec"]["replicas"]:
            yield f"{word} {meta['name']}: {field} is {status.get(field, 0)}, not {obj['spec']['replicas']}"


def _deployments(store: Store) -> Iterator[str]:
    for deployment in _objects(store, "deployments.apps"):
        fields = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        yield from _counts("deployment", deployment, fields)
        if "deletionTimestamp" in deployment["metadata"]:
            yield f"deployment {deployment['metadata']['name']} is still being deleted"


def _stateful_sets(store: Store) -> Iterator[str]:
    for stateful_set in _objects(store, "statefulsets.apps"):
        meta = stateful_set["metadata"]
        yield from _counts("stateful set", stateful_set, ("replicas", "readyReplicas", "updatedReplicas"))
        pods = [entry.key.name for entry in store.owned_by(meta["uid"]) if entry.qualified == "pods"]
        wanted = [f"{meta['name']}-{ordinal}" for ordinal in range(stateful_set["spec"]["replicas"])]
        if sorted(pods) != sorted(wanted):
            yield f"stateful set {meta['name']} has the pods {sorted(pods)}"


def _slices(store: Store) -> Iterator[str]:
    for service in _objects(store, "services"):
        selector = service["spec"].get("selector")
        if not selector:
            continue
        meta = service["metadata"]
        pods = store.by_label("pods", "app", selector["app"], meta["namespace"])
        ready = sorted(pod.object["status"]["podIP"] for pod in pods if is_ready(pod.object))
        slices = store.by_label(
            "endpointslices.discovery.k8s.io", "kubernetes.io/service-name", meta["name"], meta["namespace"]
        )
        told = sorted(
            address
            for entry in slices
            for endpoint in entry.object.get("endpoints") or ()
            if endpoint["conditions"]["ready"]
            for address in endpoint["addresses"]
        )
        if told != ready:
            yield f"service {meta['name']}: the ready pods are {ready}, its slices say {told}"


def _machines(cluster: SimulatedCluster) -> Iterator[str]:
    for node, agent in cluster.agents.items():
        stored = {entry.uid: entry.object for entry in cluster.plane.store.by_index("pods", "node", node)}
        views = {view.uid: view for view in agent.pods()}
        for uid, pod in stored.items():
            name = pod["metadata"]["name"]
            if uid not in views:
                yield f"{node} does not have the pod {name}"
                continue
            told = {s["name"]: s.get("containerID") for s in pod["status"].get("containerStatuses", ())}
            real = {n: c.id for n, c in views[uid].current.items() if runs(c)}
            if told != real:
                yield f"{node}: pod {name} has the containers {real}, the API says {told}"
        for uid, view in views.items():
            if uid not in stored:
                yield f"{node} still has the pod {view.name}"
