"""Strategic merge patch: a merge patch that knows lists, by the merge keys in the facts of each type.

Maps are merged field by field, null removes. A list whose field says `merge` is merged item by item
(matched by
its merge key, or as a set of scalars); any other list is replaced. Directives inside the patch change that:
`$patch: replace|delete`, `$deleteFromPrimitiveList/x`, `$setElementOrder/x`, `$retainKeys`. The order of a
merged
list follows Kubernetes: the patch's items in the patch's order, the server's own where they stood among them.

Nothing given is changed; the result shares what the patch leaves alone. Where the patch adds a map or a
list that the
object lacks, it is merged into an empty one, so that no directive is left in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cluster.api import facts
from cluster.api.errors import ApiError, BadRequest, InternalError, Invalid
from cluster.api.facts import Field, Shape, Type
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.api.strategic_order import in_merged_order

_PATCH: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_DELETE_FROM: Final = "$deleteFromPrimitiveList/"
_ORDER: Final = "$setElementOrder/"

_Map = Mapping[str, Any]


def strategic_merge_patch(resource: Resource, original: Object, patch: Any) -> Object:
    """`original` with `patch` applied. Raises BadRequest or Invalid, as Kubernetes does."""
    if not isinstance(patch, Mapping):
        raise BadRequest("json: cannot unmarshal non-object into Go value of type map[string]interface {}")
    return _merge_map(original, patch, facts.of(resource))


def _merge_map(original: _Map, patch: _Map, type_: Type | None) -> Object:
    directive = patch.get(_PATCH)
    if directive is not None:
        return _replaced(patch, directive)
    merged = dict(original)
    if _RETAIN in patch:
        _retain(merged, patch)
    ordered = {key.removeprefix(_ORDER): order for key, order in patch.items() if key.startswith(_ORDER)}
    for name, order in ordered.items():
        _merge_ordered(merged, patch, name, order, _field(type_, name))
    for key, value in patch.items():
        if key.startswith("$"):
            if key.startswith(_DELETE_FROM):
                _delete_scalars(merged, key.removeprefix(_DELETE_FROM), value)
        elif value is None:
            merged.pop(key, None)
        elif key not in ordered or key not in merged:
            merged[key] = _merge_value(merged.get(key), value, type_, key)
    return merged


def _replaced(patch: _Map, directive: Any) -> Object:
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _PATCH}
    if directive == "delete":
        return {}
    raise InternalError(f"unknown patch type: {directive} in map: {_go(patch)}")


def _retain(merged: Object, patch: _Map) -> None:
    retained = patch[_RETAIN]
    if not isinstance(retained, list):
        raise BadRequest("invalid patch format of retainKeys")
    if any(
        key not in retained for key, value in patch.items() if not key.startswith("$") and value is not None
    ):
        raise _unfit()
    for key in [key for key in merged if key not in retained]:
        del merged[key]


def _unfit() -> ApiError:
    return Invalid("the server rejected our request due to an error in our request")


def _delete_scalars(merged: Object, name: str, values: Any) -> None:
    if not isinstance(values, list):
        raise BadRequest("invalid patch format of primitive list")
    if isinstance(merged.get(name), list):
        merged[name] = [item for item in merged[name] if item not in values]


def _field(type_: Type | None, name: str) -> Field | None:
    return type_.fields.get(name) if type_ is not None else None


def _value_type(type_: Type | None, name: str) -> Type | None:
    """The type of a member, be it a struct's field or a map's value."""
    if type_ is None:
        return None
    if type_.shape is Shape.MAP:
        return type_.element
    field = type_.fields.get(name)
    return field.type if field is not None else None


def _merge_value(old: Any, value: Any, type_: Type | None, name: str) -> Any:
    field = _field(type_, name)
    if isinstance(value, Mapping):
        if field is not None and "replace" in field.patch:
            return value
        return _merge_map(old if isinstance(old, Mapping) else {}, value, _value_type(type_, name))
    if isinstance(value, list):
        return _merge_list(old if isinstance(old, list) else [], value, field)
    return value


def _merge_list(old: list[Any], patch: list[Any], field: Field | None) -> list[Any]:
    if field is None or "merge" not in field.patch:
        return patch
    if any(isinstance(item, list) for item in (*old, *patch)):
        raise _unfit()
    if not any(isinstance(item, Mapping) for item in (*old, *patch)):
        merged: list[Any] = list(dict.fromkeys((*old, *patch)))
        return in_merged_order(merged, patch, old, _itself)
    if not field.merge_key:
        raise InternalError(f"cannot merge lists without merge key for {field.name}")
    return _merge_items(old, patch, field)


def _itself(item: Any) -> Any:
    return item


def _merge_items(old: list[Any], patch: list[Any], field: Field) -> list[Any]:
    key = field.merge_key
    if not all(isinstance(item, Mapping) for item in (*old, *patch)):
        raise _unfit()
    items: dict[Any, Any] = {item.get(key): item for item in old}
    plain = [item for item in patch if _PATCH not in item]
    replace = False
    for item in patch:
        match item.get(_PATCH):
            case None:
                continue
            case "delete":
                items.pop(_key_of(item, key), None)
            case "replace":
                replace = True
            case "merge":
                raise InternalError("merging lists cannot yet be specified in the patch")
            case other:
                raise InternalError(f"unknown patch type: {other} in map: {_go(item)}")
    if replace:
        return plain
    for item in plain:
        value = _key_of(item, key)
        items[value] = _merge_map(items.get(value, {}), item, field.type.element)
    return in_merged_order(list(items.values()), plain, old, _reader(key))


def _key_of(item: _Map, key: str) -> Any:
    if key not in item:
        raise InternalError(f"map: {_go(item)} does not contain declared merge key: {key}")
    return item[key]


def _reader(key: str) -> Callable[[Any], Any]:
    return lambda item: item.get(key) if isinstance(item, Mapping) else item


def _merge_ordered(merged: Object, patch: _Map, name: str, order: Any, field: Field | None) -> None:
    """Merges the list `name` and puts it in the order that the patch asks for."""
    if not isinstance(order, list):
        raise BadRequest("invalid patch format of setElementOrder list")
    old, wanted = merged.get(name), patch.get(name)
    if old is None and wanted is None:
        return
    identity = _reader(field.merge_key) if field is not None and field.merge_key else _itself
    _check_order(wanted, order, identity)
    value = old if wanted is None else _merge_list(old or [], wanted, field)
    merged[name] = in_merged_order(value or [], order, old or [], identity)


def _check_order(patch: Sequence[Any] | None, order: list[Any], identity: Callable[[Any], Any]) -> None:
    """The order must name every item of the patch, in the same order."""
    places = {identity(item): at for at, item in enumerate(order)}
    last = -1
    for item in patch or ():
        if isinstance(item, Mapping) and item.get(_PATCH) is not None:
            continue
        at = places.get(identity(item), -1)
        if at < last or at == -1:
            raise InternalError(
                f"The order in patch list:\n{_go(list(patch or ()))}\n doesn't match $setElementOrder list:\n"
                f"{_go(order)}\n"
            )
        last = at


def _go(value: Any) -> str:
    """As Go prints the value with %v."""
    match value:
        case bool():
            return "true" if value else "false"
        case Mapping():
            return "map[" + " ".join(f"{k}:{_go(value[k])}" for k in sorted(value)) + "]"
        case list():
            return "[" + " ".join(_go(item) for item in value) + "]"
        case None:
            return "<nil>"
    return str(value)
