"""What Kubernetes fills in when a client leaves it out.

`table` holds the constant defaults by type, `computed` functions by type for what depends on other fields,
`whole` what applies to objects of a kind and not to templates of it in others. For each type one closure is
compiled that goes only where there is something to fill in. Defaults of a type come before those of the types
inside it, so that a part that a function creates is completed too.

The published schemas carry almost none of this, so the tables are written by hand from Kubernetes' documented
behaviour of 1.37. Left to others: values that are allocated (cluster IPs, node ports), taken from other
objects (storage class, priority, service account), or set by a kind's strategy on create.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.api import facts
from cluster.api.defaults.computed import COMPUTED
from cluster.api.defaults.table import CONSTANT
from cluster.api.defaults.whole import WHOLE
from cluster.api.facts import Shape, Type
from cluster.api.objects import Object, copy_of
from cluster.api.resource import Resource

Filler = Callable[[Any], None]
_KEY = "defaults"
_PREFIXES = (
    "io.k8s.api.",
    "io.k8s.apiextensions-apiserver.pkg.apis.",
    "io.k8s.kube-aggregator.pkg.apis.",
)


def apply(resource: Resource, obj: Object, type_: Type | None = None) -> None:
    """Fills in `obj`, which must be a private copy. `type_` is needed for custom resources."""
    type_ = type_ or facts.of(resource)
    if (whole := WHOLE.get(short_name(type_.name))) is not None:
        whole(obj)
    if (filler := filler_of(type_)) is not None:
        filler(obj)


def short_name(name: str) -> str:
    """ "core.v1.Pod" of io.k8s.api.core.v1.Pod."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def filler_of(type_: Type) -> Filler | None:
    """The compiled closure; None if this type and what is in it have no defaults."""
    if _KEY not in type_.compiled:
        type_.compiled[_KEY] = None  # what a type contains itself adds nothing
        type_.compiled[_KEY] = _compile(type_)
    filler: Filler | None = type_.compiled[_KEY]
    return filler


def _compile(type_: Type) -> Filler | None:
    if type_.shape in (Shape.LIST, Shape.MAP) and type_.element is not None:
        element = filler_of(type_.element)
        return _each(element, type_.shape) if element is not None else None
    if type_.shape is not Shape.STRUCT:
        return None
    name = short_name(type_.name)
    constants = CONSTANT.get(name, {}) | {
        f.name: f.default for f in type_.fields.values() if f.default is not None
    }
    compute = COMPUTED.get(name)
    inner = [
        (field.name, filler)
        for field in type_.fields.values()
        if (filler := filler_of(field.type)) is not None
    ]
    if not constants and compute is None and not inner:
        return None
    written = frozenset(field.name for field in type_.fields.values() if field.always)
    plain = tuple(each for each in constants.items() if each[0] not in written)
    zeroed = tuple(each for each in constants.items() if each[0] in written)
    return _struct(plain, zeroed, compute, tuple(inner))


def _each(element: Filler, shape: Shape) -> Filler:
    def fill_list(value: Any) -> None:
        for item in value:
            element(item)

    def fill_map(value: Any) -> None:
        for item in value.values():
            element(item)

    return fill_list if shape is Shape.LIST else fill_map


def _struct(
    constants: tuple[tuple[str, Any], ...],
    zeroed: tuple[tuple[str, Any], ...],
    compute: Filler | None,
    inner: tuple[tuple[str, Filler], ...],
) -> Filler:
    """`zeroed`: those that decoding has put there with their zero value, which stands for nothing."""

    def fill(value: Any) -> None:
        for name, default in constants:
            if name not in value:
                value[name] = copy_of(default)
        for name, default in zeroed:
            if not value.get(name):
                value[name] = default
        if compute is not None:
            compute(value)
        for name, filler in inner:
            part = value.get(name)
            if part is not None:
                filler(part)

    return fill
