"""Looks at the cluster and says whether what a scenario expects is so, and what is seen instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.api import kinds
from cluster.api.client import ApiClient
from cluster.api.errors import NotFound
from cluster.api.objects import Object, condition_of
from cluster.api.registry import Registry
from cluster.api.resource import Resource
from scenarios import reference
from scenarios.document import Comparison
from scenarios.steps import Expect

Seen = tuple[bool, str]


class Observer:
    """Reads through the API only, as a user would."""

    def __init__(self, client: ApiClient, registry: Registry) -> None:
        self._client = client
        self._registry = registry

    async def look(self, wanted: Expect) -> Seen:
        """Whether it holds right now, and what is seen, in words."""
        if wanted.pods:
            return await self._pods(wanted)
        if wanted.node:
            return await self._object(wanted, kinds.NODES, wanted.node)
        resource, name = reference.parse(self._registry, wanted.of)
        return await self._object(wanted, resource, name)

    async def _object(self, wanted: Expect, resource: Resource, name: str) -> Seen:
        word = f"{resource.singular}/{name}"
        namespace = wanted.namespace if resource.namespaced else ""
        try:
            obj = await self._client.get(resource, name, namespace=namespace)
        except NotFound:
            if wanted.gone:
                return True, f"{word} is gone"
            raise
        if wanted.gone:
            return False, f"{word} is still there"
        checks = [*_field_checks(obj, wanted), *_condition_checks(obj, wanted), *_taint_checks(obj, wanted)]
        if wanted.event:
            checks.append(await self._event(obj, wanted.event))
        return all(ok for ok, _ in checks), f"{word}: " + ", ".join(text for _, text in checks)

    async def _event(self, obj: Object, reason: str) -> Seen:
        selector = f"involvedObject.name={obj['metadata']['name']},reason={reason}"
        found = await self._client.list(kinds.EVENTS, field_selector=selector)
        ours = [e for e in found.items if e["involvedObject"].get("kind") == obj["kind"]]
        return bool(ours), f"{len(ours)} event(s) {reason}"

    async def _pods(self, wanted: Expect) -> Seen:
        found = await self._client.list(kinds.PODS, namespace=wanted.namespace, label_selector=wanted.pods)
        pods = [pod for pod in found.items if all(test(pod) for test in _filters(wanted))]
        count = wanted.count or Comparison(">=", 1)
        ok = count.holds(len(pods))
        text = f"{len(pods)} of {len(found.items)} pod(s) {wanted.pods}"
        if wanted.where and ok:
            checks = [check for pod in pods for check in _field_checks(pod, wanted)]
            ok = all(good for good, _ in checks)
            text += ": " + ", ".join(sorted({seen for _, seen in checks}))
        if not ok:
            text += " (" + ", ".join(_sketch(pod) for pod in found.items[:8]) + ")"
        return ok, text


def _filters(wanted: Expect) -> list[Callable[[Object], bool]]:
    tests: list[Callable[[Object], bool]] = []
    if wanted.ready is not None:
        tests.append(lambda pod: is_ready(pod) is wanted.ready)
    if wanted.on:
        tests.append(lambda pod: pod["spec"].get("nodeName") == wanted.on)
    if wanted.not_on:
        tests.append(lambda pod: pod["spec"].get("nodeName") != wanted.not_on)
    if wanted.terminating is not None:
        tests.append(lambda pod: ("deletionTimestamp" in pod["metadata"]) is wanted.terminating)
    if wanted.image:
        tests.append(lambda pod: any(c["image"] == wanted.image for c in pod["spec"]["containers"]))
    restarts = wanted.restarts
    if restarts is not None:
        tests.append(lambda pod: restarts.holds(restart_count(pod)))
    return tests


def is_ready(pod: Object) -> bool:
    condition = condition_of(pod, "Ready")
    return condition is not None and condition["status"] == "True"


def restart_count(pod: Object) -> int:
    return sum(c.get("restartCount", 0) for c in pod.get("status", {}).get("containerStatuses", ()))


def _sketch(pod: Object) -> str:
    meta, phase = pod["metadata"], pod.get("status", {}).get("phase", "?")
    state = "Terminating" if "deletionTimestamp" in meta else phase
    ready = "ready" if is_ready(pod) else "not ready"
    return f"{meta['name']} on {pod['spec'].get('nodeName', 'no node')} {state} {ready}"


def field_at(obj: Any, path: str) -> Any:
    """The value at a dotted path (list positions are numbers), or None."""
    for part in path.lstrip(".").split("."):
        if isinstance(obj, dict):
            obj = obj.get(part)
        elif isinstance(obj, list) and part.isdecimal() and int(part) < len(obj):
            obj = obj[int(part)]
        else:
            return None
    return obj


def _field_checks(obj: Object, wanted: Expect) -> list[Seen]:
    checks = []
    for path, comparison in wanted.where.items():
        seen = field_at(obj, path)
        if seen is None and isinstance(comparison.value, int) and not isinstance(comparison.value, bool):
            seen = 0
        checks.append((comparison.holds(seen), f"{path} is {seen}"))
    return checks


def _condition_checks(obj: Object, wanted: Expect) -> list[Seen]:
    checks = []
    for kind, status in wanted.condition.items():
        condition = condition_of(obj, kind) or {"status": "absent"}
        reason = f" ({condition['reason']})" if condition.get("reason") else ""
        checks.append((condition["status"] == status, f"{kind}={condition['status']}{reason}"))
    return checks


def _taint_checks(obj: Object, wanted: Expect) -> list[Seen]:
    taints = [f"{t['key']}:{t['effect']}" for t in obj.get("spec", {}).get("taints", ())]
    seen = "taints " + (", ".join(taints) or "none")
    checks = []
    if wanted.taint:
        checks.append((wanted.taint in taints, seen))
    if wanted.no_taint:
        checks.append((wanted.no_taint not in taints, seen))
    return checks
