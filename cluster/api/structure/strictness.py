"""Names the fields that strict decoding refuses: unknown ones and repeated ones, in the text's order.

Only run when there is something to name, over the body as it was sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cluster.api.facts import Shape, Type
from cluster.api.structure.parsing import Pairs

_LIMIT = 100
"""As many as Kubernetes names."""


def complaints(type_: Type, body: Any) -> list[str]:
    """Each once: `unknown field "spec.foo"`, `duplicate field "spec.replicas"`. `body` is the parsed value,
    or the tree with `Pairs` in place of objects, without which nothing is repeated."""
    found: dict[str, None] = {}
    for complaint in _walk(type_, body, ""):
        found[complaint] = None
        if len(found) == _LIMIT:
            break
    return list(found)


def _walk(type_: Type | None, value: Any, path: str) -> Iterator[str]:
    if type_ is None:
        return
    if isinstance(value, (dict, Pairs)):
        yield from _object(type_, list(value.items()) if isinstance(value, dict) else value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(type_.element if type_.shape is Shape.LIST else type_, item, f"{path}[{index}]")


def _object(type_: Type, pairs: list[tuple[str, Any]], path: str) -> Iterator[str]:
    free = type_.shape is not Shape.STRUCT or type_.preserve_unknown
    seen = set()
    for key, item in pairs:
        here = f"{path}.{key}" if path else key
        field = type_.fields.get(key)
        if field is None and not free:
            yield f'unknown field "{here}"'
            continue
        if key in seen:
            yield f'duplicate field "{here}"'
        seen.add(key)
        if field is not None:
            yield from _walk(field.type, item, here)
        else:
            yield from _walk(
                type_.element if type_.shape is Shape.MAP else type_ if free else None, item, here
            )
