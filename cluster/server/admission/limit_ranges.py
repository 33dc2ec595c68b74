"""LimitRanger: default requests and limits of containers, and the bounds a namespace sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cluster.api.errors import Forbidden
from cluster.api.objects import Object
from cluster.api.quantity import Quantity, parse
from cluster.server.admission.request import Request, Setting

_ANNOTATION = "kubernetes.io/limit-ranger"
_ZERO = Quantity(0)


def set_limits(setting: Setting, request: Request) -> None:
    """Gives containers without them the namespace's default requests and limits."""
    if not setting.store.count("limitranges"):
        return
    for item in _items(setting, request.namespace, "Container"):
        _default_containers(request.object, item)


def _default_containers(pod: Object, item: Mapping[str, Any]) -> None:
    requests, limits = item.get("defaultRequest") or {}, item.get("default") or {}
    said: list[str] = []
    for field, word in (("containers", "container"), ("initContainers", "init container")):
        for container in pod["spec"].get(field) or ():
            for name, values in (("requests", requests), ("limits", limits)):
                added = _add(container, name, values)
                if added:
                    said.append(f"{', '.join(added)} {name[:-1]} for {word} {container['name']}")
    if said:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[_ANNOTATION] = "LimitRanger plugin set: " + "; ".join(said)


def _add(container: Object, name: str, values: Mapping[str, str]) -> list[str]:
    resources = container.setdefault("resources", {})
    present = resources.get(name) or {}
    missing = sorted(resource for resource in values if resource not in present)
    if missing:
        resources[name] = {**present, **{resource: values[resource] for resource in missing}}
    return missing


def check_limits(setting: Setting, request: Request) -> None:
    """Refuses what lies outside the namespace's bounds."""
    if not setting.store.count("limitranges"):
        return
    wrong: list[str] = []
    if request.qualified == "pods":
        spec = request.object["spec"]
        containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
        for item in _items(setting, request.namespace, "Container"):
            for container in containers:
                resources = container.get("resources") or {}
                wrong += _violations(item, resources.get("requests") or {}, resources.get("limits") or {})
        for item in _items(setting, request.namespace, "Pod"):
            wrong += _violations(item, _total(spec, "requests"), _total(spec, "limits"))
    else:
        requests = (request.object["spec"].get("resources") or {}).get("requests") or {}
        for item in _items(setting, request.namespace, "PersistentVolumeClaim"):
            wrong += _storage_violations(item, requests)
    if wrong:
        text = wrong[0] if len(wrong) == 1 else "[" + ", ".join(wrong) + "]"
        raise Forbidden(
            f'{request.qualified} "{request.name}" is forbidden: {text}',
            details={"name": request.name, "kind": request.qualified},
        )


def _items(setting: Setting, namespace: str, kind: str) -> Iterator[Mapping[str, Any]]:
    for entry in setting.store.list("limitranges", namespace):
        for item in entry.object["spec"].get("limits") or ():
            if item["type"] == kind:
                yield item


def _violations(item: Mapping[str, Any], requests: Mapping[str, str], limits: Mapping[str, str]) -> list[str]:
    wrong = []
    kind = item["type"]
    for name, bound in _sorted(item.get("min")):
        low = parse(bound)
        request, limit = requests.get(name), limits.get(name)
        if request is None:
            wrong.append(f"minimum {name} usage per {kind} is {bound}.  No request is specified")
        elif parse(request) < low:
            wrong.append(f"minimum {name} usage per {kind} is {bound}, but request is {request}")
        if limit is not None and parse(limit) < low:
            wrong.append(f"minimum {name} usage per {kind} is {bound}, but limit is {limit}")
    for name, bound in _sorted(item.get("max")):
        high = parse(bound)
        request, limit = requests.get(name), limits.get(name)
        if limit is None:
            wrong.append(f"maximum {name} usage per {kind} is {bound}.  No limit is specified")
        elif parse(limit) > high:
            wrong.append(f"maximum {name} usage per {kind} is {bound}, but limit is {limit}")
        if request is not None and parse(request) > high:
            wrong.append(f"maximum {name} usage per {kind} is {bound}, but request is {request}")
    for name, bound in _sorted(item.get("maxLimitRequestRatio")):
        wrong += _ratio_violation(kind, name, bound, requests.get(name), limits.get(name))
    return wrong


def _ratio_violation(kind: str, name: str, bound: str, request: str | None, limit: str | None) -> list[str]:
    head = f"{name} max limit to request ratio per {kind} is {bound}, but "
    if request is None or parse(request) == _ZERO:
        return [head + "no request is specified or request is 0."]
    if limit is None or parse(limit) == _ZERO:
        return [head + "no limit is specified or limit is 0."]
    ratio = parse(limit).nanos / parse(request).nanos
    if ratio * 10**9 > parse(bound).nanos:
        return [head + f"provided ratio is {ratio:f}."]
    return []


def _storage_violations(item: Mapping[str, Any], requests: Mapping[str, str]) -> list[str]:
    wrong = []
    for field, word in (("min", "minimum"), ("max", "maximum")):
        for name, bound in _sorted(item.get(field)):
            request = requests.get(name)
            if request is None:
                wrong.append(
                    f"{word} {name} usage per PersistentVolumeClaim is {bound}.  No request is specified"
                )
            elif (parse(request) < parse(bound)) if field == "min" else (parse(request) > parse(bound)):
                wrong.append(
                    f"{word} {name} usage per PersistentVolumeClaim is {bound}, but request is {request}"
                )
    return wrong


def _total(spec: Mapping[str, Any], field: str) -> dict[str, str]:
    """A pod's whole: the sum of its containers, or its largest init container if that is more."""
    total: dict[str, Quantity] = {}
    for name, amount in _amounts(spec.get("containers") or (), field):
        total[name] = total[name] + amount if name in total else amount
    for name, amount in _amounts(spec.get("initContainers") or (), field):
        if name not in total or amount > total[name]:
            total[name] = amount
    return {name: str(amount) for name, amount in total.items()}


def _amounts(containers: Sequence[Mapping[str, Any]], field: str) -> Iterator[tuple[str, Quantity]]:
    for container in containers:
        for name, text in ((container.get("resources") or {}).get(field) or {}).items():
            yield name, parse(text)


def _sorted(bounds: Mapping[str, str] | None) -> list[tuple[str, str]]:
    return sorted((bounds or {}).items())
