"""Field selectors (`a=b,c!=d`), and which fields each kind can be selected by.

Kubernetes answers a selector on any other field with 400; the wording differs between kinds that declare
their
own fields and those that have only name and namespace. A selector is resolved per kind (`for_resource`) to
the paths
it reads, so that matching one object does no parsing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cluster.api.errors import BadRequest
from cluster.api.resource import Resource

_META: Final = ("metadata.name", "metadata.namespace")
_INVOLVED: Final = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

SUPPORTED: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("", "pods"): (
        *_META, "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
        "spec.hostNetwork", "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName",
        "spec.host",
    ),
    ("", "nodes"): ("metadata.name", "spec.unschedulable"),
    ("", "replicationcontrollers"): (*_META, "status.replicas"),
    ("", "events"): (
        *_META, *(f"involvedObject.{name}" for name in _INVOLVED), "reason", "reportingComponent",
        "source", "type",
    ),
    ("events.k8s.io", "events"): (
        *_META, *(f"regarding.{name}" for name in _INVOLVED), "reason", "reportingController", "type",
    ),
    ("", "namespaces"): ("metadata.name", "status.phase"),
    ("", "secrets"): (*_META, "type"),
    ("", "services"): (*_META, "spec.clusterIP", "spec.type"),
    ("batch", "jobs"): (*_META, "status.successful"),
    ("certificates.k8s.io", "certificatesigningrequests"): ("metadata.name", "spec.signerName"),
    ("resource.k8s.io", "resourceslices"): ("metadata.name", "spec.nodeName", "spec.driver"),
}  # fmt: skip
"""Only kinds that declare their own; every other kind has name and namespace."""


@dataclass(frozen=True, slots=True)
class FieldTerm:
    field: str
    operator: str
    """= | !="""
    value: str


@dataclass(frozen=True, slots=True)
class FieldSelector:
    terms: tuple[FieldTerm, ...] = ()

    @property
    def everything(self) -> bool:
        return not self.terms

    def exact(self, field: str) -> str | None:
        """The value that `field` must have, if the selector says so."""
        for term in self.terms:
            if term.field == field and term.operator == "=":
                return term.value
        return None

    def matcher(self, resource: Resource) -> Callable[[Mapping[str, Any]], bool]:
        """A test of objects of one kind; call `check_fields` before, which refuses unknown fields."""
        tests = tuple(
            (_reader(resource, term.field), term.operator == "=", term.value) for term in self.terms
        )

        def matches(obj: Mapping[str, Any]) -> bool:
            return all((read(obj) == value) is wanted for read, wanted, value in tests)

        return matches

    def matches(self, resource: Resource, obj: Mapping[str, Any]) -> bool:
        return self.matcher(resource)(obj)

    def __str__(self) -> str:
        return ",".join(f"{term.field}{term.operator}{_escaped(term.value)}" for term in self.terms)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


@lru_cache(maxsize=1024)
def parse_fields(text: str) -> FieldSelector:
    """The text form. Raises ValueError with Kubernetes' wording."""
    return FieldSelector(tuple(_term(text, part) for part in _split(text) if part))


def _split(text: str) -> list[str]:
    parts, start, escaped = [], 0, False
    for at, letter in enumerate(text):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == ",":
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def _term(text: str, part: str) -> FieldTerm:
    for at in range(len(part)):
        for operator in ("!=", "==", "="):
            if part.startswith(operator, at):
                value = _unescaped(part[at + len(operator) :])
                return FieldTerm(part[:at], "!=" if operator == "!=" else "=", value)
    raise ValueError(f"invalid selector: '{text}'; can't understand '{part}'")


def _unescaped(value: str) -> str:
    result, letters = [], iter(value)
    for letter in letters:
        if letter == "\\":
            following = next(letters, "")
            if following not in ("\\", ",", "="):
                raise ValueError(f"invalid field selector: invalid escape sequence: \\{following}")
            result.append(following)
        elif letter in ",=":
            raise ValueError(f"invalid field selector: unescaped character in value: {letter}")
        else:
            result.append(letter)
    return "".join(result)


def check_fields(resource: Resource, selector: FieldSelector, extra: tuple[str, ...] = ()) -> None:
    """Refuses fields that the kind cannot be selected by. `extra`: a CRD's selectableFields, without the dot.

    Raises BadRequest.
    """
    own = SUPPORTED.get((resource.group, resource.plural))
    supported = (own or _META) + extra
    for term in selector.terms:
        if term.field in supported:
            continue
        if own is None and not extra:
            known = ", ".join(f'"{name}"' for name in _META)
            raise BadRequest(f'"{term.field}" is not a known field selector: only {known}')
        if resource.plural == "jobs":
            raise BadRequest(f'field label "{term.field}" not supported for Job')
        raise BadRequest(f"field label not supported: {term.field}")


def _reader(resource: Resource, field: str) -> Callable[[Mapping[str, Any]], str]:
    special = _SPECIAL.get((resource.plural, field))
    return special or _path_reader(tuple(field.split(".")), _DEFAULT.get(field, ""))


_DEFAULT: Final = {
    "spec.unschedulable": "false", "spec.hostNetwork": "false", "status.replicas": "0",
    "status.successful": "0",
}  # fmt: skip
"""How an absent field reads: the zero value of its Go type, printed."""


def _path_reader(path: tuple[str, ...], default: str) -> Callable[[Mapping[str, Any]], str]:
    def read(obj: Mapping[str, Any]) -> str:
        value: Any = obj
        for name in path:
            value = value.get(name)
            if value is None:
                return default
        return value if isinstance(value, str) else _text(value)

    return read


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _pod_ips(obj: Mapping[str, Any]) -> str:
    """As Kubernetes has it: the address the list is selected by is the first one."""
    ips = obj.get("status", {}).get("podIPs")
    return str(ips[0]["ip"]) if ips else ""


def _event_source(obj: Mapping[str, Any]) -> str:
    return str(obj.get("source", {}).get("component") or obj.get("reportingComponent") or "")


def _event_reporter(obj: Mapping[str, Any]) -> str:
    return str(obj.get("reportingComponent") or obj.get("source", {}).get("component") or "")


_SPECIAL: Final[dict[tuple[str, str], Callable[[Mapping[str, Any]], str]]] = {
    ("pods", "status.podIPs"): _pod_ips,
    ("pods", "spec.host"): _path_reader(("spec", "nodeName"), ""),
    ("events", "source"): _event_source,
    ("events", "reportingComponent"): _event_reporter,
    ("jobs", "status.successful"): _path_reader(("status", "succeeded"), "0"),
}
