"""Subresources that are streams of bytes from a node: logs, exec, attach, port-forward, proxy.

The node gateway carries the bytes (`cluster.server.streams`); here they meet HTTP. A pod is looked up and
its container chosen before anything is sent, so that a mistake is still answered with a Status.
"""

from __future__ import annotations

from aiohttp import web

from cluster.api.errors import ServiceUnavailable
from cluster.server.call import Call
from cluster.server.http.connecting import CONNECTIONS, connection_options
from cluster.server.http.documents import path_not_found
from cluster.server.http.exchange import Answer, Exchange
from cluster.server.http.podlog import send_log
from cluster.server.http.portforward import forward_ports
from cluster.server.http.proxying import Proxy
from cluster.server.http.remotecommand import run_command
from cluster.server.streams import NodeStreams
from cluster.server.verbs import Verbs


class Streaming:
    def __init__(self, verbs: Verbs, nodes: NodeStreams | None) -> None:
        """`nodes`: None for an API server without a node gateway (tests of objects alone)."""
        self._verbs = verbs
        self._nodes = nodes
        self._proxy = Proxy(verbs, nodes) if nodes is not None else None

    async def answer(self, exchange: Exchange, call: Call, rest: str) -> Answer | web.StreamResponse:
        if call.subresource in CONNECTIONS:
            await self._verbs.admit_connection(call, connection_options(exchange, call, rest))
        if call.subresource == "proxy":
            if self._proxy is None:
                raise ServiceUnavailable("the node gateway does not run")
            return await self._proxy.answer(exchange, call)
        if call.resource.qualified != "pods":
            raise path_not_found()
        subresource, call.subresource = call.subresource, ""
        pod = (await self._verbs.get(call)).object
        if self._nodes is None:
            raise ServiceUnavailable("the node gateway does not run")
        match subresource:
            case "log":
                return await send_log(exchange, pod, self._nodes)
            case "exec" | "attach":
                return await run_command(exchange, pod, subresource, self._nodes)
            case "portforward":
                return await forward_ports(exchange, pod, self._nodes)
        raise path_not_found()
