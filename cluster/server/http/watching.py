"""Watch requests: events as lines of JSON, until the client goes, the time is up, or history ends.

Lines are made once per group of equal watches (see `cluster.server.watch`); a batch of events is sent with
one write. A slow client blocks only its own write: meanwhile its backlog grows to its bound, and then it is
told 410 and has to list again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import orjson
from aiohttp import web

from broker.chance import Chance
from cluster.api.client import EventType
from cluster.api.errors import ApiError, Expired, Timeout
from cluster.server.call import Call
from cluster.server.http import options
from cluster.server.http.accept import JSON, PLAIN, Encoding, Form, negotiate, not_acceptable
from cluster.server.http.exchange import Exchange, warning_headers
from cluster.server.http.forms import Forms
from cluster.server.verbs import Verbs
from cluster.server.watch import Event, error_frame

MINIMUM_TIMEOUT_S = 1800.0
"""Watches without timeoutSeconds end after this long to twice as long, so that clients spread out."""


class Watching:
    def __init__(self, verbs: Verbs, forms: Forms, chance: Chance) -> None:
        self._verbs = verbs
        self._forms = forms
        self._chance = chance

    async def answer(self, exchange: Exchange, call: Call) -> web.StreamResponse:
        form = negotiate(exchange.accept)
        if form.encoding is not Encoding.JSON:
            raise not_acceptable("application/json;stream=watch")
        asked = options.watch_options(exchange.query)
        try:
            watch = await self._verbs.watch(call, asked)
        except (Expired, Timeout) as error:  # what is wrong with the revision is said within the stream
            return await _ended(exchange, error)
        timeout_s = asked.timeout_s or MINIMUM_TIMEOUT_S * (1 + self._chance.random())
        timer = asyncio.get_running_loop().call_later(timeout_s, watch.close)
        lines = _Lines(self._forms, call, form, exchange.query)
        try:
            response = await _opened(exchange)
            try:
                async for events in watch:
                    await response.write(lines.of(events))
            except ApiError as error:
                await response.write(error_frame(error.status()))
            await response.write_eof()
        finally:
            timer.cancel()
            watch.close()
        return response


async def _ended(exchange: Exchange, error: ApiError) -> web.StreamResponse:
    """A watch whose only event is its error."""
    response = await _opened(exchange)
    await response.write(error_frame(error.status()))
    await response.write_eof()
    return response


async def _opened(exchange: Exchange) -> web.StreamResponse:
    headers = {"Audit-Id": exchange.audit_id, "Cache-Control": "no-cache, private", "Content-Type": JSON}
    response = web.StreamResponse(headers=headers)
    response.headers.extend(warning_headers(exchange.warnings))
    response.enable_chunked_encoding()
    await response.prepare(exchange.request)
    return response


class _Lines:
    """Events in the form that one watch asked for."""

    def __init__(self, forms: Forms, call: Call, form: Form, query: options.Query) -> None:
        self._forms = forms
        self._call = call
        self._form = form
        self._query = query
        self._has_columns = False

    def of(self, events: Iterable[Event]) -> bytes:
        if self._form is PLAIN:
            return b"".join([event.frame for event in events])
        return b"".join([self._transformed(event) for event in events])

    def _transformed(self, event: Event) -> bytes:
        if event.type is EventType.BOOKMARK:
            value = self._forms.bookmark(event.entry, self._form)
        else:
            value = self._forms.value(
                self._call, event.entry, self._form, self._query, columns=not self._has_columns
            )
            self._has_columns = True
        return orjson.dumps({"type": event.type.value, "object": value}) + b"\n"
