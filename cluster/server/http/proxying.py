"""`…/pods/NAME/proxy/…` and `…/services/NAME/proxy/…`: an HTTP request to a pod, through the API server.

The pod is reached through its node: the node gateway opens a stream to the port, and h11 speaks HTTP over
it. A name may carry a scheme and a port: `name`, `name:port`, `http:name:port`; a Service's port by number or
name. A Service's request goes to one of its ready endpoints, taken in turn.

Pages get the proxy's path into their links (`links`). Connections can be upgraded (WebSockets).

A node's proxy leads to what its kubelet would serve (`nodeproxy`).

Divergence: a Service's endpoint has to be a pod.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from typing import Any

import h11
from aiohttp import web
from multidict import CIMultiDict

from cluster.api.errors import ApiError, BadRequest, NotFound, ServiceUnavailable, not_found
from cluster.api.kinds import ENDPOINTS, PODS
from cluster.api.objects import Object
from cluster.server.call import Call
from cluster.server.http import links
from cluster.server.http.exchange import Exchange
from cluster.server.http.nodeproxy import NodeProxy
from cluster.server.http.podconnection import EncryptedPodConnection, PodConnection
from cluster.server.http.switching import SWITCHING, switch
from cluster.server.streams import NodeStreams
from cluster.server.verbs import Verbs

_PIECE_BYTES = 32 * 1024
_REDIRECTED = ("GET", "HEAD")
"""Without a slash after `proxy` these are sent to where it is; other methods go to the pod as they are."""
_HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "upgrade",
    "host",
})  # fmt: skip
_PRIVATE = frozenset({"authorization", "x-remote-user", "x-remote-group"})
"""Credentials for the API server are none of the pod's business."""


class Proxy:
    def __init__(self, verbs: Verbs, nodes: NodeStreams) -> None:
        self._verbs = verbs
        self._nodes = nodes
        self._kubelets = NodeProxy(verbs, nodes)
        self._turn = count()

    async def answer(self, exchange: Exchange, call: Call) -> web.StreamResponse:
        scheme, name, port = split_name(call.name)
        call = replace(call, name=name, subresource="")
        path = _path(exchange)
        if not path.startswith("/"):
            if exchange.request.method in _REDIRECTED:
                return _with_slash(exchange)
            path = f"/{path}"
        match call.resource.qualified:
            case "pods":
                pod = (await self._verbs.get(call)).object
                number = _first_port(pod) if not port else _number(port)
            case "services":
                pod, number = await self._endpoint(call, port)
            case _:
                node = (await self._verbs.get(call)).object
                return await self._kubelets.answer(exchange, node, port, path)
        try:
            stream = await self._nodes.open(pod, kind="proxy", container="", options={"port": number})
        except ApiError as error:
            raise ServiceUnavailable(f"error trying to reach service: {error.message}") from None
        try:
            connection = EncryptedPodConnection(stream) if scheme == "https" else PodConnection(stream)
            await connection.begin()
            return await _Conversation(exchange, connection).run(f"{_host(pod)}:{number}", path)
        finally:
            await stream.close()

    async def _endpoint(self, call: Call, port: str) -> tuple[Object, int]:
        """A pod behind the Service, and its port."""
        service = (await self._verbs.get(call)).object
        name = _port_name(service, port)
        try:
            endpoints = (await self._verbs.get(replace(call, resource=ENDPOINTS))).object
        except NotFound:
            raise not_found(ENDPOINTS, call.name) from None
        choices = [
            (address["targetRef"]["name"], found["port"])
            for subset in endpoints.get("subsets") or ()
            for found in subset.get("ports") or ()
            if found.get("name", "") == name
            for address in subset.get("addresses") or ()
            if (address.get("targetRef") or {}).get("kind") == "Pod"
        ]
        if not choices:
            raise ServiceUnavailable(f'no endpoints available for service "{call.name}"')
        pod_name, number = choices[next(self._turn) % len(choices)]
        pod = (await self._verbs.get(replace(call, resource=PODS, name=pod_name))).object
        return pod, number


def up_to_proxy(path: str) -> str:
    """The part of the request's path that names the proxy: other parts may begin with that word, too."""
    parts = path.partition("?")[0].split("/")
    return "/".join(parts[: 8 if parts[3:4] == ["namespaces"] else 6])


def split_name(name: str) -> tuple[str, str, str]:
    """Scheme, name and port of `scheme:name:port`, `name:port` or `name`. Raises BadRequest."""
    match name.split(":"):
        case [only]:
            return "", only, ""
        case [first, second]:
            return "", first, second
        case ["http" | "https" | "" as scheme, middle, port]:
            return scheme, middle, port
    raise BadRequest(f"invalid proxy request {name!r}")


def _number(port: str) -> int:
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadRequest(f"invalid port {port!r}")
    return int(port)


def _first_port(pod: Object) -> int:
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            number: int = port["containerPort"]
            return number
    return 80


def _port_name(service: Object, port: str) -> str:
    """The name of the Service's port meant, under which its endpoints list it."""
    if not port.isdecimal():
        return port
    for each in service["spec"].get("ports") or ():
        if each["port"] == int(port):
            name: str = each.get("name", "")
            return name
    raise ServiceUnavailable(f'no service port {port} found for service "{service["metadata"]["name"]}"')


def _host(pod: Object) -> str:
    ip: str = pod.get("status", {}).get("podIP", "")
    return ip


def _path(exchange: Exchange) -> str:
    """What follows `/proxy` as it was sent, with its query."""
    raw = exchange.request.raw_path
    return raw[len(up_to_proxy(raw)) :]


def _with_slash(exchange: Exchange) -> web.Response:
    """Relative links of a page need the slash: sends the client there."""
    path, _, query = exchange.request.raw_path.partition("?")
    return web.Response(status=301, headers={"Location": f"{path}/{'?' + query if query else ''}"})


class _Conversation:
    """One request and its answer over a connection to the pod."""

    def __init__(self, exchange: Exchange, pod: PodConnection) -> None:
        self._exchange = exchange
        self._pod = pod
        self._connection = h11.Connection(h11.CLIENT)
        self._prefix = up_to_proxy(exchange.request.raw_path)

    async def run(self, host: str, path: str) -> web.StreamResponse:
        await self._ask(host, path)
        events = self._events()
        head = await self._head(events)
        if head.status_code == SWITCHING:
            return await switch(self._exchange.request, self._pod, head, self._connection.trailing_data[0])
        hosts = (host, self._exchange.request.host)
        headers = _answered(head)
        if "Location" in headers:
            headers["Location"] = links.rewritten(headers["Location"], self._prefix, hosts)
        elif _is_page(headers):
            return await self._page(head.status_code, headers, events, hosts)
        response = web.StreamResponse(status=head.status_code, headers=headers)
        await response.prepare(self._exchange.request)
        async for event in events:
            if isinstance(event, h11.Data):
                await response.write(bytes(event.data))
        await response.write_eof()
        return response

    async def _head(self, events: AsyncIterator[Any]) -> Any:
        async for event in events:
            if not isinstance(event, h11.InformationalResponse) or event.status_code == SWITCHING:
                return event
        raise ServiceUnavailable("error trying to reach service: EOF")

    async def _page(
        self, status: int, headers: CIMultiDict[str], events: AsyncIterator[Any], hosts: tuple[str, ...]
    ) -> web.Response:
        parts = [bytes(event.data) async for event in events if isinstance(event, h11.Data)]
        text = b"".join(parts).decode("utf-8", "surrogateescape")
        headers.pop("Content-Length", None)
        body = links.page(text, self._prefix, hosts).encode("utf-8", "surrogateescape")
        return web.Response(status=status, headers=headers, body=body)

    async def _ask(self, host: str, path: str) -> None:
        request = self._exchange.request
        upgrade = request.headers.get("Upgrade", "")
        headers = [("Host", host), ("Connection", "Upgrade" if upgrade else "close")]
        if upgrade:
            headers.append(("Upgrade", upgrade))
        for name, value in request.headers.items():
            if name.lower() not in _HOP_BY_HOP and name.lower() not in _PRIVATE:
                headers.append((name, value))
        headers += [
            ("X-Forwarded-For", request.remote or ""),
            ("X-Forwarded-Host", request.host),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Uri", request.raw_path.partition("?")[0]),
        ]
        await self._send(h11.Request(method=request.method, target=path, headers=headers))
        if request.body_exists and not upgrade:
            async for piece in request.content.iter_chunked(_PIECE_BYTES):
                await self._send(h11.Data(data=piece))
        await self._send(h11.EndOfMessage())

    async def _send(self, event: Any) -> None:
        data = self._connection.send(event)
        if data:
            await self._pod.send(data)

    async def _events(self) -> AsyncIterator[Any]:
        """What the pod answers, up to the end of its message. Raises ServiceUnavailable."""
        while True:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                raise ServiceUnavailable(f"error trying to reach service: {error}") from None
            if event is h11.NEED_DATA:
                self._connection.receive_data(await self._pod.receive())
                continue
            if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return
            yield event


def _is_page(headers: CIMultiDict[str]) -> bool:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind == "text/html" and "Content-Encoding" not in headers


def _answered(head: Any) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in head.headers:
        text = name.decode("ascii")
        if text.lower() not in _HOP_BY_HOP and text.lower() != "transfer-encoding":
            headers.add(text, value.decode("latin-1"))
    return headers
