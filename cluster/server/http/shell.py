"""The one handler of every HTTP request: who asks, may they, how much is going on, who answers.

The order is Kubernetes' own: audit id, authentication, impersonation, limits, authorization, handler. So a
stranger learns nothing about which paths exist. The audit id becomes the cause of everything the request
sets off (`r-<id>`). Every error is turned into a Status here and nowhere else; one that no client can be
blamed for is logged with its traceback and answered with 500.
"""

from __future__ import annotations

from typing import cast

from aiohttp import web
from multidict import CIMultiDict
from structlog.typing import FilteringBoundLogger

from broker.cause import caused_by
from broker.chance import Chance
from broker.clock import Clock
from cluster.api.client import PatchType
from cluster.api.errors import ApiError, InternalError, NotAcceptable
from cluster.server.auth.attributes import MASTERS, Attributes, Authorizer, refusal
from cluster.server.auth.authenticate import Authenticator, unauthorized
from cluster.server.auth.impersonate import impersonated
from cluster.server.auth.impersonate import wanted as impersonation_wanted
from cluster.server.call import User
from cluster.server.http import exchange as exchanges
from cluster.server.http import options
from cluster.server.http.accept import PLAIN, Form, negotiate
from cluster.server.http.audit import AuditLog, Record, annotate
from cluster.server.http.bodies import media_type_of
from cluster.server.http.compression import Gzip
from cluster.server.http.connection import Connection
from cluster.server.http.delegation import Delegation
from cluster.server.http.documents import Documents
from cluster.server.http.exchange import Answer, Exchange, failure, warning_headers
from cluster.server.http.health import ENDPOINTS as HEALTH
from cluster.server.http.limits import InFlight
from cluster.server.http.metrics import Metrics
from cluster.server.http.paths import Target, split, target_of
from cluster.server.http.resources import Resources
from cluster.server.http.sending import body_of
from cluster.server.http.verbs import (
    CONNECT,
    METHODS,
    METRIC_VERBS,
    STREAMS,
    is_long_running,
    is_read_only,
    verb_of,
)

_AUDIT_ID_LIMIT = 64


class Shell:
    def __init__(
        self,
        *,
        authenticator: Authenticator,
        authorizer: Authorizer,
        resources: Resources,
        documents: Documents,
        delegation: Delegation,
        metrics: Metrics,
        in_flight: InFlight,
        audit: AuditLog | None,
        clock: Clock,
        chance: Chance,
        log: FilteringBoundLogger,
    ) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._resources = resources
        self._documents = documents
        self._delegation = delegation
        self._metrics = metrics
        self._clock = clock
        self._chance = chance
        self._log = log
        self._in_flight = in_flight
        self._audit = audit
        self._gzip = Gzip()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        started = self._clock.monotonic()
        audit_id = request.headers.get("Audit-ID", "")[:_AUDIT_ID_LIMIT] or self._chance.uuid()
        path, raw_query = split(request.raw_path)
        target = target_of(path)
        verb, code = request.method.lower(), 500
        record: Record | None = None
        with caused_by(f"r-{audit_id}"):
            exchange = Exchange(request, request.method, path, options.parse(raw_query), _NOBODY, audit_id)
            try:
                verb = verb_of(exchange, target)
                exchange.user = self._user(exchange)
                if self._audit is not None:
                    asked = _attributes(exchange, target, verb, exchange.user)
                    record = self._audit.received(exchange, asked, exchange.impersonator)
                result = await self._result(exchange, target, verb)
                response = (
                    result if isinstance(result, web.StreamResponse) else await self._sent(exchange, result)
                )
                code = response.status
                return response
            except ApiError as error:
                code = error.code
                return await self._sent(exchange, failure(error, _form(exchange)))
            except (ConnectionError, web.HTTPException):
                raise
            except Exception as bug:  # noqa: BLE001  the HTTP edge: nothing may escape unanswered
                return await self._sent(exchange, self._crashed(exchange, bug))
            finally:
                self._observe(exchange, target, verb, code, self._clock.monotonic() - started)
                if self._audit is not None and record is not None:
                    self._audit.completed(record, exchange, code)

    async def _result(
        self, exchange: Exchange, target: Target | None, verb: str
    ) -> Answer | web.StreamResponse:
        if _is_unlimited(exchange, target, verb):
            return await self._authorized(exchange, target, verb)
        exempt = MASTERS in exchange.user.groups
        places = self._in_flight
        with places.reader(exempt=exempt) if is_read_only(verb) else places.writer(exempt=exempt):
            return await self._authorized(exchange, target, verb)

    async def _authorized(
        self, exchange: Exchange, target: Target | None, verb: str
    ) -> Answer | web.StreamResponse:
        attributes = _attributes(exchange, target, verb, exchange.user)
        decision = self._authorizer.authorize(attributes)
        if self._audit is not None:
            annotate(exchange, decision)
        if not decision.allowed:
            raise refusal(attributes, decision.reason)
        if (backend := self._delegation.backend(exchange.path)) is not None:
            return await self._delegation.answer(exchange, backend)
        if target is None:
            return await self._documents.answer(exchange)
        return await self._resources.answer(exchange, target, verb)

    def _user(self, exchange: Exchange) -> User:
        request = exchange.request
        connection = cast(Connection, request.protocol)
        if connection.refused:
            raise unauthorized()
        headers = request.headers
        user = connection.user or self._authenticator.user(headers.get("Authorization"))
        if impersonation_wanted(headers):
            exchange.impersonator = user
            user = impersonated(user, headers, self._authorizer)
        return user

    async def _sent(self, exchange: Exchange, answer: Answer) -> web.Response:
        exchange.answered = answer
        headers: CIMultiDict[str] = CIMultiDict(
            (
                ("Audit-Id", exchange.audit_id),
                ("Cache-Control", "no-cache, private"),
                ("Content-Type", answer.content_type),
            )
        )
        for name, value in answer.headers:
            headers[name] = value
        if exchange.warnings:
            headers.extend(warning_headers(exchange.warnings))
        pieces = answer.pieces or (answer.body,)
        if sum(map(len, pieces)) >= exchanges.GZIP_THRESHOLD and _takes_gzip(exchange):
            pieces = (await self._gzip.pack(pieces),)
            headers["Content-Encoding"] = "gzip"
            headers["Vary"] = "Accept-Encoding"
        return web.Response(body=body_of(pieces, answer.content_type), status=answer.status, headers=headers)

    def _crashed(self, exchange: Exchange, bug: Exception) -> Answer:
        self._log.error(
            "request failed", method=exchange.method, path=exchange.path, error=repr(bug), exc_info=bug
        )
        return failure(InternalError(f"Internal error occurred: {bug}"), _form(exchange))

    def _observe(
        self, exchange: Exchange, target: Target | None, verb: str, code: int, duration_s: float
    ) -> None:
        dry_run = "All" if exchange.query.get("dryRun") == "All" else ""
        if target is None:
            path = _reported(exchange.path) if code < 400 else ""
            method = exchange.method if exchange.method in METHODS else "other"
            self._metrics.observe((method, dry_run, "", "", path, "", "", code), duration_s)
            return
        named = target.name or verb == "create"
        scope = "resource" if named else "namespace" if target.namespace else "cluster"
        names = (
            ("", "", "", "")
            if code == 404 and not self._resources.serves(target)
            else (target.group, target.version, target.plural, target.subresource)
        )
        shown = CONNECT if target.subresource in STREAMS else METRIC_VERBS.get(verb, "other")
        if verb == "patch" and media_type_of(exchange) == PatchType.APPLY.value:
            shown = "APPLY"
        self._metrics.observe((shown, dry_run, *names, scope, code), duration_s)


def _is_unlimited(exchange: Exchange, target: Target | None, verb: str) -> bool:
    if target is None:
        return exchange.path.strip("/").partition("/")[0] in HEALTH
    return is_long_running(verb, target)


_NOBODY = User(name="")
_OWN = "/kubemu/v1/"


def _reported(path: str) -> str:
    """The path in metrics: kubemu's own documents name objects, of which there may be many."""
    return _OWN if path.startswith(_OWN) else path


def _attributes(exchange: Exchange, target: Target | None, verb: str, user: User) -> Attributes:
    if target is None:
        return Attributes(user, exchange.method.lower(), path=exchange.path)
    name, selector = target.name, ""
    if not name and verb in ("list", "watch", "deletecollection") and "fieldSelector" in exchange.query:
        selector = exchange.query["fieldSelector"]
        name = _named_by_selector(selector)
    return Attributes(
        user, verb, target.group, target.version, target.plural, target.subresource, target.namespace, name,
        field_selector=selector,
    )  # fmt: skip


def _named_by_selector(selector: str) -> str:
    """The one name that `metadata.name=x` leaves, so that roles with resourceNames can allow a watch."""
    for term in selector.split(","):
        key, _, value = term.partition("=")
        if key == "metadata.name":
            return value.removeprefix("=")
    return ""


def _form(exchange: Exchange) -> Form:
    """How to send an error: as asked for where that is possible."""
    try:
        return Form(negotiate(exchange.accept).encoding)
    except NotAcceptable:
        return PLAIN


def _takes_gzip(exchange: Exchange) -> bool:
    return "gzip" in exchange.request.headers.get("Accept-Encoding", "")
