"""OpenAPI documents: v3, one per group version with an index, and v2, one for all, made from registry and
facts.

Nothing is cached here: the documents change only with `Registry.generation`, and whoever serves them keeps
their
encoded form. The index needs no documents either: a group version's hash is taken from what its document
is made of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cluster.api.openapi_paths import Operation, Path, paths_of
from cluster.api.openapi_roots import root_paths
from cluster.api.openapi_schemas import Schemas, schema_name
from cluster.api.registry import Registry
from cluster.api.resource import Resource

Custom = Mapping[str, Mapping[str, Any]]
"""Schemas of custom kinds by `openapi_schemas.schema_name`, ready to be put into a document."""

_VERSION: Final = "v1.37.0"
_PRODUCES: Final = ("application/json", "application/yaml")
_STREAM: Final = "application/json;stream=watch"


def v3_index(registry: Registry, custom: Custom | None = None) -> dict[str, Any]:
    """At /openapi/v3: where each group version's document is."""
    paths = {}
    for group, version in _group_versions(registry):
        name = f"apis/{group}/{version}" if group else f"api/{version}"
        digest = _digest(_served(registry, group, version), custom or {})
        paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
    for name, path in root_paths(registry):
        if name not in paths:
            digest = hashlib.sha512(repr((_VERSION, path)).encode()).hexdigest().upper()
            paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
    return {"paths": dict(sorted(paths.items()))}


def _group_versions(registry: Registry) -> dict[tuple[str, str], None]:
    return dict.fromkeys((resource.group, resource.version) for resource in registry.all())


def _served(registry: Registry, group: str, version: str) -> list[Resource]:
    return [r for r in registry.all() if (r.group, r.version) == (group, version)]


def _digest(resources: Iterable[Resource], custom: Custom) -> str:
    digest = hashlib.sha512(_VERSION.encode())
    for resource in resources:
        digest.update(repr((resource, custom.get(schema_name(resource)))).encode())
    return digest.hexdigest().upper()


def v3(registry: Registry, path: str, custom: Custom | None = None) -> dict[str, Any] | None:
    """The document of `api/v1` or `apis/apps/v1`; None where nothing is served."""
    resources: list[Resource] = []
    match path.split("/"):
        case ["api", version]:
            resources = _served(registry, "", version)
        case ["apis", group, version]:
            resources = _served(registry, group, version)
    roots = [root for name, root in root_paths(registry) if name == path]
    if not resources and not roots:
        return None
    schemas = Schemas("v3", custom)
    paths = {each.path: _v3_path(each, schemas) for each in (*roots, *_paths(resources, schemas))}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": _VERSION},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.all(),
            "securitySchemes": {
                "BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"},
            },
        },
    }


def _paths(resources: Iterable[Resource], schemas: Schemas) -> Iterable[Path]:
    for resource in resources:
        schemas.of(resource)
        name = schema_name(resource)
        if "list" in resource.verbs:
            schemas.list_of(resource)
        yield from paths_of(resource, name, f"{name}List")


def _v3_path(path: Path, schemas: Schemas) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for operation in path.operations:
        made[operation.method] = _v3_operation(operation, schemas)
    if path.parameters:
        made["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "uniqueItems": True}}
            for name in path.parameters
        ]
    return made


def _v3_operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    made: dict[str, Any] = {
        "tags": [operation.tag],
        "operationId": operation.id,
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}}
            for name, kind in operation.query
        ],
    }
    if operation.body:
        schema = schemas.reference(operation.body)
        content = {media_type: {"schema": schema} for media_type in operation.consumes}
        made["requestBody"] = {"content": content}
        if operation.method != "delete":
            made["requestBody"]["required"] = True
    made["responses"] = {str(code): _v3_answer(schema, schemas) for code, schema in operation.answers} | {
        "401": {"description": "Unauthorized"}
    }
    return made | _extensions(operation)


def _v3_answer(name: str, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.reference(name) if name else {"type": "string"}
    types = _PRODUCES if name else ("*/*",)
    return {"description": "OK", "content": {media_type: {"schema": schema} for media_type in types}}


def _extensions(operation: Operation) -> dict[str, Any]:
    if not operation.action:
        return {}
    return {
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": operation.kind,
    }


def v2(registry: Registry, custom: Custom | None = None) -> dict[str, Any]:
    """At /openapi/v2: one document for everything."""
    schemas = Schemas("v2", custom)
    every = (*(root for _, root in root_paths(registry)), *_paths(registry.all(), schemas))
    paths = {each.path: _v2_path(each, schemas) for each in every}
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": _VERSION},
        "paths": dict(sorted(paths.items())),
        "definitions": schemas.all(),
        "securityDefinitions": {
            "BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"},
        },
        "security": [{"BearerToken": []}],
    }


def _v2_path(path: Path, schemas: Schemas) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for operation in path.operations:
        made[operation.method] = _v2_operation(operation, schemas)
    if path.parameters:
        made["parameters"] = [
            {"name": name, "in": "path", "required": True, "type": "string", "uniqueItems": True}
            for name in path.parameters
        ]
    return made


def _v2_operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "type": kind, "uniqueItems": True} for name, kind in operation.query
    ]
    if operation.body:
        body: dict[str, Any] = {"name": "body", "in": "body", "schema": schemas.reference(operation.body)}
        if operation.method != "delete":
            body["required"] = True
        parameters.append(body)
    answers = {
        str(code): {
            "description": "OK",
            "schema": schemas.reference(name) if name else {"type": "string"},
        }
        for code, name in operation.answers
    }
    return {
        "consumes": list(operation.consumes),
        "produces": [*_PRODUCES, *((_STREAM,) if operation.action == "list" else ())],
        "schemes": ["https"],
        "tags": [operation.tag],
        "operationId": operation.id,
        "parameters": parameters,
        "responses": answers | {"401": {"description": "Unauthorized"}},
        **_extensions(operation),
    }
