"""The outermost step of decoding: group, version, kind, strictness, and the words of a refusal."""

from __future__ import annotations

from typing import Any, Literal

from cluster.api import facts
from cluster.api.errors import BadRequest
from cluster.api.facts import Type
from cluster.api.objects import Object
from cluster.api.resource import Resource
from cluster.api.structure.compiling import decoder_of
from cluster.api.structure.mismatch import Misfit
from cluster.api.structure.parsing import NONE, Duplicates
from cluster.api.structure.strictness import complaints

Mode = Literal["Strict", "Warn", "Ignore"]
"""What the fieldValidation parameter may say."""


def decode(
    resource: Resource,
    body: Any,
    mode: Mode = "Warn",
    *,
    duplicates: Duplicates = NONE,
    type_: Type | None = None,
    kind: str = "",
    api_version: str = "",
) -> tuple[Object, list[str]]:
    """A private, canonical copy of `body` and the warnings for the client.

    `type_` is needed for custom resources, and together with `kind` and `api_version` for bodies of
    subresources that are of another kind (Scale, Eviction, TokenRequest). Raises BadRequest."""
    kind, api_version = kind or resource.kind, api_version or resource.api_version
    found_kind = _check_kind(body, kind, api_version)
    type_ = type_ or facts.of(resource)
    unknown: list[str] = []
    try:
        made = decoder_of(type_)(body, unknown)
    except Misfit as misfit:
        raise _refusal(found_kind, kind, api_version, str(misfit)) from None
    made["apiVersion"], made["kind"] = api_version, kind
    if mode == "Ignore" or not (unknown or duplicates):
        return made, []
    found = [*duplicates.messages]
    if unknown or duplicates.tree is not None:
        found += complaints(type_, body if duplicates.tree is None else duplicates.tree)
    if mode == "Strict":
        raise _refusal(found_kind, kind, api_version, "strict decoding error: " + ", ".join(found))
    return made, found


def decode_options(body: Any, kind: str) -> Object:
    """Options of a request (DeleteOptions), which any group's version may stand on. Raises BadRequest."""
    if not isinstance(body, dict):
        raise _unrecognized(body, kind)
    found = body.get("kind") or kind
    if found != kind:
        raise BadRequest(f"decoded object cannot be converted to {kind}: it is a {found}")
    try:
        made: Object = decoder_of(facts.type_named(f"io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"))(body, [])
    except Misfit as misfit:
        raise _refusal(kind, kind, "v1", str(misfit)) from None
    return made


def canonical(resource: Resource, obj: Object) -> Object:
    """The canonical form of an object that was made here or patched, without complaints about fields.
    Raises BadRequest if a value has the wrong type."""
    return decode(resource, obj, "Ignore")[0]


def _check_kind(body: Any, kind: str, api_version: str) -> str:
    """The kind that the body says it is; the expected one if it doesn't say."""
    if not isinstance(body, dict):
        raise _unrecognized(body, kind)
    found_kind, found_version = body.get("kind") or kind, body.get("apiVersion") or api_version
    if not isinstance(found_kind, str) or not isinstance(found_version, str):
        raise BadRequest(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind"
        )
    if found_version != api_version:
        raise BadRequest(
            f"the API version in the data ({found_version}) does not match the expected API version "
            f"({api_version})"
        )
    if found_kind != kind:
        version = api_version.rpartition("/")[2]
        raise _refusal(
            found_kind,
            kind,
            api_version,
            f"converting ({version}.{found_kind}) to ({version}.{kind}): unknown conversion",
        )
    return found_kind


def _unrecognized(body: Any, kind: str) -> BadRequest:
    return BadRequest(
        f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
        f"json parse error: json: cannot unmarshal {_json_type(body)} into Go value of type struct "
        '{ APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
    )


def _refusal(found_kind: str, kind: str, api_version: str, why: str) -> BadRequest:
    version = api_version.rpartition("/")[2]
    return BadRequest(f'{found_kind} in version "{version}" cannot be handled as a {kind}: {why}')


def _json_type(value: Any) -> str:
    return "array" if isinstance(value, list) else "string" if isinstance(value, str) else "number"
