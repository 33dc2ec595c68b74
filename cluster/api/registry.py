"""Which resources there are: the built-in ones, and custom ones while their definition exists.

A kind served under several group-versions is stored once: `storage_of` names the stored view, and
`convert` turns an object into any served one, by a table of functions. The registry is ordered (built-in
kinds first, as `kinds.py` lists them, then custom ones as they came), so that discovery documents made
from it are the same each time; `generation` counts the changes, for caches of such documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cluster.api import kinds
from cluster.api.conversion import CONVERSIONS
from cluster.api.custom import Custom
from cluster.api.objects import Object
from cluster.api.resource import Resource

Conversion = Callable[[Object], Object]
"""Gives a converted copy, with the target's apiVersion; the argument stays untouched."""

_STORED_AS: dict[tuple[str, str, str], Resource] = {
    ("autoscaling", "v1", "horizontalpodautoscalers"): kinds.HORIZONTAL_POD_AUTOSCALERS,
    ("events.k8s.io", "v1", "events"): kinds.EVENTS,
}


class Registry:
    def __init__(self, resources: Iterable[Resource] = kinds.BUILT_IN) -> None:
        self.generation = 0
        self._listeners: list[Callable[[], None]] = []
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str], Resource] = {}
        self._stored_as = dict(_STORED_AS)
        self._conversions: dict[tuple[str, str, str], Conversion] = dict(CONVERSIONS)
        self._custom: dict[tuple[str, str, str], Custom] = {}
        for resource in resources:
            self.add(resource)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._by_path.get((group, version, plural))

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        return self._by_kind.get((api_version, kind))

    def all(self) -> tuple[Resource, ...]:
        return tuple(self._by_path.values())

    def custom_of(self, resource: Resource) -> Custom | None:
        """What the definition of a custom kind says of this version; None for built-in kinds."""
        return self._custom.get(_path(resource)) if self._custom else None

    def add(
        self, resource: Resource, *, stored_as: Resource | None = None, custom: Custom | None = None
    ) -> None:
        """Serves `resource`, in place of an earlier one of the same path. `stored_as`, if it is another
        version of the same kind, is what the store holds; give conversions with `add_conversion`."""
        path = _path(resource)
        if earlier := self._by_path.get(path):
            self._by_kind.pop((earlier.api_version, earlier.kind), None)
        self._by_path[path] = resource
        self._by_kind[resource.api_version, resource.kind] = resource
        if custom is not None:
            self._custom[path] = custom
            self._stored_as.pop(path, None)
        if stored_as is not None and stored_as != resource:
            self._stored_as[path] = stored_as
        self._changed()

    def remove(self, resource: Resource) -> None:
        """Serves it no longer; nothing happens if it is not served."""
        path = _path(resource)
        if self._by_path.pop(path, None) is None:
            return
        self._by_kind.pop((resource.api_version, resource.kind), None)
        self._custom.pop(path, None)
        if path not in _STORED_AS:
            self._stored_as.pop(path, None)
        self._changed()

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener` after each change. Returns a function that ends it."""
        self._listeners.append(listener)

        def end() -> None:
            self._listeners.remove(listener)

        return end

    def _changed(self) -> None:
        self.generation += 1
        for listener in tuple(self._listeners):
            listener()

    def storage_of(self, resource: Resource) -> Resource:
        """The view in which the store holds objects of this kind; mostly `resource` itself."""
        return self._stored_as.get(_path(resource), resource)

    def add_conversion(self, kind: str, source: str, target: str, convert: Conversion) -> None:
        """`source` and `target` are apiVersions."""
        self._conversions[kind, source, target] = convert

    def convert(self, obj: Object, target: Resource) -> Object:
        """`obj` as `target` serves it: the same object if it already is, else a converted copy. Without a
        conversion function only the apiVersion changes (custom resources' strategy None)."""
        if obj["apiVersion"] == target.api_version:
            return obj
        convert = self._conversions.get((target.kind, obj["apiVersion"], target.api_version))
        if convert is None:
            return obj | {"apiVersion": target.api_version}
        return convert(obj)


def _path(resource: Resource) -> tuple[str, str, str]:
    return resource.group, resource.version, resource.plural
