"""Requests for resources: from a path, a method and a body to a verb, and from its result to an answer.

Objects go out as the bytes that the store keeps with each version; a list is those bytes joined, and the
joined items of a whole namespace (or all) are kept until the next write to that resource.
"""

from __future__ import annotations

from aiohttp import web

from cluster.api.client import PatchType
from cluster.api.errors import BadRequest, UnsupportedMediaType
from cluster.api.registry import Registry
from cluster.api.resource import Resource
from cluster.api.structure.parsing import YAML, parse
from cluster.server.call import Call
from cluster.server.http import options
from cluster.server.http.accept import PLAIN, Form, negotiate, not_acceptable
from cluster.server.http.bodies import json_value, media_type_of, object_of, patch_of
from cluster.server.http.documents import path_not_found
from cluster.server.http.exchange import Answer, Exchange, document
from cluster.server.http.forms import Forms
from cluster.server.http.paths import Target
from cluster.server.http.streaming import Streaming
from cluster.server.http.verbs import STREAMS, method_not_allowed
from cluster.server.http.watching import Watching
from cluster.server.verbs import Verbs
from cluster.store.entry import Entry

_WRITES = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
_NAMED = ("get", "update", "patch", "delete")
_SUBRESOURCE_VERBS: dict[str, tuple[str, ...]] = {
    "status": ("get", "update", "patch"),
    "scale": ("get", "update", "patch"),
    "approval": ("get", "update", "patch"),
    "ephemeralcontainers": ("get", "update", "patch"),
    "resize": ("get", "update", "patch"),
    "finalize": ("update",),
    "binding": ("create",),
    "eviction": ("create",),
    "token": ("create",),
    "log": ("get",),
    "exec": ("get", "create"),
    "attach": ("get", "create"),
    "portforward": ("get", "create"),
    "proxy": ("get", "create", "update", "patch", "delete", ""),
}

DEPRECATED = {
    "endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    "componentstatuses": "v1 ComponentStatus is deprecated in v1.19+",
}
"""Kinds whose every request is answered with a warning."""


class Resources:
    def __init__(
        self,
        verbs: Verbs,
        registry: Registry,
        forms: Forms,
        watching: Watching,
        streaming: Streaming,
    ) -> None:
        self._verbs = verbs
        self._registry = registry
        self._forms = forms
        self._watching = watching
        self._streaming = streaming

    def serves(self, target: Target) -> bool:
        return self._registry.find(target.group, target.version, target.plural) is not None

    async def answer(self, exchange: Exchange, target: Target, verb: str) -> Answer | web.StreamResponse:
        resource = self._registry.find(target.group, target.version, target.plural)
        if resource is None:
            raise path_not_found()
        _check_route(resource, target, verb)
        custom = self._registry.custom_of(resource)
        if custom is not None and custom.deprecation:
            exchange.warnings.append(custom.deprecation)
        elif resource.qualified in DEPRECATED:
            exchange.warnings.append(DEPRECATED[resource.qualified])
        call = Call(
            user=exchange.user,
            resource=resource,
            namespace=target.namespace if resource.namespaced else "",
            name=target.name,
            subresource=target.subresource,
            warnings=exchange.warnings,
            annotations=exchange.annotations,
        )
        if target.subresource in STREAMS:
            return await self._streaming.answer(exchange, call, target.rest)
        match verb:
            case "get":
                return await self._get(exchange, call)
            case "list":
                return await self._list(exchange, call)
            case "watch":
                return await self._watching.answer(exchange, call)
            case "delete":
                return await self._delete(exchange, call)
            case "deletecollection":
                return await self._delete_collection(exchange, call)
        return await self._write(exchange, call, verb)

    async def _get(self, exchange: Exchange, call: Call) -> Answer:
        form = negotiate(exchange.accept)
        entry = await self._verbs.get(call, exchange.query.get("resourceVersion", ""))
        return self._one(call, entry, form, 200)

    async def _list(self, exchange: Exchange, call: Call) -> Answer:
        form = negotiate(exchange.accept)
        listing = await self._verbs.list(call, options.list_options(exchange.query))
        if form is PLAIN:
            return Answer(pieces=self._forms.list_pieces(call, listing))
        return document(self._forms.list_value(call, listing, form, exchange.query), form)

    async def _delete(self, exchange: Exchange, call: Call) -> Answer:
        form = negotiate(exchange.accept)
        body = await exchange.body()
        sent = json_value(body, media_type_of(exchange)) if body else None
        delete, call.dry_run = options.delete_options(exchange.query, sent)
        return self._one(call, await self._verbs.delete(call, delete), form, 200)

    async def _delete_collection(self, exchange: Exchange, call: Call) -> Answer:
        form = negotiate(exchange.accept)
        body = await exchange.body()
        sent = json_value(body, media_type_of(exchange)) if body else None
        delete, call.dry_run = options.delete_options(exchange.query, sent)
        listing = await self._verbs.delete_collection(call, options.list_options(exchange.query), delete)
        if form is PLAIN:
            return Answer(pieces=self._forms.list_pieces(call, listing))
        return document(self._forms.list_value(call, listing, form, exchange.query), form)

    async def _write(self, exchange: Exchange, call: Call, verb: str) -> Answer:
        form = negotiate(exchange.accept)
        if form.transform and call.resource.verbs == ("create",):
            raise not_acceptable()  # an answer to a question has neither columns nor metadata
        query, kind = exchange.query, _WRITES[verb]
        call.dry_run = options.dry_run(query, kind)
        call.field_validation = options.field_validation(query, kind)
        user_agent = exchange.request.headers.get("User-Agent", "")
        call.field_manager = options.field_manager(query, user_agent, kind)
        if verb == "patch":
            entry = await self._patch(exchange, call)
        else:
            obj = object_of(await exchange.body(), media_type_of(exchange), call, self._registry)
            entry = await (
                self._verbs.create(call, obj) if verb == "create" else self._verbs.update(call, obj)
            )
        created = call.created or verb == "create"
        return self._one(call, entry, form, 201 if created else 200)

    async def _patch(self, exchange: Exchange, call: Call) -> Entry:
        kind = _patch_type(media_type_of(exchange))
        force = False
        if kind is PatchType.APPLY:
            force = options.apply_options(exchange.query)
        else:
            options.refuse_force(exchange.query)
        body = await exchange.body()
        patch = patch_of(body, kind)
        if kind is PatchType.APPLY and call.field_validation != "Ignore":
            _judge_repetition(body, call)
        return await self._verbs.patch(call, kind, patch, force=force)

    def _one(self, call: Call, entry: Entry, form: Form, status: int) -> Answer:
        if form is PLAIN:
            return Answer(entry.json, status)
        return document(self._forms.value(call, entry, form), form, status)


def _judge_repetition(body: bytes, call: Call) -> None:
    """Keys that an applied configuration has twice, as strict as the call is. Raises BadRequest."""
    if not parse(body, YAML)[1]:
        return
    from cluster.api.structure.yaml_text import load  # 12 ms that most processes never need

    lines = "".join(f"\n  {message}" for message in load(body)[1])
    why = f"error converting YAML to JSON: yaml: unmarshal errors:{lines}"
    if call.field_validation == "Strict":
        raise BadRequest(f"error strict decoding YAML: {why}")
    call.warnings.append(why)


def _check_route(resource: Resource, target: Target, verb: str) -> None:
    """404 for a path that does not exist for this resource, 405 for a method it does not know."""
    if target.subresource:
        if target.subresource not in resource.subresources:
            raise path_not_found()
        if verb not in _SUBRESOURCE_VERBS.get(target.subresource, ()):
            raise method_not_allowed()
    elif verb not in resource.verbs or (verb != "watch" and (verb in _NAMED) != bool(target.name)):
        raise method_not_allowed()
    if not resource.namespaced:
        if target.namespace and resource.plural != "namespaces":
            raise path_not_found()
    elif not target.namespace:
        if target.name:
            raise path_not_found()
        if verb not in ("list", "watch"):
            raise method_not_allowed() if verb != "create" or "list" in resource.verbs else path_not_found()


def _patch_type(media_type: str) -> PatchType:
    for kind in PatchType:
        if kind.value == media_type:
            return kind
    accepted = ", ".join(kind.value for kind in PatchType)
    raise UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: " + accepted
    )
