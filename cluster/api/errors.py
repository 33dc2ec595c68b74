"""Errors that become a Kubernetes `Status`, with Kubernetes' codes, reasons and wording.

Raised anywhere a client can be at fault or the state of the world stands against a request; turned into
the HTTP answer once, at the edge. `ApiError.from_status` turns an answer back into the same class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cluster.api.resource import Resource


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of details.causes: a field and what is wrong with it."""

    reason: str
    """FieldValueRequired | FieldValueInvalid | FieldValueNotSupported | FieldValueDuplicate |
    FieldValueForbidden | FieldValueTooLong | FieldValueTooMany | FieldValueNotFound |
    FieldValueTypeInvalid | FieldManagerConflict | …"""
    message: str
    """As in details.causes, without the field: `Invalid value: "x": must be …`."""
    field: str
    """JSON path: spec.containers[0].name."""

    def as_json(self) -> dict[str, str]:
        cause = {"reason": self.reason, "message": self.message}
        return cause | {"field": self.field} if self.field else cause


class ApiError(Exception):
    """A failed request. Carries everything that the Status says."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        causes: Sequence[Cause] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})
        self.causes = tuple(causes)
        self.retry_after_s = retry_after_s
        self.metadata: dict[str, Any] = {}
        """The Status' ListMeta: an expired page token comes with one to go on with."""

    def status(self) -> dict[str, Any]:
        """The Status object."""
        details = dict(self.details)
        if self.causes:
            details["causes"] = [cause.as_json() for cause in self.causes]
        if self.retry_after_s is not None:
            details["retryAfterSeconds"] = self.retry_after_s
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": dict(self.metadata),
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if details:
            status["details"] = details
        status["code"] = self.code
        return status

    @staticmethod
    def from_status(status: Mapping[str, Any]) -> ApiError:
        """The error a Status describes; an unknown reason gives the class of its code, or ApiError."""
        details = dict(status.get("details") or {})
        causes = [
            Cause(c.get("reason", ""), c.get("message", ""), c.get("field", ""))
            for c in details.pop("causes", None) or ()
        ]
        retry_after_s = details.pop("retryAfterSeconds", None)
        reason, code = status.get("reason", ""), status.get("code", 500)
        found = _BY_REASON.get(reason) or _BY_CODE.get(code, ApiError)
        return found(status.get("message", ""), details=details, causes=causes, retry_after_s=retry_after_s)


class BadRequest(ApiError):
    code = 400
    reason = "BadRequest"


class Unauthorized(ApiError):
    code = 401
    reason = "Unauthorized"


class Forbidden(ApiError):
    code = 403
    reason = "Forbidden"


class NotFound(ApiError):
    code = 404
    reason = "NotFound"


class MethodNotAllowed(ApiError):
    code = 405
    reason = "MethodNotAllowed"


class NotAcceptable(ApiError):
    code = 406
    reason = "NotAcceptable"


class AlreadyExists(ApiError):
    code = 409
    reason = "AlreadyExists"


class Conflict(ApiError):
    code = 409
    reason = "Conflict"


class Gone(ApiError):
    """The continue token or a list's revision is too old."""

    code = 410
    reason = "Gone"


class Expired(Gone):
    reason = "Expired"


class RequestEntityTooLarge(ApiError):
    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    code = 415
    reason = "UnsupportedMediaType"


class Invalid(ApiError):
    code = 422
    reason = "Invalid"


class TooManyRequests(ApiError):
    code = 429
    reason = "TooManyRequests"


class InternalError(ApiError):
    pass


class Unclassified(ApiError):
    """An error for which Kubernetes has a message and a code, but no reason."""

    reason = ""


class ServiceUnavailable(ApiError):
    code = 503
    reason = "ServiceUnavailable"


class ServerTimeout(ApiError):
    code = 500
    reason = "ServerTimeout"


class Timeout(ApiError):
    code = 504
    reason = "Timeout"


_CLASSES: tuple[type[ApiError], ...] = (
    BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, Conflict, AlreadyExists,
    Gone, Expired, RequestEntityTooLarge, UnsupportedMediaType, Invalid, TooManyRequests, ServiceUnavailable,
    ServerTimeout, InternalError, Timeout,
)  # fmt: skip
_BY_REASON: dict[str, type[ApiError]] = {c.reason: c for c in _CLASSES}
_BY_CODE: dict[int, type[ApiError]] = {c.code: c for c in reversed(_CLASSES)}


def _details(resource: Resource, name: str) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.plural
    return details


def not_found(resource: Resource, name: str) -> NotFound:
    return NotFound(f'{resource.qualified} "{name}" not found', details=_details(resource, name))


def already_exists(resource: Resource, name: str) -> AlreadyExists:
    return AlreadyExists(f'{resource.qualified} "{name}" already exists', details=_details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> Conflict:
    """`why` defaults to the wording of a stale resourceVersion."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try again"
    )
    return Conflict(
        f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}',
        details=_details(resource, name),
    )


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> Invalid:
    """The aggregate of field errors, worded as Kubernetes does."""
    errors = [f"{cause.field}: {cause.message}" for cause in causes]
    text = errors[0] if len(errors) == 1 else "[" + ", ".join(errors) + "]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details = _details(resource, name) | {"kind": resource.kind}
    return Invalid(f'{kind} "{name}" is invalid: {text}', details=details, causes=causes)


def forbidden(resource: Resource, name: str, why: str) -> Forbidden:
    return Forbidden(f'{resource.qualified} "{name}" is forbidden: {why}', details=_details(resource, name))
