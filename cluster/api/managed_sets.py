"""Sets of field paths, in the very form of fieldsV1: nested dicts from path element to what lies below it.

A node without children is a path of the set; a node with children is one only if it also has the entry
".". The
root is no path: an empty root is the empty set. Operations share what they don't change and return their
first
argument itself when nothing changes, so keeping an owner up to date costs what has changed, not what is
owned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cluster.api.managed_forms import Form, Kind

Fields = dict[str, Any]
"""A set of paths, or the part of one below a path."""

_SELF: Final = "."


def is_member(node: Fields) -> bool:
    """Whether the path that leads to this node is itself in the set."""
    return not node or _SELF in node


def union(one: Fields, other: Fields) -> Fields:
    """Of two roots."""
    if not one:
        return other
    return _join(one, other) if other else one


def _join(one: Fields, other: Fields) -> Fields:
    result = one
    for name, node in other.items():
        mine = one.get(name)
        if mine is None:
            joined = node
        else:
            joined = mine if name == _SELF else _union_below(mine, node)
            if joined is mine:
                continue
        if result is one:
            result = dict(one)
        result[name] = joined
    return result


def _union_below(one: Fields, other: Fields) -> Fields:
    if not one:
        return one if not other else other if _SELF in other else {_SELF: {}, **other}
    if not other:
        return one if _SELF in one else {_SELF: {}, **one}
    return _join(one, other)


def minus(one: Fields, other: Fields) -> Fields:
    """The paths of the root `one` that are not in the root `other`."""
    return _cut(one, other)


def _cut(one: Fields, other: Fields) -> Fields:
    """`one` without the children's paths of `other`; says nothing of the node itself."""
    result = one
    for name, node in other.items():
        mine = one.get(name)
        if mine is None or name == _SELF:
            continue
        left = _minus_below(mine, node)
        if left is mine:
            continue
        if result is one:
            result = dict(one)
        if left is None:
            del result[name]
        else:
            result[name] = left
    return result


def _minus_below(one: Fields, other: Fields) -> Fields | None:
    if not one:
        return None if is_member(other) else one
    left = _cut(one, other)
    if _SELF not in left:
        return left or None
    if not is_member(other):
        return {} if len(left) == 1 and left is not one else left
    return {name: node for name, node in left.items() if name != _SELF} or None


def intersection(one: Fields, other: Fields) -> Fields:
    """The paths in both roots."""
    result: Fields = {}
    for name, node in one.items():
        if name in other and name != _SELF:
            both = _common(node, other[name])
            if both is not None:
                result[name] = both
    return result


def _common(one: Fields, other: Fields) -> Fields | None:
    below = intersection(one, other)
    if is_member(one) and is_member(other):
        return {_SELF: {}, **below} if below else {}
    return below or None


def paths(fields: Fields, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path of the set, as path elements, sorted."""
    for name in sorted(fields):
        if name == _SELF:
            continue
        path, node = (*prefix, name), fields[name]
        if is_member(node):
            yield path
        yield from paths(node, path)


def with_named(fields: Fields, form: Form) -> Fields:
    """The set, and every declared field of a struct that leads to one of its paths."""
    result: Fields = {}
    for name, node in fields.items():
        if name == _SELF:
            result[name] = node
            continue
        declared = name[2:] in form.fields if form.kind is Kind.STRUCT else False
        below = with_named(node, _below(form, name))
        result[name] = {_SELF: {}, **below} if declared and below and _SELF not in below else below
    return result


def _below(form: Form, element: str) -> Form:
    if element.startswith("f:"):
        return form.child(element[2:])[1]
    return form.element


def is_well_formed(fields: Any) -> bool:
    """Whether something that a client sent is a set of paths."""
    return isinstance(fields, dict) and all(
        (name == _SELF or name[:2] in ("f:", "k:", "v:", "i:")) and is_well_formed(node)
        for name, node in fields.items()
    )
