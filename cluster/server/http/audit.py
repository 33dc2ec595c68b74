"""The audit log: events of audit.k8s.io/v1, a line of JSON each, as much of a request as the policy says.

A request has an event when it was received and one when it is answered, under one audit id, which is also
the cause of everything that it set off (`r-<id>`). Annotations say who allowed it and why, and what admission
adds.

Divergence: no ResponseStarted event for watches and other long answers, no events for requests that nobody
could be found for, and the file is not rotated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

import orjson

from broker.clock import Clock
from cluster.api.objects import Object
from cluster.server.auth.attributes import Attributes, Decision
from cluster.server.auth.reviews import user_info
from cluster.server.call import User
from cluster.server.http.audit_policy import (
    API_VERSION,
    COMPLETE,
    EVERYTHING,
    NAMES,
    RECEIVED,
    Level,
    Rule,
    rule_of,
)
from cluster.server.http.exchange import Answer, Exchange

DECISION, REASON = "authorization.k8s.io/decision", "authorization.k8s.io/reason"


@dataclass(slots=True)
class Record:
    """A request on its way through the server."""

    rule: Rule
    event: Object


class AuditLog:
    def __init__(self, file: BinaryIO, *, clock: Clock, rules: Sequence[Rule] = EVERYTHING) -> None:
        """`file` is unbuffered: what was logged is there, whatever becomes of the process."""
        self._file = file
        self._clock = clock
        self._rules = rules

    def received(self, exchange: Exchange, asked: Attributes, impersonator: User | None) -> Record | None:
        """The record of a request that the policy wants; it goes back to `completed`."""
        rule = rule_of(self._rules, asked)
        if rule is None:
            return None
        request, now = exchange.request, _moment(self._clock.now())
        event: Object = {
            "kind": "Event",
            "apiVersion": API_VERSION,
            "level": NAMES[rule.level],
            "auditID": exchange.audit_id,
            "stage": RECEIVED,
            "requestURI": request.raw_path,
            "verb": asked.verb,
            "user": user_info(impersonator or exchange.user),
        }
        if impersonator is not None:
            event["impersonatedUser"] = user_info(exchange.user)
        event["sourceIPs"] = [request.remote or ""]
        if agent := request.headers.get("User-Agent"):
            event["userAgent"] = agent
        if asked.resource:
            event["objectRef"] = _reference(asked)
        event["requestReceivedTimestamp"] = now
        record = Record(rule, event)
        self._write(record, {"stageTimestamp": now})
        return record

    def completed(self, record: Record, exchange: Exchange, code: int) -> None:
        parts: Object = {"stage": COMPLETE, "responseStatus": _status(exchange.answered, code)}
        if record.rule.level >= Level.REQUEST and exchange.sent:
            parts["requestObject"] = self._object(record, exchange.sent)
        if record.rule.level >= Level.RESPONSE and exchange.answered is not None:
            parts["responseObject"] = self._object(record, _whole(exchange.answered))
        parts["stageTimestamp"] = _moment(self._clock.now())
        if exchange.annotations:
            parts["annotations"] = exchange.annotations
        self._write(record, parts)

    def _object(self, record: Record, body: bytes) -> Any:
        """JSON as it is; what is in another form is not shown."""
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
        if record.rule.omit_managed_fields and isinstance(value, dict):
            for one in (value, *(value.get("items") or ())):
                if isinstance(one, dict) and isinstance(one.get("metadata"), dict):
                    one["metadata"].pop("managedFields", None)
        return value

    def _write(self, record: Record, parts: Object) -> None:
        event = {**record.event, **parts}
        if event["stage"] not in record.rule.omitted:
            self._file.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))


def annotate(exchange: Exchange, decision: Decision) -> None:
    """How the request was judged."""
    exchange.annotations[DECISION] = "allow" if decision.allowed else "forbid"
    exchange.annotations[REASON] = decision.reason


def _reference(asked: Attributes) -> Object:
    parts = {
        "resource": asked.resource,
        "namespace": asked.namespace,
        "name": asked.name,
        "apiGroup": asked.group,
        "apiVersion": asked.version,
        "subresource": asked.subresource,
    }
    return {name: value for name, value in parts.items() if value}


def _status(answer: Answer | None, code: int) -> Object:
    """Of a failure everything but its details' causes; of a success the code alone."""
    status: Object = {"metadata": {}, "code": code}
    if answer is None or code < 400:
        return status
    try:
        failure = orjson.loads(_whole(answer))
    except orjson.JSONDecodeError:
        return status
    shown = {name: failure[name] for name in ("status", "message", "reason", "details") if name in failure}
    return {"metadata": {}, **shown, "code": code}


def _whole(answer: Answer) -> bytes:
    return b"".join(answer.pieces) if answer.pieces else answer.body


def _moment(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
