"""One request as the handlers see it, and the answer they give.

A handler returns an `Answer` (complete bytes) or, for streams, a response that it has already sent. So
everything that is not a stream stays free of the HTTP library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from cluster.api.errors import ApiError, RequestEntityTooLarge
from cluster.server.call import User
from cluster.server.http.accept import JSON, PLAIN, YAML, Encoding, Form
from cluster.server.http.options import Query

BODY_LIMIT = 3 * 1024 * 1024
"""Bytes of a request body, as etcd's limit makes Kubernetes choose."""
GZIP_THRESHOLD = 128 * 1024
"""Answers below this many bytes are never compressed."""
_NEWLINE = b"\n"


@dataclass(slots=True)
class Exchange:
    request: web.BaseRequest
    method: str
    path: str
    query: Query
    user: User
    audit_id: str
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    """For the audit log; admission adds to them."""
    impersonator: User | None = None
    """Who is behind `user`, if that is somebody else."""
    sent: bytes = b""
    """The body, once it has been read."""
    answered: Answer | None = None

    @property
    def accept(self) -> str:
        return self.request.headers.get("Accept", "")

    async def body(self) -> bytes:
        """The whole body. Raises RequestEntityTooLarge."""
        request = self.request
        if not request.body_exists:
            return b""
        if (request.content_length or 0) > BODY_LIMIT:
            raise too_large()
        try:
            self.sent = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise too_large() from None
        return self.sent


def too_large() -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"Request entity too large: limit is {BODY_LIMIT}")


@dataclass(slots=True)
class Answer:
    body: bytes = b""
    status: int = 200
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    pieces: tuple[bytes, ...] = ()
    """In place of `body` where parts of it are kept for other answers."""


def document(value: Any, form: Form = PLAIN, status: int = 200) -> Answer:
    """An object as JSON or, where asked for, YAML."""
    if form.encoding is Encoding.YAML:
        return Answer(as_yaml(value), status, YAML)
    return Answer(orjson.dumps(value) + _NEWLINE, status)


def as_yaml(value: Any) -> bytes:
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            """Stored objects share parts; a manifest has no anchors."""
            return True

    text: bytes = yaml.dump(value, Dumper=Dumper, encoding="utf-8", allow_unicode=True)
    return text


def failure(error: ApiError, form: Form = PLAIN) -> Answer:
    """The Status of an error, with the headers that go with it."""
    answer = document(error.status(), form, error.code)
    if error.retry_after_s is not None:
        answer.headers = (("Retry-After", str(error.retry_after_s)),)
    return answer


def warning_headers(warnings: Sequence[str]) -> list[tuple[str, str]]:
    """RFC 7234 warnings, each once, in order."""
    headers = []
    for text in dict.fromkeys(warnings):
        quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\r", " ")
        headers.append(("Warning", f'299 - "{quoted}"'))
    return headers
