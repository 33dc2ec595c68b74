"""Which fields a value has, and which of them differ between two versions of an object.

The two views of "has" are Kubernetes': of what was applied (`applied_fields`: leaves, list items and map
entries),
and of what is new against an older version (`compare`: also every object and list that was not there before).
Comparing goes only where the versions differ; equal parts are skipped by Python's own comparison, shared
ones by
identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from cluster.api.managed_forms import Form, ItemError, Kind, item_element
from cluster.api.managed_sets import Fields

_SELF: Final = "."
_MISSING: Final = object()
_LEAF: Final[Fields] = {}
_OWNED_LIMIT: Final = 128
_OWNED_BYTES: Final = 8192

IGNORED: Final = frozenset({"apiVersion", "kind"})
IGNORED_METADATA: Final = frozenset(
    {
        "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation",
        "managedFields", "resourceVersion",
    }
)  # fmt: skip
"""Nobody owns these."""


def applied_fields(obj: Mapping[str, Any], form: Form) -> Fields:
    """What an applied configuration owns. Raises ItemError."""
    return _without_ignored(_has(obj, form, False))


def created_fields(obj: Mapping[str, Any], form: Form) -> Fields:
    """What the creator of an object owns."""
    spec = obj.get("spec")
    if not spec:
        return _without_ignored(_new(obj, form))
    fields = _new({name: member for name, member in obj.items() if name != "spec"}, form)
    _new_spec(fields, form.child("spec"), spec)
    return _without_ignored(fields)


def _without_ignored(fields: Fields) -> Fields:
    for name in IGNORED:
        fields.pop("f:" + name, None)
    metadata = fields.get("f:metadata")
    if metadata is not None:
        kept = {n: f for n, f in metadata.items() if n != _SELF and n[2:] not in IGNORED_METADATA}
        if kept:
            fields["f:metadata"] = kept
        else:
            del fields["f:metadata"]
    return fields


def _has(value: Any, form: Form, containers: bool) -> Fields:
    """The fields below a value. With `containers`, also the objects and lists that hold them."""
    kind = form.kind
    if kind is Kind.WHOLE or not value:
        return {}
    if isinstance(value, dict):
        return _has_members(value, form, containers) if kind not in (Kind.LIST_MAP, Kind.LIST_SET) else {}
    if kind is Kind.LIST_MAP and isinstance(value, list):
        element = form.element
        return {item_element(form, item): {_SELF: {}, **_has(item, element, containers)} for item in value}
    if kind is Kind.LIST_SET and isinstance(value, list):
        return {item_element(form, item): {} for item in value}
    return {}


def _has_members(value: dict[str, Any], form: Form, containers: bool) -> Fields:
    fields: Fields = {}
    declared, element = form.fields, form.element
    for name, member in value.items():
        known = declared.get(name)
        if known is not None:
            path, inner, _ = known
            below = _has(member, inner, containers) if inner.kind else {}
            fields[path] = {_SELF: {}, **below} if below and containers else below
        else:
            below = _has(member, element, containers) if element.kind else {}
            fields["f:" + name] = {_SELF: {}, **below} if below else below
    return fields


def _new(value: Mapping[str, Any], form: Form) -> Fields:
    """The fields of a new object against an empty one, which has some structs already."""
    fields: Fields = {}
    declared = form.fields
    for name, member in value.items():
        known = declared.get(name)
        if known is None:
            _add(fields, form.child(name), member)
        elif known[1].kind is Kind.WHOLE:
            fields[known[0]] = _LEAF
        else:
            _add(fields, known, member)
    return fields


def _new_spec(fields: Fields, child: tuple[str, Form, bool], spec: Any) -> None:
    """As `_add`; remembered, since the pods of one template have the same spec and can share this, too."""
    form, text = child[1], orjson.dumps(spec)
    found = form.owned.get(text)
    if found is None:
        found = {}
        _add(found, child, spec)
        if len(text) <= _OWNED_BYTES:
            if len(form.owned) >= _OWNED_LIMIT:
                form.owned.clear()
            form.owned[text] = found
    fields.update(found)


def _add(fields: Fields, child: tuple[str, Form, bool], value: Any) -> None:
    """Writes the fields of a member that was not there before."""
    path, inner, in_empty = child
    if in_empty and inner.kind is Kind.STRUCT and isinstance(value, dict):
        if below := _new(value, inner):
            fields[path] = below
        return
    below = _has(value, inner, True)
    fields[path] = {_SELF: {}, **below} if below and not in_empty else below


def compare(old: Mapping[str, Any], new: Mapping[str, Any], form: Form) -> tuple[Fields, Fields]:
    """(added or modified, removed) fields of two versions of an object."""
    changed: Fields = {}
    removed: Fields = {}
    for name, value in new.items():
        before = old.get(name, _MISSING)
        if before is value or name in IGNORED:
            continue
        if before is _MISSING and name != "metadata":
            _add(changed, form.child(name), value)
            continue
        path, inner, _ = form.child(name)
        if name == "metadata" and isinstance(before, dict) and isinstance(value, dict):
            _pair(path, _own_metadata(before), _own_metadata(value), inner, changed, removed)
        else:
            _pair(path, before, value, inner, changed, removed)
    for name, value in old.items():
        if name not in new and name not in IGNORED:
            path, inner, _ = form.child(name)
            removed[path] = _whole(value, inner)
    return changed, removed


def _own_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if name not in IGNORED_METADATA}


def _whole(value: Any, form: Form) -> Fields:
    below = _has(value, form, True)
    return {_SELF: {}, **below} if below else below


def _pair(path: str, old: Any, new: Any, form: Form, changed: Fields, removed: Fields) -> None:
    """Compares the value at one path element, writing what differs below `path`."""
    if old == new:
        return
    kind = form.kind
    inner_changed: Fields = {}
    inner_removed: Fields = {}
    if isinstance(old, dict) and isinstance(new, dict) and kind in _OBJECTS and (old or new):
        _members(old, new, form, inner_changed, inner_removed)
    elif isinstance(old, list) and isinstance(new, list) and kind in _LISTS and (old or new):
        _items(old, new, form, inner_changed, inner_removed)
    else:
        changed[path] = _whole(new, form)
        return
    if inner_changed:
        changed[path] = inner_changed
    if inner_removed:
        removed[path] = inner_removed


_OBJECTS: Final = frozenset({Kind.STRUCT, Kind.MAP, Kind.DEDUCED})
_LISTS: Final = frozenset({Kind.LIST_MAP, Kind.LIST_SET})


def _members(old: dict[str, Any], new: dict[str, Any], form: Form, changed: Fields, removed: Fields) -> None:
    declared, element = form.fields, form.element
    for name, value in new.items():
        before = old.get(name, _MISSING)
        if before is value:
            continue
        if before is _MISSING:
            _add(changed, form.child(name), value)
            continue
        known = declared.get(name)
        path, inner = ("f:" + name, element) if known is None else (known[0], known[1])
        _pair(path, before, value, inner, changed, removed)
    for name, value in old.items():
        if name not in new:
            path, inner, _ = form.child(name)
            removed[path] = _whole(value, inner)


def _items(old: list[Any], new: list[Any], form: Form, changed: Fields, removed: Fields) -> None:
    try:
        before = {item_element(form, item): item for item in old}
        after = {item_element(form, item): item for item in new}
    except ItemError:
        return  # validation refuses such a list, or it is old and nobody's
    for path, item in after.items():
        was = before.get(path, _MISSING)
        if was is _MISSING:
            changed[path] = {_SELF: {}, **_has(item, form.element, True)} if form.keys else {}
        elif was is not item:
            _pair(path, was, item, form.element, changed, removed)
    for path, item in before.items():
        if path not in after:
            removed[path] = {_SELF: {}, **_has(item, form.element, True)} if form.keys else {}
