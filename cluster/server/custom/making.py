"""From a definition's object to what the registry serves: a `Resource` and a `Custom` per served version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.chance import Chance
from cluster.api.custom import Custom, Read, ScalePaths
from cluster.api.custom.defaulting import put_defaults
from cluster.api.custom.types import root_type
from cluster.api.custom.validation import validator
from cluster.api.facts import Type
from cluster.api.kinds import CUSTOM_RESOURCE_DEFINITIONS
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.api.structure.compiling import decoder_of
from cluster.server.custom.conversion import Conversion, ConversionWebhook
from cluster.server.webhooks.caller import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    resource: Resource
    custom: Custom
    storage: bool


_TERMINATING = ("delete", "deletecollection", "get", "list", "watch")
"""What a kind still knows while its definition goes."""


def make(
    definition: Mapping[str, Any], stored: Iterable[Object], caller: Caller, chance: Chance
) -> list[Made]:
    """The served versions. `stored`: the objects that the store holds now, which may be older than the
    definition."""
    spec, names = definition["spec"], definition["status"]["acceptedNames"]
    objects = tuple(stored)
    terminating = "deletionTimestamp" in definition["metadata"]
    conversion: Mapping[str, Any] = spec.get("conversion") or {}
    webhook = None
    if conversion.get("strategy") == "Webhook":
        webhook = ConversionWebhook(conversion["webhook"], caller, chance)
    return [
        _version(spec, names, version, objects, terminating, webhook)
        for version in spec["versions"]
        if version["served"] or version["storage"]
    ]


def _version(
    spec: Mapping[str, Any],
    names: Mapping[str, Any],
    version: Mapping[str, Any],
    stored: tuple[Object, ...],
    terminating: bool,
    webhook: ConversionWebhook | None,
) -> Made:
    subresources: Mapping[str, Any] = version.get("subresources") or {}
    resource = Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular", ""),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        verbs=_TERMINATING if terminating else CUSTOM_RESOURCE_DEFINITIONS.verbs,
        subresources=tuple(name for name in ("scale", "status") if name in subresources),
    )
    schema: Mapping[str, Any] = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    type_ = root_type(schema)
    read = _reader(resource, schema, type_)
    conversion = None
    if webhook is not None:
        storage = next(each["name"] for each in spec["versions"] if each["storage"])
        conversion = Conversion(resource, f"{spec['group']}/{storage}", read, webhook)
    always = not version["storage"]
    custom = Custom(
        type=type_,
        schema=schema,
        validate=validator(schema, type_),
        columns=version.get("additionalPrinterColumns") or (),
        scale=_scale(subresources.get("scale")),
        selectable=tuple(f["jsonPath"].removeprefix(".") for f in version.get("selectableFields") or ()),
        deprecation=_deprecation(resource, version),
        read=read if webhook is None and (always or any(read(obj) != obj for obj in stored)) else None,
        conversion=conversion,
    )
    return Made(resource=resource, custom=custom, storage=version["storage"])


def _scale(scale: Mapping[str, Any] | None) -> ScalePaths | None:
    if scale is None:
        return None
    return ScalePaths(
        replicas=_path(scale["specReplicasPath"]),
        status_replicas=_path(scale["statusReplicasPath"]),
        selector=_path(scale.get("labelSelectorPath", "")),
    )


def _path(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(".") if part)


def _deprecation(resource: Resource, version: Mapping[str, Any]) -> str:
    if not version.get("deprecated"):
        return ""
    said: str | None = version.get("deprecationWarning")
    return said or f"{resource.api_version} {resource.kind} is deprecated"


def _reader(resource: Resource, schema: Mapping[str, Any], type_: Type) -> Read:
    """New objects are stored as the storage version serves them, so reading needs work only for other
    versions, or if older objects would read differently now."""
    decode = decoder_of(type_)

    def read(obj: Object) -> Object:
        view: Object = decode(obj, [])
        view["apiVersion"] = resource.api_version
        put_defaults(schema, view)
        return view

    return read
