"""Request bodies: JSON, YAML or protobuf into JSON values; everything else is 415.

Duplicate keys are only visible in the text, so they are found here; unknown fields are found by the verbs,
which know the types.
"""

from __future__ import annotations

from typing import Any

import orjson

from cluster.api import structure
from cluster.api.client import PatchType
from cluster.api.errors import BadRequest, UnsupportedMediaType
from cluster.api.registry import Registry
from cluster.server.call import Call
from cluster.server.http import protobuf
from cluster.server.http.exchange import Exchange

_JSON_TYPES = ("application/json", "")
_YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")


def media_type_of(exchange: Exchange) -> str:
    header: str = exchange.request.headers.get("Content-Type", "")
    return header.partition(";")[0].strip().lower()


def unsupported(*, protobuf_too: bool = True) -> UnsupportedMediaType:
    return UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml" + (f", {protobuf.MEDIA_TYPE}" if protobuf_too else "")
    )


def json_value(body: bytes, media_type: str) -> Any:
    """The value of a body that is no stored object (DeleteOptions). Raises BadRequest,
    UnsupportedMediaType."""
    if media_type == protobuf.MEDIA_TYPE:
        return protobuf.value_of(body)
    if media_type not in _JSON_TYPES and media_type not in _YAML_TYPES:
        raise unsupported()
    return structure.parse(body, media_type)[0]


def object_of(body: bytes, media_type: str, call: Call, registry: Registry) -> Any:
    """The object in a body; fields that occur twice are left in the call for the verbs to judge."""
    encoded = protobuf.has_form(call.resource)
    if media_type == protobuf.MEDIA_TYPE and encoded:
        return protobuf.object_of(body, registry)
    if media_type not in _JSON_TYPES and media_type not in _YAML_TYPES:
        raise unsupported(protobuf_too=encoded)
    value, duplicates = structure.parse(body, media_type, kind=call.resource.kind)
    if duplicates:
        call.duplicates = duplicates
    return value


def patch_of(body: bytes, kind: PatchType) -> Any:
    """A patch as JSON values."""
    if kind is PatchType.APPLY:
        config = structure.parse(body, "application/yaml")[0]
        if isinstance(config, dict) and not isinstance(config.get("metadata") or {}, dict):
            raise BadRequest("error decoding YAML: metadata is not a map")
        return config
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"error decoding patch: {error}") from None
