"""The subresources of pods that write something else than a part of the pod: binding and eviction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as replaced
from functools import partial
from typing import Any

from cluster.api import errors
from cluster.api.kinds import PODS
from cluster.api.objects import Key, Object, condition_of, timestamp
from cluster.server.admission.request import Operation
from cluster.server.call import Call, DeleteOptions
from cluster.server.topology_labels import topology_labels
from cluster.server.verbs import deletion, writing
from cluster.server.verbs.admitting import admit
from cluster.server.verbs.disruption import take_disruption
from cluster.server.verbs.environment import Environment
from cluster.store.entry import Entry


def _success(entry: Entry, code: int = 201) -> Entry:
    status: Object = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code,
    }  # fmt: skip
    return Entry(entry.qualified, entry.key, status, entry.revision)


async def bind(env: Environment, call: Call, body: Object) -> Entry:
    """Assigns the pod to a node, once."""
    body = await admit(env, call, Operation.CREATE, body)
    target, metadata = body.get("target") or {}, body.get("metadata") or {}
    _check_binding(call, target, metadata)

    def bound(current: Object) -> Object:
        _check_bindable(call, current, target["name"])
        new = {**current, "metadata": dict(current["metadata"])}
        for name in ("uid", "resourceVersion"):
            if metadata.get(name):
                new["metadata"][name] = metadata[name]
        for name in ("annotations", "labels"):
            if metadata.get(name):
                new["metadata"][name] = {**current["metadata"].get(name, {}), **metadata[name]}
        if copied := topology_labels(env.store, target["name"]):
            new["metadata"]["labels"] = {**(new["metadata"].get("labels") or {}), **copied}
        new["spec"] = {**current["spec"], "nodeName": target["name"]}
        status = current.get("status", {})
        new["status"] = {**status, "conditions": _scheduled(env, status.get("conditions", ()))}
        return new

    entry = await writing.replace(env, call, bound)
    call.created = True
    return _success(entry)


def _check_binding(call: Call, target: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    if metadata.get("name", call.name) != call.name:
        raise errors.BadRequest("name in URL does not match name in Binding object")
    causes = []
    if target.get("kind") not in (None, "", "Node"):
        message = f'Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"'
        causes.append(errors.Cause("FieldValueNotSupported", message, "target.kind"))
    if not target.get("name"):
        causes.append(errors.Cause("FieldValueRequired", "Required value", "target.name"))
    if causes:
        raise errors.invalid(replaced(PODS, kind="Binding"), call.name, causes)


def _check_bindable(call: Call, pod: Object, node: str) -> None:
    if "deletionTimestamp" in pod["metadata"]:
        raise errors.conflict(
            PODS, call.name, f"pod {call.name} is being deleted, cannot be assigned to a host"
        )
    assigned = pod["spec"].get("nodeName")
    if assigned:
        raise errors.conflict(PODS, call.name, f'pod {call.name} is already assigned to node "{assigned}"')
    if pod["spec"].get("schedulingGates"):
        raise errors.conflict(PODS, call.name, f"pod {call.name} has non-empty .spec.schedulingGates")


def _scheduled(env: Environment, conditions: Any) -> list[Object]:
    scheduled = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": timestamp(env.clock.now()),
    }
    return [condition for condition in conditions if condition["type"] != "PodScheduled"] + [scheduled]


async def evict(env: Environment, call: Call, body: Object) -> Entry:
    """Deletes the pod if its disruption budget allows it, marked as disrupted."""
    name = (body.get("metadata") or {}).get("name", call.name)
    if name != call.name:
        raise errors.BadRequest("name in URL does not match name in Eviction object")
    pod = env.store.get("pods", Key(call.namespace, call.name))
    if pod is None:
        raise errors.not_found(PODS, call.name)
    body = await admit(env, call, Operation.CREATE, body)
    options = _deletion_options(body)
    call = replaced(call, subresource="", dry_run=call.dry_run or bool(_sent(body).get("dryRun")))
    if not take_disruption(env, call, pod):
        raise errors.TooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.")
    if not call.dry_run:
        mark = partial(_disrupted, env, options)
        marked = await writing.replace(env, replaced(call, subresource="status"), mark)
        if options.revision:
            options = replaced(options, revision=marked.object["metadata"]["resourceVersion"])
    deleted = await deletion.delete(env, call, options, admitted=True)
    return _success(deleted)


def _disrupted(env: Environment, options: DeleteOptions, pod: Object) -> Object:
    """The pod with the condition that says why it goes, which its Job may ignore. Raises Conflict."""
    deletion.check_preconditions(PODS, pod, options)
    status = pod.get("status", {})
    conditions = [each for each in status.get("conditions", ()) if each["type"] != "DisruptionTarget"]
    mark = {
        "type": "DisruptionTarget",
        "status": "True",
        "lastTransitionTime": timestamp(env.clock.now()),
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    before = condition_of(pod, "DisruptionTarget")
    if before is not None and before["status"] == "True":
        mark["lastTransitionTime"] = before["lastTransitionTime"]
    if generation := pod["metadata"].get("generation"):
        mark["observedGeneration"] = generation
    new = {**pod, "metadata": dict(pod["metadata"])}
    new["status"] = {**status, "conditions": [*conditions, mark]}
    return new


def _sent(body: Object) -> Mapping[str, Any]:
    return body.get("deleteOptions") or {}


def _deletion_options(body: Object) -> DeleteOptions:
    sent = _sent(body)
    preconditions = sent.get("preconditions") or {}
    return DeleteOptions(
        uid=preconditions.get("uid", ""),
        revision=preconditions.get("resourceVersion", ""),
        grace_period_s=sent.get("gracePeriodSeconds"),
        propagation=sent.get("propagationPolicy"),
        body=sent,
    )
