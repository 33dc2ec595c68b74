"""Which verb a request is, as authorization and metrics name it."""

from __future__ import annotations

from cluster.api.errors import MethodNotAllowed
from cluster.server.http.exchange import Exchange
from cluster.server.http.options import flag
from cluster.server.http.paths import Target

_VERBS = {
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "GET": "get",
    "HEAD": "get",
    "DELETE": "delete",
}
METHODS = (*_VERBS, "OPTIONS")
METRIC_VERBS = {
    "create": "POST",
    "update": "PUT",
    **{verb: verb.upper() for verb in ("get", "list", "watch", "patch", "delete", "deletecollection")},
}
"""What metrics call a verb; all others are one, so that nobody can make labels up."""
CONNECT = "CONNECT"
_READ_ONLY = ("get", "list", "watch")
STREAMS = ("log", "exec", "attach", "portforward", "proxy")
"""Subresources that may take as long as they like."""


def method_not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource")


def verb_of(exchange: Exchange, target: Target | None) -> str:
    method = exchange.method
    if target is None:
        return method.lower()
    verb = _VERBS.get(method, "")
    if not verb and target.subresource == "proxy":
        return verb  # OPTIONS and others pass through, for those who may do everything
    if not verb:
        raise method_not_allowed()
    if target.name:
        return "watch" if target.watch and verb == "get" else verb
    if verb == "get":
        return "watch" if target.watch or flag(exchange.query, "watch") else "list"
    return "deletecollection" if verb == "delete" else verb


def is_read_only(verb: str) -> bool:
    return verb in _READ_ONLY


def is_long_running(verb: str, target: Target) -> bool:
    return verb == "watch" or target.subresource in STREAMS
