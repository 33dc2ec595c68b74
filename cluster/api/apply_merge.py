"""Typed values under server-side apply: merging a configuration into an object, and removing what a set
names.

Merging goes by the list and map types of the facts: structs, maps and associative lists item by item, all
else is
replaced as a whole. Nothing given is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from cluster.api.managed_forms import DEDUCED, Form, ItemError, Kind, item_element
from cluster.api.managed_sets import Fields, is_member


def merge(live: Any, config: Any, form: Form) -> Any:
    """`live` with `config` merged over it."""
    if isinstance(config, Mapping) and form.kind in (Kind.STRUCT, Kind.MAP, Kind.DEDUCED):
        if not isinstance(live, Mapping):
            live = {}
        merged = dict(live)
        for name, value in config.items():
            merged[name] = merge(live.get(name), value, form.child(name)[1])
        return merged
    if isinstance(config, list) and form.kind in (Kind.LIST_MAP, Kind.LIST_SET):
        return _merge_lists(live if isinstance(live, list) else [], config, form)
    return config


def _merge_lists(live: list[Any], config: list[Any], form: Form) -> list[Any]:
    """The configuration's order for its own items; the others stay where they were among them."""
    mine = {item_element(form, item): item for item in config}
    theirs = {item_element(form, item): item for item in live}
    left, right = list(theirs), list(mine)
    merged: list[Any] = []
    emitted: set[str] = set()
    at_left = at_right = 0
    while at_left < len(left) or at_right < len(right):
        element = left[at_left] if at_left < len(left) else ""
        if element in emitted:
            at_left += 1
        elif element and element not in mine:
            merged.append(theirs[element])
            at_left += 1
        else:
            element = right[at_right]
            emitted.add(element)
            merged.append(merge(theirs.get(element), mine[element], form.element))
            at_right += 1
    return merged


def remove(value: Any, fields: Fields, form: Form) -> Any:
    """`value` without the paths of `fields`; a list or map that loses all it had becomes None."""
    if not fields:
        return value
    if isinstance(value, Mapping) and form.kind in (Kind.STRUCT, Kind.MAP, Kind.DEDUCED):
        return _remove_members(value, fields, form)
    if isinstance(value, list) and form.kind in (Kind.LIST_MAP, Kind.LIST_SET):
        return _remove_items(value, fields, form)
    return value


def _remove_members(value: Mapping[str, Any], fields: Fields, form: Form) -> Any:
    kept = {}
    for name, member in value.items():
        path, inner, _ = form.child(name)
        node = fields.get(path)
        if node is None:
            kept[name] = member
        elif not is_member(node):
            left = remove(member, node, inner)
            if left is not None:
                kept[name] = left
    return kept or None


def _remove_items(value: list[Any], fields: Fields, form: Form) -> Any:
    kept = []
    for item in value:
        node = fields.get(item_element(form, item))
        if node is None:
            kept.append(item)
        elif not is_member(node):
            kept.append(remove(item, node, form.element))
    return kept or None


def problems(config: Any, form: Form, path: str = "") -> list[str]:
    """Why `config` is not of this form: undeclared fields, list items without their keys."""
    if isinstance(config, Mapping) and form.kind in (Kind.STRUCT, Kind.MAP):
        found = []
        for name, value in config.items():
            if form.kind is Kind.STRUCT and not form.open and name not in form.fields:
                found.append(f"{path}.{name}: field not declared in schema")
            else:
                found += problems(value, form.child(name)[1], f"{path}.{name}")
        return found
    if isinstance(config, list) and form.kind in (Kind.LIST_MAP, Kind.LIST_SET):
        return _list_problems(config, form, path)
    return []


def _list_problems(config: list[Any], form: Form, path: str) -> list[str]:
    found: list[str] = []
    seen: set[str] = set()
    for index, item in enumerate(config):
        try:
            element = item_element(form, item)
        except ItemError as error:
            found.append(f"{path}: element {index}: {error}")
            continue
        shown = path + element_text(element)
        if element in seen:
            found.append(f"{path}: duplicate entries for key {shown.removeprefix(path)}")
        seen.add(element)
        found += problems(item, form.element if form.element is not form else DEDUCED, shown)
    return found


def element_text(element: str) -> str:
    """A path element as messages show it: `.name`, `[name="a",port=80]`, `[="x"]`, `[3]`."""
    kind, text = element[:2], element[2:]
    match kind:
        case "f:":
            return f".{text}"
        case "k:":
            return "[" + _pairs(text) + "]"
        case "v:":
            return f"[={text}]"
    return f"[{text}]"


def _pairs(text: str) -> str:
    keys: dict[str, Any] = orjson.loads(text)
    return ",".join(f"{key}={orjson.dumps(value).decode()}" for key, value in sorted(keys.items()))
