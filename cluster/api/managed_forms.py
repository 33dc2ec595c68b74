"""How ownership sees a type: which values are owned as a whole, and by which names one looks into the others.

A `Form` is derived once from a `facts.Type` (kept in `Type.compiled`). It holds the path elements of
fieldsV1 ready
made ("f:replicas"), so that walking an object builds no strings for fields. Where nothing is known of a value
(custom resources without a schema, preserved unknown fields), the form is DEDUCED: objects are looked into,
lists are owned whole, as Kubernetes does.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

import orjson

from cluster.api import facts
from cluster.api.facts import Shape, Type
from cluster.api.resource import Resource


class Kind(IntEnum):
    WHOLE = 0
    """A scalar, or an atomic list or map: owned as one."""
    STRUCT = 1
    MAP = 2
    LIST_MAP = 3
    LIST_SET = 4
    DEDUCED = 5


class Form:
    __slots__ = ("element", "elements", "fields", "keys", "kind", "open", "owned")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.fields: dict[str, tuple[str, Form, bool]] = {}
        """Name → (path element, form of the value, whether an empty new object has it already)."""
        self.element: Form = self
        self.keys: tuple[str, ...] = ()
        self.elements: dict[str, str] = {}
        """Of a list with one key: path elements made before, by the key's value."""
        self.owned: dict[bytes, dict[str, Any]] = {}
        """What the creator of such a value owns, by the value's JSON."""
        self.open = kind is Kind.DEDUCED
        """Whether a struct has more fields than the declared ones."""

    def child(self, name: str) -> tuple[str, Form, bool]:
        """Of a struct's, map's or deduced object's member."""
        found = self.fields.get(name)
        return found if found is not None else ("f:" + name, self.element, False)


WHOLE: Final = Form(Kind.WHOLE)
DEDUCED: Final = Form(Kind.DEDUCED)
ELEMENTS_LIMIT: Final = 1024
KEY_DEFAULTS: Final = {"protocol": "TCP"}
"""List-map keys that may be left out, with their default (container and service ports)."""


def form_of(resource: Resource, type_: Type | None = None) -> Form:
    """The form of a resource's objects. `type_`: of a custom resource, where it has a schema."""
    if type_ is None and not resource.schema:
        return _untyped()
    return form(facts.of(resource) if type_ is None else type_)


def _untyped() -> Form:
    found = _UNTYPED.get("object")
    if found is None:
        found = _UNTYPED["object"] = Form(Kind.STRUCT)
        found.element, found.open = DEDUCED, True
        meta = form(facts.type_named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"))
        found.fields["metadata"] = ("f:metadata", meta, True)
    return found


_UNTYPED: Final[dict[str, Form]] = {}


def form(type_: Type) -> Form:
    found: Form | None = type_.compiled.get("ownership")
    return found if found is not None else _derive(type_)


def _derive(type_: Type) -> Form:
    match type_.shape:
        case Shape.STRUCT if not type_.atomic:
            return _struct(type_)
        case Shape.MAP if not type_.atomic:
            return _container(type_, Kind.MAP)
        case Shape.LIST if type_.list_type == "map":
            return _container(type_, Kind.LIST_MAP)
        case Shape.LIST if type_.list_type == "set":
            return _container(type_, Kind.LIST_SET)
    type_.compiled["ownership"] = WHOLE
    return WHOLE


def _struct(type_: Type) -> Form:
    made = Form(Kind.STRUCT)
    type_.compiled["ownership"] = made  # before its fields: types may contain themselves
    made.element, made.open = DEDUCED, type_.preserve_unknown
    for name, field in type_.fields.items():
        in_empty = field.always or (name in type_.required and field.keeps_zero)
        made.fields[name] = ("f:" + name, form(field.type), in_empty)
    return made


def _container(type_: Type, kind: Kind) -> Form:
    made = Form(kind)
    type_.compiled["ownership"] = made
    made.element = form(type_.element) if type_.element is not None else WHOLE
    made.keys = tuple(sorted(type_.map_keys))
    return made


class ItemError(ValueError):
    """A list's item has not got the keys that identify it."""


def item_element(form: Form, item: Any) -> str:
    """The path element of an item of a list that is a map or a set. Raises ItemError."""
    keys = form.keys
    if len(keys) != 1 or item.__class__ is not dict:
        return _new_element(form, item)
    value = item.get(keys[0])
    if value.__class__ is not str:
        return _new_element(form, item)
    found = form.elements.get(value)
    if found is None:
        if len(form.elements) >= ELEMENTS_LIMIT:
            form.elements.clear()
        found = form.elements[value] = _new_element(form, item)
    return found


def _new_element(form: Form, item: Any) -> str:
    if form.kind is Kind.LIST_SET:
        return "v:" + orjson.dumps(item).decode()
    if not isinstance(item, Mapping):
        raise ItemError("associative list with keys may not have non-map elements")
    keys = {}
    for key in form.keys:
        value = item.get(key)
        if value is None:
            value = KEY_DEFAULTS.get(key)
            if value is None:
                raise ItemError(
                    f'associative list with keys has an element that omits key field "{key}" '
                    "(and doesn't have default value)"
                )
        keys[key] = value
    return "k:" + orjson.dumps(keys).decode()
