"""The operations of a resource, free of OpenAPI's versions: method, action, what goes in and comes out.

`openapi` writes them down as v2 or v3. What clients read: `x-kubernetes-action` and the kind of each
operation, the content types of PATCH (whether strategic merge is there), and query parameters (kubectl looks
for fieldValidation before it leaves validation to the server).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from cluster.api.discovery import Subresource, subresource_of
from cluster.api.openapi_schemas import META, SCALE
from cluster.api.resource import Resource

Query: TypeAlias = tuple[str, str]
"""Name and type of a query parameter."""

STRATEGIC: Final = "application/strategic-merge-patch+json"
PATCH_TYPES: Final = (
    "application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json", STRATEGIC,
)  # fmt: skip
ANY: Final = "*/*"

_PRETTY: Final = ("pretty", "string")
_DRY_RUN: Final = ("dryRun", "string")
_MANAGER: Final = ("fieldManager", "string")
_VALIDATION: Final = ("fieldValidation", "string")
_WRITE: Final = (_DRY_RUN, _MANAGER, _VALIDATION)
_SELECT: Final = (
    ("continue", "string"), ("fieldSelector", "string"), ("labelSelector", "string"), ("limit", "integer"),
    ("resourceVersion", "string"), ("resourceVersionMatch", "string"), ("sendInitialEvents", "boolean"),
    ("shardSelector", "string"), ("timeoutSeconds", "integer"),
)  # fmt: skip
_LIST: Final = (("allowWatchBookmarks", "boolean"), *_SELECT, ("watch", "boolean"))
_DELETE: Final = (
    _DRY_RUN, ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"), ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
)  # fmt: skip
_STREAMS: Final = (("stderr", "boolean"), ("stdin", "boolean"), ("stdout", "boolean"), ("tty", "boolean"))
_CONNECT: Final[dict[str, tuple[Query, ...]]] = {
    "attach": (("container", "string"), *_STREAMS),
    "exec": (("command", "string"), ("container", "string"), *_STREAMS),
    "portforward": (("ports", "integer"),),
    "proxy": (("path", "string"),),
}
_PROXIED: Final = ("head", "options")
"""Methods that a proxy passes on and no verb of discovery names."""
_LOG: Final = (
    ("container", "string"), ("follow", "boolean"), ("insecureSkipTLSVerifyBackend", "boolean"),
    ("limitBytes", "integer"), ("previous", "boolean"), ("sinceSeconds", "integer"), ("stream", "string"),
    ("tailLines", "integer"), ("timestamps", "boolean"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    action: str
    id: str
    kind: dict[str, str]
    """group, version, kind."""
    query: tuple[Query, ...]
    body: str = ""
    """Schema name of the request body; empty for none."""
    consumes: tuple[str, ...] = (ANY,)
    answers: tuple[tuple[int, str], ...] = ()
    """(status, schema name)."""
    tag: str = ""
    """What generators make a class of: the group version."""


@dataclass(frozen=True, slots=True)
class Path:
    path: str
    parameters: tuple[str, ...]
    """Path parameters: name, namespace, path."""
    operations: tuple[Operation, ...]


def paths_of(resource: Resource, schema: str, list_schema: str) -> Iterator[Path]:
    """Every path of a resource. `schema`, `list_schema`: names of its types."""
    builder = _Builder(resource, schema, list_schema)
    yield from builder.collections()
    if set(resource.verbs) & {"get", "update", "patch", "delete"}:
        yield builder.item()
    for name in sorted(resource.subresources):
        yield from builder.subresource(name, subresource_of(resource, name))


class _Builder:
    def __init__(self, resource: Resource, schema: str, list_schema: str) -> None:
        self._resource = resource
        self._schema, self._list = schema, list_schema
        root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        self._root = root
        scope = "/namespaces/{namespace}" if resource.namespaced else ""
        self._path = f"{root}{scope}/{resource.plural}"
        self._scope = ("namespace",) if resource.namespaced else ()
        group = "".join(
            part.title() for part in (resource.group or "core").removesuffix(".k8s.io").split(".")
        )
        self._group = group + resource.version.title()
        self._tag = f"{group[:1].lower()}{group[1:]}_{resource.version}"
        self._id = self._group + ("Namespaced" if resource.namespaced else "")
        self._kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        self._patches = PATCH_TYPES if resource.schema else PATCH_TYPES[:-1]

    def collections(self) -> Iterator[Path]:
        verbs, operations = self._resource.verbs, []
        if "list" in verbs:
            operations.append(self._operation("get", "list", self._list, _LIST))
        if "create" in verbs:
            operations.append(self._operation("post", "post", self._schema, _WRITE, body=self._schema))
        if "deletecollection" in verbs:
            operations.append(
                self._operation(
                    "delete", "deletecollection", META + "Status", _DELETE + _SELECT, body=_OPTIONS
                )
            )
        yield Path(self._path, self._scope, tuple(operations))
        if self._resource.namespaced and "list" in verbs:
            everywhere = self._operation("get", "list", self._list, _LIST, suffix="ForAllNamespaces")
            yield Path(f"{self._root}/{self._resource.plural}", (), (everywhere,))
        if "watch" in verbs:
            yield from self._watches()

    def _watches(self) -> Iterator[Path]:
        """The old form of watching, with a path of its own."""
        base = self._path.replace(self._root, f"{self._root}/watch", 1)
        collection = self._operation("get", "watchlist", _EVENT, _LIST, suffix="List")
        yield Path(base, self._scope, (collection,))
        one = self._operation("get", "watch", _EVENT, _LIST)
        yield Path(base + "/{name}", (*self._scope, "name"), (one,))
        if self._resource.namespaced:
            everywhere = self._operation("get", "watchlist", _EVENT, _LIST, suffix="ListForAllNamespaces")
            yield Path(f"{self._root}/watch/{self._resource.plural}", (), (everywhere,))

    def item(self) -> Path:
        verbs, schema = self._resource.verbs, self._schema
        made = []
        if "get" in verbs:
            made.append(self._operation("get", "get", schema))
        if "update" in verbs:
            made.append(self._operation("put", "put", schema, _WRITE, body=schema))
        if "patch" in verbs:
            made.append(self._patch(schema, ""))
        if "delete" in verbs:
            made.append(self._operation("delete", "delete", META + "Status", _DELETE, body=_OPTIONS))
        return Path(self._path + "/{name}", (*self._scope, "name"), tuple(made))

    def subresource(self, name: str, facts: Subresource) -> Iterator[Path]:
        parameters = (*self._scope, "name")
        path = f"{self._path}/{{name}}/{name}"
        if name in ("exec", "attach", "portforward", "proxy"):
            verbs = (*facts.verbs, *(_PROXIED if name == "proxy" else ()))
            connects = tuple(self._connect(v, name.title(), facts, _CONNECT[name]) for v in verbs)
            yield Path(path, parameters, connects)
            if name == "proxy":
                deep = tuple(self._connect(v, "ProxyWithPath", facts, _CONNECT[name]) for v in verbs)
                yield Path(path + "/{path}", (*parameters, "path"), deep)
            return
        if name == "log":
            yield Path(path, parameters, (self._operation("get", "get", "", _LOG, suffix="Log"),))
            return
        yield Path(path, parameters, tuple(self._of_subresource(verb, name, facts) for verb in facts.verbs))

    def _of_subresource(self, verb: str, name: str, facts: Subresource) -> Operation:
        schema = _SCHEMAS.get(facts.kind, self._schema)
        suffix = name.title()
        kind = self._kind
        if facts.version:
            kind = {"group": facts.group, "version": facts.version, "kind": facts.kind}
        elif facts.kind:
            kind = {**self._kind, "kind": facts.kind}
        if verb == "patch":
            return self._patch(schema, suffix, kind)
        method, action = {"get": ("get", "get"), "update": ("put", "put"), "create": ("post", "post")}[verb]
        body = "" if verb == "get" else schema
        return self._operation(
            method, action, schema, () if verb == "get" else _WRITE, body=body, suffix=suffix, kind=kind
        )

    def _connect(self, verb: str, suffix: str, facts: Subresource, query: tuple[Query, ...]) -> Operation:
        method = {"create": "post", "update": "put"}.get(verb, verb)
        kind = {**self._kind, "kind": facts.kind}
        return self._operation(method, "connect", "", query, suffix=suffix, kind=kind)

    def _patch(self, schema: str, suffix: str, kind: dict[str, str] | None = None) -> Operation:
        query = (*_WRITE, ("force", "boolean"))
        made = self._operation("patch", "patch", schema, query, body=META + "Patch", suffix=suffix, kind=kind)
        return replace(made, consumes=self._patches)

    def _operation(
        self,
        method: str,
        action: str,
        answer: str,
        query: tuple[Query, ...] = (),
        *,
        body: str = "",
        suffix: str = "",
        kind: dict[str, str] | None = None,
    ) -> Operation:
        verb = _ID_VERBS.get((method, action), action)
        operation_id = f"{verb}{self._id}{self._resource.kind}{suffix}"
        if suffix.endswith("ForAllNamespaces"):
            operation_id = operation_id.replace("Namespaced", "", 1)
        if action == "connect":
            scope = self._id.removeprefix(self._group)
            operation_id = f"connect{self._group}{method.title()}{scope}{self._resource.kind}{suffix}"
        codes = {"post": (200, 201, 202), "put": (200, 201), "patch": (200, 201)}.get(method, (200,))
        if action == "connect":
            codes = (200,)
        unique = query if action == "connect" else tuple(dict.fromkeys((_PRETTY, *query)))
        answers = tuple((code, answer) for code in codes)
        named = kind or self._kind
        return Operation(method, action, operation_id, named, unique, body, (ANY,), answers, self._tag)


_OPTIONS: Final = META + "DeleteOptions"
_EVENT: Final = META + "WatchEvent"
_SCHEMAS: Final = {
    "Scale": SCALE,
    "Eviction": "io.k8s.api.policy.v1.Eviction",
    "TokenRequest": "io.k8s.api.authentication.v1.TokenRequest",
    "Binding": "io.k8s.api.core.v1.Binding",
}
_ID_VERBS: Final = {
    ("get", "get"): "read",
    ("post", "post"): "create",
    ("put", "put"): "replace",
    ("delete", "deletecollection"): "deleteCollection",
    ("get", "watchlist"): "watch",
}
