"""Content negotiation: which form of an answer the Accept header asks for.

The same few headers come again and again, so the parsed form is cached by the header's text.

Divergence: answers are never protobuf (bodies may be). A client that also accepts JSON, as client-go and
kubectl do, gets JSON; one that accepts nothing else gets 406.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from cluster.api.errors import NotAcceptable

JSON = "application/json"
YAML = "application/yaml"
TABLE = "Table"
PARTIAL = "PartialObjectMetadata"
PARTIAL_LIST = "PartialObjectMetadataList"
_TRANSFORMS = (TABLE, PARTIAL, PARTIAL_LIST)
_META_VERSIONS = ("v1", "v1beta1")


class Encoding(Enum):
    JSON = JSON
    YAML = YAML


@dataclass(frozen=True, slots=True)
class Form:
    """`transform` is empty, "Table" or "PartialObjectMetadata"; `version` that of meta.k8s.io for it."""

    encoding: Encoding = Encoding.JSON
    transform: str = ""
    version: str = "v1"


PLAIN = Form()


@lru_cache(maxsize=1024)
def negotiate(header: str) -> Form:
    """The best form for an object, a list or a watch. Raises NotAcceptable."""
    if not header or header in ("*/*", JSON):
        return PLAIN
    for media_type, parameters in clauses(header):
        encoding = _encoding(media_type)
        if encoding is None:
            continue
        transform = parameters.get("as", "")
        if not transform:
            return Form(encoding)
        version = parameters.get("v", "")
        if transform in _TRANSFORMS and parameters.get("g") == "meta.k8s.io" and version in _META_VERSIONS:
            return Form(encoding, TABLE if transform == TABLE else PARTIAL, version)
    raise not_acceptable()


def not_acceptable(accepted: str = "application/json, application/yaml") -> NotAcceptable:
    return NotAcceptable(f"only the following media types are accepted: {accepted}")


@lru_cache(maxsize=1024)
def clauses(header: str) -> tuple[tuple[str, dict[str, str]], ...]:
    """The media types of an Accept header with their parameters, best quality first."""
    weighted: list[tuple[float, str, dict[str, str]]] = []
    for clause in header.split(","):
        media_type, *rest = (part.strip() for part in clause.split(";"))
        if not media_type:
            continue
        parameters = dict(_parameter(part) for part in rest if part)
        weighted.append((_quality(parameters.pop("q", "1")), media_type.lower(), parameters))
    weighted.sort(key=lambda entry: -entry[0])
    return tuple((media_type, parameters) for quality, media_type, parameters in weighted if quality > 0)


def _parameter(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.strip().lower(), value.strip().strip('"')


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _encoding(media_type: str) -> Encoding | None:
    match media_type:
        case "application/json" | "*/*" | "application/*":
            return Encoding.JSON
        case "application/yaml":
            return Encoding.YAML
    return None
