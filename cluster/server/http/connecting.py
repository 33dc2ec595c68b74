"""What a client asks for when it connects to a subresource, as the object that admission is shown."""

from __future__ import annotations

from typing import Any

from cluster.api.discovery import subresource_of
from cluster.api.objects import Object
from cluster.server.call import Call
from cluster.server.http.exchange import Exchange

CONNECTIONS = frozenset({"exec", "attach", "portforward", "proxy"})
_FLAGS = ("stdin", "stdout", "stderr", "tty")
_TRUE = ("", "1", "true", "True")


def connection_options(exchange: Exchange, call: Call, rest: str) -> Object:
    """PodExecOptions and its like."""
    query = exchange.request.rel_url.query
    made: dict[str, Any] = {
        "kind": subresource_of(call.resource, call.subresource).kind,
        "apiVersion": call.resource.api_version,
    }
    made |= {name: True for name in _FLAGS if query.get(name, "false") in _TRUE}
    if container := query.get("container"):
        made["container"] = container
    if command := query.getall("command", []):
        made["command"] = list(command)
    if ports := query.getall("ports", []):
        made["ports"] = [int(port) for part in ports for port in part.split(",") if port.isdecimal()]
    if call.subresource == "proxy" and rest:
        made["path"] = f"/{rest}"
    return made
