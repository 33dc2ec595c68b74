"""Why a pod is where it is, or why it waits: for each node the plugin that refuses it, or what it scores.

A pod that has a node is looked at as if it were to be placed once more, without itself on that node. Pure:
nothing is changed, and what is asked is what the scheduler itself would ask.
"""

from __future__ import annotations

from cluster.api.objects import Object
from cluster.scheduler.decision import Decision
from cluster.scheduler.placement import schedule_one
from cluster.scheduler.pods import PodInfo
from cluster.scheduler.profile import Profile
from cluster.scheduler.queue import Waiting
from cluster.scheduler.snapshot import Snapshot

API_VERSION = "kubemu/v1"
KIND = "SchedulingExplanation"


def explanation(
    pod: Object, snapshot: Snapshot, profile: Profile | None, waiting: tuple[str, Waiting] | None
) -> Object:
    """`profile`: None where no profile has the pod's schedulerName."""
    meta, spec = pod["metadata"], pod["spec"]
    document: Object = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "schedulerName": spec.get("schedulerName", ""),
        "nodeName": spec.get("nodeName", ""),
        "nominatedNodeName": pod.get("status", {}).get("nominatedNodeName", ""),
        "state": _state(pod, profile, waiting),
        "attempts": waiting[1].attempts if waiting is not None else 0,
        "refusedBy": list(waiting[1].plugins) if waiting is not None else [],
    }
    if profile is None:
        return document | {"message": "no scheduler profile of this name runs here", "nodes": []}
    decision = _decide(pod, snapshot, profile)
    document["wouldChoose"] = decision.node
    document["message"] = "" if decision.node else decision.message()
    document["nodes"] = [_node(node.name, decision) for node in snapshot.ordered()]
    return document


def _state(pod: Object, profile: Profile | None, waiting: tuple[str, Waiting] | None) -> str:
    if pod["spec"].get("nodeName"):
        return "scheduled"
    if pod["spec"].get("schedulingGates"):
        return "gated"
    if waiting is not None:
        return waiting[0]
    return "binding" if profile is not None else "unknown scheduler"


def _decide(pod: Object, snapshot: Snapshot, profile: Profile) -> Decision:
    free = {name: value for name, value in pod["spec"].items() if name != "nodeName"}
    wanted = PodInfo(pod | {"spec": free})
    start, placed = snapshot.start, snapshot.placed(wanted.uid)
    if placed is not None:
        snapshot.lift(placed)
    try:
        return schedule_one(wanted, snapshot, profile, explain=True)
    finally:
        snapshot.start = start
        if placed is not None:
            snapshot.lower(placed)


def _node(name: str, decision: Decision) -> Object:
    refusal = decision.refusals.get(name) or decision.refusal
    if refusal is not None:
        return {
            "name": name,
            "feasible": False,
            "plugin": refusal.plugin,
            "reasons": list(refusal.reasons),
            "preemptionMayHelp": refusal.resolvable,
        }
    scores = dict(decision.scores.get(name, {}))
    return {"name": name, "feasible": True, "scores": scores, "score": sum(scores.values())}
