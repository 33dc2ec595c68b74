"""The patches of the API: JSON patch (RFC 6902), merge patch (RFC 7386), and strategic merge patch.

All are pure: they never change their arguments, and what a patch leaves alone is shared with the original
rather than copied, so the result must be treated like a stored object (nobody mutates it). Strategic merge
patch needs the type's facts and lives in `strategic`.

Errors are worded as the API server does: a patch that is no patch is a BadRequest, one that does not fit the
object is the server's terse 422.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cluster.api.errors import ApiError, BadRequest, Invalid, RequestEntityTooLarge
from cluster.api.objects import Object
from cluster.api.strategic import strategic_merge_patch

__all__ = ["MAX_OPERATIONS", "json_patch", "merge_patch", "merge_patch_object", "strategic_merge_patch"]

MAX_OPERATIONS: Final = 10_000
"""Operations in one JSON patch; Kubernetes' own limit."""

_MISSING: Final = object()


def merge_patch(original: Any, patch: Any) -> Any:
    """RFC 7386: objects are merged, null removes, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(original) if isinstance(original, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def merge_patch_object(original: Object, patch: Any) -> Object:
    """A merge patch of a whole object. Raises BadRequest if the patch is no JSON object."""
    if not isinstance(patch, Mapping):
        raise BadRequest(
            "error decoding patch: json: cannot unmarshal "
            f"{_json_type(patch)} into Go value of type map[string]interface {{}}"
        )
    merged: Object = merge_patch(original, patch)
    return merged


def json_patch(original: Any, operations: Any) -> Any:
    """RFC 6902. Raises BadRequest if `operations` is no patch, Invalid if it does not fit the object."""
    if not isinstance(operations, Sequence) or isinstance(operations, str):
        raise BadRequest(
            "error decoding patch: json: cannot unmarshal "
            f"{_json_type(operations)} into Go value of type []handlers.jsonPatchOp"
        )
    if len(operations) > MAX_OPERATIONS:
        raise RequestEntityTooLarge(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        )
    document = original
    for operation in operations:
        if not isinstance(operation, Mapping):
            raise BadRequest(
                "error decoding patch: json: cannot unmarshal "
                f"{_json_type(operation)} into Go value of type handlers.jsonPatchOp"
            )
        document = _apply(document, operation)
    return document


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
    return "array"


def unfit() -> ApiError:
    """The patch does not fit the object. Kubernetes says no more than this either."""
    return Invalid("the server rejected our request due to an error in our request")


def _apply(document: Any, operation: Mapping[str, Any]) -> Any:
    path = _pointer(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _edit(document, path, _adder(_value(operation)))
        case "replace":
            return _edit(document, path, _replacer(_value(operation)))
        case "remove":
            return _edit(document, path, _remove)
        case "move":
            source = _pointer(operation.get("from"))
            moved = _find(document, source)
            return _edit(_edit(document, source, _remove), path, _adder(moved))
        case "copy":
            return _edit(document, path, _adder(_find(document, _pointer(operation.get("from")))))
        case "test":
            if not _same(_find(document, path, None), operation.get("value")):
                raise unfit()
            return document
    raise unfit()


def _value(operation: Mapping[str, Any]) -> Any:
    if "value" not in operation:
        raise unfit()
    return operation["value"]


def _pointer(text: Any) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise unfit()
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _find(document: Any, path: Sequence[str], default: Any = _MISSING) -> Any:
    """The value at `path`; `default`, where given, for a last member that is not there."""
    for depth, name in enumerate(path):
        if isinstance(document, Mapping):
            if name not in document:
                if default is not _MISSING and depth == len(path) - 1:
                    return default
                raise unfit()
            document = document[name]
        elif isinstance(document, Sequence) and not isinstance(document, str):
            document = document[_index(name, len(document) - 1)]
        else:
            raise unfit()
    return document


def _index(name: str, highest: int) -> int:
    """A list position; negative ones count from the end, as Kubernetes' library has it by default."""
    digits = name.removeprefix("-")
    if not digits.isdecimal() or not digits.isascii():
        raise unfit()
    position = int(name)
    if position < 0:
        position += highest + 1
    if not 0 <= position <= highest:
        raise unfit()
    return position


_Edit = Callable[[Any, str], Any]
"""(container copy, member) → changed container."""


def _edit(document: Any, path: Sequence[str], edit: _Edit) -> Any:
    """`document` with the container of the last member edited; copies only along the path."""
    if not path:
        root = edit({"": document}, "")
        return root.get("")
    copy = dict(document) if isinstance(document, Mapping) else _list_copy(document)
    if len(path) == 1:
        return edit(copy, path[0])
    name: Any = path[0] if isinstance(copy, dict) else _index(path[0], len(copy) - 1)
    if isinstance(copy, dict) and name not in copy:
        raise unfit()
    copy[name] = _edit(copy[name], path[1:], edit)
    return copy


def _list_copy(document: Any) -> list[Any]:
    if not isinstance(document, list):
        raise unfit()
    return list(document)


def _adder(value: Any) -> _Edit:
    def add(container: Any, name: str) -> Any:
        if isinstance(container, dict):
            container[name] = value
        elif name == "-":
            container.append(value)
        else:
            container.insert(_index(name, len(container)), value)
        return container

    return add


def _replacer(value: Any) -> _Edit:
    def replace(container: Any, name: str) -> Any:
        if isinstance(container, dict):
            if name not in container:
                raise unfit()
            container[name] = value
        else:
            container[_index(name, len(container) - 1)] = value
        return container

    return replace


def _remove(container: Any, name: str) -> Any:
    if isinstance(container, dict):
        if name not in container:
            raise unfit()
        del container[name]
    else:
        del container[_index(name, len(container) - 1)]
    return container


def _same(one: Any, other: Any) -> bool:
    """JSON equality: unlike Python's, true is not 1."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)
