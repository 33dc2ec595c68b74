"""Makes requests out of an OpenAPI v3 document, and holds answers against it.

Bodies are good objects with some changes, or grown from a schema alone. Strings come from a pool of what
such fields usually hold and of what breaks programs. Everything is drawn from one `Random`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any

Schema = Mapping[str, Any]

STRINGS = (
    "", "a", "fuzz-1", "example.com/x", "UPPER_case", "ä€\U0001f980", "x" * 300, "0", "-1", "1.5", "100m", "2Gi", "1e99",
    "50%", "true", "null", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678901Z", "not-a-time", "10.0.0.1", "::1",
    "10.0.0.0/24", "a=b,c in (d)", "../..", "%2e", "a b\tc\n", "{{}}", "$(X)", "v1", "apps/v1", "Pod", "Always", "*",
    "YWJj", "*/5 * * * *", "object.spec == 1", "self.x >",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 80, 443, 65535, 65536, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 10**30, -(2**63))
ODDITIES: tuple[Any, ...] = (
    None, True, False, 0, -7, 2**40, 1.5, "", "text", [], [None], [[]], {}, {"a": {"b": []}}, {"": ""},
)  # fmt: skip
MEDIA_TYPES = (
    "application/json",
    "application/yaml",
    "application/json;charset=utf-8",
    "text/plain",
    "a/b",
    "",
)
ACCEPTED = (
    "application/json", "*/*", "application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "text/html", "nonsense",
)  # fmt: skip
QUERIES: dict[str, tuple[str, ...]] = {
    "labelSelector": ("a=b", "a in (b,c)", "!a", "a=b,,", "=", "a in (", "ä=b"),
    "fieldSelector": ("metadata.name=a", "metadata.namespace=default", "spec.nodeName=a", "x.y=z", "a", "=,"),
    "limit": ("1", "500", "0", "-1", "x", "99999999999999999999"),
    "continue": ("", "x", "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ"),
    "resourceVersion": ("", "0", "1", "x", "-1"),
    "resourceVersionMatch": ("Exact", "NotOlderThan", "Other"),
    "timeoutSeconds": ("1", "x"),
    "dryRun": ("All", "Some", ""),
    "fieldManager": ("fuzz", "", "x" * 200, "ä"),
    "fieldValidation": ("Strict", "Warn", "Ignore", "Other"),
    "propagationPolicy": ("Background", "Foreground", "Orphan", "Other"),
    "gracePeriodSeconds": ("0", "1", "-1", "x"),
    "sendInitialEvents": ("true", "false", "x"),
}


@dataclass(frozen=True, slots=True)
class Operation:
    path: str
    """With {namespace}, {name} …"""
    method: str
    action: str
    kind: str
    queries: tuple[str, ...]
    body: Schema | None
    media_types: tuple[str, ...]
    answers: Mapping[int, Schema]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    """With the query."""
    body: Any = None
    raw: bytes | None = None
    """Instead of a body."""
    headers: Mapping[str, str] = field(default_factory=dict)


def operations(document: Schema) -> Iterator[Operation]:
    for path, item in sorted(document["paths"].items()):
        for method in ("post", "get", "put", "patch", "delete"):  # so that there is something to find
            if (spec := item.get(method)) is None:
                continue
            content = spec.get("requestBody", {}).get("content", {})
            answers = {
                int(code): answer["content"]["application/json"]["schema"]
                for code, answer in spec["responses"].items()
                if "application/json" in answer.get("content", {})
            }
            yield Operation(
                path,
                method.upper(),
                spec.get("x-kubernetes-action", ""),
                spec.get("x-kubernetes-group-version-kind", {}).get("kind", ""),
                tuple(p["name"] for p in spec["parameters"]),
                next(iter(content.values()))["schema"] if content else None,
                tuple(content),
                answers,
            )


class Maker:
    """Values of schemas, and broken ones."""

    def __init__(self, schemas: Mapping[str, Schema], random: Random) -> None:
        self._schemas = schemas
        self.random = random

    def value(self, schema: Schema, depth: int = 0) -> Any:
        schema = self._resolved(schema)
        random = self.random
        if "oneOf" in schema or "anyOf" in schema:
            return random.choice((random.choice(NUMBERS), random.choice(STRINGS)))
        match schema.get("type"):
            case "string":
                return random.choice(STRINGS)
            case "integer":
                return random.choice(NUMBERS)
            case "number":
                return random.choice((*NUMBERS, 0.5))
            case "boolean":
                return random.random() < 0.5
            case "array":
                count = 0 if depth > 6 else random.choice((0, 1, 1, 2))
                return [self.value(schema["items"], depth + 1) for _ in range(count)]
        if values := schema.get("additionalProperties"):
            return {
                random.choice(STRINGS): self.value(values, depth + 1) for _ in range(random.choice((0, 1, 2)))
            }
        return self._object(schema, depth)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        share = 0.5 if depth < 2 else 0.2 if depth < 5 else 0
        return {
            name: self.value(part, depth + 1)
            for name, part in schema.get("properties", {}).items()
            if (name in required and self.random.random() < 0.95) or self.random.random() < share
        }

    def changed(self, value: Any, schema: Schema, times: int) -> Any:
        """A copy with something in it replaced, taken out or added."""
        made = {"root": deepcopy(value)}
        for _ in range(times):
            holder, key, part = self._place(made, {"properties": {"root": schema}})
            drawn = self.random.random()
            if drawn < 0.2:
                holder[key] = deepcopy(self.random.choice(ODDITIES))
            elif drawn < 0.35 and holder is not made:
                del holder[key]
            elif drawn < 0.5 and isinstance(holder[key], dict):
                properties = sorted(self._resolved(part).get("properties", {})) or ["unknown"]
                name = self.random.choice(properties)
                part = self._resolved(part).get("properties", {}).get(name, {})
                holder[key][name] = self.value(part, 3)
            else:
                holder[key] = self.value(part, 3)
        return made["root"]

    def _place(self, value: Any, schema: Schema) -> tuple[Any, Any, Schema]:
        """Somewhere in a value: what holds it, under which key, and its schema."""
        holder, key, part = value, "root", schema["properties"]["root"]
        while self.random.random() < 0.75:
            inner, known = holder[key], self._resolved(part)
            if isinstance(inner, dict) and inner:
                name = self.random.choice(sorted(inner))
                fallback = known.get("additionalProperties", {})
                holder, key, part = inner, name, known.get("properties", {}).get(name, fallback)
            elif isinstance(inner, list) and inner:
                holder, key, part = inner, self.random.randrange(len(inner)), known.get("items", {})
            else:
                break
        return holder, key, part if isinstance(part, dict) else {}

    def _resolved(self, schema: Schema) -> Schema:
        return resolved(schema, self._schemas)


def resolved(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    while True:
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        elif len(schema.get("allOf", ())) == 1:
            schema = schema["allOf"][0]
        else:
            return schema


TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def outside(value: Any, schema: Schema, schemas: Mapping[str, Schema], path: str = "") -> Iterator[str]:
    """What of a value the schema does not allow. Fields that it doesn't name count; null is Go's empty list,
    map or time, and such a field may as well be left out."""
    schema = resolved(schema, schemas)
    if value is None or not schema or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if "oneOf" in schema:
        allowed = [option["type"] for option in schema["oneOf"]]
        if not any(_is(value, kind) for kind in allowed):
            yield f"{path}: {value!r} is none of {allowed}"
        return
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        yield f"{path}: {value!r} is no {kind}"
        return
    if kind == "array":
        for index, item in enumerate(value):
            yield from outside(item, schema["items"], schemas, f"{path}[{index}]")
    elif kind == "object" and "additionalProperties" in schema:
        for key, item in value.items():
            yield from outside(item, schema["additionalProperties"], schemas, f"{path}[{key}]")
    elif kind == "object" and "properties" in schema:
        for name in schema.get("required", ()):
            part = resolved(schema["properties"].get(name, {}), schemas)
            may_be_null = part.get("type") in ("array", "object") or part.get("format") == "date-time"
            if name not in value and not may_be_null:
                yield f"{path}.{name}: missing"
        for name, item in value.items():
            if name not in schema["properties"]:
                yield f"{path}.{name}: not in the schema"
            else:
                yield from outside(item, schema["properties"][name], schemas, f"{path}.{name}")
    elif schema.get("format") == "date-time" and not TIME.fullmatch(value):
        yield f"{path}: {value!r} is no time"
    elif schema.get("format") == "int32" and not -(2**31) <= value < 2**31:
        yield f"{path}: {value!r} is too large"


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case _:
            return isinstance(value, dict)
