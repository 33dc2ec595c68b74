"""What an eviction asks of PodDisruptionBudgets, and what it books there.

The answer comes from the budget's status, which its controller keeps; an allowed eviction takes one off
disruptionsAllowed and remembers the pod in disruptedPods at once, so that a second eviction in the same
moment already sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as replaced
from typing import Any

from cluster.api import errors
from cluster.api.kinds import POD_DISRUPTION_BUDGETS, PODS
from cluster.api.objects import condition_of, timestamp
from cluster.api.selectors import matches_object_form
from cluster.server.call import Call
from cluster.server.verbs.environment import Environment
from cluster.store.entry import Entry

MAX_DISRUPTED_PODS = 2000
_QUALIFIED = "poddisruptionbudgets.policy"


def take_disruption(env: Environment, call: Call, pod: Entry) -> bool:
    """Books the eviction of `pod`; False when its budget does not allow one more. Raises ApiError."""
    obj = pod.object
    phase = obj.get("status", {}).get("phase")
    if phase in ("Succeeded", "Failed", "Pending") or "deletionTimestamp" in obj["metadata"]:
        return True
    budgets = _budgets(env, obj)
    if not budgets:
        return True
    if len(budgets) > 1:
        raise errors.InternalError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    budget = budgets[0]
    if _unready_may_go(obj, budget.object):
        return True
    return _book(env, call, pod, budget)


def _budgets(env: Environment, pod: Mapping[str, Any]) -> list[Entry]:
    metadata = pod["metadata"]
    labels = metadata.get("labels")
    return [
        entry
        for entry in env.store.list(_QUALIFIED, metadata["namespace"])
        if matches_object_form(entry.object["spec"].get("selector"), labels)
    ]


def _unready_may_go(pod: Mapping[str, Any], budget: Mapping[str, Any]) -> bool:
    ready = condition_of(pod, "Ready")
    if ready is not None and ready["status"] == "True":
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status", {})
    return bool(status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0)


def _book(env: Environment, call: Call, pod: Entry, budget: Entry) -> bool:
    metadata, status = budget.object["metadata"], budget.object.get("status", {})
    name = budget.key.name
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        raise _refused(
            f"The disruption budget {name} is still being processed by the server.", retry_after_s=10
        )
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 0:
        raise errors.forbidden(POD_DISRUPTION_BUDGETS, name, "pdb disruptions allowed is negative")
    disrupted = status.get("disruptedPods") or {}
    if len(disrupted) > MAX_DISRUPTED_PODS:
        raise errors.forbidden(
            POD_DISRUPTION_BUDGETS,
            name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        )
    if allowed == 0:
        raise _refused(
            "Cannot evict pod as it would violate the pod's disruption budget.", (_why(name, budget, status),)
        )
    if not call.dry_run:
        disrupted = {**disrupted, pod.key.name: timestamp(env.clock.now())}
        new = {**budget.object, "metadata": dict(metadata)}
        new["status"] = {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": disrupted}
        env.store.put(_QUALIFIED, budget.key, new, budget)
    return True


def _why(name: str, budget: Entry, status: Mapping[str, Any]) -> errors.Cause:
    condition = condition_of(budget.object, "DisruptionAllowed")
    if condition is not None and condition["status"] == "False" and condition.get("reason") == "SyncFailed":
        message = (
            f"The disruption budget {name} does not allow evicting pods currently because it failed sync: "
            f"{condition.get('message', '')}"
        )
    else:
        message = (
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods and has "
            f"{status.get('currentHealthy', 0)} currently"
        )
    return errors.Cause("DisruptionBudget", message, "")


def _refused(
    message: str, causes: tuple[errors.Cause, ...] = (), retry_after_s: int | None = None
) -> errors.TooManyRequests:
    if not causes:
        causes = (errors.Cause("DisruptionBudget", message, ""),)
        message = "Cannot evict pod as it would violate the pod's disruption budget."
    return errors.TooManyRequests(message, causes=causes, retry_after_s=retry_after_s)


__all__ = ["PODS", "replaced", "take_disruption"]
