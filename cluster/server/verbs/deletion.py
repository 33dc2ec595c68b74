"""Delete: preconditions, grace, finalizers, what happens to dependents.

An object goes at once when nothing holds it back. Otherwise it is only marked (deletionTimestamp), and the
last writer to remove a finalizer, or the node that has stopped the pod, ends it (see `writing.ends_with`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as replaced
from datetime import timedelta
from typing import Any

from cluster.api import errors
from cluster.api.objects import Key, Object, parse_timestamp, timestamp
from cluster.api.resource import Resource
from cluster.server.admission.request import Operation, Request
from cluster.server.call import Call, DeleteOptions, ListOptions
from cluster.server.strategy import Strategy
from cluster.server.verbs.environment import Environment
from cluster.server.verbs.reading import Listing, select
from cluster.server.verbs.writing import ends_with, overloaded, served, shown
from cluster.store.entry import Entry
from cluster.store.store import Overloaded

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"


@dataclass(frozen=True, slots=True)
class _Outcome:
    entry: Entry
    gone: bool


async def delete(env: Environment, call: Call, options: DeleteOptions, *, admitted: bool = False) -> Entry:
    """Deletes or marks. Answers with the object, or with a Status where Kubernetes does. `admitted`: as part
    of a request that admission has let through."""
    strategy = env.strategy(call.resource)
    key = Key(call.namespace if call.resource.namespaced else "", call.name)
    current = env.store.get(strategy.qualified, key)
    if current is None:
        raise errors.not_found(strategy.resource, call.name)
    if not admitted:
        await _admit(env, call, strategy, current, options)
        current = env.store.get(strategy.qualified, key)
        if current is None:
            raise errors.not_found(strategy.resource, call.name)
    outcome = _delete(env, call, strategy, current, options)
    if not call.dry_run:
        await env.store.durable(outcome.entry.revision)
    if outcome.gone and not strategy.returns_deleted:
        return Entry(strategy.qualified, key, _success(strategy, current), outcome.entry.revision)
    return await shown(env, call, outcome.entry)


async def delete_collection(
    env: Environment, call: Call, options: ListOptions, deletion: DeleteOptions
) -> Listing:
    """Deletes all that match, one by one; those that vanish meanwhile don't matter."""
    selected = select(env, call, options)
    strategy = env.strategy(call.resource)
    revision = 0
    deleted: list[Entry] = []
    for entry in selected:
        current = env.store.get(strategy.qualified, entry.key)
        if current is None:
            continue
        one = replaced(call, namespace=entry.key.namespace, name=entry.key.name)
        await _admit(env, one, strategy, current, deletion)
        current = env.store.get(strategy.qualified, entry.key)
        if current is None:
            continue
        outcome = _delete(env, one, strategy, current, deletion)
        revision = max(revision, outcome.entry.revision)
        deleted.append(served(env, call, outcome.entry))
    if not call.dry_run:
        await env.store.durable(revision)
    return Listing(deleted, str(env.store.revision))


async def _admit(
    env: Environment, call: Call, strategy: Strategy, current: Entry, options: DeleteOptions
) -> None:
    old = current if strategy.kind is None else await shown(env, call, current)
    request = Request(
        operation=Operation.DELETE,
        call=call,
        resource=strategy.resource,
        qualified=strategy.qualified,
        subresource="",
        namespace=current.key.namespace,
        name=current.key.name,
        object={},
        old=old.object,
        options=options.body,
    )
    env.admission.mutate(request)
    if env.admission.mutating_webhooks is not None:
        await env.admission.mutating_webhooks(request)
    env.admission.validate(request)
    if env.admission.validating_webhooks is not None:
        await env.admission.validating_webhooks(request)


def _delete(
    env: Environment, call: Call, strategy: Strategy, current: Entry, options: DeleteOptions
) -> _Outcome:
    check_preconditions(strategy.resource, current.object, options)
    new = {**current.object, "metadata": dict(current.object["metadata"])}
    metadata = new["metadata"]
    _set_propagation_finalizers(strategy, metadata, options)
    if strategy.graceful:
        _mark_graceful(env, new, options)
    elif strategy.qualified == "namespaces":
        _mark_namespace(env, new)
    else:
        _mark(env, metadata)
        if strategy.qualified == DEFINITIONS:
            _mark_definition(env, new)
    gone = ends_with(new)
    if call.dry_run:
        return _Outcome(Entry(strategy.qualified, current.key, new, current.revision), gone)
    try:
        if gone:
            final = current.object if strategy.qualified != "pods" else new
            return _Outcome(env.store.remove(current, final), True)
        if new == current.object:
            return _Outcome(current, False)
        return _Outcome(env.store.put(strategy.qualified, current.key, new, current), False)
    except Overloaded as overload:
        raise overloaded(overload) from None


def check_preconditions(resource: Resource, current: Mapping[str, Any], options: DeleteOptions) -> None:
    """Raises Conflict where the object is not the one that is meant."""
    metadata = current["metadata"]
    name = metadata["name"]
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    if options.uid and options.uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record "
            f"({metadata['uid']}). The object might have been deleted and then recreated"
        )
    elif options.revision and options.revision != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({options.revision}) does not match the "
            f"ResourceVersion in record ({metadata['resourceVersion']}). The object might have been modified"
        )
    else:
        return
    details = {"name": name, "kind": resource.kind} | ({"group": resource.group} if resource.group else {})
    raise errors.Conflict(f'Operation cannot be fulfilled on {kind} "{name}": {why}', details=details)


def _set_propagation_finalizers(strategy: Strategy, metadata: Object, options: DeleteOptions) -> None:
    """Tells the garbage collector what to do with dependents, through finalizers."""
    present = metadata.get("finalizers") or ()
    orphan, foreground = ORPHAN in present, FOREGROUND in present
    if options.propagation is not None:
        orphan, foreground = options.propagation == "Orphan", options.propagation == "Foreground"
    elif not orphan and not foreground:
        orphan = strategy.default_propagation == "Orphan"
    finalizers = [name for name in present if name not in (ORPHAN, FOREGROUND)]
    if orphan:
        finalizers.append(ORPHAN)
    if foreground:
        finalizers.append(FOREGROUND)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def _mark_definition(env: Environment, new: Object) -> None:
    """Its objects go first: a finalizer holds the definition until they have."""
    metadata = new["metadata"]
    if CLEANUP_FINALIZER in (metadata.get("finalizers") or ()):
        return
    metadata["finalizers"] = [*(metadata.get("finalizers") or ()), CLEANUP_FINALIZER]
    terminating = {
        "type": "Terminating",
        "status": "True",
        "lastTransitionTime": timestamp(env.clock.now()),
        "reason": "InstanceDeletionPending",
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    }
    status = new.get("status") or {}
    kept = [c for c in status.get("conditions") or () if c["type"] != "Terminating"]
    new["status"] = {**status, "conditions": [*kept, terminating]}


def _mark(env: Environment, metadata: Object) -> None:
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = timestamp(env.clock.now())
    if "deletionGracePeriodSeconds" not in metadata and metadata.get("generation", 0) > 0:
        metadata["generation"] += 1
    metadata["deletionGracePeriodSeconds"] = 0


def _mark_namespace(env: Environment, new: Object) -> None:
    metadata = new["metadata"]
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = timestamp(env.clock.now())
    new["status"] = {**(new.get("status") or {}), "phase": "Terminating"}


def _mark_graceful(env: Environment, new: Object, options: DeleteOptions) -> None:
    metadata = new["metadata"]
    asked_s = options.grace_period_s
    if "deletionTimestamp" in metadata:
        pending_s = metadata.get("deletionGracePeriodSeconds", 0)
        if asked_s is not None and max(asked_s, 0) < pending_s:
            asked_s = max(asked_s, 0)
            end = parse_timestamp(metadata["deletionTimestamp"]) - timedelta(seconds=pending_s - asked_s)
            metadata["deletionTimestamp"] = timestamp(end)
            metadata["deletionGracePeriodSeconds"] = asked_s
        return
    grace_s = _grace_s(new, asked_s)
    metadata["deletionTimestamp"] = timestamp(env.clock.now() + timedelta(seconds=grace_s))
    metadata["deletionGracePeriodSeconds"] = grace_s
    if metadata.get("generation", 0) > 0:
        metadata["generation"] += 1


def _grace_s(pod: Object, asked_s: int | None) -> int:
    """How long a pod may take to stop: not at all, if it never got to a node or has already ended."""
    spec: dict[str, Any] = pod["spec"]
    grace_s = asked_s if asked_s is not None else spec.get("terminationGracePeriodSeconds", 30)
    if not spec.get("nodeName") or pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
        return 0
    return 1 if grace_s < 0 else int(grace_s)


def _success(strategy: Strategy, deleted: Entry) -> Object:
    details: Object = {"name": deleted.key.name}
    if strategy.resource.group:
        details["group"] = strategy.resource.group
    details |= {"kind": strategy.resource.plural, "uid": deleted.uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
