"""Schemas of the API's types for OpenAPI documents, made from the facts table (or a CRD's own schema).

OpenAPI v2 and v3 differ in where schemas live and in how numbers-or-strings are said; everything else is
shared.
Descriptions are left out: the facts table has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from cluster.api import facts
from cluster.api.resource import Resource

Version = Literal["v2", "v3"]
Schema = dict[str, Any]

META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING: Final = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
SCALE: Final = "io.k8s.api.autoscaling.v1.Scale"
_PREFIX: Final = {"v2": "#/definitions/", "v3": "#/components/schemas/"}
_EXTENSIONS: Final = {
    "listType": "x-kubernetes-list-type",
    "mapKeys": "x-kubernetes-list-map-keys",
    "mapType": "x-kubernetes-map-type",
    "mergeKey": "x-kubernetes-patch-merge-key",
    "patch": "x-kubernetes-patch-strategy",
}


_ZEROS: Final = {"string": "", "integer": 0, "number": 0, "boolean": False}
_CORE: Final = "io.k8s.api.core.v1."
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    _CORE + "ContainerPort": {"protocol": "TCP"},
    _CORE + "ServicePort": {"protocol": "TCP"},
    _CORE + "GRPCAction": {"service": ""},
    _CORE + "ReplicationControllerSpec": {"replicas": 1, "minReadySeconds": 0},
    _CORE + "AzureDiskVolumeSource": {
        "cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared", "readOnly": False,
    },
    **{
        _CORE + name: {"name": ""}
        for name in (
            "LocalObjectReference", "ConfigMapEnvSource", "ConfigMapKeySelector", "ConfigMapProjection",
            "ConfigMapVolumeSource", "SecretEnvSource", "SecretKeySelector", "SecretProjection",
        )
    },
    **{
        _CORE + name: {"keyring": "/etc/ceph/keyring", "pool": "rbd", "user": "admin"}
        for name in ("RBDPersistentVolumeSource", "RBDVolumeSource")
    },
    **{
        _CORE + name: {"fsType": "xfs", "storageMode": "ThinProvisioned"}
        for name in ("ScaleIOPersistentVolumeSource", "ScaleIOVolumeSource")
    },
    **{
        _CORE + name: {"iscsiInterface": "default"}
        for name in ("ISCSIPersistentVolumeSource", "ISCSIVolumeSource")
    },
    "io.k8s.api.apps.v1.ReplicaSetSpec": {"replicas": 1, "minReadySeconds": 0},
}  # fmt: skip
"""Defaults that the types themselves declare, by type and field: v3 shows them."""


class Schemas:
    """The schemas of one document. Grows by what is asked for and what that reaches."""

    def __init__(self, version: Version, custom: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """`custom`: schemas of custom kinds by name (see `schema_name`)."""
        self._version = version
        self._custom = custom or {}
        self._made: dict[str, Schema] = {}

    def all(self) -> dict[str, Schema]:
        return dict(sorted(self._made.items()))

    def reference(self, name: str) -> Schema:
        """A $ref to a named type, which becomes part of the document."""
        waiting = [name]
        while waiting:
            next_name = waiting.pop()
            if next_name not in self._made:
                self._made[next_name] = made = self._schema(next_name)
                waiting += _references(made, _PREFIX[self._version])
        return {"$ref": _PREFIX[self._version] + name}

    def of(self, resource: Resource) -> Schema:
        return self.reference(schema_name(resource))

    def list_of(self, resource: Resource) -> Schema:
        name = schema_name(resource) + "List"
        if name not in self._made and not _is_known(name):
            self._made[name] = self._list(resource)
            self.of(resource)
            self.reference(META + "ListMeta")
        return self.reference(name)

    def _list(self, resource: Resource) -> Schema:
        items = {"type": "array", "items": {"$ref": _PREFIX[self._version] + schema_name(resource)}}
        metadata = {"$ref": f"{_PREFIX[self._version]}{META}ListMeta"}
        kind = {"group": resource.group, "version": resource.version, "kind": f"{resource.kind}List"}
        return {
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "items": items,
                "kind": {"type": "string"},
                "metadata": metadata,
            },
            "x-kubernetes-group-version-kind": [kind],
        }

    def _schema(self, name: str) -> Schema:
        if name in self._custom:
            custom = dict(self._custom[name])
            return custom if self._version == "v3" else _root_in_v2(custom)
        if not _is_known(name):
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        row = facts.raw(name)
        if row["type"] != "struct":
            return self._plain(row["type"])
        made: Schema = {"type": "object"}
        if "required" in row:
            made["required"] = list(row["required"])
        if row["fields"]:
            required, declared = row.get("required", ()), _DEFAULTS.get(name, {})
            made["properties"] = {
                field: self._field(fact, field in required, declared.get(field))
                for field, fact in row["fields"].items()
            }
        if "mapType" in row:
            made["x-kubernetes-map-type"] = row["mapType"]
        if "unions" in row:
            made["x-kubernetes-unions"] = row["unions"]
        if "kinds" in row:
            made["x-kubernetes-group-version-kind"] = [
                {"group": group, "version": version, "kind": kind} for group, version, kind in row["kinds"]
            ]
        return made

    def _field(self, fact: Mapping[str, Any], required: bool, declared: Any) -> Schema:
        made = self._shape(fact)
        extensions = {target: fact[source] for source, target in _EXTENSIONS.items() if source in fact}
        if self._version == "v2":
            return made | extensions
        is_written = "always" in fact or (required and "dropped" not in fact and "pointer" not in fact)
        default = declared if declared is not None else self._zero(fact) if is_written else None
        return _referring(made, default, extensions)

    def _element(self, fact: Mapping[str, Any]) -> Schema:
        """Of a list or map: there are no pointers, so each has its type's zero value as default."""
        made = self._shape(fact)
        return made if self._version == "v2" else _referring(made, self._zero(fact), {})

    def _zero(self, fact: Mapping[str, Any]) -> Any:
        """What Go has where nothing is given; None for what may be nothing."""
        if "ref" in fact:
            is_struct = not _is_known(fact["ref"]) or facts.raw(fact["ref"])["type"] == "struct"
            return {} if is_struct else None
        return _ZEROS.get(fact["type"])

    def _shape(self, fact: Mapping[str, Any]) -> Schema:
        if "ref" in fact:
            return {"$ref": _PREFIX[self._version] + fact["ref"]}
        match fact["type"]:
            case "list":
                return {"type": "array", "items": self._element(fact["items"])}
            case "map":
                return {"type": "object", "additionalProperties": self._element(fact["items"])}
            case "bytes":
                return {"type": "string", "format": "byte"}
            case "integer" | "number" | "string" | "boolean":
                made = {"type": fact["type"]}
                return made | ({"format": fact["format"]} if "format" in fact else {})
        return self._plain(fact["type"])

    def _plain(self, kind: str) -> Schema:
        match kind:
            case "quantity" if self._version == "v3":
                return {"oneOf": [{"type": "string"}, {"type": "number"}]}
            case "int-or-string" if self._version == "v3":
                return {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}
            case "int-or-string":
                return {"type": "string", "format": "int-or-string"}
            case "quantity":
                return {"type": "string"}
            case "time" | "micro-time":
                return {"type": "string", "format": "date-time"}
            case "any-object":
                return {"type": "object"}
        return {}


def _referring(made: Schema, default: Any, extensions: Mapping[str, Any]) -> Schema:
    """A schema with a default and extensions, which may not stand beside a $ref."""
    if "$ref" in made and (default is not None or extensions):
        made = {"allOf": [made]}
    if default is not None:
        made = made | {"default": default}
    return {**made, **extensions}


def schema_name(resource: Resource) -> str:
    """Of a built-in type its published name; of a custom one the reversed group, as Kubernetes forms it."""
    if resource.schema:
        return resource.schema
    return f"{'.'.join(reversed(resource.group.split('.')))}.{resource.version}.{resource.kind}"


def _is_known(name: str) -> bool:
    try:
        facts.raw(name)
    except KeyError:
        return False
    return True


_ONLY_V3: Final = frozenset({"allOf", "anyOf", "default", "not", "nullable", "oneOf"})
_STRUCTURE: Final = frozenset({"items", "properties"})


def _root_in_v2(custom: Schema) -> Schema:
    """A custom kind's. Where unknown fields are allowed at its root, clients hear of no field at all."""
    if custom.get("x-kubernetes-preserve-unknown-fields"):
        kept = ("x-kubernetes-group-version-kind",)
        return {"type": "object", **{name: custom[name] for name in kept if name in custom}}
    made: Schema = _in_v2(custom)
    return made


def _in_v2(schema: Any) -> Any:
    """A custom schema with what OpenAPI v2 can say, as Kubernetes publishes it there: where null or unknown
    fields are allowed, clients are told nothing of the structure, which they would take too literally."""
    if isinstance(schema, list):
        return [_in_v2(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = _ONLY_V3
    if schema.get("nullable"):
        dropped = dropped | _STRUCTURE | {"type"}
    elif schema.get("x-kubernetes-preserve-unknown-fields"):
        dropped = dropped | _STRUCTURE
    made = {name: _in_v2(value) for name, value in schema.items() if name not in dropped}
    if isinstance(schema.get("$ref"), str):
        made["$ref"] = schema["$ref"].replace(_PREFIX["v3"], _PREFIX["v2"])
    if isinstance(made.get("properties"), dict):
        made["properties"] = {name: _in_v2(value) for name, value in schema["properties"].items()}
        nullable = {name for name, value in schema["properties"].items() if value.get("nullable")}
        if nullable and "required" in made:
            made["required"] = [name for name in made["required"] if name not in nullable]
    return made


def _references(schema: Any, prefix: str) -> Iterator[str]:
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(prefix)
        for value in schema.values():
            yield from _references(value, prefix)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value, prefix)
