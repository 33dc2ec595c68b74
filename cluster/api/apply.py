"""Server-side apply: one manager states the fields it wants; the server merges, removes, and settles who
owns what.

An applied configuration is merged into the live object. What the manager applied before, leaves out now
and nobody
else owns, is removed. A field that differs and belongs to another manager is a conflict, unless forced;
equal values
are owned together. `apply` is pure and does not default, validate or admit: whoever calls it does so with
the result
and must not call `managed.track` for the same write (defaults belong to nobody).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from cluster.api.apply_merge import element_text, merge, problems, remove
from cluster.api.errors import BadRequest, Cause, Conflict, Unclassified
from cluster.api.facts import Type
from cluster.api.managed import (
    Claim,
    Claims,
    Owner,
    claims_of,
    entries_of,
    release,
)
from cluster.api.managed_compare import applied_fields, compare, created_fields
from cluster.api.managed_forms import Form, form_of
from cluster.api.managed_sets import Fields, intersection, minus, paths, union, with_named
from cluster.api.objects import Object
from cluster.api.reset_fields import taken
from cluster.api.resource import Resource

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
BEFORE_FIRST: Final = "before-first-apply"
_METADATA: Final[Fields] = {"f:metadata": {}}
"""Stays whatever becomes of the fields in it: there is always a name."""


def apply(
    resource: Resource,
    live: Object | None,
    config: Mapping[str, Any],
    *,
    manager: str,
    now: str,
    force: bool = False,
    subresource: str = "",
    type_: Type | None = None,
) -> Object:
    """The object that results; `live` itself (the very same dict) if nothing changes.

    Raises Conflict with a cause per field, BadRequest, or Unclassified for a configuration that does not
    fit the type (Kubernetes answers these with 500).
    """
    form = form_of(resource, type_)
    _check(resource, config, form)
    custom = type_ is not None or not resource.schema
    wanted = taken(config, resource, subresource, custom=custom)
    before: Object = live if live is not None else {"metadata": {}}
    claims = claims_of(before["metadata"].get("managedFields") or [])
    if live is not None and not claims:
        old = created_fields(taken(live, resource, subresource, custom=custom), form)
        claims[Owner(BEFORE_FIRST, "Update", resource.api_version, "")] = Claim(
            old, resource.api_version, now
        )
    owner = Owner(manager, "Apply", "", subresource)
    previous = claims.get(owner)
    mine = applied_fields(wanted, form)
    claims[owner] = Claim(mine, resource.api_version, previous.time if previous else now)
    merged: Object = merge(before, wanted, form)
    if previous is not None:
        merged = _pruned(merged, claims, previous.fields, form)
    changed, removed = compare(before, merged, form)
    if not force:
        allowed = _client_side_applied(before, form) if manager == "kubectl" else {}
        _refuse(_conflicts(claims, owner, minus(changed, allowed)))
    release(claims, changed, removed, keep=owner)
    if manager == "kubectl" and _last_applied(before):
        merged = _with_last_applied(merged, config)
    return _finished(merged, live, claims, owner, now, previous)


def _check(resource: Resource, config: Mapping[str, Any], form: Form) -> None:
    metadata = config.get("metadata")
    if not isinstance(metadata, Mapping):
        raise BadRequest("metadata must be an object")
    if metadata.get("managedFields"):
        raise BadRequest("metadata.managedFields must be nil")
    kind = f"{config.get('apiVersion', '')}, Kind={config.get('kind', '')}"
    if kind != f"{resource.api_version}, Kind={resource.kind}":
        raise BadRequest(
            f"invalid object type: {kind} does not match {resource.api_version}, Kind={resource.kind}"
        )
    if found := problems(config, form):
        shown = found[0] if len(found) == 1 else "errors:\n" + "\n".join(f"  {each}" for each in found)
        where = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}; {kind}"
        raise Unclassified(f"failed to create typed patch object ({where}): {shown}")


def _pruned(merged: Object, claims: Claims, last: Fields, form: Form) -> Object:
    """`merged` without what was applied last time and nobody claims now."""
    last_named = with_named(last, form)
    pruned: Object = remove(merged, minus(last_named, _METADATA), form) or {}
    owned: Fields = {}
    for claim in claims.values():
        owned = union(owned, claim.fields)
    all_named = with_named(applied_fields(merged, form), form)
    kept = union(_METADATA, with_named(owned, form))
    kept = union(kept, with_named(applied_fields(pruned, form), form))
    pruned = remove(merged, minus(all_named, kept), form) or {}
    gone = minus(minus(all_named, with_named(applied_fields(pruned, form), form)), _METADATA)
    result: Object = remove(merged, intersection(gone, last_named), form) or {}
    return result


def _conflicts(claims: Claims, owner: Owner, changed: Fields) -> list[tuple[Owner, str]]:
    return [
        (other, "".join(map(element_text, path)))
        for other in sorted(claims)
        if other != owner
        for path in paths(intersection(claims[other].fields, changed))
    ]


def _refuse(conflicts: list[tuple[Owner, str]]) -> None:
    if not conflicts:
        return
    causes = [
        Cause("FieldManagerConflict", f"conflict with {_shown(other)}", path) for other, path in conflicts
    ]
    raise Conflict(_message(conflicts), causes=causes)


def _client_side_applied(live: Mapping[str, Any], form: Form) -> Fields:
    """What an earlier client-side `kubectl apply` set and nobody changed since: kubectl may take it over."""
    text = _last_applied(live)
    if not text:
        return {}
    try:
        last = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(last, dict) or problems(last, form):
        return {}
    changed, removed = compare(live, last, form)
    return minus(minus(applied_fields(last, form), changed), removed)


def _last_applied(obj: Mapping[str, Any]) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(LAST_APPLIED) or "")


def _with_last_applied(merged: Object, config: Mapping[str, Any]) -> Object:
    """Keeps the annotation in step, so that the user can go back to client-side apply."""
    text = orjson.dumps(config, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE).decode()
    annotations = {**(merged["metadata"].get("annotations") or {}), LAST_APPLIED: text}
    return {**merged, "metadata": {**merged["metadata"], "annotations": annotations}}


def _message(conflicts: list[tuple[Owner, str]]) -> str:
    if len(conflicts) == 1:
        (other, path) = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {_shown(other)}: {path}"
    by_owner: dict[Owner, list[str]] = {}
    for other, path in conflicts:
        by_owner.setdefault(other, []).append(path)
    parts = [
        f"conflicts with {_shown(other)}:\n" + "\n".join(f"- {path}" for path in found)
        for other, found in by_owner.items()
    ]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(parts)


def _shown(owner: Owner) -> str:
    name = orjson.dumps(owner.manager).decode()
    if owner.subresource:
        name += f' with subresource "{owner.subresource}"'
    return f"{name} using {owner.api_version}" if owner.operation == "Update" else name


def _finished(
    merged: Object, live: Object | None, claims: Claims, owner: Owner, now: str, previous: Claim | None
) -> Object:
    mine = claims[owner]
    if not mine.fields:
        del claims[owner]
    same = live is not None and _without_entries(merged) == _without_entries(live)
    if same and previous is not None and previous.fields == mine.fields and live is not None:
        return live
    if owner in claims:
        claims[owner] = mine._replace(time=now)
    metadata = dict(merged["metadata"])
    metadata["managedFields"] = entries_of(claims)
    return {**merged, "metadata": metadata}


def _without_entries(obj: Object) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}
