"""ResourceQuota: what a namespace may hold, checked and booked before the object is stored.

The booking is a write of the quota's own status in the same turn of the event loop as the object's, so two
creations can't both take the last of something. What is given back (deletions, ended pods) is found by the
quota controller, which recounts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.api.errors import Forbidden
from cluster.api.quantity import Quantity, parse
from cluster.api.quota import Usage, in_scope, printed, usage_of
from cluster.server.admission.request import Request, Setting
from cluster.store.entry import Entry

_QUALIFIED = "resourcequotas"
_ZERO = Quantity(0)
_MUST_BE_SET = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")


def check_quota(setting: Setting, request: Request) -> None:
    quotas = setting.store.list(_QUALIFIED, request.namespace) if request.namespace else ()
    if not quotas:
        return
    wanted = usage_of(request.resource, request.object)
    before = usage_of(request.resource, request.old) if request.old is not None else {}
    bookings: list[tuple[Entry, Usage]] = []
    for entry in quotas:
        booked = _checked(request, entry, wanted, before)
        if booked:
            bookings.append((entry, booked))
    if not request.call.dry_run:
        for entry, booked in bookings:
            _book(setting, entry, booked)


def _checked(request: Request, entry: Entry, wanted: Usage, before: Usage) -> Usage:
    """The new `used` of what changes in this quota. Raises Forbidden."""
    quota, name = entry.object, entry.key.name
    hard: Mapping[str, str] = quota["spec"].get("hard") or {}
    if not in_scope(quota["spec"], request.resource, request.object):
        return {}
    if request.qualified == "pods" and request.old is None:
        _check_constraints(request, name, hard)
    delta = {
        resource: wanted[resource] - before.get(resource, _ZERO)
        for resource in hard
        if resource in wanted and wanted[resource] != before.get(resource, _ZERO)
    }
    if not delta:
        return {}
    status = quota.get("status") or {}
    used: Mapping[str, str] = status.get("used") or {}
    unknown = sorted(resource for resource in delta if resource not in (status.get("hard") or {}))
    if unknown:
        raise _refused(request, f"status unknown for quota: {name}, resources: {','.join(unknown)}")
    after = {resource: parse(used.get(resource, "0")) + amount for resource, amount in delta.items()}
    exceeded = sorted(
        resource for resource in delta if delta[resource] > _ZERO and after[resource] > parse(hard[resource])
    )
    if exceeded:
        requested = ",".join(f"{resource}={delta[resource]}" for resource in exceeded)
        present = ",".join(f"{resource}={used.get(resource, '0')}" for resource in exceeded)
        limited = ",".join(f"{resource}={parse(hard[resource])}" for resource in exceeded)
        raise _refused(
            request, f"exceeded quota: {name}, requested: {requested}, used: {present}, limited: {limited}"
        )
    return after


def _check_constraints(request: Request, quota: str, hard: Mapping[str, str]) -> None:
    """A quota on a compute resource makes every container say how much of it it wants."""
    spec = request.object["spec"]
    required = [name for name in _MUST_BE_SET if name in hard]
    if not required:
        return
    missing: dict[str, list[str]] = {}
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        for name in required:
            if not _says(container, name) and not _says(spec, name):
                missing.setdefault(name, []).append(container["name"])
    if missing:
        text = "; ".join(f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))
        raise _refused(request, f"failed quota: {quota}: must specify {text}")


def _says(container: Mapping[str, Any], name: str) -> bool:
    kind, _, resource = name.rpartition(".")
    return resource in ((container.get("resources") or {}).get(kind or "requests") or {})


def _book(setting: Setting, entry: Entry, booked: Usage) -> None:
    current = setting.store.get(_QUALIFIED, entry.key)
    if current is None:
        return
    status = current.object.get("status") or {}
    used = {**(status.get("used") or {}), **printed(booked)}
    new = {
        **current.object,
        "metadata": dict(current.object["metadata"]),
        "status": {**status, "used": used},
    }
    setting.store.put(_QUALIFIED, entry.key, new, current)


def _refused(request: Request, why: str) -> Forbidden:
    group = request.resource.group
    details = {"name": request.name} | ({"group": group} if group else {}) | {"kind": request.resource.plural}
    return Forbidden(f'{request.qualified} "{request.name}" is forbidden: {why}', details=details)
