"""`GET …/pods/NAME/log`: the log of one container, also while it grows; over WebSocket for who asks so.

There each message is a piece of the log, as bytes or, in the form for text, in base64.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from cluster.api.errors import BadRequest, Cause, Invalid
from cluster.api.objects import Object, parse_timestamp
from cluster.server.http.exchange import Exchange
from cluster.server.http.options import Query, flag, number
from cluster.server.streams import NodeStreams, Stream

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
CONTENT_TYPE = "text/plain"
STDOUT = 1
BINARY, TEXT = "binary.k8s.io", "base64.binary.k8s.io"


async def send_log(exchange: Exchange, pod: Object, nodes: NodeStreams) -> web.StreamResponse:
    query = exchange.query
    options = log_options(query)
    container = container_of(pod, query.get("container", ""))
    stream = await nodes.open(pod, kind="log", container=container, options=options)
    if exchange.request.headers.get("Upgrade", "").lower() == "websocket":
        return await _send_messages(exchange, stream)
    try:
        headers = {
            "Audit-Id": exchange.audit_id,
            "Cache-Control": "no-cache, private",
            "Content-Type": CONTENT_TYPE,
        }
        response = web.StreamResponse(headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(exchange.request)
        while (received := await stream.receive()) is not None:
            _, data, eof = received
            if data:
                await response.write(data)
            if eof:
                break
        await response.write_eof()
    finally:
        await stream.close()
    return response


async def _send_messages(exchange: Exchange, stream: Stream) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=(BINARY, TEXT), compress=False)
    try:
        await socket.prepare(exchange.request)
        while (received := await stream.receive()) is not None and not socket.closed:
            _, data, eof = received
            if data and socket.ws_protocol == TEXT:
                await socket.send_str(b64encode(data).decode())
            elif data:
                await socket.send_bytes(data)
            if eof:
                break
    finally:
        await stream.close()
        await socket.close()
    return socket


def log_options(query: Query) -> dict[str, Any]:
    """PodLogOptions in the form the agents take. Raises Invalid, BadRequest."""
    since_s, since_time = number(query, "sinceSeconds"), query.get("sinceTime") or None
    tail, limit = number(query, "tailLines"), number(query, "limitBytes")
    causes = [
        Cause("FieldValueInvalid", f"Invalid value: {value}: {why}", field)
        for field, value, least, why in (
            ("tailLines", tail, 0, "must be greater than or equal to 0"),
            ("limitBytes", limit, 1, "must be greater than or equal to 1"),
            ("sinceSeconds", since_s, 1, "must be greater than or equal to 1"),
        )
        if value is not None and value < least
    ]
    if since_s is not None and since_time is not None:
        why = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        causes.append(Cause("FieldValueForbidden", why, ""))
    if causes:
        raise _invalid(causes)
    if since_time is not None:
        try:
            parse_timestamp(since_time)
        except ValueError:
            raise BadRequest(f'parsing time "{since_time}": cannot parse as RFC 3339') from None
    return {
        "follow": flag(query, "follow"),
        "previous": flag(query, "previous"),
        "timestamps": flag(query, "timestamps"),
        "tail_lines": tail,
        "since_seconds": since_s,
        "since_time": since_time,
        "limit_bytes": limit,
    }


def container_of(pod: Object, wanted: str) -> str:
    """The container meant: the one named, or the only one. Raises BadRequest as Kubernetes words it."""
    meta, spec = pod["metadata"], pod["spec"]
    regular = _names(spec.get("containers"))
    initial = _names(spec.get("initContainers"))
    ephemeral = _names(spec.get("ephemeralContainers"))
    if wanted:
        if wanted not in (*regular, *initial, *ephemeral):
            raise BadRequest(f"container {wanted} is not valid for pod {meta['name']}")
        return wanted
    annotated = (meta.get("annotations") or {}).get(DEFAULT_CONTAINER, "")
    if annotated in regular:
        return str(annotated)
    if len(regular) == 1:
        return regular[0]
    text = f"a container name must be specified for pod {meta['name']}, choose one of: [{' '.join(regular)}]"
    if initial:
        text += f" or one of the init containers: [{' '.join(initial)}]"
    if ephemeral:
        text += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    raise BadRequest(text)


def _names(containers: Sequence[Object] | None) -> list[str]:
    return [container["name"] for container in containers or ()]


def _invalid(causes: list[Cause]) -> Invalid:
    errors = [f"{cause.field}: {cause.message}" for cause in causes]
    text = errors[0] if len(errors) == 1 else "[" + ", ".join(errors) + "]"
    return Invalid(f'PodLogOptions "" is invalid: {text}', details={"kind": "PodLogOptions"}, causes=causes)
